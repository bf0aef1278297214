import numpy as np
import pytest
import torch

from blindvsr.ops import backwarp, coverage, positions, sample_seen
from tests.conftest import load_fixture


def test_both_official_warps() -> None:
    fixture = load_fixture("g_warp")
    image, flow = torch.from_numpy(fixture["x"]), torch.from_numpy(fixture["flow"])
    mask = (coverage(flow) >= 0.999).float()
    np.testing.assert_array_equal(mask.expand_as(image), fixture["warp_mask"])
    np.testing.assert_allclose(backwarp(image, flow) * mask, fixture["warp_out"], rtol=0, atol=5e-5)
    zeros = backwarp(image, flow, "zeros") * (coverage(flow) > 0.999)
    np.testing.assert_allclose(zeros, fixture["backward_out"], rtol=0, atol=5e-5)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_samples_of_what_is_seen(layout: torch.memory_format) -> None:
    """Far outside, on the edges and in between, and where a network has failed."""
    torch.manual_seed(0)
    image = torch.randn(1, 5, 12, 17).to(memory_format=layout)
    flow = (8 * torch.randn(1, 2, 12, 17)).round(decimals=1)
    flow[..., ::3] = flow[..., ::3].round()
    x, y = positions(flow)
    seen = coverage(flow)[:, 0] >= 0.999
    expected = backwarp(image, flow) * seen
    assert 20 < seen.sum() < 180
    torch.testing.assert_close(sample_seen(image, x, y, seen), expected, rtol=0, atol=1e-6)
    for dtype in (torch.bfloat16, torch.float16):
        low = image.to(dtype)
        rounded = (backwarp(low.float(), flow) * seen).to(dtype)
        torch.testing.assert_close(sample_seen(low, x, y, seen), rounded, rtol=2 * torch.finfo(dtype).eps, atol=1e-3)
    assert not sample_seen(image, x / 0, y * torch.nan, torch.zeros_like(seen)).any()


def test_zero_flow_is_the_identity() -> None:
    image = torch.rand(2, 3, 7, 11)
    torch.testing.assert_close(backwarp(image, torch.zeros(2, 2, 7, 11)), image, rtol=0, atol=1e-5)


def test_whole_pixels_shift() -> None:
    image, flow = torch.rand(1, 1, 6, 8), torch.zeros(1, 2, 6, 8)
    flow[:, 0] = 2
    torch.testing.assert_close(backwarp(image, flow)[..., :6], image[..., 2:], rtol=0, atol=1e-5)
    assert coverage(flow)[0, 0, 0].tolist() == [1, 1, 1, 1, 1, 1, 0, 0]


def test_unfit_flow_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, 2, H, W\)"):
        backwarp(torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 9))
