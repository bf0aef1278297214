"""The supervised objectives, and gradients with less memory."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from blindvsr.degrade import blur_down
from blindvsr.flow import LEVELS, PWCNet
from blindvsr.frames import Frame
from blindvsr.lit.motion import moving_pair
from blindvsr.lit.normalise import normalise_flow
from blindvsr.losses import (
    CHARBONNIER, STRUCTURE_WEIGHT, end_point_error, flow_terms, kernel_distance, self_supervised, similarity,
    supervised,
)
from blindvsr.network import BlindVSR
from tests.conftest import SMALL


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clips (2, 5, 3, 16, 16), what they were made of, and by which kernels."""
    torch.manual_seed(0)
    frames, kernel = torch.rand(2, 5, 3, 64, 64), torch.rand(2, 1, 13, 13)
    kernel /= kernel.sum((2, 3), keepdim=True)
    return blur_down(frames, kernel), frames[:, 2], kernel


def test_supervised_terms(batch: tuple[torch.Tensor, ...]) -> None:
    clip, truth, kernel = batch
    net = BlindVSR(SMALL)
    losses, restored = supervised(net, clip, truth, kernel)
    inside = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(restored[inside], net(clip)[inside], rtol=0, atol=1e-6)
    l1 = (restored - truth)[inside].abs().mean()
    assert l1 < losses["restored"] < l1 + CHARBONNIER
    assert losses["kernel"].item() == pytest.approx(kernel_distance(net.estimate_kernel(clip), kernel).item())
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in net.tail.parameters())
    unlike = 1 - similarity(restored[inside], truth[inside])
    assert losses["structure"].item() == pytest.approx(STRUCTURE_WEIGHT * unlike.item())
    net.kernel_net.requires_grad_(False)
    assert "kernel" not in supervised(net, clip, truth, kernel)[0], "a frozen estimator costs nothing"


def test_similarity_is_the_ssim_of_each_window() -> None:
    rng = np.random.default_rng(0)
    first = rng.random((12, 16, 3))
    second = np.clip(first + rng.normal(0, 0.2, first.shape), 0, 1)
    windows = [structural_similarity(
        first[y : y + 8, x : x + 8], second[y : y + 8, x : x + 8], win_size=7, data_range=1, channel_axis=-1,
        use_sample_covariance=False,
    ) for y in (0, 4) for x in (0, 4, 8)]
    images = [torch.from_numpy(image).permute(2, 0, 1)[None] for image in (first, second)]
    # scikit-image has windows of odd sides alone: the four of 7x7 in each of 8x8
    assert similarity(*images).item() == pytest.approx(np.mean(windows), abs=0.01)
    assert similarity(images[0], images[0]).item() == pytest.approx(1)


def test_distance_of_kernels() -> None:
    first, second = torch.zeros(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    first[:, 0, 1, 1], second[0, 0, 1, 1], second[1, 0, 0, 0] = 1, 1, 1
    assert kernel_distance(first, second).item() == 1, "none and two"


def test_a_recomputed_trunk_changes_no_gradient() -> None:
    torch.manual_seed(0)
    net, clip = BlindVSR(SMALL), torch.rand(1, 5, 3, 64, 64)
    gradients = []
    for net.recompute_trunk in (False, True):
        net.zero_grad()
        torch.stack(list(self_supervised(net, clip).values())).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in net.trunk.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_the_loss_of_the_flow_is_zero_for_the_truth_alone() -> None:
    """Constant flow in frames whose sides are no multiples of 64: every level in its own units."""
    net = PWCNet(0.1)
    truth = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(2, 2, 48, 80)
    units = {48: 20 * 48 / 64, 80: 20 * 80 / 128}
    flows = [torch.tensor([3 / units[80], -2 / units[48]]).view(1, 2, 1, 1).expand(2, 2, 64 >> level, 128 >> level)
             for level in LEVELS]
    for flow in flows:
        assert end_point_error(flow, net.to_level(truth, flow)) < 1e-5
    assert end_point_error(net.to_pixels(flows[-1], (48, 80)), truth) < 1e-5
    assert end_point_error(truth, torch.zeros_like(truth)).item() == pytest.approx(13**0.5)


def test_a_few_steps_lower_the_end_point_error(bundled_frames: list[Frame]) -> None:
    torch.manual_seed(0)
    net = PWCNet(0.1)
    pair = moving_pair(bundled_frames[0], bundled_frames[-1], 64, np.random.default_rng(1))
    made = {name: torch.from_numpy(array)[None] for name, array in pair.items()}
    normalise_flow(net, made["first"])
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    errors = []
    for _ in range(25):
        losses, flow = flow_terms(net, made["first"], made["second"], made["flow"])
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        errors.append(end_point_error(flow, made["flow"]).item())
    assert losses.keys() == {"level6", "level5", "level4", "level3", "level2"}
    assert errors[-1] < 0.6 * errors[0]
