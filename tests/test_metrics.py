"""PSNR and SSIM of the protocol."""

import cv2
import numpy as np
import pytest

from blindvsr import InputError
from blindvsr.metrics import luma, psnr, ssim
from tests.conftest import load_fixture


def test_official_values() -> None:
    fixture = load_fixture("e_metrics")
    for crop, suffix in ((4, ""), (0, "_nocrop")):
        assert psnr(fixture["output"], fixture["gt"], crop) == pytest.approx(float(fixture[f"psnr{suffix}"]), abs=1e-10)
        assert ssim(fixture["output"], fixture["gt"], crop) == pytest.approx(float(fixture[f"ssim{suffix}"]), abs=1e-10)


def test_equal_frames_and_unequal_sizes() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert psnr(frame, frame) == float("inf")
    assert ssim(frame, frame) == pytest.approx(1)
    with pytest.raises(InputError, match="equal"):
        psnr(frame, frame[:-1])


def test_luma_as_matlab_and_basicsr_have_it() -> None:
    """A worked example. MATLAB: rgb2ycbcr of white, black, red, green and blue in doubles gives Y 235, 16, 81.481,
    144.553 and 40.966. One level more of green everywhere is 128.553 / 255 = 0.504129 of luma, 54.0799 dB."""
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(luma(colours)[0], [235, 16, 81.481, 144.553, 40.966], rtol=0, atol=1e-9)
    truth = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    greener = truth + np.array([0, 1, 0], np.uint8)
    assert psnr(greener, truth, channels="y") == pytest.approx(54.0799, abs=1e-3)


def test_luma_scores_as_basicsr_computes_them() -> None:
    """Its steps: BGR / 255 in float32, weights 24.966, 128.553, 65.481, plus 16, not rounded; SSIM of that plane."""
    fixture = load_fixture("e_metrics")

    def plane(frame: np.ndarray) -> np.ndarray:
        scaled = frame[4:-4, 4:-4, ::-1].astype(np.float32) / 255
        return ((np.dot(scaled, [24.966, 128.553, 65.481]) + 16) / 255).astype(np.float32).astype(np.float64) * 255

    def blur(values: np.ndarray) -> np.ndarray:
        return cv2.filter2D(values, -1, np.outer(*[cv2.getGaussianKernel(11, 1.5)] * 2))[5:-5, 5:-5]

    a, b = plane(fixture["output"]), plane(fixture["gt"])
    decibels = 10 * np.log10(255**2 / np.mean((a - b) ** 2))
    (mean_a, mean_b), c1, c2 = (blur(a), blur(b)), 2.55**2, 7.65**2
    similarity = np.mean(
        (2 * mean_a * mean_b + c1) * (2 * (blur(a * b) - mean_a * mean_b) + c2)
        / (mean_a**2 + mean_b**2 + c1) / (blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2 + c2))
    assert psnr(fixture["output"], fixture["gt"], channels="y") == pytest.approx(decibels, abs=1e-4)
    assert ssim(fixture["output"], fixture["gt"], channels="y") == pytest.approx(similarity, abs=1e-5)
    assert abs(decibels - psnr(fixture["output"], fixture["gt"])) > 0.1, "not the same as RGB"
