"""What training and validation read: random patches drawn from (seed, epoch, index), and short clips kept whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from blindvsr import InputError
from blindvsr.datasets import WINDOW, Video, decoded
from blindvsr.degrade import TEST_SIGMA, crop_to_scale, degrade_frame, draw_kernel
from blindvsr.frames import Frame, read_image

LEAST_TEXTURE = 7.0  # mean Sobel response under which a patch is drawn again (official)
DRAWS = 5
PAN, SHAKE = 3.0, 1.0  # pixels of the crop per frame: the mean speed of a panning camera, and what it shakes by
PROBED_SIGMAS = (0.6, 1.2, 1.8)  # HR pixels: what the kernel estimator is tried on where kernels are Gaussian
Kind = Literal["gaussian", "realistic", "none"]


def texture(patch: Frame) -> float:
    """Mean Sobel response of an RGB uint8 patch (H, W, 3), 0 to 255: half the horizontal plus half the vertical."""
    edges = [cv2.convertScaleAbs(cv2.Sobel(patch, cv2.CV_16S, *order)) for order in ((1, 0), (0, 1))]
    return float(np.mean(cv2.addWeighted(edges[0], 0.5, edges[1], 0.5, 0)))


def _camera(rng: Generator) -> NDArray[np.float64]:
    """Where a moving camera stands at each frame of a window, (5, 2), pixels of the crop: steady, and shaking a bit."""
    steady = np.arange(WINDOW)[:, None] - WINDOW // 2
    direction = rng.normal(size=2)
    velocity = rng.exponential(PAN) * direction / np.linalg.norm(direction)
    return steady * velocity + rng.normal(0, SHAKE, (WINDOW, 2))


class Footage:
    """The frames of several videos by number, read from their images, or from a cache, as they are needed.

    Args:
        videos: folders of images; video files too where there is a cache.
        limit: only the first so many frames of each are used.
        cache: folder for decoded frames: every video is decoded once.

    Attributes:
        windows: (video, first frame) of every five consecutive frames.
    """

    def __init__(self, videos: Sequence[Video], limit: int, cache: Path | None) -> None:
        self.sources = videos
        self.videos: list[Sequence[Path] | NDArray[np.uint8]] = [
            decoded(video, cache, limit) if cache else video.files[:limit] for video in videos
        ]
        self.windows = [
            (index, start) for index, frames in enumerate(self.videos) for start in range(len(frames) - WINDOW + 1)
        ]

    def frame(self, video: int, number: int) -> Frame:
        """uint8 (H, W, 3)."""
        frame = self.videos[video][number]
        return read_image(frame) if isinstance(frame, Path) else frame

    def window(self, video: int, start: int) -> NDArray[np.uint8]:
        """Five consecutive frames, uint8 (5, H, W, 3)."""
        frames = self.videos[video][start : start + WINDOW]
        if isinstance(frames, np.ndarray):
            return frames
        return np.stack([read_image(path) for path in frames])


class TrainingPatches(Dataset[dict[str, Tensor]]):
    """Random crops of five consecutive frames, uint8, with the kernel that will blur them.

    Everything random comes from (seed, epoch, index) alone: no draw repeats across workers, epochs or devices, and a
    resumed run sees what an unbroken one would have seen.

    Args:
        videos: the footage.
        side: of the crop, pixels of the footage.
        frames_per_video: only the first so many.
        kind: of the kernels; "none" for footage that is itself the low-resolution input.
        seed: of all draws.
        cache: folder for decoded frames; every video is decoded once and then read as it is needed. Video files need
            it.
        pan: share of the crops that are one frame seen by a moving camera.
        shrink: crops come from frames reduced by a factor drawn between 1 and this, as far as a frame is large enough.

    Raises:
        InputError: if frames are smaller than the crop.
    """

    def __init__(
        self, videos: Sequence[Video], *, side: int, frames_per_video: int, kind: Kind, seed: int, cache: Path | None,
        shrink: float = 1.0, pan: float = 0.0,
    ) -> None:
        self.side, self.kind, self.seed, self.shrink, self.pan = side, kind, seed, shrink, pan
        self.footage = Footage(videos, frames_per_video, cache)

    def __len__(self) -> int:
        return len(self.footage.windows)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        """(epoch, index) -> {"frames": uint8 (5, side, side, 3), "kernel": float32 (1, 13, 13) unless kind is none}."""
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        window = self.footage.window(*self.footage.windows[index % len(self)])
        patch = self._augmented(self._crop(window, rng), rng)
        item = {"frames": torch.from_numpy(np.ascontiguousarray(patch))}
        if self.kind != "none":
            item["kernel"] = torch.from_numpy(draw_kernel(self.kind, rng)[None]).float()
        return item

    def _crop(self, window: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
        """Draws a crop whose middle frame has some texture, at most five times, and keeps the last."""
        height, width = window.shape[1:3]
        largest = min(self.shrink, height / self.side, width / self.side)
        # what is switched off takes no draw, so that the patches of the published training stay what they were
        panned = self.pan > 0 and rng.random() < self.pan
        for _ in range(DRAWS):
            side = int(self.side * rng.uniform(1, largest)) if largest > 1 else self.side
            corner = [rng.integers(height - side + 1), rng.integers(width - side + 1)]
            corners = np.tile(corner, (WINDOW, 1))
            if panned:
                corners = np.clip(corners + np.rint(side / self.side * _camera(rng)).astype(int),
                                  0, (height - side, width - side))
            frames = window[[WINDOW // 2] * WINDOW] if panned else window
            patch = np.stack([frame[top : top + side, left : left + side]
                              for frame, (top, left) in zip(frames, corners, strict=True)])
            if side > self.side:
                size = (self.side, self.side)
                patch = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in patch])
            if texture(patch[WINDOW // 2]) >= LEAST_TEXTURE:
                break
        return patch

    @staticmethod
    def _augmented(patch: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
        """Mirrors and turns by 90 degrees, each with one half; time is never reversed."""
        if rng.random() < 0.5:
            patch = patch[:, :, ::-1]
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        return np.rot90(patch, axes=(1, 2)) if rng.random() < 0.5 else patch


@dataclass(frozen=True)
class ValidationClip:
    """Frames of a video, whole in memory.

    Attributes:
        name: of the video.
        low: LR frames, uint8 (N, H, W, 3).
        truth: HR frames, uint8 (N, 4H, 4W, 3), or None for footage without.
        kernel: (k, k), or None where nobody knows it.
        probes: kernels (N, k, k) that the kernel estimator is tried on, or None likewise.
    """

    name: str
    low: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    kernel: NDArray[np.float64] | None
    probes: NDArray[np.float64] | None


class ValidationClips(Dataset[ValidationClip]):
    """HR clips degraded as test sets are, one kernel per video, the same in every epoch."""

    def __init__(self, videos: Sequence[Video], *, kind: Kind, seed: int) -> None:
        self.videos, self.kind, self.seed = videos, kind, seed

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> ValidationClip:
        video = self.videos[index]
        truth = [crop_to_scale(frame) for frame in video.read()]
        if len(truth) < WINDOW:
            raise InputError(f"{video.source} has {len(truth)} frames to validate on; a window takes {WINDOW}")
        if self.kind == "none":
            return ValidationClip(video.name, np.stack(truth), None, None, None)
        kernel = draw_kernel(self.kind, np.random.default_rng([self.seed, index]), TEST_SIGMA)
        low = [degrade_frame(frame, kernel) for frame in truth]
        probes = [kernel]
        if self.kind == "gaussian":
            probes = [draw_kernel("gaussian", np.random.default_rng(0), sigma) for sigma in PROBED_SIGMAS]
        return ValidationClip(video.name, np.stack(low), np.stack(truth), kernel, np.stack(probes))
