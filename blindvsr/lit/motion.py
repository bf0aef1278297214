"""Pairs of frames whose motion is known, made of single real frames: what a flow network learns from."""

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from blindvsr.frames import Frame
from blindvsr.lit.footage import Footage

# Distances in pixels of the pair. Between neighbours of a window, low-resolution video moves by a few pixels.
TRANSLATION, LARGEST = 2.0, 16.0  # mean length, and the longest
ROTATION, ZOOM = math.radians(2), 0.03  # standard deviations
BENDING = 0.7  # mean amplitude of the low-frequency field
SLOWED = 0.5  # share of the motions that are slower than this
STEPS = (2.0, 4.0)  # pixels of the footage per pixel of the pair
SIGMAS = (0.1, 0.5)  # of the blur, pixels of the pair: 0.4 to 2.0 pixels of the footage at step 4
MOVERS = 2  # objects in front of the background, at most
NOISE, GAIN = 0.01, 0.03

Array = NDArray[np.float32]


def _smooth(rng: Generator, side: int, channels: int) -> Array:
    """A random field of low frequency, (side, side, channels), of unit variance at the 2 to 5 nodes per side."""
    nodes = rng.standard_normal((*rng.integers(2, 6, 2), channels)).astype(np.float32)
    field = np.asarray(cv2.resize(nodes, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
    return field.reshape(side, side, channels)


def draw_flow(rng: Generator, side: int) -> Array:
    """A smooth motion: translation, rotation and zoom about a point of the frame, and a low-frequency field.

    Every other one is slowed down by a factor between 0 and 1: fractions of a pixel are what super-resolution lives on,
    while the large motions are what learning starts with.

    Returns:
        (side, side, 2), (dx, dy), pixels.
    """
    length, direction = min(rng.exponential(TRANSLATION), LARGEST), rng.random() * 2 * np.pi
    angle, zoom = rng.normal(0, ROTATION), 1 + rng.normal(0, ZOOM)
    matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) - np.eye(2)
    offsets = np.stack(np.meshgrid(range(side), range(side)), -1) - rng.random(2) * side
    flow = offsets @ matrix.T + length * np.array([np.cos(direction), np.sin(direction)])
    flow = flow + rng.exponential(BENDING) * _smooth(rng, side, 2)
    slowed = rng.random() if rng.random() < SLOWED else 1
    return (slowed * flow).astype(np.float32)


def _sampled(image: Any, places: Any) -> Array:
    """An image at places (h, w, 2), (x, y) in pixels, between its pixels bilinearly, mirrored at its edges."""
    places = places.astype(np.float32)
    sampled = cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(sampled, np.float32)


def _rendered(frame: Frame, rng: Generator, flow: Array) -> tuple[Array, Array]:
    """Part of a blurred frame, seen at its place and where `flow` says: (first, second), (side, side, 3) in [0, 1]."""
    side, (height, width) = flow.shape[0], frame.shape[:2]
    step = rng.uniform(*STEPS)
    step = min(step, (height - 1) / side, (width - 1) / side)
    blurred = cv2.GaussianBlur(frame, (0, 0), max(step * rng.uniform(*SIGMAS), 0.3))
    corner = rng.random(2) * (np.array([width, height]) - step * side)
    grid = np.stack(np.meshgrid(range(side), range(side)), -1).astype(np.float32)
    first, second = (_sampled(blurred, step * places + corner) for places in (grid + flow, grid))
    return first / np.float32(255), second / np.float32(255)


def _mask(rng: Generator, flow: Array) -> tuple[Array, Array]:
    """A random shape before and after its motion: (first, second), (side, side, 1) in [0, 1]."""
    side = flow.shape[0]
    margin = int(LARGEST) * 2
    field = _smooth(rng, side + 2 * margin, 1)
    shape = np.clip((field - np.quantile(field, rng.uniform(0.6, 0.9))) * side / 4, 0, 1)
    grid = np.stack(np.meshgrid(range(side), range(side)), -1).astype(np.float32) + margin
    first, second = (_sampled(shape, places) for places in (grid + flow, grid))
    return first[..., None], second[..., None]


def _disturbed(image: Array, rng: Generator) -> Array:
    """Sensor noise and a change of exposure."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0, NOISE)
    return np.clip(image * rng.uniform(1 - GAIN, 1 + GAIN) + noise, 0, 1).astype(np.float32)


def moving_pair(background: Frame, foreground: Frame, side: int, rng: Generator) -> dict[str, Array]:
    """Two views of moving layers: a background, and up to two objects that hide parts of it.

    Args:
        background, foreground: uint8 (H, W, 3), at least `side` each way; seen at a half to a quarter of their size,
            as low-resolution video is.
        side: of the pair, pixels.
        rng: decides everything.

    Returns:
        first, second: (3, side, side) in [0, 1]; flow: (2, side, side), pixels: first[y, x] is found in second at
        (x + dx, y + dy), unless something hides it there.
    """
    flow = draw_flow(rng, side)
    first, second = _rendered(background, rng, flow)
    for _ in range(rng.integers(MOVERS + 1)):
        own = draw_flow(rng, side)
        hides, hides_later = _mask(rng, own)
        front, front_later = _rendered(foreground, rng, own)
        first, second = first + hides * (front - first), second + hides_later * (front_later - second)
        flow = np.where(hides > 0.5, own, flow)
    pair = {"first": _disturbed(first, rng), "second": _disturbed(second, rng), "flow": flow}
    return {name: np.ascontiguousarray(array.transpose(2, 0, 1)) for name, array in pair.items()}


class MovingPairs(Dataset[dict[str, Tensor]]):
    """Pairs made of the frames of some footage; everything random comes from (seed, epoch, index) alone.

    Args:
        footage: the frames.
        side: of the pairs, pixels.
        seed: of all draws.
    """

    def __init__(self, footage: Footage, *, side: int, seed: int) -> None:
        self.footage, self.side, self.seed = footage, side, seed

    def __len__(self) -> int:
        return len(self.footage.windows)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        """(epoch, index) -> what `moving_pair` makes, as tensors."""
        rng = np.random.default_rng((self.seed, *key))
        background = self.footage.windows[key[1] % len(self)]
        foreground = self.footage.windows[rng.integers(len(self))]
        pair = moving_pair(self.footage.frame(*background), self.footage.frame(*foreground), self.side, rng)
        return {name: torch.from_numpy(array) for name, array in pair.items()}


class PairBatches(Dataset[dict[str, Tensor]]):
    """The same batches of pairs in every epoch, to validate on.

    Args:
        pairs: where they come from.
        count: of the batches.
        size: pairs of a batch.
    """

    def __init__(self, pairs: MovingPairs, count: int, size: int) -> None:
        self.pairs, self.count, self.size = pairs, count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """{"first", "second": (size, 3, side, side), "flow": (size, 2, side, side)}."""
        return default_collate([self.pairs[0, number] for number in range(index * self.size, (index + 1) * self.size)])
