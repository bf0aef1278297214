"""The cost volume of PWC-Net (Sun et al., CVPR 2018, section 3), in plain torch: the definition."""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16  # pixels of a row that are correlated together


def cost_volume(first: Tensor, second: Tensor, radius: int = 4) -> Tensor:
    """Correlates every pixel of `first` with the (2 radius + 1)^2 pixels around it in `second`.

    Without gradients it is computed as matrix products, many times faster and equal but for rounding.

    Args:
        first: (B, C, H, W).
        second: (B, C, H, W); it counts as zero outside.
        radius: largest displacement, pixels.

    Returns:
        (B, (2 radius + 1)^2, H, W): channel (dy + radius) * (2 radius + 1) + (dx + radius) is the mean over channels of
        first[y, x] * second[y + dy, x + dx].

    Raises:
        ValueError: if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"cost_volume needs equal shapes, got {tuple(first.shape)} and {tuple(second.shape)}")
    if torch.onnx.is_in_onnx_export():
        return _by_strips(first, second, radius)
    if torch.is_grad_enabled() and (first.requires_grad or second.requires_grad):
        # a few per cent of a training step; and the official gradients hold to 1e-4 in float32 with this order of
        # summation alone, because some activation after it is that near to the kink of its LeakyReLU
        return _by_shifts(first, second, radius)
    return _by_rows(first, second, radius)


def _by_shifts(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """The definition, word for word: one product per displacement."""
    height, width = first.shape[-2:]
    padded = F.pad(second, (radius,) * 4)
    offsets = range(2 * radius + 1)
    return torch.stack(
        [(first * padded[..., dy : dy + height, dx : dx + width]).mean(1) for dy in offsets for dx in offsets], dim=1
    )


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
    block = min(BLOCK, width)
    filling = -width % block
    # rows come first, so that any run of rows is one piece of memory
    left = F.pad(first, (0, filling)).permute(2, 0, 3, 1).unflatten(2, (-1, block))
    right = F.pad(second, (radius, radius + filling, radius, radius)).permute(2, 0, 3, 1)
    right = right.unfold(2, block + 2 * radius, block).contiguous()  # (H + 2 radius, B, blocks, C, block + 2 radius)
    bands = [_band(left @ right[dy : dy + height] / channels, 2 * radius + 1) for dy in range(2 * radius + 1)]
    volume = torch.cat(bands, -1).flatten(2, 3)[:, :, :width]  # (H, B, W, 81)
    return volume.transpose(0, 1).contiguous().permute(0, 3, 1, 2)


def _band(products: Tensor, size: int) -> Tensor:
    """(..., n, n + size - 1) -> (..., n, size): of row i the entries from i on."""
    rows, columns = products.shape[-2:]
    # one more entry per row moves each row one further to the left than the one above
    return F.pad(products.flatten(-2), (0, rows)).unflatten(-1, (rows, columns + 1))[..., :size]
