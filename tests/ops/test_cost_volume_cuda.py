"""The CUDA kernels: without a GPU their very source runs on the processor, with one it runs through CuPy."""

import ctypes
import shutil
import subprocess
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from blindvsr.ops import _cost_volume_cupy, cost_volume
from blindvsr.ops.cost_volume import VARIABLE, _by_shifts

SHIM = Path(__file__).with_name("cuda_shim.h")
FLOAT, HALF, BFLOAT16 = torch.float32, torch.float16, torch.bfloat16
# relative to the largest value; of the half types a unit in the last place
TOLERANCE = {FLOAT: 5e-6, HALF: 1e-3, BFLOAT16: 8e-3}
SIZES = [(1, 1, 1, 1), (2, 3, 5, 7), (1, 17, 33, 19), (2, 33, 16, 40), (1, 8, 9, 64)]
types = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def defines(dtype: torch.dtype, radius: int) -> list[str]:
    return [f"-DSCALAR={_cost_volume_cupy.TYPES[dtype]}", f"-DRADIUS={radius}"]


@cache
def on_processor(folder: Path, dtype: torch.dtype, radius: int) -> ctypes.CDLL:
    """The kernels as C++, with the shim in place of CUDA."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to run the kernels on the processor")
    library = folder / f"{_cost_volume_cupy.TYPES[dtype]}{radius}.so"
    command = ["g++", "-O2", "-std=c++14", "-shared", "-fPIC", "-x", "c++", "-include", SHIM, "-o", library]
    command += ["-fno-gnu-unique"]  # each library has shared memory of its own
    command += ["-DTEST_HALF"] if dtype == HALF else []
    command += [*defines(dtype, radius), _cost_volume_cupy.SOURCE]
    built = subprocess.run(command, capture_output=True, text=True)
    if dtype == HALF and "_Float16" in built.stderr:
        pytest.skip("this g++ knows no 16-bit float to stand in for CUDA's")
    assert built.returncode == 0, built.stderr
    return ctypes.CDLL(str(library))


def run_on_processor(
    folder: Path, kernel: str, like: Tensor, radius: int, blocks: int, threads: tuple[int, ...],
    arguments: tuple[int, ...],
) -> None:
    """Stands in for the launch by CuPy."""
    library = on_processor(folder, like.dtype, radius)
    library.launch.restype = ctypes.c_bool
    address = ctypes.cast(getattr(library, kernel), ctypes.c_void_p)
    sizes = [ctypes.c_uint(size) for size in (blocks, *threads)]
    pointers, rest = map(ctypes.c_void_p, arguments[:3]), map(ctypes.c_longlong, arguments[3:])
    assert library.launch(address, *sizes, *pointers, *rest), "threads of a block part at a barrier"


@pytest.fixture
def processor(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches go to the processor; all else is the operators as they are."""
    folder = tmp_path_factory.getbasetemp()
    monkeypatch.setattr(_cost_volume_cupy, "_run", partial(run_on_processor, folder))
    _cost_volume_cupy.cost_volume.register_kernel("cpu", _cost_volume_cupy.forward)
    _cost_volume_cupy.cost_volume_gradient.register_kernel("cpu", _cost_volume_cupy.gradient)


def inputs(size: tuple[int, ...], dtype: torch.dtype, count: int = 2, device: str = "cpu") -> list[Tensor]:
    """Random tensors at odd addresses amid NaNs: a read that goes astray shows."""
    tensors = []
    for seed in range(count):
        values = torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(dtype)
        room = torch.full((values.numel() + 20001,), torch.nan, dtype=dtype, device=device)
        room[10001:-10000] = values.flatten().to(device)
        tensors.append(room[10001:-10000].view(size))
    return tensors


def check(size: tuple[int, ...], dtype: torch.dtype, radius: int, device: str = "cpu") -> None:
    """Values and both gradients against the definition in float64."""
    operands = [tensor.requires_grad_() for tensor in inputs(size, dtype, device=device)]
    volume = _cost_volume_cupy.cost_volume(*operands, radius)
    exact = [tensor.detach().double().requires_grad_() for tensor in operands]
    expected = _by_shifts(*exact, radius)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)).to(device, dtype)
    gradients = torch.autograd.grad(volume, operands, weights)
    truths = (expected, *torch.autograd.grad(expected, exact, weights.double()))
    for result, truth in zip((volume, *gradients), truths, strict=True):
        assert result.dtype == dtype and result.shape == truth.shape and result.is_contiguous()
        assert (result.double() - truth).abs().max() <= TOLERANCE[dtype] * truth.abs().max()


@types
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_source_run_on_the_processor(size: tuple[int, ...], dtype: torch.dtype, processor: None) -> None:
    check(size, dtype, radius=4)


@pytest.mark.parametrize("radius", [0, 1, _cost_volume_cupy.MAX_RADIUS])
def test_other_radii(radius: int, processor: None) -> None:
    check((1, 5, 6, 35), FLOAT, radius)


def test_special_values(processor: None) -> None:
    """Infinities and NaNs arrive as such, small numbers are rounded to even."""
    for dtype in (HALF, BFLOAT16):
        first = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e-6, 1.2345, -0.0]).to(dtype).view(6, 1, 1, 1)
        volume = _cost_volume_cupy.cost_volume(first, torch.ones_like(first), 0)
        torch.testing.assert_close(volume, first, rtol=0, atol=0, equal_nan=True)


def test_strided_inputs_and_single_gradients(processor: None) -> None:
    first, second = inputs((2, 6, 8, 10), FLOAT)
    expected = _by_shifts(first, second, 4)
    first, second = first.to(memory_format=torch.channels_last), second.flip(3).clone().flip(3).requires_grad_()
    volume = _cost_volume_cupy.cost_volume(first, second, 4)
    torch.testing.assert_close(volume, expected)
    volume.sum().backward()  # an expanded gradient, without memory of its own
    (wanted,) = torch.autograd.grad(_by_shifts(first, second, 4).sum(), second)
    torch.testing.assert_close(second.grad, wanted)
    assert first.grad is None


def test_nothing_to_compute(processor: None) -> None:
    assert _cost_volume_cupy.cost_volume(*inputs((0, 3, 4, 4), FLOAT), 4).shape == (0, 81, 4, 4)
    assert _cost_volume_cupy.cost_volume(*inputs((2, 3, 0, 4), FLOAT), 4).shape == (2, 81, 0, 4)


def test_operators_keep_torchs_rules(processor: None) -> None:
    """Schema, autograd, fake tensors and tracing with sizes unknown, as torch checks them."""
    first, second, volume = *inputs((2, 3, 5, 7), FLOAT), torch.randn(2, 81, 5, 7)
    torch.library.opcheck(_cost_volume_cupy.cost_volume, (first.requires_grad_(), second.requires_grad_(), 4))
    torch.library.opcheck(_cost_volume_cupy.cost_volume_gradient, (volume, first.detach(), 4, True))


def test_compiled(processor: None) -> None:
    function = torch.compile(lambda *pair: _cost_volume_cupy.cost_volume(*pair, 4), backend="aot_eager", fullgraph=True)
    first, second = inputs((1, 3, 5, 7), FLOAT)
    torch.testing.assert_close(function(first.requires_grad_(), second), _by_shifts(first, second, 4))


def test_shapes_without_data() -> None:
    with FakeTensorMode():
        first = torch.empty(2, 3, 5, 7, device="cuda", dtype=HALF, memory_format=torch.channels_last).requires_grad_()
        volume = _cost_volume_cupy.cost_volume(first, first.detach(), 4)
        gradient = _cost_volume_cupy.cost_volume_gradient(volume, first, 4, True)
    assert (volume.shape, volume.dtype, volume.device.type) == ((2, 81, 5, 7), HALF, "cuda")
    assert (gradient.shape, gradient.dtype, gradient.device.type) == ((2, 3, 5, 7), HALF, "cuda")
    assert volume.requires_grad and volume.is_contiguous() and gradient.is_contiguous()


@types
def test_nvcc_compiles_the_source(dtype: torch.dtype, tmp_path: Path) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc")
    targets = [f"-gencode=arch=compute_{version},code=sm_{version}" for version in (80, 90)]
    command = ["nvcc", "-std=c++14", "-Werror=all-warnings", "-fatbin", "-o", tmp_path / "kernels", *targets]
    subprocess.run([*command, *defines(dtype, 4), _cost_volume_cupy.SOURCE], check=True)


@types
def test_nvrtc_compiles_the_source_without_headers(dtype: torch.dtype) -> None:
    """NVRTC is what CuPy compiles with; it needs no GPU."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    try:
        error, program = nvrtc.nvrtcCreateProgram(_cost_volume_cupy.SOURCE.read_bytes(), b"", 0, [], [])
    except Exception as missing:  # the bindings' own type
        pytest.skip(f"no NVRTC: {missing}")
    options = [option.encode() for option in ("-std=c++14", "-arch=sm_80", *defines(dtype, 4))]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    log = bytearray(nvrtc.nvrtcGetProgramLogSize(program)[1])
    nvrtc.nvrtcGetProgramLog(program, log)
    assert int(status) == 0, bytes(log).decode()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels on a GPU, or not at all: the variable makes it an error if they cannot run."""
    pytest.importorskip("cupy")
    monkeypatch.setenv(VARIABLE, "cupy")


@gpu
@types
@pytest.mark.parametrize("size", [*SIZES, (8, 196, 3, 5), (4, 32, 64, 64)], ids=str)
def test_on_cuda(size: tuple[int, ...], dtype: torch.dtype, cuda: None) -> None:
    check(size, dtype, radius=4, device="cuda")


@gpu
def test_other_streams_and_autocast_on_cuda(cuda: None) -> None:
    first, second = inputs((2, 32, 48, 48), FLOAT, device="cuda")
    expected = _by_shifts(first, second, 4)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.autocast("cuda", torch.bfloat16):
        torch.cuda._sleep(10**8)  # cycles: a kernel on another stream would read the zeros
        copies = torch.zeros_like(first).copy_(first), torch.zeros_like(second).copy_(second)
        volume = cost_volume(*copies)
    stream.synchronize()
    torch.testing.assert_close(volume, expected)


@gpu
def test_compiled_on_cuda(cuda: None) -> None:
    operands = [tensor.requires_grad_() for tensor in inputs((2, 16, 20, 24), FLOAT, device="cuda")]
    volume = torch.compile(cost_volume, fullgraph=True)(*operands)
    expected = _by_shifts(*operands, 4)
    torch.testing.assert_close(volume, expected)
    pairs = zip(torch.autograd.grad(volume.sum(), operands), torch.autograd.grad(expected.sum(), operands), strict=True)
    for result, truth in pairs:
        torch.testing.assert_close(result, truth, rtol=1e-5, atol=1e-5)


@gpu
def test_more_than_32_bits_of_offset_on_cuda(cuda: None) -> None:
    """81 channels of this many pixels lie beyond 2^31 elements; in bfloat16 it takes about 5 GiB."""
    if torch.cuda.get_device_properties(0).total_memory < 8 * 2**30:
        pytest.skip("takes 5 GiB of the device's memory")
    first = torch.ones(27, 1, 1000, 1000, device="cuda", dtype=BFLOAT16)
    assert cost_volume(first, first)[-1, :, 500, 500].eq(1).all()
