"""Blurring by a kernel and downsampling, as one convolution that computes only what is kept."""

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 4


def blur_down(frames: Tensor, kernel: Tensor, scale: int = SCALE) -> Tensor:
    """Blurs by cross-correlation with one kernel per sample, edges repeated, and keeps every `scale`-th pixel from 0.

    So LR pixel i sits on HR pixel `scale` * i. Only the pixels that are kept are computed. Equal to the official
    double padding, blurring and cropping.

    Args:
        frames: (B, C, H, W) or (B, T, C, H, W).
        kernel: (B, 1, k, k), k odd.
        scale: step, pixels.

    Returns:
        (B, C, ceil(H / scale), ceil(W / scale)) or the same with T.

    Raises:
        ValueError: if kernel and frames do not fit.
    """
    batch, size = frames.shape[0], kernel.shape[-1]
    if frames.ndim not in (4, 5) or kernel.shape != (batch, 1, size, size) or size % 2 == 0:
        raise ValueError(f"kernel {tuple(kernel.shape)} does not fit frames {tuple(frames.shape)}: (B, 1, k, k), k odd")
    # samples as channel groups, everything else as the batch: one grouped convolution for all kernels
    planes = frames.reshape(batch, -1, *frames.shape[-2:]).transpose(0, 1)
    padded = F.pad(planes, (size // 2,) * 4, mode="replicate")
    with torch.autocast(frames.device.type, enabled=False):  # low-resolution frames are data, not activations
        result = F.conv2d(padded, kernel.to(frames.dtype), stride=scale, groups=batch).transpose(0, 1)
    return result.reshape(*frames.shape[:-2], *result.shape[-2:])
