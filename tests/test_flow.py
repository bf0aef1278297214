"""The flow network in lower precision: coordinates stay those of float32."""

import pytest
import torch
from torch import Tensor

from blindvsr.flow import PWCNet
from blindvsr.frames import Frame
from blindvsr.losses import flow_terms
from blindvsr.network import BlindVSR
from blindvsr.stream import restore_float
from blindvsr.weights import load_network

LOW = (torch.bfloat16, torch.float16)


@pytest.fixture
def bundled() -> BlindVSR:
    return load_network("clean")


@pytest.fixture
def small_frames(bundled_frames: list[Frame]) -> list[Frame]:
    """Frames of real footage, at a size that a processor without bfloat16 can be asked for."""
    return [frame[64:192:2, 128:320:2] for frame in bundled_frames[:3]]


@pytest.fixture
def pair(small_frames: list[Frame]) -> tuple[Tensor, Tensor]:
    first, second = (torch.from_numpy(frame.copy()).permute(2, 0, 1)[None] / 255 for frame in small_frames[::2])
    return first, second


def is_near(flow: Tensor, exact: Tensor) -> bool:
    distance = (flow - exact).norm(dim=1).mean().item()
    return flow.dtype == torch.float32 and 0 < distance < 0.01  # 0 would be float32 after all


@pytest.mark.parametrize("dtype", LOW)
@torch.inference_mode()
def test_flow_in_lower_precision(bundled: BlindVSR, pair: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    exact = bundled.flow(*pair)
    assert exact.abs().mean() > 0.1, "something moves"
    assert is_near(bundled.flow_net.prepared(dtype)(*pair), exact)
    with torch.autocast("cpu", dtype):
        assert is_near(bundled.flow(*pair), exact)
    assert torch.equal(bundled.flow(*pair), exact), "the network itself is left alone"
    assert bundled.flow_net.prepared(torch.float32) is bundled.flow_net


@torch.inference_mode()
def test_coordinates_have_no_room_in_bfloat16(bundled: BlindVSR, pair: tuple[Tensor, Tensor]) -> None:
    """What the exception is for."""
    exact = bundled.flow(*pair)
    crude = bundled.flow_net.to(torch.bfloat16)(*(frame.bfloat16() for frame in pair)).float()
    assert not is_near(crude, exact)


@torch.inference_mode()
def test_frames_in_lower_precision(bundled: BlindVSR, small_frames: list[Frame]) -> None:
    for low, exact in zip(restore_float(bundled, small_frames, precision="bf16"),
                          restore_float(bundled, small_frames), strict=True):
        assert -10 * (low - exact).square().mean().log10().item() > 55


@pytest.mark.parametrize("dtype", LOW)
def test_gradients_in_lower_precision(bundled: BlindVSR, pair: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    first, second = (frame[..., :64, :64] for frame in pair)
    truth = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 64, 64)

    def gradients(net: PWCNet) -> Tensor:
        net.zero_grad()
        sum(flow_terms(net, first, second, truth)[0].values()).backward()
        return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])

    exact = gradients(bundled.flow_net)
    with torch.autocast("cpu", dtype):
        low = gradients(bundled.flow_net)
    assert low.dtype == torch.float32 and not torch.equal(low, exact)
    assert torch.cosine_similarity(low, exact, dim=0) > 0.99
