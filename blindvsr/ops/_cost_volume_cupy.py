"""The cost volume and its gradients on a GPU: the kernels of cost_volume.cu, compiled and launched by CuPy.

To torch they are operators like its own, so `torch.compile` and autocast pass through them. CuPy is imported here
alone, at the first tensor on a GPU.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("cost_volume.cu")
TYPES = {torch.float32: "float", torch.float16: "Half", torch.bfloat16: "BFloat16"}
MAX_RADIUS = 5  # beyond it the gradients' tile does not fit into 48 KiB of shared memory

# as in cost_volume.cu
TILE_X, TILE_Y, PIXELS = 32, 4, 4
CHANNELS, GROUPS = 16, 8


@cache
def why_not(device: torch.device, dtype: torch.dtype, radius: int) -> str | None:
    """Why these kernels cannot compute a cost volume, in one line with the remedy, or None if they can.

    The answer is found once, by compiling and loading them, and kept.

    Args:
        device: of both inputs.
        dtype: of both inputs.
        radius: pixels.
    """
    if device.type != "cuda" or torch.version.cuda is None:
        return f"CuPy computes on CUDA devices, not on {device.type}; leave the variable unset, or use --device cuda"
    if dtype not in TYPES or radius > MAX_RADIUS:
        return f"there are kernels for {', '.join(map(str, TYPES))} up to radius {MAX_RADIUS}, not {dtype}, {radius}"
    try:
        import cupy
    except ImportError as error:  # also where CuPy is installed and its CUDA libraries are not
        extra = f"cuda{torch.version.cuda.split('.')[0]}"
        return f"{_line(error)}; in the repository: pip install -e '.[{extra}]'"
    try:
        with cupy.cuda.Device(device.index):
            _kernel("forward", TYPES[dtype], radius)
            cupy.cuda.Stream.from_external(_CurrentStream(device))
    except Exception as error:  # of the compiler, the driver or an older CuPy: each raises types of its own
        return f"CuPy {cupy.__version__} cannot load kernels on {device}: {_line(error)}"
    return None


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def forward(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """`blindvsr.ops.cost_volume` for float32, float16 and bfloat16: sums are float32, the result has the inputs' type.

    Args:
        first: (B, C, H, W).
        second: the same shape and type.
        radius: 0 to 5, pixels.

    Returns:
        (B, (2 radius + 1)^2, H, W), contiguous.
    """
    volume = _empty_volume(first, second, radius)
    threads = (TILE_X // PIXELS, 2 * radius + 1, TILE_Y)
    _launch("forward", first, second, volume, radius, parts=1, threads=threads)
    return volume


def _empty_volume(first: Tensor, second: Tensor, radius: int) -> Tensor:
    samples, _, height, width = first.shape
    return first.new_empty(samples, (2 * radius + 1) ** 2, height, width)


def gradient(volume: Tensor, other: Tensor, radius: int, of_second: bool) -> Tensor:
    """The gradient of one input of the cost volume.

    Args:
        volume: (B, (2 radius + 1)^2, H, W), the gradient of the cost volume.
        other: (B, C, H, W), the other input, of the same type.
        radius: of the cost volume, pixels.
        of_second: whether it is the gradient of the second input, and `other` the first.

    Returns:
        (B, C, H, W), contiguous.
    """
    result = _empty_gradient(volume, other, radius, of_second)
    kernel = "gradient_of_second" if of_second else "gradient_of_first"
    parts, threads = -(-other.shape[1] // CHANNELS), (TILE_X // PIXELS, GROUPS, TILE_Y)
    _launch(kernel, volume, other, result, radius, parts=parts, threads=threads)
    return result


def _empty_gradient(volume: Tensor, other: Tensor, radius: int, of_second: bool) -> Tensor:
    return other.new_empty(other.shape)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    first, second, ctx.radius = inputs
    of_first, of_second = ctx.needs_input_grad[:2]
    ctx.save_for_backward(second if of_first else None, first if of_second else None)


def _backward(ctx: Any, volume: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    second, first = ctx.saved_tensors
    of_first = None if second is None else cost_volume_gradient(volume, second, ctx.radius, False)
    of_second = None if first is None else cost_volume_gradient(volume, first, ctx.radius, True)
    return of_first, of_second, None


cost_volume = torch.library.custom_op("blindvsr::cost_volume", forward, mutates_args=(), device_types="cuda")
cost_volume.register_fake(_empty_volume)
cost_volume.register_autograd(_backward, setup_context=_save)
cost_volume_gradient = torch.library.custom_op(
    "blindvsr::cost_volume_gradient", gradient, mutates_args=(), device_types="cuda"
)
cost_volume_gradient.register_fake(_empty_gradient)


def _launch(
    kernel: str, left: Tensor, right: Tensor, result: Tensor, radius: int, parts: int, threads: tuple[int, int, int]
) -> None:
    """Runs a kernel into `result`, a block for every tile of every sample and each of the `parts` of the channels."""
    if not result.numel():
        return
    left, right = left.contiguous(), right.contiguous()
    samples, channels, height, width = right.shape
    blocks = parts * -(-width // TILE_X) * -(-height // TILE_Y) * samples
    pointers = (left.data_ptr(), right.data_ptr(), result.data_ptr())
    _run(kernel, result, radius, blocks, threads, (*pointers, channels, height, width))


class _CurrentStream:
    """Torch's current stream as an object of the CUDA stream protocol; torch's own are that in newer releases only."""

    def __init__(self, device: torch.device) -> None:
        self.handle = torch.cuda.current_stream(device).cuda_stream

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


def _run(
    kernel: str, like: Tensor, radius: int, blocks: int, threads: tuple[int, int, int], arguments: tuple[int, ...]
) -> None:
    """Launches on the device of `like`, for its type, on torch's current stream.

    Args:
        arguments: addresses and sizes; CuPy passes Python's integers as 64 bits.
    """
    import cupy

    with cupy.cuda.Device(like.device.index), cupy.cuda.Stream.from_external(_CurrentStream(like.device)):
        _kernel(kernel, TYPES[like.dtype], radius)((blocks,), threads, arguments)


@cache
def _kernel(name: str, scalar: str, radius: int) -> Any:
    """A kernel. CuPy compiles it for each device that launches it, and keeps the binaries on disk."""
    import cupy

    options = ("-std=c++14", f"-DSCALAR={scalar}", f"-DRADIUS={radius}")
    return cupy.RawModule(code=SOURCE.read_text(), options=options).get_function(name)
