"""PWC-Net in its dense form (Sun et al., CVPR 2018), as Self-Blind-VSR uses it.

In bfloat16 or float16 only the decoders' dense convolutions and the refiner's run. Whatever has to do with coordinates
(pyramid, cost volume, warping, upsampling, the convolutions that predict flow, and all flow) stays in float32. Entirely
in bfloat16 the flow would be off by up to two pixels; divided like this it is off by less than 0.01.
"""

import copy
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindvsr.ops import backwarp, conv3x3, cost_volume, coverage

RADIUS = 4
COST_CHANNELS = (2 * RADIUS + 1) ** 2
PYRAMID = (16, 32, 64, 96, 128, 196)  # channels of levels 1..6, at 1/2 .. 1/64 of the size
DENSE = (128, 128, 96, 64, 32)  # channels that each decoder adds, convolution by convolution
REFINER = (128, 128, 128, 96, 64, 32)
DILATIONS = (1, 2, 4, 8, 16, 1)
COARSEST = 64  # frames are resized to multiples of this
SLOPE = 0.1  # of all activations below zero
FLOW_UNIT = 20.0  # the decoders' unit of flow: 20 pixels of the resized frames
LEVELS = (6, 5, 4, 3, 2)  # of the decoders, coarse to fine
BACKWARD = {2: 5.0, 3: 2.5, 4: 1.25, 5: 0.625}  # FLOW_UNIT / 2**level: decoder units to pixels of a level

Pyramid = list[Tensor]


def scaled_channels(channels: tuple[int, ...], width: float) -> tuple[int, ...]:
    """Channel counts of the published network, multiplied by `width`."""
    return tuple(max(2, round(width * count)) for count in channels)


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(SLOPE, inplace=True)


def _float32(tensor: Tensor) -> torch.autocast:
    """Switches autocast off, for what has to do with coordinates."""
    return torch.autocast(tensor.device.type, enabled=False)


def _as_convolved(features: Tensor, convs: nn.Module) -> Tensor:
    """Features in the precision in which `convs` run, autocast's or else that of their weights, and with channels last
    where the weights have that layout or the precision is a lower one: mixed layouts cost a copy per convolution."""
    device, weights = features.device.type, next(convs.parameters())
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weights.dtype
    if weights.is_contiguous(memory_format=torch.channels_last) or dtype != features.dtype:
        return features.to(dtype, memory_format=torch.channels_last)
    return features


def _resized(side: int) -> int:
    """The multiple of 64 to which the side of a frame is resized."""
    return (side + COARSEST - 1) // COARSEST * COARSEST


def _scaled(flow: Tensor, size: tuple[int, int], power: int) -> Tensor:
    """Flow times the decoders' unit to some power: 1 turns flow in that unit into pixels of frames of `size` (H, W), -1
    turns it back."""
    height, width = (FLOW_UNIT * side / _resized(side) for side in size)
    x, y = flow.split(1, dim=1)
    return torch.cat((x * width**power, y * height**power), 1)


class Dense(nn.ModuleList):
    """Convolutions each of which sees what all before it have found, the latest first."""

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, all C, H, W), in the precision in which the convolutions run."""
        features = _as_convolved(features, self)
        for conv in self:
            features = torch.cat((F.leaky_relu_(conv(features), SLOPE), features), 1)
        return features


class Decoder(nn.Module):
    """Estimates the flow at one level of the pyramid from the flow and the features of the level above."""

    def __init__(self, *, level: int, channels: int, dense: tuple[int, ...], inputs_above: int | None) -> None:
        super().__init__()
        self.level = level
        self.inputs = COST_CHANNELS
        if inputs_above is not None:
            self.inputs += channels + 4  # the features of the first frame, the flow and the features from above
            self.up_flow = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)
            self.up_features = nn.ConvTranspose2d(inputs_above + sum(dense), 2, 4, stride=2, padding=1)
        widths = list(accumulate(dense, initial=self.inputs))
        self.dense = Dense(conv3x3(width, added) for width, added in zip(widths, dense, strict=False))
        self.predict = conv3x3(widths[-1], 2)

    def forward(self, first: Tensor, second: Tensor, above: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Features of two frames, and flow and features from the level above -> flow and features of this level.

        All are (N, C, H, W) in float32, except the features from above and those of this level: under autocast, or in a
        network `prepared` for a lower precision, they have that precision.
        """
        with _float32(first):
            features = self._compared(first, second, above)
        features = self.dense(features)
        with _float32(first):
            return self.predict(features.to(first.dtype)), features

    def _compared(self, first: Tensor, second: Tensor, above: tuple[Tensor, Tensor] | None) -> Tensor:
        """The input of the dense convolutions: the cost volume, and what the level above has found."""
        if above is None:
            return F.leaky_relu_(cost_volume(first, second, RADIUS), SLOPE)
        flow, up = self.up_flow(above[0]), self.up_features(above[1].to(first.dtype))
        pixels = flow * BACKWARD[self.level]
        # official behaviour: samples that touch the outside are zero, with no gradient through the mask
        second = backwarp(second, pixels, "zeros") * (coverage(pixels) > 0.999)
        cost = F.leaky_relu_(cost_volume(first, second, RADIUS), SLOPE)
        return torch.cat((cost, first, flow, up), 1)


class PWCNet(nn.Module):
    """Optical flow between two frames of any size.

    Args:
        width: multiplies every channel count of the published network; 1.0 is the network itself.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        pyramid, dense, refiner = (scaled_channels(part, width) for part in (PYRAMID, DENSE, REFINER))
        self.extractor = nn.ModuleList(
            nn.Sequential(conv3x3(inputs, outputs, 2), _leaky(), conv3x3(outputs, outputs), _leaky(),
                          conv3x3(outputs, outputs), _leaky())
            for inputs, outputs in zip((3, *pyramid), pyramid, strict=False)
        )
        decoders: list[Decoder] = []
        for level in LEVELS:
            above = decoders[-1].inputs if decoders else None
            decoders.append(Decoder(level=level, channels=pyramid[level - 1], dense=dense, inputs_above=above))
        self.decoders = nn.ModuleList(decoders)
        layers: list[nn.Module] = []
        widths = (decoders[-1].inputs + sum(dense), *refiner)
        for inputs, outputs, dilation in zip(widths, refiner, DILATIONS, strict=False):
            layers += [conv3x3(inputs, outputs, dilation=dilation), _leaky()]
        last = conv3x3(refiner[-1], 2)
        self.refiner = nn.Sequential(*layers, last)
        for module in self.modules():  # torch's default shrinks the signal from layer to layer
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, SLOPE)
                nn.init.constant_(module.bias, 0)  # type: ignore[arg-type]
        # an untrained network predicts no motion: training from nothing starts with frames left in place
        for predict in (*(decoder.predict for decoder in decoders), last):
            for parameter in predict.parameters():
                nn.init.zeros_(parameter)

    def pyramid(self, frames: Tensor) -> Pyramid:
        """Features of the six levels, finest first.

        Args:
            frames: (N, 3, H, W), RGB in [0, 1]. They are resized, not padded, to multiples of 64 (official behaviour).
        """
        levels = []
        with _float32(frames):
            frames = frames.to(next(self.parameters()).dtype)
            size = [_resized(side) for side in frames.shape[-2:]]
            features = F.interpolate(frames, size, mode="bilinear", align_corners=False)
            for stage in self.extractor:
                features = stage(features)
                levels.append(features)
        return levels

    def flows(self, first: Pyramid, second: Pyramid) -> list[Tensor]:
        """The flow that the decoders of levels 6 to 2 estimate, the last one refined: (N, 2, H64 / 2^level,
        W64 / 2^level) each, in units of 20 pixels of the resized frames."""
        flows = []
        above: tuple[Tensor, Tensor] | None = None
        for level, decoder in zip(LEVELS, self.decoders, strict=True):
            above = decoder(first[level - 1], second[level - 1], above)
            flows.append(above[0])
        assert above is not None
        features = self.refiner[:-1](above[1])
        with _float32(first[0]):
            flows[-1] = flows[-1] + self.refiner[-1](features.to(first[0].dtype))
        return flows

    def prepared(self, dtype: torch.dtype) -> "PWCNet":
        """A copy for inference whose dense and refining convolutions are in bfloat16 or float16, channels last. For
        float32 it is the network itself: with another layout sums would be added up in another order."""
        if dtype == torch.float32:
            return self
        twin = copy.deepcopy(self).to(memory_format=torch.channels_last)
        for part in (*(decoder.dense for decoder in twin.decoders), twin.refiner[:-1]):
            part.to(dtype=dtype)
        return twin

    def to_pixels(self, flow: Tensor, size: tuple[int, int]) -> Tensor:
        """The finest of `flows` in pixels of frames of `size` (H, W): (N, 2, H, W)."""
        return _scaled(F.interpolate(flow, size, mode="bilinear", align_corners=False), size, 1)

    def to_level(self, flow: Tensor, like: Tensor) -> Tensor:
        """Flow in pixels (N, 2, H, W) averaged to the size of `like`, one of `flows`, and in its unit."""
        size = (flow.shape[-2], flow.shape[-1])
        return _scaled(F.adaptive_avg_pool2d(flow, (like.shape[-2], like.shape[-1])), size, -1)

    def between(self, first: Pyramid, second: Pyramid, size: tuple[int, int]) -> Tensor:
        """Flow in pixels of frames of `size` (H, W), from the pyramids of the two frames: (N, 2, H, W)."""
        return self.to_pixels(self.flows(first, second)[-1], size)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 3, H, W) twice, RGB in [0, 1] -> (B, 2, H, W): first[y, x] is found in second at (x + dx, y + dy)."""
        size = (first.shape[-2], first.shape[-1])
        return self.between(self.pyramid(first), self.pyramid(second), size)
