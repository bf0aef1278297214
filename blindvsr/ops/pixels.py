"""Between frames, uint8 or uint16 (H, W, 3), and what networks work on, float32 (3, H, W) in [0, 1]."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(frames: NDArray[np.uint8] | NDArray[np.uint16] | Tensor, device: torch.device | None = None) -> Tensor:
    """uint8 or uint16 (..., H, W, 3) -> float32 (..., 3, H, W) in [0, 1], in the layout of the frames: channels last.

    Args:
        frames: one or many, an array or a tensor.
        device: where to; where they are when None.
    """
    pixels = frames if isinstance(frames, Tensor) else torch.from_numpy(np.ascontiguousarray(frames))
    return pixels.to(device).movedim(-1, -3).float() / (65535 if pixels.dtype == torch.uint16 else 255)


def to_deep_frame(picture: Tensor) -> NDArray[Any]:
    """As `to_frame`, but uint16 (H, W, 3), for videos of more than 8 bits."""
    pixels = picture.clamp(0, 1).mul_(65535).round_().to(torch.int32)  # devices know little of uint16
    return pixels.permute(1, 2, 0).contiguous().cpu().numpy().astype(np.uint16)


def to_frame(picture: Tensor) -> NDArray[np.uint8]:
    """(3, H, W), RGB in [0, 1] -> uint8 (H, W, 3): clamped and rounded to the nearest, halves to even."""
    pixels = picture.clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().cpu().numpy()
