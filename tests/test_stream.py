import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from blindvsr import InputError, restorer, tiling
from blindvsr.frames import Frame
from blindvsr.network import BlindVSR
from blindvsr.restorer import Encoded, Restorer, resolve_precision
from blindvsr.stream import restore, restore_float
from blindvsr.tiling import Plan
from tests.conftest import load_fixture, moving_network


@pytest.fixture
def net() -> BlindVSR:
    return moving_network()


def video(count: int, height: int = 17, width: int = 23) -> list[Frame]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def real_frames() -> list[Frame]:
    return list((load_fixture("a1_infer")["x"][0].transpose(0, 2, 3, 1) * 255).round().astype(np.uint8))


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


def test_only_some_frames(net: BlindVSR, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, worked = video(7), []
    whole = list(restore(net, frames))
    method = Restorer.restore
    monkeypatch.setattr(Restorer, "restore", lambda self, window: worked.append(1) or method(self, window))
    for actual, expected in zip(restore(net, frames, only=range(2, 5)), whole[2:5], strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert len(worked) == 3, "the others are not restored"


def test_equals_the_windowed_network_at_full_size(official_net: BlindVSR) -> None:
    frames = real_frames()[:3]
    actual, expected = next(restore_float(official_net, frames)), next(windowed(official_net, frames))
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


def test_no_more_than_a_window_is_held(net: BlindVSR, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[weakref.ref[Frame]] = []
    encodings: list[weakref.ref[Encoded]] = []

    def source() -> Iterator[Frame]:
        for frame in np.zeros((30, 16, 16, 3), np.uint8):
            frames.append(weakref.ref(frame))
            yield frame

    def remembering(self: Restorer, frame: Frame) -> Encoded:
        encoded = encode(self, frame)
        encodings.append(weakref.ref(encoded))
        return encoded

    encode = Restorer.encode
    monkeypatch.setattr(Restorer, "encode", remembering)
    results: list[weakref.ref[Frame]] = []
    for result in restore(net, source()):
        results.append(weakref.ref(result))
        for references, most in ((frames, 3), (encodings, 5), (results, 1)):
            assert sum(reference() is not None for reference in references) <= most
    assert len(frames) == len(encodings) == len(results) == 30


def test_tiled_equals_whole(official_net: BlindVSR, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two by two tiles, with the trunk of the full network, which sees further than tiles overlap."""
    frames = [np.tile(frame, (1, 2, 1))[:40, :64] for frame in real_frames()[:3]]
    whole = next(restore_float(official_net, frames))
    tiled = next(restore_float(official_net, frames, tile=32))
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)
    monkeypatch.setattr(tiling, "OVERLAP", 8)  # too little context shows
    assert (next(restore_float(official_net, frames, tile=32)) - whole).abs().max() > 1e-3


@pytest.mark.parametrize("tile", [32, "auto"])
@pytest.mark.parametrize("budget", [0, 2**40])
def test_tiled_at_odd_sizes(net: BlindVSR, tile: int | str, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer, "memory_budget", lambda device, tile: budget)
    frames = video(3, 45, 70)
    for actual, expected in zip(restore_float(net, frames, tile), windowed(net, frames), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("part", ["_encode", "_restore"])
def test_less_memory_means_smaller_tiles_and_a_warning(
    net: BlindVSR, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = getattr(Restorer, part)

    def hungry(self: Restorer, what: object, plan: Plan) -> object:
        if plan.tile is None or plan.tile > 40:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory: ...")
        return work(self, what, plan)

    monkeypatch.setattr(Restorer, part, hungry)
    frames = video(3, 45, 70)
    with pytest.warns(UserWarning, match="out of memory: going on with tiles of 35 pixels") as warnings:
        restored = list(restore_float(net, frames))
    assert len(warnings) == 1
    for actual, expected in zip(restored, windowed(net, frames), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_frames_too_large_for_any_tile_and_other_errors(net: BlindVSR, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Restorer, *_: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(Restorer, "_encode", failing)
    message = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    with pytest.warns(UserWarning), pytest.raises(InputError, match="no memory for frames of 70x45"):
        next(restore(net, video(1, 45, 70)))
    message = "something else"
    with pytest.raises(RuntimeError, match="something else"):
        next(restore(net, video(1)))


def test_bfloat16_is_close_and_leaves_the_network_alone(official_net: BlindVSR) -> None:
    frames = [real_frames()[0][:20, :24]]
    exact = next(restore_float(official_net, frames))
    low = next(restore_float(official_net, frames, precision="bf16"))
    assert low.dtype == torch.float32
    psnr = -10 * (low - exact).square().mean().log10().item()
    assert 50 < psnr < 80  # above 80 it would not be bfloat16
    assert {parameter.dtype for parameter in official_net.parameters()} == {torch.float32}


def test_precisions(net: BlindVSR, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for supported, best in ((True, "bf16"), (False, "32")):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: supported, raising=False)
        assert resolve_precision("auto", cpu) == best
    assert resolve_precision("bf16", cpu) == "bf16"
    assert resolve_precision("16", torch.device("cuda")) == "16"
    with pytest.raises(InputError, match="precision='16' is for CUDA"):
        restore(net, [], precision="16")
    with pytest.raises(InputError, match="precision='fp8'"):
        restore(net, [], precision="fp8")


@pytest.mark.parametrize("tile", [0, 31, -1, "big"])
def test_bad_tiles(net: BlindVSR, tile: int | str) -> None:
    with pytest.raises(InputError, match=f"tile={tile!r}"):
        restore(net, [], tile=tile)


def test_unusable_frames(net: BlindVSR) -> None:
    frames = video(4)
    frames[2] = video(1, 18, 23)[0]
    with pytest.raises(InputError, match="frame 2 is 23x18 but frame 0 is 23x17"):
        list(restore(net, frames))
    with pytest.raises(InputError, match="frame 0 is 15x20: the least is 16x16"):
        list(restore(net, video(1, 20, 15)))
    for frame in (np.zeros((20, 20), np.uint8), np.zeros((20, 20, 4), np.uint8), np.zeros((20, 20, 3))):
        with pytest.raises(InputError, match=r"frame 0 is .*frames are RGB"):
            list(restore(net, [frame]))
    assert list(restore(net, [])) == []


def overflowing(net: BlindVSR) -> BlindVSR:
    """A feature that white makes 3.4e38, which float32 holds and half precision does not, and that nothing uses."""
    net.extract[0].weight.data[0] = 0
    net.extract[0].weight.data[0, :2, 1, 1] = 1.7e38
    for module in net.extract[1:].modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data[0], module.weight.data[:, 0], module.bias.data[0] = 0, 0, 0
    for number in range(net.config.num_frames):
        net.fuse.weight.data[:, number * net.config.num_features] = 0
    return net


def test_half_precision_that_is_not_enough(net: BlindVSR) -> None:
    net = overflowing(net)
    frames = [frame // 2 for frame in video(12)]
    frames[2][:] = 255
    with pytest.warns(UserWarning, match="NaN or Inf in half precision") as warnings:
        restored = list(restore_float(net, frames, precision="bf16", cuts=False))
    assert len(warnings) == 1
    exact = list(restore_float(net, frames, cuts=False))
    for number, (actual, expected) in enumerate(zip(restored, exact, strict=True)):
        assert torch.equal(actual, expected) == (number < 5), "those with the white frame in their window"
        torch.testing.assert_close(actual, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("part", ["tail", "flow_net"])
def test_weights_that_are_no_numbers(net: BlindVSR, part: str) -> None:
    next(getattr(net, part).parameters()).data[0] = torch.nan
    with pytest.raises(InputError, match="make NaN or Inf of a frame, in float32 too"):
        list(restore(net, video(2)))
    with pytest.warns(UserWarning, match="half precision"), pytest.raises(InputError, match="in float32 too"):
        list(restore(net, video(2), precision="bf16"))
