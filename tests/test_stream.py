from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from blindvsr.network import BlindVSR, NetConfig
from blindvsr.stream import Frame, restore, restore_float
from tests.conftest import load_fixture

SMALL = NetConfig(num_features=8, extract_blocks=1, recon_blocks=2, flow_width=0.1)


@pytest.fixture
def net() -> BlindVSR:
    """Small, but its flow is not zero: the last layers of an untrained flow network are."""
    torch.manual_seed(0)
    net = BlindVSR(SMALL)
    for module in (*(decoder.predict for decoder in net.flow_net.decoders), net.flow_net.refiner[-1]):
        torch.nn.init.normal_(module.weight, std=0.1)
        torch.nn.init.normal_(module.bias, std=0.05)
    return net


def video(count: int, height: int = 17, width: int = 23) -> list[Frame]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def reflected(i: int, length: int) -> int:
    while not 0 <= i < length:
        i = -i if i < 0 else 2 * (length - 1) - i
        i = 0 if length == 1 else i
    return i


@torch.no_grad()
def windowed(net: BlindVSR, frames: list[Frame]) -> Iterator[Tensor]:
    """The definition: every window on its own, ends reflected."""
    clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[None] / 255
    radius = net.config.num_frames // 2
    for t in range(len(frames)):
        yield net(clip[:, [reflected(t + d, len(frames)) for d in range(-radius, radius + 1)]])[0]


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (45, 70)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_equals_the_windowed_network(net: BlindVSR, count: int, size: tuple[int, int]) -> None:
    frames = video(count, *size)
    restored = list(restore_float(net, frames))
    assert len(restored) == count
    for actual, expected in zip(restored, windowed(net, frames), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_equals_the_windowed_network_at_full_size(official_net: BlindVSR) -> None:
    clip = load_fixture("a1_infer")["x"]
    frames = list((clip[0].transpose(0, 2, 3, 1) * 255).round().astype(np.uint8))[:3]
    for actual, expected in zip(restore_float(official_net, frames), windowed(official_net, frames), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_pixels_are_rounded_and_clamped(net: BlindVSR) -> None:
    frames = video(3)
    for actual, expected in zip(restore(net, frames), windowed(net, frames), strict=True):
        assert actual.shape == (68, 92, 3) and actual.dtype == np.uint8
        rounded = np.rint(np.clip(expected.permute(1, 2, 0).double().numpy(), 0, 1) * 255)
        assert (actual == rounded).mean() > 0.999  # a value within 1e-5 of a half may go either way
        assert np.abs(actual - rounded).max() <= 1
        assert expected.min() < 0 or expected.max() > 1


def test_frames_come_out_as_soon_as_their_window_is_known(net: BlindVSR) -> None:
    read = 0

    def source() -> Iterator[Frame]:
        nonlocal read
        for frame in video(8):
            read += 1
            yield frame

    for number, _ in enumerate(restore(net, source())):
        assert read == min(number + 3, 8)
    assert number == 7
