"""One window of frames to one restored frame: in the precision that the device is fast in, tile by tile if need be."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from blindvsr import InputError
from blindvsr.container import is_out_of_memory
from blindvsr.flow import Pyramid
from blindvsr.frames import Frame
from blindvsr.network import COVERED, BlindVSR
from blindvsr.ops import coverage, positions, sample_seen, to_tensor
from blindvsr.ops.winograd import why_not
from blindvsr.prepared import prepared, prepared_flow
from blindvsr.tail import collapse
from blindvsr.tiling import SMALLEST_TILE, Plan, boxes, make_plan, memory_budget

T = TypeVar("T")
DTYPES = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


def resolve_precision(precision: str, device: torch.device) -> str:
    """Checks a precision for a device, and turns "auto" into the fastest one that costs under 0.05 dB there.

    "32" is float32. "bf16" and "16" compute everything but coordinates (see `blindvsr.flow`) in bfloat16 and float16.
    bfloat16 pays where the processor multiplies it in hardware; float16 is for CUDA devices, the more so for those
    without bfloat16.

    Raises:
        InputError: for an unknown precision, and for "16" on a CPU, whose float16 convolutions are slower than float32.
    """
    if precision == "auto":
        return fastest_precision(device)[0]
    if precision not in DTYPES:
        raise InputError(f"precision={precision!r}: choose one of {', '.join(DTYPES)}, auto")
    if precision == "16" and device.type == "cpu":
        raise InputError("precision='16' is for CUDA devices: on a CPU choose bf16 or 32")
    return precision


def fastest_precision(device: torch.device) -> tuple[str, str]:
    """The fastest precision that costs under 0.05 dB on a device, and why, in words."""
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the device multiplies bfloat16 in hardware"
        return "16", "the device multiplies float16 in hardware, but not bfloat16"
    # Tiles alone: with AVX-512's bfloat16 the convolutions take 1.5 times as long as in float32. The check is private,
    # and not in every version of torch: without it the answer is the one that is never slow.
    check = getattr(torch.cpu, "_is_amx_tile_supported", None)
    if device.type == "cpu" and check is not None and check():
        return "bf16", "the processor multiplies bfloat16 in tiles (AMX)"
    return "32", "the processor has no AMX, without which bfloat16 is slower"


@dataclass
class Encoded:
    """What is computed from one frame alone.

    Attributes:
        frame: (1, 3, H, W), RGB in [0, 1].
        pyramid: of the flow network.
        features: (1, C, H, W) of the reconstruction; None where they are computed tile by tile.
        exact: the same in plain float32, where that was needed.
    """

    frame: Tensor
    pyramid: Pyramid
    features: Tensor | None
    exact: "Encoded | None" = None


class Restorer:
    """A network prepared for inference on frames of one size.

    When memory runs out it goes on with smaller tiles, and warns. Frames that half precision, or Winograd's algorithm,
    makes NaN or Inf of are restored in plain float32, which it warns of once.

    Args:
        net: is left as it is; the work is done on its device.
        tile: side of the tiles in pixels, None for none, "auto" to choose by free memory.
        precision: of everything but coordinates, see `blindvsr.flow`.
        copies: how many times as much is kept of each frame, by an ensemble of restorers.
        plain: without Winograd's algorithm, which otherwise convolves in float32 where it is faster.

    Raises:
        InputError: for an unknown precision or tile.
    """

    def __init__(self, net: BlindVSR, tile: int | str | None, precision: str, copies: int = 1,
                 plain: bool = False) -> None:
        if not (tile is None or tile == "auto" or isinstance(tile, int) and tile >= SMALLEST_TILE):
            raise InputError(f"tile={tile!r}: give the side in pixels, {SMALLEST_TILE} at least, or auto")
        self.net, self.config = net, net.config
        self.exact: Restorer | None = None  # in plain float32, from the first frame on that needs it
        self.device = next(net.parameters()).device
        self.dtype = DTYPES[resolve_precision(precision, self.device)]
        self.tile, self.copies = tile, copies
        self.plan: Plan | None = None  # made when the first frame's size is known
        self.winograd = not plain and self.dtype == torch.float32 and why_not(self.device) is None
        self.flow_net = prepared_flow(net.flow_net, self.dtype, self.winograd)
        self.extract = prepared(net.extract, self.dtype, self.winograd)
        self.fuse = prepared(net.fuse, self.dtype, self.winograd)
        self.trunk = prepared(net.trunk, self.dtype, self.winograd)
        self.tail = prepared(collapse(net.tail), self.dtype, self.winograd)

    def encode(self, frame: Frame) -> Encoded:
        """Everything that a frame (H, W, 3) needs for all the windows it will be in."""
        return self._encode_picture(to_tensor(frame, self.device)[None])  # channels last, as the frame and the result

    def _encode_picture(self, picture: Tensor) -> Encoded:
        height, width = picture.shape[-2:]
        if self.plan is None:
            pixel = self.config.num_features * self.dtype.itemsize
            budget = memory_budget(self.device, self.tile) // self.copies
            self.plan = make_plan(self.tile, height, width, pixel, budget)
        return self._within_memory(lambda plan: self._encode(picture, plan), (height, width), ())

    def restore(self, window: Sequence[Encoded]) -> Tensor:
        """The restored middle frame of a window: (1, 3, 4H, 4W) float32, unclamped.

        Raises:
            InputError: if it comes out as NaN or Inf in float32 too.
        """
        height, width = window[0].frame.shape[-2:]
        try:
            return self._within_memory(lambda plan: self._restore(window, plan), (height, width), window)
        except FloatingPointError as error:
            if self.dtype == torch.float32 and not self.winograd:
                raise InputError("these weights make NaN or Inf of a frame, in float32 too: give others") from error
        if self.exact is None:
            way = "by Winograd's algorithm" if self.winograd else "in half precision"
            warnings.warn(f"frames that come out as NaN or Inf {way} are restored in plain float32", stacklevel=2)
            self.exact = Restorer(self.net, self.tile, "32", self.copies, plain=True)
        for encoded in window:
            encoded.exact = encoded.exact or self.exact._encode_picture(encoded.frame)
        return self.exact.restore([encoded.exact for encoded in window if encoded.exact])

    def _within_memory(self, work: Callable[[Plan], T], size: tuple[int, int], held: Sequence[Encoded]) -> T:
        while True:
            assert self.plan is not None
            try:
                return work(self.plan)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                smaller = self.plan.smaller(*size)
                if smaller is None:
                    raise InputError(f"no memory for frames of {size[1]}x{size[0]}, however small the tiles") from error
            # outside the handler, which keeps the failed work's tensors alive
            warnings.warn(f"out of memory: going on with tiles of {smaller.tile} pixels", stacklevel=2)
            self.plan = smaller
            for encoded in held:
                encoded.features = None
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    @torch.inference_mode()
    def _encode(self, picture: Tensor, plan: Plan) -> Encoded:
        encoded = Encoded(picture, self.flow_net.pyramid(picture.contiguous()), None)
        if plan.keep:
            height, width = picture.shape[-2:]
            features = self._empty(self.config.num_features, height, width)
            for rows, columns in boxes(height, width, plan.tile):
                features[..., rows.core, columns.core] = self._features(encoded, rows.core, columns.core)
            encoded.features = features
        return encoded

    @torch.inference_mode()
    def _restore(self, window: Sequence[Encoded], plan: Plan) -> Tensor:
        scale = self.config.scale
        middle = len(window) // 2
        picture = window[middle].frame
        flow = self._flow(window, plan)
        result = F.interpolate(picture, scale_factor=scale, mode="bilinear", align_corners=False)
        for rows, columns in boxes(picture.shape[-2], picture.shape[-1], plan.tile):
            aligned = self._aligned(window, flow, rows.all, columns.all)
            patch = self.tail(self.trunk(self.fuse(aligned))).float()
            if plan.tile is not None:
                patch *= rows.weight(scale, patch)[:, None] * columns.weight(scale, patch)
            result[..., rows.scaled(scale), columns.scaled(scale)] += patch
        if not math.isfinite(result.sum() + flow.sum()):  # a flow that is none would only hide the neighbours
            raise FloatingPointError
        return result

    def _flow(self, window: Sequence[Encoded], plan: Plan) -> Tensor:
        """(N - 1, 2, H, W), pixels: from the middle frame to each of the others; always on whole frames."""
        middle = len(window) // 2
        centre, others = window[middle], [*window[:middle], *window[middle + 1 :]]
        height, width = centre.frame.shape[-2:]
        groups = [others] if plan.tile is None else [[other] for other in others]  # large frames: one pair at a time
        flows = []
        for group in groups:
            first = [level.expand(len(group), -1, -1, -1) for level in centre.pyramid]
            second = [torch.cat(levels) for levels in zip(*(other.pyramid for other in group), strict=True)]
            flows.append(self.flow_net.between(first, second, (height, width)))
        return torch.cat(flows)

    def _aligned(self, window: Sequence[Encoded], flow: Tensor, rows: slice, columns: slice) -> Tensor:
        """The features of all frames, warped to the middle one, at some of its pixels: (1, N C, h, w)."""
        count, middle = self.config.num_features, len(window) // 2
        aligned = self._empty(len(window) * count, rows.stop - rows.start, columns.stop - columns.start)
        flows = iter(flow.split(1))
        for number, (encoded, part) in enumerate(zip(window, aligned.split(count, dim=1), strict=True)):
            if number == middle:
                part.copy_(self._features(encoded, rows, columns))
                continue
            one = next(flows)
            seen = coverage(one)[:, 0, rows, columns] >= COVERED
            x, y = (axis[:, rows, columns] for axis in positions(one))
            part.copy_(self._sampled(encoded, x, y, seen))
        return aligned

    def _sampled(self, encoded: Encoded, x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
        """A frame's features at the places (1, h, w): (1, C, h, w)."""
        if encoded.features is not None:
            return sample_seen(encoded.features, x, y, seen)
        height, width = encoded.frame.shape[-2:]
        rows, columns = _range(y, height), _range(x, width)  # only what these places look at
        return sample_seen(self._features(encoded, rows, columns), x - columns.start, y - rows.start, seen)

    def _features(self, encoded: Encoded, rows: slice, columns: slice) -> Tensor:
        """A part of a frame's features: exactly those of the whole frame."""
        if encoded.features is not None:
            return encoded.features[..., rows, columns]
        reach = 1 + 2 * self.config.extract_blocks  # of the convolutions
        top, left = max(0, rows.start - reach), max(0, columns.start - reach)
        around = encoded.frame[..., top : rows.stop + reach, left : columns.stop + reach]
        features = self.extract(around.to(self.dtype))
        return features[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    def _empty(self, channels: int, height: int, width: int) -> Tensor:
        shape = (1, channels, height, width)
        return torch.empty(shape, dtype=self.dtype, device=self.device, memory_format=torch.channels_last)


def _range(places: Tensor, length: int) -> slice:
    """The pixels of an axis that bilinear sampling at `places` reads, with the ends repeated outside."""
    low, high = (int(place.clamp(0, length - 1)) for place in places.aminmax())
    return slice(min(low, length - 2), min(length, high + 2))
