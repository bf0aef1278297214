import numpy as np
import pytest
import torch
from torch import Tensor

from blindvsr import InputError
from blindvsr.degrade import (
    SIGMAS, bicubic_up, blur_down, degrade_frame, draw_kernel, gaussian_kernel, realistic_kernel,
)
from tests.conftest import load_fixture


def test_gaussian_kernel() -> None:
    np.testing.assert_allclose(gaussian_kernel(1.2), load_fixture("d_degradation")["gaussian_1.2"], rtol=0, atol=1e-15)
    with pytest.raises(InputError, match="sigma=0"):
        gaussian_kernel(0)


@pytest.mark.parametrize("seed", range(5))
def test_realistic_kernel_draws_like_the_official_code(seed: int) -> None:
    kernel = realistic_kernel(np.random.RandomState(seed))
    np.testing.assert_allclose(kernel, load_fixture("d_degradation")[f"realistic_{seed}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["gaussian_1.2", "realistic_0"])
def test_official_degradation(name: str) -> None:
    fixture = load_fixture("d_degradation")
    image, kernel = fixture["image"], fixture[name]
    np.testing.assert_array_equal(degrade_frame(image, kernel), fixture[f"lr_{name}"])
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    low = blur_down(planes, torch.from_numpy(kernel)[None, None].float())
    np.testing.assert_allclose(low[0].permute(1, 2, 0), fixture[f"lr_float_{name}"], rtol=0, atol=1e-4)


def test_blur_without_downsampling() -> None:
    fixture = load_fixture("d_degradation")
    image = torch.from_numpy(fixture["image"]).permute(2, 0, 1)[None].float()
    blurred = blur_down(image, torch.from_numpy(fixture["gaussian_1.2"])[None, None].float(), scale=1)
    rounded = blurred[0].permute(1, 2, 0).clamp(0, 255).round().numpy()
    np.testing.assert_array_equal(rounded, fixture["blur_nodown_gaussian_1.2"])


def plain_blur_down(image: Tensor, kernel: Tensor) -> Tensor:
    """One channel of one sample: pad, correlate everywhere, take every fourth pixel."""
    pad = kernel.shape[-1] // 2
    padded = torch.nn.functional.pad(image[None, None], (pad,) * 4, mode="replicate")
    return torch.nn.functional.conv2d(padded, kernel[None, None])[0, 0, ::4, ::4]


@pytest.mark.parametrize("size", [(16, 20), (17, 23), (30, 21)])
def test_every_sample_has_its_own_kernel(size: tuple[int, int]) -> None:
    clip = torch.rand(2, 3, 3, *size, dtype=torch.float64)
    rng = np.random.default_rng(0)
    kernel = torch.from_numpy(np.stack([realistic_kernel(rng)[None] for _ in range(2)]))
    low = blur_down(clip, kernel)
    assert low.shape == (2, 3, 3, -(-size[0] // 4), -(-size[1] // 4))
    for sample in range(2):
        torch.testing.assert_close(low[sample, 1, 2], plain_blur_down(clip[sample, 1, 2], kernel[sample, 0]))


def test_blur_down_passes_gradients_to_the_kernel() -> None:
    kernel = torch.rand(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    clip = torch.rand(2, 3, 12, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(blur_down, (clip, kernel))


def test_unfit_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        blur_down(torch.zeros(2, 3, 16, 16), torch.zeros(1, 1, 13, 13))


def test_drawn_kernels() -> None:
    rng = np.random.default_rng(0)
    for kind in ("gaussian", "realistic"):
        kernel = draw_kernel(kind, rng)
        assert kernel.shape == (13, 13)
        assert kernel.sum() == pytest.approx(1)
    assert SIGMAS[0] == 0.4
    assert SIGMAS[-1] == 2.0
    np.testing.assert_array_equal(draw_kernel("gaussian", rng, 1.2)[2:-2, 2:-2], gaussian_kernel(1.2))
    with pytest.raises(InputError, match="kind='box'"):
        draw_kernel("box", rng)


def test_bicubic_is_aligned_with_the_degradation() -> None:
    """A slope keeps its values at every fourth pixel, where the degradation takes them."""
    slope = np.repeat(np.tile(np.arange(0, 200, 4, dtype=np.uint8), (12, 1))[..., None], 3, axis=2)
    up = bicubic_up(slope)
    assert up.shape == (48, 200, 3)
    np.testing.assert_array_equal(up[::4, ::4], slope)
    np.testing.assert_array_equal(up[0, 8:180, 0], np.arange(8, 180))
