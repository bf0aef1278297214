"""3x3 and 5x5 convolutions on a processor with a quarter or a third of the multiplications, in float32 and without
gradients: Winograd's minimal filtering F(4x4, 3x3) and F(2x2, 5x5) (Lavin and Gray, CVPR 2016).

winograd.c does it, which is compiled when the package is installed. Rounding errors are up to twice those of
torch's convolutions. BLINDVSR_CONVOLUTION=torch|winograd decides by hand.
"""

import ctypes
import importlib.util
import os
import platform
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindvsr import InputError

VARIABLE = "BLINDVSR_CONVOLUTION"
COLUMNS = 16  # outputs are multiplied so many at once, as in winograd.c
INPUTS = 6  # side of a tile's inputs
FEWEST = 16  # inputs, below which transforming tiles takes longer than it saves
SQUARES = 0.5, 2.0  # of the points, which are these numbers' roots, 0 and infinity
Pointer, Count, Strides = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64 * 3


class Convolution(ctypes.Structure):
    """`struct convolution` of winograd.c."""

    _fields_ = [
        ("x", Pointer), ("weight", Pointer), ("bias", Pointer), ("add", Pointer), ("y", Pointer),
        ("side", Count), ("images", Count), ("height", Count), ("width", Count), ("inputs", Count),
        ("outputs", Count), ("x_strides", Strides), ("add_strides", Strides), ("y_strides", Strides),
        ("slope", ctypes.c_float),
    ]


def why_not(device: torch.device) -> str | None:
    """Why `WinogradConv` is not to be used on a device, or None where it is known to be the faster one: on processors
    whose widest vectors are those of AVX2.

    Raises:
        InputError: if BLINDVSR_CONVOLUTION is unknown, or winograd where that cannot run.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "torch", "winograd"):
        raise InputError(f"{VARIABLE}={wanted!r}: choose torch or winograd, or leave it unset")
    vectors = torch.backends.cpu.get_cpu_capability()
    reason = None
    if device.type != "cpu":
        reason = f"Winograd's algorithm is for processors, not for {device.type}"
    elif platform.machine().lower() in ("x86_64", "amd64") and not vectors.startswith("AVX"):
        reason = "Winograd's algorithm needs AVX2"
    elif _library() is None:
        reason = "Winograd's algorithm is not compiled: install GCC, or Clang with OpenMP, and then blindvsr anew"
    if reason and wanted == "winograd":
        raise InputError(f"{VARIABLE}=winograd: {reason}")
    if wanted == "torch":
        return f"{VARIABLE}=torch"
    if reason is None and not wanted and vectors != "AVX2":
        return f"Winograd's algorithm was never measured with {vectors}"
    return reason


class WinogradConv(nn.Module):
    """Stands in for a convolution that it `suits`, and for the activation and the sum around it.

    Args:
        conv: is copied.
        slope: below zero, of the activation at the end: 0 for ReLU, 1 for none.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, slope: float = 1) -> None:
        super().__init__()
        assert conv.bias is not None
        self.inputs, self.outputs, self.slope = conv.in_channels, conv.out_channels, slope
        self.side = INPUTS + 1 - conv.kernel_size[0]
        missing = -self.outputs % COLUMNS
        weight = F.pad(conv.weight.detach().double(), (0, 0, 0, 0, 0, 0, 0, missing)).unflatten(0, (-1, COLUMNS))
        weight = weight.permute(3, 4, 0, 2, 1).flatten(0, 1)  # (size^2, blocks, inputs, 16)
        points = _to_points(conv.kernel_size[0])
        weight = (torch.kron(points, points) @ weight.flatten(1)).unflatten(1, weight.shape[1:])
        self.register_buffer("weight", weight.float().movedim(1, 0).contiguous())  # (blocks, 36, inputs, 16)
        self.register_buffer("bias", F.pad(conv.bias.detach().float(), (0, missing)))

    @staticmethod
    def suits(conv: nn.Module) -> bool:
        """Whether it is a 3x3 or 5x5 convolution with bias that leaves the size as it is, of enough inputs to pay."""
        return isinstance(conv, nn.Conv2d) and conv.bias is not None and conv.padding_mode == "zeros" and (
            conv.kernel_size, conv.padding) in (((3, 3), (1, 1)), ((5, 5), (2, 2))) and (
            conv.stride, conv.dilation, conv.groups) == ((1, 1), (1, 1), 1) and conv.in_channels >= FEWEST

    def forward(self, x: Tensor, add: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Convolves, adds, and activates.

        Args:
            x: (B, C, H, W) in float32; fastest with channels last, or as a part of such a tensor.
            add: (B, K, H, W), to be added before the activation.
            out: (B, K, H, W) with channels last, or a part of such a tensor, for the result. It may be `add`, but not
                overlap with x.

        Returns:
            (B, K, H, W) with channels last.

        Raises:
            ValueError: for other shapes, or another layout of `out`.
        """
        images, inputs, height, width = x.shape
        shape = (images, self.outputs, height, width)
        if inputs != self.inputs or add is not None and add.shape != shape:
            raise ValueError(f"x {tuple(x.shape)}, add {add if add is None else tuple(add.shape)}: this convolution "
                             f"makes {self.outputs} channels of {self.inputs}")
        if out is None:
            out = torch.empty(shape, memory_format=torch.channels_last)
        if out.shape != shape or not _has_channels_last(out):
            raise ValueError(f"out {tuple(out.shape)} with strides {out.stride()} is not {shape} with channels last")
        x, add = _with_channels_last(x), None if add is None else _with_channels_last(add)
        library = _library()
        assert library is not None
        job = Convolution(
            x.data_ptr(), self.weight.data_ptr(), self.bias.data_ptr(), None if add is None else add.data_ptr(),
            out.data_ptr(), self.side, images, height, width, inputs, self.outputs,
            _strides(x), _strides(out if add is None else add), _strides(out), self.slope,
        )
        threads = torch.get_num_threads()
        rooms = torch.empty(threads * library.winograd_room(inputs))
        library.winograd(ctypes.byref(job), threads, rooms.data_ptr())
        return out


def _to_points(size: int) -> Tensor:
    """(6, size): weights along one axis to their polynomial at the six points, divided by what remains of the Lagrange
    polynomials there."""
    near, far = SQUARES
    rows = [[1 / (near * far)] + [0] * (size - 1)]
    for square, other in ((near, far), (far, near)):
        for root in (square**0.5, -(square**0.5)):
            rows.append([root**power / (2 * square * (square - other)) for power in range(size)])
    return torch.tensor([*rows, [0] * (size - 1) + [1]], dtype=torch.float64)


def _has_channels_last(x: Tensor) -> bool:
    """Whether a pixel's channels lie together in memory."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and (x.stride(1) == 1 or x.shape[1] == 1)


def _strides(x: Tensor) -> tuple[int, int, int]:
    return x.stride(0), x.stride(2), x.stride(3)


def _with_channels_last(x: Tensor) -> Tensor:
    return x if _has_channels_last(x) else x.float().contiguous(memory_format=torch.channels_last)


@cache
def _library() -> ctypes.CDLL | None:
    """winograd.c, if this installation has it."""
    found = importlib.util.find_spec("blindvsr.ops._winograd")
    if found is None or found.origin is None:
        return None
    try:
        library = ctypes.CDLL(found.origin)
    except OSError:  # made on another kind of machine
        return None
    library.winograd.restype = None
    library.winograd.argtypes = [Pointer, ctypes.c_int, Pointer]
    library.winograd_room.argtypes, library.winograd_room.restype = [Count], Count
    return library
