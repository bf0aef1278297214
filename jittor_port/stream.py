"""A window of frames goes over a video; what belongs to one frame is computed once, and every step is timed."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, groupby
from typing import TypeVar

import jittor as jt
import numpy as np
from numpy.typing import NDArray

from jittor_port.cuts import Shots
from jittor_port.frames import Frame
from jittor_port.network import BlindVSR, Encoded

Item = TypeVar("Item")

STEPS = ("pre", "network", "post")


class Clock:
    """Seconds of each step, per frame and in all. Jittor returns before it has computed: every stop synchronises."""

    def __init__(self) -> None:
        self.total = dict.fromkeys(STEPS, 0.0)
        self._frame = dict.fromkeys(STEPS, 0.0)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        jt.sync_all(True)
        self._frame[name] += time.perf_counter() - start

    def frame_done(self) -> dict[str, float]:
        """Ends a frame: what it took, step by step."""
        taken, self._frame = self._frame, dict.fromkeys(STEPS, 0.0)
        for name, seconds in taken.items():
            self.total[name] += seconds
        return taken


def restore(net: BlindVSR, frames: Iterator[tuple[str, Frame]], clock: Clock,
            tile: int | None = None, cuts: bool = True) -> Iterator[tuple[str, Frame]]:
    """Restores a video of any length at four times its size, frame by frame, in memory that does not grow.

    The ends of the video, and those of every shot, are padded by reflection.

    Args:
        net: the network.
        frames: name and uint8 (H, W, 3), RGB, all of one size.
        clock: reading and converting a frame counts as 'pre', the network as 'network', rounding as 'post'.
        tile: side of the parts that a frame is reconstructed in; None takes it whole.
        cuts: looks for cuts, see `jittor_port.cuts`, so that no frame is restored from those of another shot.

    Returns:
        Iterator of name and uint8 (4H, 4W, 3), as many as came in.
    """
    radius = net.config.num_frames // 2
    for _, shot in groupby(_encoded(net, frames, clock, cuts), key=lambda item: item[0]):
        for window in windows(shot, radius):
            with clock.step("network"):
                restored = net.middle([encoded for _, _, encoded in window], tile)
            with clock.step("post"):
                frame = to_frame(restored.numpy()[0])
            yield window[radius][1], frame


def _encoded(net: BlindVSR, frames: Iterator[tuple[str, Frame]], clock: Clock,
             cuts: bool) -> Iterator[tuple[int, str, Encoded]]:
    """Number of the shot, name, and what is computed from the frame alone."""
    shots = Shots()
    while True:
        with clock.step("pre"):
            item = next(frames, None)
            if item is None:
                return
            name, frame = item
            number = shots.number(frame) if cuts else 0
            image = to_image(frame)
        with clock.step("network"):
            encoded = net.encode(image)
        yield number, name, encoded


def warm_up(net: BlindVSR, frame: Frame, tile: int | None = None) -> None:
    """Restores a still of this frame once: kernels are compiled and prepared for the size before anything is timed."""
    encoded = net.encode(to_image(frame))
    net.middle([encoded] * net.config.num_frames, tile).sync()
    jt.sync_all(True)


def to_image(frame: Frame) -> NDArray[np.float32]:
    """uint8 (H, W, 3) -> float32 (3, H, W) in [0, 1]; in numpy, because Jittor makes float16 of uint8 times float."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1), np.float32) / np.float32(255)


def to_frame(picture: NDArray[np.float32]) -> Frame:
    """(3, H, W), RGB in [0, 1] -> uint8 (H, W, 3): clamped and rounded to the nearest, halves to even as torch does."""
    return np.ascontiguousarray(np.rint(np.clip(picture, 0, 1) * np.float32(255)).astype(np.uint8).transpose(1, 2, 0))


def windows(items: Iterator[Item], radius: int) -> Iterator[list[Item]]:
    """For each item the list of 2 radius + 1 items around it; beyond the ends the sequence is reflected.

    It reads `radius` items ahead and holds 2 radius + 1. [0, 1, 2, ...] with radius 2 begins with [2, 1, 0, 1, 2].
    Sequences too short for one reflection are reflected again and again.
    """
    held: deque[Item] = deque(maxlen=2 * radius + 1)
    read = 0
    ended = False
    for centre in count():
        while not ended and read <= centre + radius:
            try:
                held.append(next(items))
                read += 1
            except StopIteration:
                ended = True
        if centre >= read:
            return
        period = max(1, 2 * (read - 1))
        places = [abs((i + read - 1) % period - (read - 1)) for i in range(centre - radius, centre + radius + 1)]
        yield [held[place - read] for place in places]
