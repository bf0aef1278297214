import sys

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from blindvsr import InputError
from blindvsr.ops import _cost_volume_cupy, cost_volume
from blindvsr.ops.cost_volume import VARIABLE, _by_strips, _warn
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


def test_compiles_in_one_graph() -> None:
    first, second = torch.randn(2, 1, 3, 5, 7)
    function = torch.compile(cost_volume, backend="eager", fullgraph=True)
    torch.testing.assert_close(function(first, second), cost_volume(first, second))


def test_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = torch.randn(2, 1, 3, 5, 7).unbind()
    expected = cost_volume(*pair)
    monkeypatch.setenv(VARIABLE, "torch")
    torch.testing.assert_close(cost_volume(*pair), expected)
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(InputError, match=f"{VARIABLE}='cuda': choose torch or cupy"):
        cost_volume(*pair)
    monkeypatch.setenv(VARIABLE, "cupy")
    with pytest.raises(InputError, match=f"{VARIABLE}=cupy: CuPy computes on CUDA devices, not on cpu"):
        cost_volume(*pair)


def test_cupy_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on a GPU without CuPy: torch computes and the reason is said once; by hand it is an error."""
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if not installed
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv(VARIABLE, raising=False)
    _cost_volume_cupy.why_not.cache_clear()
    _warn.cache_clear()
    with FakeTensorMode():
        pair = torch.empty(2, 1, 3, 5, 7, device="cuda").unbind()
        with pytest.warns(UserWarning, match=r"plain torch computes .*cupy.*pip install -e '\.\[cuda13\]'") as said:
            assert cost_volume(*pair).device.type == "cuda"
            cost_volume(*pair)
        assert len(said) == 1
        monkeypatch.setenv(VARIABLE, "cupy")
        with pytest.raises(InputError, match=r"pip install -e '\.\[cuda13\]'"):
            cost_volume(*pair)
        with pytest.raises(InputError, match="not torch.float64, 4"):
            cost_volume(*(tensor.double() for tensor in pair))
    _cost_volume_cupy.why_not.cache_clear()
