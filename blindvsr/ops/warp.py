"""Warping by optical flow. Flow is in pixels, (dx, dy); normalised coordinates never leave this file."""

import torch
import torch.nn.functional as F
from torch import Tensor


def positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel looks, for flow (B, 2, H, W) in pixels: two tensors (B, H, W), x and y."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return x, y


def backwarp(image: Tensor, flow: Tensor, padding_mode: str = "border") -> Tensor:
    """Samples `image` bilinearly at every pixel's position plus its flow.

    Pixel centres of the corners are the corners of the sampling grid (`align_corners=True`): the official code was
    written for PyTorch 0.4.1, which knew nothing else, and its weights were trained so.

    Args:
        image: (B, C, H, W).
        flow: (B, 2, H, W), pixels, (dx, dy).
        padding_mode: "border" repeats the edge, "zeros" is black outside.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: if batch or size of image and flow differ.
    """
    if flow.shape != (image.shape[0], 2, *image.shape[-2:]):
        raise ValueError(f"flow {tuple(flow.shape)} does not fit image {tuple(image.shape)}: it must be (B, 2, H, W)")
    return sample(image, *positions(flow), padding_mode)


def sample(image: Tensor, x: Tensor, y: Tensor, padding_mode: str = "border") -> Tensor:
    """Samples `image` bilinearly.

    Args:
        image: (B, C, H, W).
        x, y: (B, h, w), where to look: pixels from the centre of the first.
        padding_mode: as of `backwarp`.

    Returns:
        (B, C, h, w).
    """
    height, width = image.shape[-2:]
    grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), dim=-1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=padding_mode, align_corners=True)


def coverage(flow: Tensor) -> Tensor:
    """The share of each bilinear sample that lies inside the image: what warping an image of ones with zeros
    outside would give, in closed form.

    Args:
        flow: (B, 2, H, W), pixels.

    Returns:
        (B, 1, H, W) in [0, 1], without gradient: the masks made from it are steps.
    """
    height, width = flow.shape[-2:]
    x, y = positions(flow.detach())
    inside_x = torch.minimum(x + 1, width - x).clamp(0, 1)
    inside_y = torch.minimum(y + 1, height - y).clamp(0, 1)
    return (inside_x * inside_y)[:, None]
