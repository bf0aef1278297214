"""Restoring a video of any length: a window of frames goes over it, and what belongs to one frame is computed once."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from blindvsr import InputError
from blindvsr.flow import Pyramid
from blindvsr.network import SMALLEST, BlindVSR
from blindvsr.tail import collapse

T = TypeVar("T")
Module = TypeVar("Module", bound=nn.Module)
Frame = NDArray[np.uint8]
DTYPES = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


@dataclass
class Encoded:
    """What is computed from one frame alone.

    Attributes:
        frame: (1, 3, H, W), RGB in [0, 1].
        pyramid: of the flow network.
        features: (1, C, H, W) of the reconstruction.
    """

    frame: Tensor
    pyramid: Pyramid
    features: Tensor


def resolve_precision(precision: str, device: torch.device) -> str:
    """Checks a precision for a device, and turns "auto" into the fastest one that costs under 0.05 dB there.

    "32" is float32. "bf16" and "16" compute everything but the flow in bfloat16 and float16. bfloat16 pays where the
    processor multiplies it in hardware; float16 is for CUDA devices, the more so for those without bfloat16.

    Raises:
        InputError: for an unknown precision, and for "16" on a CPU, whose float16 convolutions are slower than float32.
    """
    if precision == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "16"
        return "bf16" if device.type == "cpu" and _cpu_multiplies_bfloat16() else "32"
    if precision not in DTYPES:
        raise InputError(f"precision={precision!r}: choose one of {', '.join(DTYPES)}, auto")
    if precision == "16" and device.type == "cpu":
        raise InputError("precision='16' is for CUDA devices: on a CPU choose bf16 or 32")
    return precision


def _cpu_multiplies_bfloat16() -> bool:
    # private, and not in every version of torch: without them the answer is the one that is never slow
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check() for check in checks if check is not None)


class Restorer:
    """A network prepared for inference: its parts in their precision and layout, its tail collapsed.

    Args:
        net: is left as it is.
        precision: of everything but the flow: in bfloat16 that is off by up to two pixels.
    """

    def __init__(self, net: BlindVSR, precision: str) -> None:
        self.config = net.config
        self.device = next(net.parameters()).device
        self.dtype = DTYPES[precision]
        self.flow_net = _prepared(net.flow_net, torch.float32)
        self.extract = _prepared(net.extract, self.dtype)
        self.fuse = _prepared(net.fuse, self.dtype)
        self.trunk = _prepared(net.trunk, self.dtype)
        self.tail = _prepared(collapse(net.tail), self.dtype)

    @torch.inference_mode()
    def encode(self, frame: Frame) -> Encoded:
        """Everything that a frame (H, W, 3) needs for all the windows it will be in."""
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device)
        picture = pixels.permute(2, 0, 1)[None].float() / 255  # channels last in memory, as it came
        return Encoded(picture, self.flow_net.pyramid(picture), self.extract(picture.to(self.dtype)))

    @torch.inference_mode()
    def middle(self, window: list[Encoded]) -> Tensor:
        """The restored middle frame of a window: (1, 3, 4H, 4W) float32, unclamped."""
        radius = len(window) // 2
        centre, others = window[radius], window[:radius] + window[radius + 1 :]
        flow = self.flow(centre, others)
        warped = BlindVSR.align(torch.cat([other.features for other in others]).float(), flow).to(self.dtype)
        parts = list(warped.split(1))
        parts.insert(radius, centre.features)
        restored = self.tail(self.trunk(self.fuse(torch.cat(parts, 1))))
        return restored.float() + F.interpolate(centre.frame, scale_factor=self.config.scale, mode="bilinear")

    def flow(self, centre: Encoded, others: list[Encoded]) -> Tensor:
        """(N, 2, H, W), pixels: from the centre frame to each of the others."""
        height, width = centre.frame.shape[-2:]
        first = [level.expand(len(others), -1, -1, -1) for level in centre.pyramid]
        second = [torch.cat(levels) for levels in zip(*(other.pyramid for other in others), strict=True)]
        return self.flow_net.between(first, second, (height, width))


def _prepared(module: Module, dtype: torch.dtype) -> Module:
    # channels last is 1.2 times faster on the CPU, and what tensor cores want
    return copy.deepcopy(module).to(dtype=dtype).to(memory_format=torch.channels_last)


def restore(
    net: BlindVSR, frames: Iterable[Frame], tile: int | str | None = None, precision: str = "32"
) -> Iterator[Frame]:
    """Restores a video of any length at four times its size, frame by frame.

    Memory does not depend on the length: no more than `num_frames` frames are held, and a frame comes out as soon as
    those after it that its window needs have been read. The ends are padded by reflection.

    Args:
        net: the network; the work is done on its device.
        frames: uint8 (H, W, 3), RGB, all of one size, at least 16x16.
        tile: accepted, without effect as yet: frames are restored whole.
        precision: of the reconstruction; the flow is float32 always. See `resolve_precision`.

    Returns:
        Iterator of uint8 (4H, 4W, 3), as many as came in.

    Raises:
        InputError: for a precision that is unknown or that the device lacks; while iterating, for a frame that is too
            small, of another size than the first, or not uint8 RGB.
    """
    pictures = restore_float(net, frames, tile, precision)
    return (to_frame(picture) for picture in pictures)


def restore_float(
    net: BlindVSR, frames: Iterable[Frame], tile: int | str | None = None, precision: str = "32"
) -> Iterator[Tensor]:
    """Like `restore`, but gives (3, 4H, 4W) float32, unclamped, on the network's device."""
    restorer = Restorer(net, resolve_precision(precision, next(net.parameters()).device))
    encoded = (restorer.encode(frame) for frame in checked(frames))
    return (restorer.middle(window)[0] for window in windows(encoded, net.config.num_frames // 2))


def to_frame(picture: Tensor) -> Frame:
    """(3, H, W), RGB in [0, 1] -> uint8 (H, W, 3): clamped and rounded to the nearest, halves to even."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Passes frames on; raises InputError at the first that the network cannot take, counted from 0."""
    first: tuple[int, ...] | None = None
    for number, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise InputError(f"frame {number} is {frame.dtype} {frame.shape}: frames are uint8 RGB, (H, W, 3)")
        height, width = frame.shape[:2]
        if first is None:
            first = frame.shape
            if min(height, width) < SMALLEST:
                raise InputError(f"frame {number} is {width}x{height}: the least is {SMALLEST}x{SMALLEST}")
        elif frame.shape != first:
            raise InputError(
                f"frame {number} is {width}x{height} but frame 0 is {first[1]}x{first[0]}: a video has one size"
            )
        yield frame


def windows(items: Iterator[T], radius: int) -> Iterator[list[T]]:
    """For each item the list of 2 radius + 1 items around it; beyond the ends the sequence is reflected.

    It reads `radius` items ahead and holds 2 radius + 1. [0, 1, 2, ...] with radius 2 begins with [2, 1, 0, 1, 2].
    Sequences too short for one reflection are reflected again and again.
    """
    held: deque[T] = deque()
    read = 0
    for centre in count():
        while len(held) > 2 * radius:
            held.popleft()
        while read <= centre + radius:
            try:
                held.append(next(items))
            except StopIteration:
                break
            read += 1
        if centre >= read:
            return
        period = max(1, 2 * (read - 1))
        places = [abs((i + read - 1) % period - (read - 1)) for i in range(centre - radius, centre + radius + 1)]
        yield [held[place - read] for place in places]
