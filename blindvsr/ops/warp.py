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
    written for PyTorch 0.4.1, where that was the only behaviour, and its weights were trained with it.

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
        x, y: (B, h, w), where to look: pixels from the centre of the first. NaN looks at the first with "border", and
            gives NaN with "zeros".
        padding_mode: as of `backwarp`.

    Returns:
        (B, C, h, w).
    """
    height, width = image.shape[-2:]
    grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), dim=-1)
    if padding_mode == "border" and torch.is_grad_enabled():  # a processor's gradient at NaN is a segmentation fault
        grid = torch.where(grid.isnan(), -1, grid)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=padding_mode, align_corners=True)


def sample_seen(image: Tensor, x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
    """`sample` for inference: with the border repeated, and zero where nothing is `seen`.

    With channels last a pixel is a row of a table, and a sample the weighted sum of four of them: a quarter of the time
    of `sample`, without conversions to float32 and back.

    Args:
        image: (1, C, H, W), fastest with channels last, H and W at least 2, in any precision.
        x, y: (1, h, w), where to look, as for `sample`.
        seen: (1, h, w), truth values.

    Returns:
        (1, C, h, w) with channels last, in the image's precision.
    """
    width = image.shape[-1]
    table = image.permute(0, 2, 3, 1).flatten(0, 2)
    (left, right_share), (top, lower_share) = _pixel_before(x, width), _pixel_before(y, image.shape[-2])
    left_share, right_share = (1 - right_share) * seen, right_share * seen
    upper_share = 1 - lower_share
    first = top * width + left
    rows = torch.stack((first, first + 1, first + width, first + width + 1), -1).flatten(0, 2)
    shares = torch.stack((left_share * upper_share, right_share * upper_share,
                          left_share * lower_share, right_share * lower_share), -1).flatten(0, 2)
    if table.dtype != shares.dtype:  # the shares in two parts: rounded to 8 bits they would not sum to 1
        rounded = shares.to(table.dtype)
        rows, shares = rows.repeat(1, 2), torch.cat((rounded, (shares - rounded).to(table.dtype)), 1)
    pixels = F.embedding_bag(rows, table, per_sample_weights=shares, mode="sum")
    return pixels.view(*x.shape, -1).permute(0, 3, 1, 2)


def _pixel_before(places: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The pixel before each place, never the last one, and the share of the one after it."""
    places = (2 * places / (length - 1) - 1 + 1) * ((length - 1) / 2)  # rounded as in `sample`: the two are equal
    places = places.nan_to_num().clamp(0, length - 1)
    first = places.floor().clamp(max=length - 2)
    return first.long(), places - first


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
