"""PSNR and SSIM of the protocol."""

import numpy as np
import pytest

from blindvsr import InputError
from blindvsr.metrics import psnr, ssim
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
