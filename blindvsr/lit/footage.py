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
from blindvsr.degrade import SCALE, TEST_SIGMA, blurred, crop_to_scale, degrade_frame, draw_kernel
from blindvsr.disturbance import Disturbance, disturbed
from blindvsr.frames import Frame, image_files, image_size, read_image
from blindvsr.lit.camera import synthetic_clip

LEAST_TEXTURE = 7.0  # mean Sobel response under which a patch is drawn again (official)
DRAWS = 5
# an encoder gets clips that are longer and larger than the crop: the place in its group of pictures varies
ENCODED_FRAMES, ENCODED_MARGIN = 9, 16  # frames; LR pixels
SOFTENED = (1.2, 2.2)  # range of the factors by which soft clips are enlarged
PROBED_SIGMAS = (0.6, 1.2, 1.8)  # HR pixels: what the kernel estimator is tried on where kernels are Gaussian
Kind = Literal["gaussian", "realistic", "mixed", "none"]


def texture(patch: Frame) -> float:
    """Mean Sobel response of an RGB uint8 patch (H, W, 3), 0 to 255: half the horizontal plus half the vertical."""
    edges = [cv2.convertScaleAbs(cv2.Sobel(patch, cv2.CV_16S, *order)) for order in ((1, 0), (0, 1))]
    return float(np.mean(cv2.addWeighted(edges[0], 0.5, edges[1], 0.5, 0)))


def softened(clip: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """The middle of a clip (N, S, S, 3), enlarged to S: footage whose pixels are finer than its detail, as most is."""
    side = clip.shape[1]
    part = round(side / rng.uniform(*SOFTENED))
    middle = slice((side - part) // 2, (side - part) // 2 + part)
    return np.stack([cv2.resize(frame[middle, middle], (side, side), interpolation=cv2.INTER_CUBIC) for frame in clip])


def photographs(folder: str | Path) -> list[Path]:
    """The images of a folder.

    Raises:
        InputError: if there are none.
    """
    if not Path(folder).is_dir():
        raise InputError(f"data.stills={str(folder)!r}: no such folder")
    paths = image_files(Path(folder))
    if not paths:
        raise InputError(f"data.stills={str(folder)!r} holds no images")
    return paths


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

    def window(self, video: int, start: int, count: int = WINDOW) -> NDArray[np.uint8]:
        """Consecutive frames, uint8 (N, H, W, 3): `count`, or as many as the video has, from `start` or before."""
        start = max(0, min(start, len(self.videos[video]) - count))
        frames = self.videos[video][start : start + count]
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
        disturbance: noise and encoders that go over the LR crops, which are then made here and not on the device.
        synthetic: share of the crops that are made of photographs, see `lit.camera`.
        stills: the photographs; without any, frames of the footage.
        shrink: crops come from frames reduced by a factor drawn between 1 and this, as far as a frame is large enough.
        soft: share of the crops that are `softened`.

    Raises:
        InputError: if a photograph is smaller than the crop.
    """

    def __init__(
        self, videos: Sequence[Video], *, side: int, frames_per_video: int, kind: Kind, seed: int, cache: Path | None,
        shrink: float = 1.0, disturbance: Disturbance = Disturbance(), synthetic: float = 0.0,
        stills: Sequence[Path] = (), soft: float = 0.0,
    ) -> None:
        self.side, self.kind, self.seed, self.shrink, self.soft = side, kind, seed, shrink, soft
        self.disturbance, self.synthetic, self.stills = disturbance, synthetic, stills
        self.length, self.drawn_side = WINDOW, side
        if disturbance:
            self.length, self.drawn_side = ENCODED_FRAMES, side + ENCODED_MARGIN * SCALE
        self.footage = Footage(videos, frames_per_video, cache)
        for path in stills:
            if min(image_size(path)) < self.drawn_side:
                raise InputError(f"data.stills: {path} is smaller than the {self.drawn_side} pixels that clips take")

    def __len__(self) -> int:
        return len(self.footage.windows)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        """(epoch, index) -> {"frames": uint8 (5, side, side, 3), "kernel": float32 (1, 13, 13) unless kind is none,
        "low": uint8 (5, side / 4, side / 4, 3) where LR crops are disturbed}."""
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        clip = self._clip(index, rng)
        if self.soft > 0 and rng.random() < self.soft:
            clip = softened(clip, rng)
        clip = np.ascontiguousarray(self._augmented(clip, rng))
        if self.kind == "none":
            return {"frames": torch.from_numpy(clip)}
        kernel = draw_kernel(self.kind, rng)
        item = {"frames": torch.from_numpy(clip), "kernel": torch.from_numpy(kernel[None]).float()}
        if not self.disturbance:
            return item
        frames, low = self._disturbed(clip, kernel, rng)
        return {**item, "frames": torch.from_numpy(frames), "low": torch.from_numpy(low)}

    def _clip(self, index: int, rng: Generator) -> NDArray[np.uint8]:
        """Draws a crop whose middle frame has some texture, at most five times, and keeps the last."""
        # what is switched off takes no draw, so that the patches of the published training stay what they were
        made = self.synthetic > 0 and rng.random() < self.synthetic
        window = None if made else self.footage.window(*self.footage.windows[index % len(self)], self.length)
        for _ in range(DRAWS):
            if window is None:
                one, other = self._photograph(rng), self._photograph(rng)
                clip = synthetic_clip(one, other, self.length, self.drawn_side, rng)
            else:
                clip = self._crop(window, rng)
            if texture(clip[len(clip) // 2]) >= LEAST_TEXTURE:
                break
        return clip

    def _photograph(self, rng: Generator) -> Frame:
        if self.stills:
            return read_image(self.stills[rng.integers(len(self.stills))])
        return self.footage.frame(*self.footage.windows[rng.integers(len(self))])

    def _crop(self, window: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
        height, width = window.shape[1:3]
        largest = min(self.shrink, height / self.drawn_side, width / self.drawn_side)
        side = int(self.drawn_side * rng.uniform(1, largest)) if largest > 1 else self.drawn_side
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        crop = window[:, top : top + side, left : left + side]
        if side == self.drawn_side:
            return crop
        size = (self.drawn_side, self.drawn_side)
        return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in crop])

    def _disturbed(
        self, clip: NDArray[np.uint8], kernel: NDArray[np.float64], rng: Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Five HR frames of a clip, and what blur, noise and an encoder leave of them at a quarter of the size."""
        low = disturbed(blurred(clip, kernel), self.disturbance, rng)
        side = self.side // SCALE
        first, top, left = (int(rng.integers(whole - part + 1)) for whole, part in
                            zip(low.shape[:3], (WINDOW, side, side), strict=True))
        high_top, high_left = SCALE * top, SCALE * left
        high = clip[first : first + WINDOW, high_top : high_top + self.side, high_left : high_left + self.side]
        return high.copy(), low[first : first + WINDOW, top : top + side, left : left + side].copy()

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
