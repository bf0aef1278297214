"""Where one shot of a video ends and the next begins, told from the frames as they stream by.

A frame is searched for in the one before it, block by block, both reduced to 64 pixels. What the best match leaves,
over the blocks' own variation, is 0.15 within a typical shot and 1.3 across a typical cut. Pixels are compared by their
rank among those of their frame, so that flashes, fades and exposure change nothing; what is blown out tells nothing.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from jittor_port.frames import Frame

Picture = NDArray[np.float32]

SIDE = 64  # pixels of the longer side that a frame is reduced to
BLOCK = 8  # side of the blocks that are searched for
REACH = 8  # pixels that the search goes, either way: a pan of three widths of the picture in a second
UNEXPLAINED = 0.75  # of the blocks' own variation left by the search: more is a cut
SUDDEN = 1.35  # times what was left one frame earlier, at least: fast motion leaves much in every frame
SNOW = 0.9  # times the difference of neighbouring pixels, at least: noise is not like itself either
WHITE, BLOWN = 235, 0.9  # level above which a pixel says nothing, and the share of such that leaves nothing to see
FLAT = 3  # levels: a standard deviation below this leaves nothing to see either
DARKER = 16  # levels by which such a frame is darker than the one before if it begins a shot: a flash is brighter


class Shots:
    """Numbers the shots of a video; reads nothing ahead, and holds one small picture of the frames before.

    A frame with nothing to see, black or all white, is passed over: the next is compared with the one before it.
    """

    def __init__(self) -> None:
        self._shot = 0
        self._level = 0.0  # mean of the frame before
        self._seen: tuple[Picture, float] | None = None  # ranks of the last that had something to see, share blown out
        self._usual = 0.0  # what the search left there

    def number(self, frame: Frame) -> int:
        """The number of the shot that the next frame, uint8 or uint16 (H, W, 3), belongs to, counted from 0.

        All frames have one size, 16x16 at least.
        """
        picture = reduced(frame)
        before, self._level = self._level, float(picture.mean())
        white = float((picture >= WHITE).mean())
        if picture.std() < FLAT or white > BLOWN:
            self._shot += self._seen is not None and self._level < before - DARKER
            return self._shot
        now = ranks(picture)
        if self._seen is not None:
            left, snow = unexplained(self._seen[0], now, max(white, self._seen[1]))
            cut = left > max(UNEXPLAINED, SUDDEN * self._usual) and snow > SNOW
            self._shot += cut
            self._usual = 0.0 if cut else left
        self._seen = now, white
        return self._shot


def reduced(frame: Frame) -> Picture:
    """The brightness of a frame, averaged to SIDE pixels along the longer side; sides are multiples of BLOCK."""
    size = frame.shape[:2]
    sides = (BLOCK * max(2, round(SIDE / BLOCK * length / max(size))) for length in size)
    edges = [np.linspace(0, length, min(side, length // BLOCK * BLOCK) + 1).astype(int)
             for side, length in zip(sides, size, strict=True)]
    rows = np.add.reduceat(frame, edges[0][:-1], axis=0, dtype=np.uint32).sum(axis=2)
    areas = 3 * np.diff(edges[0])[:, None] * np.diff(edges[1])
    level = 257 if frame.dtype == np.uint16 else 1  # of 8 bits
    return (np.add.reduceat(rows, edges[1][:-1], axis=1) / (level * areas)).astype(np.float32)


def ranks(picture: Picture) -> Picture:
    """The share of pixels that are darker than each, in (0, 1); equals get the middle of theirs."""
    _, places, counts = np.unique(picture.round(), return_inverse=True, return_counts=True)
    middles = (np.cumsum(counts) - counts / 2) / picture.size
    return middles.astype(np.float32)[places].reshape(picture.shape)


def unexplained(before: Picture, now: Picture, blown: float) -> tuple[float, float]:
    """What is left of a picture when each of its blocks is replaced by the most similar one nearby in another picture.

    Args:
        before: ranks of the picture to search in.
        now: ranks of the picture to explain.
        blown: the brightest share of pixels, which are taken for equals.

    Returns:
        The mean difference, over the blocks' own mean deviation, and over that of neighbouring pixels.
    """
    before, now = np.minimum(before, 1 - blown), np.minimum(now, 1 - blown)
    height, width = now.shape
    blocks = (height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    around = np.pad(before, REACH, mode="edge")
    best = np.full(blocks[::2], np.inf)
    for row in range(2 * REACH + 1):
        shifted = sliding_window_view(around[row : row + height], width, axis=1)  # (H, all shifts along the row, W)
        errors = np.abs(shifted - now[:, None]).reshape(*blocks[:2], -1, width).sum(1)
        best = np.minimum(best, errors.reshape(blocks[0], -1, *blocks[2:]).sum(3).min(1))
    parts = now.reshape(blocks)
    own = np.abs(parts - parts.mean((1, 3), keepdims=True)).mean()
    neighbours = (np.abs(np.diff(now, axis=0)).mean() + np.abs(np.diff(now, axis=1)).mean()) / 2
    left, least = float(best.sum() / now.size), 1e-6  # pictures of no variation have nothing left either
    return left / max(least, float(own)), left / max(least, float(neighbours))
