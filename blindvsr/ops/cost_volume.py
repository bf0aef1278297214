"""The cost volume of PWC-Net (Sun et al., CVPR 2018, section 3), in plain torch.

On a GPU with CuPy, the kernels of cost_volume.cu compute the same. BLINDVSR_COST_VOLUME=torch|cupy decides by hand.
"""

import itertools
import os
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from blindvsr import InputError
from blindvsr.ops import _cost_volume_cupy

VARIABLE = "BLINDVSR_COST_VOLUME"
BLOCK = 16  # pixels of a row that are correlated together


def cost_volume(first: Tensor, second: Tensor, radius: int = 4) -> Tensor:
    """Correlates every pixel of `first` with the (2 radius + 1)^2 pixels around it in `second`.

    Where no gradient is needed it is computed as matrix products, many times faster and equal except for rounding. On a
    GPU with CuPy it is computed by kernels that add up in float32; their result has the type of the inputs.

    Args:
        first: (B, C, H, W).
        second: (B, C, H, W); it counts as zero outside.
        radius: largest displacement, pixels.

    Returns:
        (B, (2 radius + 1)^2, H, W): channel (dy + radius) * (2 radius + 1) + (dx + radius) is the mean over channels of
        first[y, x] * second[y + dy, x + dx].

    Raises:
        ValueError: if the shapes differ.
        InputError: if BLINDVSR_COST_VOLUME is unknown, or cupy where that cannot run.
    """
    if first.shape != second.shape:
        raise ValueError(f"cost_volume needs equal shapes, got {tuple(first.shape)} and {tuple(second.shape)}")
    if torch.onnx.is_in_onnx_export():
        return _by_strips(first, second, radius)
    dtype = torch.promote_types(first.dtype, second.dtype)
    if _by_cupy(first.device, dtype, radius):
        return _cost_volume_cupy.cost_volume(first.to(dtype), second.to(dtype), radius)
    if torch.is_grad_enabled() and (first.requires_grad or second.requires_grad):
        # Only with this order of summation do the gradients agree with the official ones to 1e-4 in float32: some
        # activation after it is so close to 0 that another rounding puts it on the other side of LeakyReLU's kink.
        return _by_shifts(first, second, radius)
    return _by_rows(first, second, radius)


@torch.compiler.assume_constant_result  # so that torch.compile need not look into it
def _by_cupy(device: torch.device, dtype: torch.dtype, radius: int) -> bool:
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "torch", "cupy"):
        raise InputError(f"{VARIABLE}={wanted!r}: choose torch or cupy, or leave it unset")
    if wanted == "torch" or (not wanted and device.type != "cuda"):
        return False
    reason = _cost_volume_cupy.why_not(device, dtype, radius)
    if reason and wanted:
        raise InputError(f"{VARIABLE}=cupy: {reason}")
    if reason:
        _warn(reason)
    return reason is None


@cache
def _warn(reason: str) -> None:
    """Says each reason once."""
    warnings.warn(f"plain torch computes the cost volume: {reason} ({VARIABLE}=torch silences this)", stacklevel=4)


def _by_shifts(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """The definition, word for word: one product per displacement."""
    return _ByShifts.apply(first, second, radius)


class _ByShifts(torch.autograd.Function):
    """The gradients are written by hand: autograd would fill a tensor of zeros for every displacement, and that takes
    half of the time in which a flow network trains."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.radius = radius
        padded = F.pad(second, (radius,) * 4)
        return torch.stack([(first * padded[window]).mean(1) for window in _windows(first, radius)], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        first, second = ctx.saved_tensors
        radius, (height, width) = ctx.radius, first.shape[-2:]
        padded = F.pad(second, (radius,) * 4)
        to_first, to_padded = torch.zeros_like(first), torch.zeros_like(padded)
        gradient = gradient / first.shape[1]
        for number, window in enumerate(_windows(first, radius)):
            part = gradient[:, number : number + 1]
            to_first.addcmul_(part, padded[window])
            to_padded[window].addcmul_(part, first)
        return to_first, to_padded[..., radius : radius + height, radius : radius + width], None


def _windows(first: Tensor, radius: int) -> Iterator[tuple[Any, ...]]:
    """Where the padded second input meets the first one, displacement by displacement."""
    height, width = first.shape[-2:]
    for dy, dx in itertools.product(range(2 * radius + 1), repeat=2):
        yield ..., slice(dy, dy + height), slice(dx, dx + width)


def _by_strips(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """For graphs whose height and width stay open: few nodes, and no arithmetic that depends on the size. One strip of
    `second` per row displacement, nine times its memory.
    """
    height, width = first.shape[-2:]
    offsets = torch.arange(2 * radius + 1, device=first.device)
    rows = offsets[:, None] + torch.arange(height, device=first.device)
    strips = F.pad(second, (radius,) * 4).index_select(2, rows.flatten())
    strips = strips.unflatten(2, (-1, height))  # (B, C, 2 radius + 1, H, W + 2 radius)
    columns = [(first[:, :, None] * strips[..., dx : dx + width]).mean(1) for dx in range(2 * radius + 1)]
    return torch.stack(columns, 2).flatten(1, 2)


def _by_rows(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """A block of 16 pixels against all pixels that any of them may meet in one row of `second`; of these products the
    diagonal band is kept. Reads both inputs 9 times where the definition reads them 81 times. Channels last in memory.
    """
    channels, height, width = first.shape[1:]
    size, block = 2 * radius + 1, min(BLOCK, width)
    filling = -width % block
    left = F.pad(first, (0, filling)).permute(0, 2, 3, 1).unflatten(2, (-1, block)).contiguous()
    right = F.pad(second, (radius, radius + filling, radius, radius)).permute(0, 2, 3, 1)
    right = right.unfold(2, block + 2 * radius, block).contiguous()  # (B, H + 2 radius, blocks, C, block + 2 radius)
    volume = left.new_empty(*left.shape[:-1], size, size)  # (B, H, blocks, block, dy, dx)
    for dy in range(size):
        products = left @ right[:, dy : dy + height]  # (B, H, blocks, block, block + 2 radius)
        *outer, row, column = products.stride()
        band = products.as_strided(volume.shape[:-1], (*outer, row + column, column))  # of row i the entries from i on
        volume[..., dy, :] = band / channels
    return volume.flatten(4).flatten(2, 3)[:, :, :width].permute(0, 3, 1, 2)
