"""The evaluation protocol: PSNR and SSIM of RGB frames, 4 pixels cropped, as in the paper's tables."""

import math
from dataclasses import dataclass, field

import numpy as np
from skimage.metrics import structural_similarity

from blindvsr import InputError
from blindvsr.frames import Frame

CROP = 4
ENDS = 2  # the first and last two frames have no full window: the paper's tables leave them out


def _cropped(first: Frame, second: Frame, crop: int) -> tuple[Frame, Frame]:
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != 3:
        raise InputError(f"frames to compare must be (H, W, 3) and equal, got {first.shape} and {second.shape}")
    if min(first.shape[:2]) - 2 * crop < 11:
        raise InputError(f"frames of {first.shape[1]}x{first.shape[0]} are too small to compare (crop {crop})")
    inside = slice(crop, -crop or None)
    return first[inside, inside], second[inside, inside]


def psnr(first: Frame, second: Frame, crop: int = CROP) -> float:
    """20 log10(255 / rmse) over all pixels and channels, decibels; infinite for equal frames.

    Args:
        first: uint8 (H, W, 3).
        second: uint8 (H, W, 3), aligned with the first.
        crop: pixels left out at every border.
    """
    a, b = _cropped(first, second, crop)
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float("inf") if error == 0 else float(20 * math.log10(255 / math.sqrt(error)))


def ssim(first: Frame, second: Frame, crop: int = CROP) -> float:
    """Structural similarity with an 11x11 Gaussian of sigma 1.5, valid region only, mean over channels.

    Args:
        first: uint8 (H, W, 3).
        second: uint8 (H, W, 3), aligned with the first.
        crop: pixels left out at every border.
    """
    a, b = _cropped(first, second, crop)
    return float(structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
    ))


@dataclass
class Scores:
    """PSNR (dB) and SSIM of the scored frames of one video, frame by frame."""

    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)

    def add(self, restored: Frame, truth: Frame) -> None:
        self.psnr.append(psnr(restored, truth))
        self.ssim.append(ssim(restored, truth))


def scored_frames(count: int, all_frames: bool = False) -> range:
    """Indices of the frames that the protocol scores: 2..N-3, or all."""
    return range(count) if all_frames else range(ENDS, count - ENDS)
