"""The evaluation protocol: PSNR and SSIM of RGB frames, 4 pixels cropped, as in the paper's tables; or of luma."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from blindvsr import InputError
from blindvsr.frames import Frame

CROP = 4
ENDS = 2  # the first and last two frames have no full window: the paper's tables leave them out


Channels = Literal["rgb", "y"]


def luma(frame: Frame) -> NDArray[np.float64]:
    """Y of BT.601 in the range 16 to 235, as MATLAB's rgb2ycbcr of a double image and BasicSR's to_y_channel give it:
    16 + (65.481 R + 128.553 G + 24.966 B) / 255, unrounded.

    Args:
        frame: uint8 RGB (H, W, 3).

    Returns:
        (H, W).
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return np.asarray(frame @ weights + 16, np.float64)


def _cropped(
    first: Frame, second: Frame, crop: int, channels: Channels
) -> tuple[NDArray[np.float64] | Frame, NDArray[np.float64] | Frame]:
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != 3:
        raise InputError(f"frames to compare must be (H, W, 3) and equal, got {first.shape} and {second.shape}")
    if min(first.shape[:2]) - 2 * crop < 11:
        raise InputError(f"frames of {first.shape[1]}x{first.shape[0]} are too small to compare (crop {crop})")
    inside = slice(crop, -crop or None)
    first, second = first[inside, inside], second[inside, inside]
    return (luma(first), luma(second)) if channels == "y" else (first, second)


def psnr(first: Frame, second: Frame, crop: int = CROP, channels: Channels = "rgb") -> float:
    """20 log10(255 / rmse) over all pixels and channels, decibels; infinite for equal frames.

    Args:
        first: uint8 (H, W, 3).
        second: uint8 (H, W, 3), aligned with the first.
        crop: pixels left out at every border.
        channels: rgb, all three alike; or y, their luma.
    """
    a, b = _cropped(first, second, crop, channels)
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float("inf") if error == 0 else float(20 * math.log10(255 / math.sqrt(error)))


def ssim(first: Frame, second: Frame, crop: int = CROP, channels: Channels = "rgb") -> float:
    """Structural similarity with an 11x11 Gaussian of sigma 1.5, valid region only, mean over channels.

    Args:
        first: uint8 (H, W, 3).
        second: uint8 (H, W, 3), aligned with the first.
        crop: pixels left out at every border.
        channels: rgb, all three alike; or y, their luma.
    """
    a, b = _cropped(first, second, crop, channels)
    return float(structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        channel_axis=2 if channels == "rgb" else None,
    ))


@dataclass
class Scores:
    """What was measured of the scored frames of one video, frame by frame.

    Attributes:
        psnr: dB.
        ssim: at most 1.
        temporal: further measures by name, for every frame but the first; see `blindvsr.scoring.temporal`.
        names: of the frames, where they have any.
    """

    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    temporal: dict[str, list[float]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def add(self, restored: Frame, truth: Frame, channels: Channels = "rgb") -> None:
        self.psnr.append(psnr(restored, truth, channels=channels))
        self.ssim.append(ssim(restored, truth, channels=channels))


def scored_frames(count: int, all_frames: bool = False) -> range:
    """Indices of the frames that the protocol scores: 2..N-3, or all."""
    return range(count) if all_frames else range(ENDS, count - ENDS)
