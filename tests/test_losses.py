"""The supervised objective, and gradients with less memory."""

import pytest
import torch

from blindvsr.degrade import blur_down
from blindvsr.losses import CHARBONNIER, kernel_distance, self_supervised, supervised
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
    torch.testing.assert_close(restored, net(clip), rtol=0, atol=1e-6)
    l1 = (restored - truth).abs().mean()
    assert l1 < losses["restored"] < l1 + CHARBONNIER
    assert losses["kernel"].item() == pytest.approx(kernel_distance(net.estimate_kernel(clip), kernel).item())
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in net.tail.parameters())
    net.kernel_net.requires_grad_(False)
    assert supervised(net, clip, truth, kernel)[0].keys() == {"restored"}, "a frozen estimator costs nothing"


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
