import numpy as np
import pytest
import torch

from blindvsr.ops import cost_volume
from blindvsr.ops.cost_volume import _by_strips
from tests.conftest import load_fixture


def test_values_and_gradients_of_the_official_operator() -> None:
    fixture = load_fixture("f_costvolume")
    first, second = (torch.from_numpy(fixture[name]).requires_grad_() for name in ("first", "second"))
    volume = cost_volume(first, second)
    np.testing.assert_allclose(volume.detach(), fixture["out"], rtol=0, atol=1e-6)
    (volume * torch.from_numpy(fixture["weights"])).sum().backward()
    np.testing.assert_allclose(first.grad, fixture["grad_first"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(second.grad, fixture["grad_second"], rtol=0, atol=1e-5)


def test_channel_order() -> None:
    """A bright pixel two to the right and one up fills channel (dy + 4) * 9 + dx + 4."""
    first, second = torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)
    first[0, 0, 4, 4] = second[0, 0, 3, 6] = 1
    assert cost_volume(first, second)[0, :, 4, 4].nonzero().item() == (-1 + 4) * 9 + 2 + 4


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        cost_volume(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 9))


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (9, 16), (12, 33)])
def test_all_ways_of_computing_agree(size: tuple[int, int]) -> None:
    first, second = torch.randn(2, 3, 6, *size, dtype=torch.float64)
    with_gradients = cost_volume(first.requires_grad_(), second)
    assert with_gradients.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(cost_volume(first, second), with_gradients)
        torch.testing.assert_close(_by_strips(first, second, 4), with_gradients)
