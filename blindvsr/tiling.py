"""Frames of any size in bounded memory: how they are cut into overlapping tiles, and how large the tiles may be."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from blindvsr.container import free_memory

# The trunk of the published network sees 43 pixels far, but what lies 16 pixels beyond a tile's end changes its pixels
# by under 2e-6 (measured with the weights of the test fixtures; 12 pixels: 7e-5). Tiles are blended over 16 pixels
# around the line between them, so that 16 pixels of context remain where a tile's weight begins.
OVERLAP = 24  # pixels computed beyond a tile's core
RAMP = 8  # a tile's weight falls from 1 to 0 from this far inside its core to this far outside
SMALLEST_TILE = 32

# Bytes of memory per low-resolution pixel, measured, rounded up
FIXED = 1600  # whole-frame work in float32: five flow pyramids, the flow, the restored frame
KEPT = 5  # feature maps of the window that are kept
WORK = 10  # feature maps while a tile is worked on: five aligned, five for everything else
AUTO_LIMIT = 6 * 2**30  # on a CPU larger tiles gain nothing worth more memory


@dataclass(frozen=True)
class Span:
    """One axis of a tile.

    Attributes:
        start, stop: what is computed, pixels.
        first, last: the core's ends: cores do not overlap and fill the frame.
        length: of the frame.
    """

    start: int
    stop: int
    first: int
    last: int
    length: int

    @property
    def core(self) -> slice:
        return slice(self.first, self.last)

    @property
    def all(self) -> slice:
        return slice(self.start, self.stop)

    def scaled(self, scale: int) -> slice:
        """Where the tile lies in the output."""
        return slice(scale * self.start, scale * self.stop)

    def weight(self, scale: int, like: Tensor) -> Tensor:
        """The share of this tile in the output from `start` to `stop`; the shares of all tiles sum to 1."""
        count = scale * (self.stop - self.start)
        position = self.start + (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / scale
        share = torch.ones_like(position)
        if self.first > 0:
            share = _rise(position - self.first)
        return share - _rise(position - self.last) if self.last < self.length else share


def _rise(distance: Tensor) -> Tensor:
    return (distance / (2 * RAMP) + 0.5).clamp(0, 1)


Box = tuple[Span, Span]


def boxes(height: int, width: int, side: int | None) -> Iterator[Box]:
    """Tiles, rows first, whose cores are at most `side` pixels wide and high, all about equal; None: a single one."""
    side = side or max(height, width)
    return product(_spans(height, side), _spans(width, side))


def _spans(length: int, side: int) -> list[Span]:
    count = -(-length // side)
    ends = [i * length // count for i in range(count + 1)]
    return [
        Span(max(0, first - OVERLAP), min(length, last + OVERLAP), first, last, length)
        for first, last in zip(ends, ends[1:], strict=False)
    ]


@dataclass(frozen=True)
class Plan:
    """How frames of one size are worked on.

    Attributes:
        tile: side of a tile's core in pixels; None: the whole frame at once.
        keep: features of whole frames are kept for the next windows; otherwise tiles compute them anew from the
            frames. The result is the same.
    """

    tile: int | None
    keep: bool

    def smaller(self, height: int, width: int) -> "Plan | None":
        """The plan to try after this one ran out of memory; None after the last."""
        side = (max(height, width) if self.tile is None else min(self.tile, height, width)) // 2
        return Plan(side, keep=False) if side >= SMALLEST_TILE else None


def make_plan(tile: int | str | None, height: int, width: int, features: int, budget: int) -> Plan:
    """Chooses a plan.

    Args:
        tile: side of a tile's core, None for no tiles, "auto" for the fewest tiles that `budget` allows.
        height, width: of a frame.
        features: bytes of one pixel's features.
        budget: bytes.
    """
    pixels = height * width
    if tile is None:
        return Plan(None, keep=True)
    left = budget - pixels * FIXED
    kept = pixels * features * KEPT
    if tile != "auto":
        side = int(tile)
        work = min(pixels, (side + 2 * OVERLAP) ** 2) * features * WORK
        return Plan(side if side < max(height, width) else None, keep=kept + work <= left)
    if pixels * features * WORK + kept <= left:
        return Plan(None, keep=True)
    largest = min(height, width)
    for keep, free in ((True, left - kept), (False, left)):
        side = int((max(0, free) / (features * WORK)) ** 0.5) - 2 * OVERLAP
        # from 256 on, keeping features saves more than larger tiles would
        if side >= (256 if keep else 0):
            return Plan(min(side, largest), keep)
    return Plan(SMALLEST_TILE, keep=False)


def memory_budget(device: torch.device, tile: int | str | None) -> int:
    """Bytes that restoring may take on a device.

    On CUDA that is four fifths of what is free there; on a CPU half of `free_memory`, because video is decoded and
    encoded beside it, and no more than 6 GiB with tile="auto".
    """
    if device.type == "cuda":
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (torch.cuda.mem_get_info(device)[0] + reusable) * 4 // 5
    free = free_memory() // 2
    return min(free, AUTO_LIMIT) if tile == "auto" else free
