"""Clips made of photographs: a camera that moves over one, and up to one layer in front that moves on its own.

Rendered at high resolution, before blur and decimation, so that frames agree as those of a real camera do: to a
fraction of a pixel, with exact occlusions.
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from blindvsr.frames import Frame

# per frame, HR pixels of the clip
SPEED, LARGEST = 4.0, 24.0  # mean length of the translation, and the longest
SLOWED = 0.5  # share of the motions that are slower than drawn by a random factor
SHAKE = 0.15  # standard deviation of what changes from frame to frame, of the speed
TURN, ZOOM = np.radians(0.5), 0.006  # standard deviations
TILT = 2e-5  # of the two perspective terms, per pixel
REDUCED = 1.6  # photographs are shown at up to this much less than their size
LAYER = 0.4  # share of the clips with a layer in front

Clip = NDArray[np.uint8]
Matrix = NDArray[np.float64]


def camera_path(rng: Generator, frames: int, side: int) -> list[Matrix]:
    """Homographies from the pixels of each frame to those of the middle one: translation, rotation, zoom and
    perspective about the centre, with a shaking hand.

    Args:
        rng: decides everything.
        frames: how many.
        side: of the frames, pixels.

    Returns:
        A (3, 3) matrix per frame; that of the middle one is the identity.
    """
    slowed = rng.random() if rng.random() < SLOWED else 1.0
    length, direction = slowed * min(rng.exponential(SPEED), LARGEST), rng.random() * 2 * np.pi
    velocity = length * np.array([np.cos(direction), np.sin(direction)])
    steps = velocity + SHAKE * length * rng.standard_normal((frames, 2))
    turn, zoom, tilt = slowed * rng.normal(0, TURN), slowed * rng.normal(0, ZOOM), slowed * rng.normal(0, TILT, 2)
    place = np.cumsum(steps, 0)
    place -= place[frames // 2]
    to_centre = np.array([[1, 0, -side / 2], [0, 1, -side / 2], [0, 0, 1.0]])
    path = []
    for number in range(frames):
        time = number - frames // 2
        cos, sin = np.exp(zoom * time) * np.array([np.cos(turn * time), np.sin(turn * time)])
        motion = np.array([[cos, -sin, place[number, 0]], [sin, cos, place[number, 1]], [*(tilt * time), 1]])
        path.append(np.linalg.inv(to_centre) @ motion @ to_centre)
    return path


def _shown(photograph: Frame, path: list[Matrix], side: int, rng: Generator) -> Clip:
    """What a camera sees of a photograph along a path: (N, side, side, 3)."""
    height, width = photograph.shape[:2]
    step = max(min(rng.uniform(1, REDUCED), height / side, width / side), 1.0)
    if step > 1.05:  # reduced before it is sampled, so that nothing aliases
        size = (max(side, round(width / step)), max(side, round(height / step)))
        photograph = np.asarray(cv2.resize(photograph, size, interpolation=cv2.INTER_AREA), np.uint8)
        width, height = size
    corner = np.eye(3)
    corner[:2, 2] = rng.integers(0, (width - side + 1, height - side + 1))
    return np.stack([_sampled(photograph, corner @ matrix, side, cv2.INTER_CUBIC) for matrix in path])


def _sampled(image: Frame, matrix: Matrix, side: int, interpolation: int) -> Frame:
    flags = interpolation | cv2.WARP_INVERSE_MAP
    seen = cv2.warpPerspective(image, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(seen, np.uint8)


def _shape(rng: Generator, side: int) -> Frame:
    """A random shape with soft edges, (side, side), 0 to 255."""
    nodes = rng.standard_normal(rng.integers(3, 7, 2)).astype(np.float32)
    field = np.asarray(cv2.resize(nodes, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
    edge = np.clip((field - np.quantile(field, rng.uniform(0.5, 0.85))) * side / 12, 0, 1)
    return np.asarray(np.rint(255 * edge), np.uint8)


def synthetic_clip(photograph: Frame, other: Frame, frames: int, side: int, rng: Generator) -> Clip:
    """A clip of a photograph under a moving camera; in some, part of another one moves before it.

    Args:
        photograph, other: uint8 (H, W, 3), at least `side` each way.
        frames: of the clip.
        side: of the clip, pixels.
        rng: decides everything.

    Returns:
        uint8 (frames, side, side, 3). Its middle frame is the photograph itself, not interpolated unless reduced.
    """
    clip = _shown(photograph, camera_path(rng, frames, side), side, rng)
    if rng.random() >= LAYER:
        return clip
    path, shape = camera_path(rng, frames, side), _shape(rng, side)
    front = _shown(other, path, side, rng)
    hides = np.stack([_sampled(shape, matrix, side, cv2.INTER_LINEAR) for matrix in path])[..., None]
    mixed = clip + (front.astype(np.float32) - clip) * (hides / np.float32(255))
    return np.rint(mixed).astype(np.uint8)
