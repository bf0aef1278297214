import copy

import pytest
import torch

from blindvsr.network import BlindVSR, NetConfig
from blindvsr.tail import InteriorTail, collapse


def network(features: int) -> BlindVSR:
    torch.manual_seed(0)
    return BlindVSR(NetConfig(num_features=features, extract_blocks=1, recon_blocks=1, flow_width=0.1))


@pytest.mark.parametrize("features", [1, 6, 13])
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (31, 16)])
@torch.no_grad()
def test_equals_the_tail_to_the_last_digits_borders_included(features: int, size: tuple[int, int]) -> None:
    tail = network(features).tail.double()
    x = torch.randn(2, features, *size, dtype=torch.float64)
    torch.testing.assert_close(collapse(tail)(x), tail(x), rtol=0, atol=1e-14)


@torch.no_grad()
def test_equals_the_tail_of_the_full_network(official_net: BlindVSR) -> None:
    x = torch.randn(1, 128, 16, 21, generator=torch.manual_seed(0))
    torch.testing.assert_close(collapse(official_net.tail)(x), official_net.tail(x), rtol=0, atol=3e-6)


@torch.no_grad()
def test_the_borders_are_what_makes_it_nine_convolutions() -> None:
    """The interior's convolution alone is wrong in the outermost ring of four output pixels, and right inside it."""
    tail = network(6).tail.double()
    x = torch.randn(1, 6, 16, 16, dtype=torch.float64)
    error = (InteriorTail(tail)(x) - tail(x)).abs().amax((0, 1))
    assert error[4:-4, 4:-4].max() < 1e-14
    for ring in (error[:4], error[-4:], error[:, :4], error[:, -4:]):
        assert ring.max() > 1e-4


def test_autocast_does_not_reach_the_composition() -> None:
    tail = network(6).tail
    x = torch.randn(1, 6, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        collapsed = collapse(tail)
    with torch.no_grad():
        torch.testing.assert_close(collapsed(x), tail(x), rtol=0, atol=1e-6)


@torch.no_grad()
def test_it_is_a_copy_in_the_tails_own_precision() -> None:
    tail = network(6).tail
    x = torch.randn(1, 6, 16, 16)
    before = copy.deepcopy(tail.state_dict())
    collapsed = collapse(tail)
    expected = collapsed(x)
    tail[0].weight += 1
    assert torch.equal(collapsed(x), expected)
    assert expected.dtype == torch.float32
    tail.load_state_dict(before)
    assert not any(buffer.requires_grad for buffer in collapsed.buffers())


def test_gradients_pass_through() -> None:
    """Trained through the collapsed interior, the weights get the gradients that they get from the tail itself."""
    tail = network(6).tail.double()
    x = torch.randn(2, 6, 7, 9, dtype=torch.float64, requires_grad=True)
    wanted, got = (
        torch.autograd.grad((made(x)[..., 4:-4, 4:-4].sin()).sum(), [x, *tail.parameters()])
        for made in (tail, InteriorTail(tail))
    )
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
