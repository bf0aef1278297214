"""The cost volume of PWC-Net (Sun et al., CVPR 2018, section 3), in plain torch: the definition."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cost_volume(first: Tensor, second: Tensor, radius: int = 4) -> Tensor:
    """Correlates every pixel of `first` with the (2 radius + 1)^2 pixels around it in `second`.

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
    height, width = first.shape[-2:]
    padded = F.pad(second, (radius,) * 4)
    offsets = range(2 * radius + 1)
    return torch.stack(
        [(first * padded[..., dy : dy + height, dx : dx + width]).mean(1) for dy in offsets for dx in offsets], dim=1
    )
