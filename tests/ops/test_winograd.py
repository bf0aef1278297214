import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindvsr import InputError
from blindvsr.network import BlindVSR
from blindvsr.ops import winograd
from blindvsr.ops.winograd import WinogradConv
from blindvsr.restorer import Restorer
from blindvsr.stream import restore_float
from tests.conftest import load_fixture

CPU = torch.device("cpu")


def runs() -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(winograd.VARIABLE, "winograd")
        try:
            return winograd.why_not(CPU) is None
        except InputError:
            return False


needs_it = pytest.mark.skipif(not runs(), reason="Winograd's convolutions are not compiled, or not for this processor")


def made(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    torch.manual_seed(inputs)
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


def exact(conv: nn.Conv2d, x: Tensor) -> Tensor:
    assert conv.bias is not None
    return F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=conv.padding)


def channels_last(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_it_is_compiled_where_that_is_possible() -> None:
    assert winograd._library() is not None, "winograd.c is not compiled: pip install -e ."


@needs_it
@torch.inference_mode()
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (5, 9), (16, 33), (70, 61)])
@pytest.mark.parametrize("channels", [(1, 1), (16, 16), (21, 2), (64, 48), (97, 36)])
@pytest.mark.parametrize("size", [3, 5])
def test_equals_the_convolution(size: int, channels: tuple[int, int], shape: tuple[int, int]) -> None:
    conv = made(*channels, size)
    larger = channels_last(3, channels[0] + 5, shape[0] + 2, shape[1] + 3)
    for x in (torch.randn(2, channels[0], *shape), channels_last(2, channels[0], *shape), larger[1:, 2:-3, 1:-1, 3:]):
        result = WinogradConv(conv)(x)
        assert result.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(result.double(), exact(conv, x), rtol=0, atol=1e-5)


@needs_it
@torch.inference_mode()
@pytest.mark.parametrize("size", [3, 5])
def test_errors_are_about_twice_those_of_torch(size: int) -> None:
    conv, x = made(128, 128, size), channels_last(1, 128, 60, 80)
    truth = exact(conv, x)
    own, torchs = ((result - truth).square().mean().sqrt() for result in (WinogradConv(conv)(x), conv(x)))
    assert own < 2.5 * torchs


@needs_it
@torch.inference_mode()
@pytest.mark.parametrize("slope", [0, 0.1, 1])
def test_sum_and_activation_within_larger_buffers(slope: float) -> None:
    conv = made(20, 12)
    around, added = channels_last(3, 50, 13, 10), channels_last(3, 12, 13, 10)
    x, out = around[:, 13:33], around[:, 1:13]
    before, expected = around.clone(), F.leaky_relu(exact(conv, x) + added, slope)
    assert WinogradConv(conv, slope)(x, added, out) is out
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5)
    assert torch.equal(around[:, :1], before[:, :1]) and torch.equal(around[:, 13:], before[:, 13:])


@needs_it
@torch.inference_mode()
def test_onto_what_is_added() -> None:
    conv, x, added = made(16, 20), channels_last(1, 16, 50, 51), channels_last(1, 20, 50, 51)
    expected = exact(conv, x) + added
    WinogradConv(conv)(x, add=added, out=added)
    torch.testing.assert_close(added.double(), expected, rtol=0, atol=1e-5)


@needs_it
@torch.inference_mode()
def test_the_same_with_any_number_of_threads() -> None:
    conv, x, threads = WinogradConv(made(40, 40)), channels_last(2, 40, 71, 66), torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3, 7):
            torch.set_num_threads(number)
            results.append(conv(x))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)


@needs_it
@torch.inference_mode()
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_bad_numbers_show_where_they_are(number: float) -> None:
    x = channels_last(1, 16, 40, 40)
    x[0, 3, 20, 20] = number
    bad = ~WinogradConv(made(16, 16), slope=0)(x).isfinite().all(1)[0]
    assert bad[19:22, 19:22].any() and not bad[:16].any() and not bad[24:].any()


@needs_it
def test_shapes_and_layouts_that_do_not_fit() -> None:
    conv, x = WinogradConv(made(16, 8)), torch.randn(1, 16, 9, 9)
    with pytest.raises(ValueError, match="makes 8 channels of 16"):
        conv(x[:, :15])
    with pytest.raises(ValueError, match="makes 8 channels of 16"):
        conv(x, add=x)
    for out in (torch.empty(1, 8, 9, 9), channels_last(1, 8, 9, 9).double(), channels_last(1, 8, 9, 8)):
        with pytest.raises(ValueError, match="with channels last"):
            conv(x, out=out)


def test_what_it_suits() -> None:
    assert WinogradConv.suits(made(16, 2)) and WinogradConv.suits(made(16, 2, 5))
    assert not WinogradConv.suits(made(3, 64)), "transforming three inputs costs more than it saves"
    for other in (nn.Conv2d(16, 16, 3, padding=1, dilation=2), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3, 2, 1),
                  nn.Conv2d(16, 16, 5, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=2), nn.ReLU(),
                  nn.Conv2d(16, 16, 3, padding=1, bias=False),
                  nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect")):
        assert not WinogradConv.suits(other)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512", "NO AVX"])
def test_only_where_it_is_known_to_be_faster(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    monkeypatch.delenv(winograd.VARIABLE, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(winograd.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(winograd, "_library", lambda: object())
    expected = {"AVX2": None, "AVX512": "Winograd's algorithm was never measured with AVX512",
                "NO AVX": "Winograd's algorithm needs AVX2"}
    assert winograd.why_not(CPU) == expected[capability]
    monkeypatch.setenv(winograd.VARIABLE, "winograd")
    if capability == "NO AVX":
        with pytest.raises(InputError, match="BLINDVSR_CONVOLUTION=winograd: Winograd's algorithm needs AVX2"):
            winograd.why_not(CPU)
    else:
        assert winograd.why_not(CPU) is None
    monkeypatch.setenv(winograd.VARIABLE, "torch")
    assert winograd.why_not(CPU) == "BLINDVSR_CONVOLUTION=torch"


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(winograd.VARIABLE, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(winograd, "_library", lambda: None)
    assert "install GCC, or Clang" in str(winograd.why_not(CPU))


def test_unknown_choice_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert winograd.why_not(torch.device("cuda")) == "Winograd's algorithm is for processors, not for cuda"
    monkeypatch.setenv(winograd.VARIABLE, "ncnn")
    with pytest.raises(InputError, match="BLINDVSR_CONVOLUTION='ncnn': choose torch or winograd"):
        winograd.why_not(CPU)


@needs_it
@pytest.mark.parametrize("tile", [None, 32])
def test_restores_what_torch_restores(official_net: BlindVSR, monkeypatch: pytest.MonkeyPatch, tile: int | None
                                      ) -> None:
    """The published network on real frames: its flow, its features and its result."""
    frames = list((load_fixture("a1_infer")["x"][0].transpose(0, 2, 3, 1) * 255).round().astype("uint8"))[:3]
    monkeypatch.setenv(winograd.VARIABLE, "winograd")
    own = list(restore_float(official_net, frames, tile))
    parts = Restorer(official_net, tile, "32")
    assert sum(isinstance(module, WinogradConv) for module in parts.flow_net.modules()) == 45
    monkeypatch.setenv(winograd.VARIABLE, "torch")
    assert not any(isinstance(module, WinogradConv) for module in Restorer(official_net, tile, "32").trunk.modules())
    for actual, expected in zip(own, restore_float(official_net, frames, tile), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
        assert not torch.equal(actual, expected)
