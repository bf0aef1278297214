"""Restoring a video of any length: a window of frames goes over it, and what belongs to one frame is computed once."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from blindvsr import InputError
from blindvsr.cuts import Shots
from blindvsr.frames import Frame
from blindvsr.network import SMALLEST, BlindVSR
from blindvsr.ops import to_frame
from blindvsr.refinement import Ensemble, Refinement, back_projected
from blindvsr.restorer import Restorer

T = TypeVar("T")


def restore(
    net: BlindVSR, frames: Iterable[Frame], tile: int | str | None = None, precision: str = "32",
    only: range | None = None, cuts: bool = True, refinement: Refinement = Refinement(),
) -> Iterator[Frame]:
    """Restores a video of any length at four times its size, frame by frame.

    Memory does not depend on the length: no more than `num_frames` frames are held, and a frame comes out as soon as
    those after it that its window needs have been read. The ends of the video, and those of every shot, are padded by
    reflection.

    Args:
        net: the network; the work is done on its device.
        frames: uint8 or uint16 (H, W, 3), RGB, all of one size, at least 16x16.
        tile: frames are restored in overlapping tiles of this side, pixels, 32 at least; "auto": as large as free
            memory allows; None: whole. The flow is that of the whole frame always. With the weights of the test
            fixtures tiled and whole outputs differ by under 2e-6.
        precision: "32", "bf16" or "16", or "auto" for the fastest on the device that costs under 0.05 dB; of
            everything but coordinates, see `blindvsr.flow`. "16" is for CUDA devices. Frames that come out as NaN or
            Inf in half precision are restored in float32, with one warning.
        only: the frames to restore, counted from 0; the others serve as their neighbours. All when None.
        cuts: looks for cuts, see `blindvsr.cuts`, so that no frame is restored from those of another shot. Where there
            is none, results are the same without.
        refinement: what is done beyond the network's own output; nothing by default.

    Returns:
        Iterator of uint8 (4H, 4W, 3), as many as came in, or as many as `only` has.

    Raises:
        InputError: for an unknown tile or precision, or one that the device lacks; while iterating, for a frame that is
            too small, of another size than the first, or not RGB of such numbers, and for a network that makes NaN or
            Inf of one in float32 too.
    """
    pictures = restore_float(net, frames, tile, precision, only, cuts, refinement)
    return (to_frame(picture) for picture in pictures)


def restore_float(
    net: BlindVSR, frames: Iterable[Frame], tile: int | str | None = None, precision: str = "32",
    only: range | None = None, cuts: bool = True, refinement: Refinement = Refinement(),
) -> Iterator[Tensor]:
    """Like `restore`, but gives (3, 4H, 4W) float32, unclamped, on the network's device."""
    return (restored.picture for restored in restore_shots(net, frames, tile, precision, only, cuts, refinement))


@dataclass(frozen=True)
class Restored:
    """A restored frame, and what it was made of.

    Attributes:
        picture: (3, 4H, 4W) float32, unclamped, on the network's device.
        plain: the same before back-projection, which by its nature explains the input well.
        window: (1, 3, H, W) each, RGB in [0, 1]: the frames around it, itself in the middle.
        shot: number of the shot that it belongs to, from 0.
    """

    picture: Tensor
    plain: Tensor
    window: Sequence[Tensor]
    shot: int


def restore_shots(
    net: BlindVSR, frames: Iterable[Frame], tile: int | str | None = None, precision: str = "32",
    only: range | None = None, cuts: bool = True, refinement: Refinement = Refinement(),
) -> Iterator[Restored]:
    """Like `restore_float`, but tells what every frame was made of."""
    restorer: Any = (Ensemble if refinement.ensemble else Restorer)(net, tile, precision)
    shots = Shots()
    radius = net.config.num_frames // 2
    seen = range(only.start - radius, only.stop + radius) if only else None  # by any window that is asked for
    encoded: Iterator[tuple[int, Any]] = (
        (shots.number(frame) if cuts else 0, restorer.encode(frame) if seen is None or number in seen else None)
        for number, frame in enumerate(checked(frames))
    )

    def restored(shot: int, window: list[Any]) -> Restored:
        plain, around = restorer.restore(window), [item.frame for item in window]
        picture = back_projected(net, plain, around, refinement.back_projections)
        return Restored(picture[0], plain[0], around, shot)

    return (
        restored(shot, window) for number, (shot, window) in enumerate(shot_windows(encoded, radius))
        if only is None or number in only
    )


def checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Passes frames on; raises InputError at the first that the network cannot take, counted from 0."""
    first: tuple[int, ...] | None = None
    for number, frame in enumerate(frames):
        if frame.dtype not in (np.uint8, np.uint16) or frame.ndim != 3 or frame.shape[2] != 3:
            raise InputError(f"frame {number} is {frame.dtype} {frame.shape}: frames are RGB (H, W, 3) of 8 or 16 bits")
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


def shot_windows(items: Iterator[tuple[int, T]], radius: int) -> Iterator[tuple[int, list[T]]]:
    """The windows of every shot on its own.

    Args:
        items: each with the number of its shot.
        radius: see `windows`.
    """
    for shot, members in groupby(items, key=lambda item: item[0]):
        for window in windows((item for _, item in members), radius):
            yield shot, window


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
