"""The network's linear tail as one 5x5 convolution: the same output, a fortieth of the work.

After the trunk come four convolutions and two pixel shuffles with no activation anywhere, an affine map. Each low-
resolution pixel becomes 4x4 pixels that depend on the 5x5 pixels around it, the same way everywhere but in the
outermost ring: there the convolutions in between see their own zero padding. So nine convolutions (four corners, four
edges, the interior) and one shuffle give exactly what the tail gives, everywhere.
"""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

SCALE = 4
FIELD = 5  # side of what an output depends on, low-resolution pixels
RING = SCALE  # width of the border that the interior's convolution gets wrong, restored pixels
PLACES = 3  # per axis: first pixel, those between, last pixel
PARTS = (slice(0, 1), slice(1, -1), slice(-1, None))  # where these are
NEAR = (slice(0, FIELD - 1), slice(None), slice(1 - FIELD, None))  # what they depend on
FIELDS = (slice(0, FIELD), slice(None), slice(-FIELD, None))  # the same after padding by one pixel on every side
EDGES = tuple(place for place in product(range(PLACES), repeat=2) if place != (1, 1))  # all but the interior


class CollapsedTail(nn.Module):
    """Stands in for the tail of a network. Made by `collapse`.

    Args:
        weight: (3, 3, 48, C, 5, 5), by place (row, column): what a pixel becomes. The field of the first row's pixels
            begins one row above them, that of the middle ones two rows, that of the last ones three; columns likewise.
        bias: (3, 3, 48).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        outputs, inputs = weight.shape[2:4]
        self.interior = skip_init(nn.Conv2d, inputs, outputs, FIELD, padding=FIELD // 2, device=weight.device,
                                  dtype=weight.dtype).requires_grad_(False)
        self.interior.load_state_dict({"weight": weight[1, 1], "bias": bias[1, 1]})
        self.register_buffer("weight", torch.cat([weight[place] for place in EDGES]))
        self.register_buffer("bias", torch.cat([bias[place] for place in EDGES]))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W), H and W at least 3 -> (B, 3, 4H, 4W), what the tail would return."""
        # the interior's convolution is right everywhere but in the outermost ring, which is then replaced
        result = self.interior(features)
        convs = zip(EDGES, self.weight.chunk(len(EDGES)), self.bias.chunk(len(EDGES)), strict=True)
        for (row, column), weight, bias in convs:
            near = features[..., NEAR[row], NEAR[column]]
            fields = F.pad(near, (1, 1, 1, 1))[..., FIELDS[row], FIELDS[column]]
            result[..., PARTS[row], PARTS[column]] = F.conv2d(fields, weight, bias)
        return F.pixel_shuffle(result, SCALE)


def collapse(tail: nn.Sequential) -> CollapsedTail:
    """Composes the tail of a network into a `CollapsedTail`, which does not follow later changes of the weights.

    Takes half a second for the full network on two cores: a tenth of what the tail itself needs for a small frame.

    Args:
        tail: `BlindVSR.tail`. The composition is in float32 at least, whatever autocast says, and in float64 on CUDA,
            whose float32 convolutions may be rounded to TF32.
    """
    with torch.no_grad():
        dtype = torch.float64 if next(tail.parameters()).is_cuda else torch.float32
        weight, bias = _composed(tail, slice(0, PLACES), dtype)
        return CollapsedTail(weight, bias)


class InteriorTail(nn.Module):
    """The tail's interior alone, as one convolution through which gradients reach the weights of the tail.

    The outermost ring of 4 restored pixels differs from the tail's. Composing it takes a ninth of the work of
    `collapse`, which matters in training, where it is composed anew in every step: in float32, as exactly as whatever
    else is convolved in the step, since convolutions in float64 would take a good part of its time on a GPU.
    """

    def __init__(self, tail: nn.Sequential) -> None:
        super().__init__()
        # plain tensors of the graph, not parameters: they live for one step
        self.weight, self.bias = (values.flatten(0, 2) for values in _composed(tail, slice(1, 2), torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 3, 4H, 4W)."""
        return F.pixel_shuffle(F.conv2d(features, self.weight, self.bias, padding=FIELD // 2), SCALE)


def _composed(tail: nn.Sequential, places: slice, least: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights (P, P, 48, C, 5, 5) and biases (P, P, 48) of the convolution that the tail is at some of its places,
    composed in the precision of the tail, at `least` in the one given."""
    own = next(tail.parameters())
    dtype = torch.promote_types(own.dtype, least)
    side = SCALE * PLACES
    with torch.autocast(own.device.type, enabled=False):
        # A 3x3 image holds all nine places. One row per output value: its weights on whatever comes before, from the
        # last convolution back to the first. Crops at the image's edge are the tail's zero padding.
        outputs = torch.eye(3 * side**2, dtype=dtype, device=own.device).view(-1, 3, side, side)
        rows = _by_place(outputs)[places, places]
        shape = rows.shape[:3]
        rows = rows.flatten(0, 2)
        for number, layer in reversed(list(enumerate(tail))):
            if isinstance(layer, nn.Conv2d):
                # the first convolution sees what lies around the image: that is the one row more on every side
                rows = F.conv_transpose2d(rows, layer.weight.to(dtype), padding=1 if number else 0)
            elif isinstance(layer, nn.PixelShuffle):
                rows = F.pixel_unshuffle(rows, layer.upscale_factor)
        constant = own.new_zeros(1, own.shape[1], PLACES, PLACES, dtype=dtype)
        for layer in tail:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                constant = F.conv2d(constant, layer.weight.to(dtype), layer.bias.to(dtype), padding=1)
            else:
                constant = layer(constant)
        return rows.unflatten(0, shape).to(own.dtype), _by_place(constant.flatten())[places, places].to(own.dtype)


def _by_place(values: Tensor) -> Tensor:
    """(3 * 12 * 12, ...), one per value of a restored 3x3 image -> (3, 3, 48, ...), in the order of a pixel shuffle."""
    values = values.unflatten(0, (3, PLACES, SCALE, PLACES, SCALE))  # colour, row, y, column, x
    values = values.movedim((1, 3), (0, 1))
    return values.flatten(2, 4)
