"""The self-supervised objective (paper, section 3.4; weights as in the official code), and those with ground truth."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blindvsr.flow import LEVELS, PWCNet
from blindvsr.network import BlindVSR
from blindvsr.ops.blur import blur_down
from blindvsr.tail import RING, InteriorTail, collapse

BOUNDARY_WEIGHT, SPARSE_WEIGHT, CENTRE_WEIGHT = 0.5, 0.04, 1.0
BOUNDARY_SCALE = 30.0
CHARBONNIER = 1e-3  # under this difference the distance is quadratic
STRUCTURE_WEIGHT = 0.05
SSIM_WINDOW, SSIM_STEP = 8, 4  # pixels
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # as in the protocol's SSIM
# Of the mean end-point error at levels 6 to 2. The paper weights sums over pixels with 0.32, 0.08, 0.02, 0.01, 0.005;
# each level has four times the pixels of the one before.
LEVEL_WEIGHTS = (1.0, 1.0, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Rollout:
    """What one pass of the objective computes for clips (B, 5, 3, H, W).

    Attributes:
        centre: (B, 3, H, W), the clips' middle frames, H and W cropped to multiples of 4.
        kernel: (B, 1, 13, 13), estimated.
        restored_down: (B, 3, H, W), the middle frame restored from the clip blurred and downsampled once more.
        restored: (B, 3, 4H, 4W), the clip's own restoration, without gradient.
        cycle: (B, 3, H, W), `restored` blurred and downsampled with the estimated kernel.
    """

    centre: Tensor
    kernel: Tensor
    restored_down: Tensor
    restored: Tensor
    cycle: Tensor


def rollout(net: BlindVSR, clip: Tensor) -> Rollout:
    """Runs the network on a low-resolution clip (B, 5, 3, H, W) and on its re-degraded twin.

    Sides that are not a multiple of 4 are cropped: the re-degraded clip would come back larger than the clip.
    """
    scale = net.config.scale
    clip = clip[..., : clip.shape[-2] // scale * scale, : clip.shape[-1] // scale * scale]
    kernel = net.estimate_kernel(clip)
    restored_down = net(blur_down(clip, kernel, scale))
    with torch.no_grad():
        # where no gradient flows, the linear tail is one convolution: composed anew for these weights it still saves
        # most of this pass, and its largest activations
        restored = net(clip, tail=collapse(net.tail))
    # the restoration carries no gradient, so this term trains the kernel estimator alone
    cycle = blur_down(restored, kernel, scale)
    return Rollout(clip[:, clip.shape[1] // 2], kernel, restored_down, restored, cycle)


def boundary_mask(size: int, device: torch.device | None = None) -> Tensor:
    """Penalty per kernel entry: 30 (1 - g / max g) outside the middle, g a Gaussian as wide as the kernel.

    Args:
        size: of the kernel.
        device: to compute on; copied there, it would keep a training step from being one CUDA graph.

    Returns:
        (size, size); for 13 the middle 9x9 are 0.
    """
    offsets = torch.arange(size, dtype=torch.float64, device=device) - size // 2
    bell = torch.exp(-(offsets**2) / (2 * size**2))
    mask = 1 - torch.outer(bell, bell)
    margin = (size - (size // 2 + size % 2)) // 2 - 1
    mask[margin : size - margin, margin : size - margin] = 0
    return BOUNDARY_SCALE * mask


def centre_of_mass(kernel: Tensor) -> Tensor:
    """(B, 1, k, k) -> (B, 2), row and column, pixels from the kernel's first entry."""
    weights = kernel[:, 0]
    positions = torch.arange(kernel.shape[-1], device=kernel.device, dtype=kernel.dtype)
    total = weights.sum((1, 2))
    return torch.stack(((weights.sum(2) @ positions) / total, (weights.sum(1) @ positions) / total), dim=1)


def kernel_terms(kernel: Tensor) -> dict[str, Tensor]:
    """The three priors on the kernel (B, 1, k, k), weighted: boundary, sparse, centre."""
    size = kernel.shape[-1]
    mask = boundary_mask(size, kernel.device).to(kernel)
    positive = kernel > 0
    # the square root has no finite slope at 0: such entries get no gradient
    root = torch.where(positive, kernel, 1).sqrt() * positive
    return {
        "boundary": BOUNDARY_WEIGHT * (kernel * mask).abs().mean(),
        "sparse": SPARSE_WEIGHT * root.mean(),
        "centre": CENTRE_WEIGHT * (centre_of_mass(kernel) - size // 2).square().mean(),
    }


def terms(outputs: Rollout) -> dict[str, Tensor]:
    """The weighted terms aux, cycle, boundary, sparse and centre; the loss is their sum."""
    return {
        "aux": F.l1_loss(outputs.restored_down, outputs.centre),
        "cycle": F.l1_loss(outputs.cycle, outputs.centre),
        **kernel_terms(outputs.kernel.float()),
    }


def self_supervised(net: BlindVSR, clip: Tensor) -> dict[str, Tensor]:
    """The objective for low-resolution clips: no ground truth, no known kernel.

    Args:
        net: the network.
        clip: (B, 5, 3, H, W), RGB in [0, 1]; H and W at least 64, so that the re-degraded clip has 16 pixels.

    Returns:
        Weighted scalar terms; their sum is the loss:
        aux: L1 between the clip's middle frame and its restoration from the re-degraded clip.
        cycle: L1 between the middle frame and the re-degraded restoration; trains the kernel estimator alone.
        boundary, sparse, centre: priors on the kernel, see `kernel_terms`.
    """
    return terms(rollout(net, clip))


def supervised(net: BlindVSR, clip: Tensor, truth: Tensor, kernel: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The objective for footage whose high-resolution frames and blur are known.

    Args:
        net: the network.
        clip: (B, 5, 3, H, W), RGB in [0, 1].
        truth: (B, 3, 4H, 4W), the middle frame before it was blurred.
        kernel: (B, 1, 13, 13), what blurred it.

    Returns:
        Scalar terms, whose sum is the loss, and the restored frame (B, 3, 4H, 4W):
        restored: Charbonnier distance (Lai et al., CVPR 2017), a smooth L1, of the restored frame to the truth, without
            the outermost 4 pixels, which the protocol leaves out too.
        structure: 1 minus `similarity`, weighted, on the same pixels. Trained with the distance alone, for hours
            instead of weeks, the network restores frames that are too soft.
        kernel: `kernel_distance`; trains the kernel estimator alone, and is left out where that is frozen.
    """
    restored = net(clip, tail=InteriorTail(net.tail))
    inside = (..., slice(RING, -RING), slice(RING, -RING))  # where `InteriorTail` is right; the protocol crops too
    losses = {
        "restored": ((restored[inside] - truth[inside]).square() + CHARBONNIER**2).sqrt().mean(),
        "structure": STRUCTURE_WEIGHT * (1 - similarity(restored[inside], truth[inside])),
    }
    if next(net.kernel_net.parameters()).requires_grad:
        losses["kernel"] = kernel_distance(net.estimate_kernel(clip), kernel)
    return losses, restored


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Mean SSIM (Wang et al., 2004) of images (B, C, H, W) in [0, 1], over windows of 8x8 at every fourth pixel:
    coarser than the protocol's SSIM, and much cheaper."""
    count = first.shape[1]
    stacked = torch.cat((first, second, first * first, second * second, first * second), 1).float()
    mean1, mean2, square1, square2, product = F.avg_pool2d(stacked, SSIM_WINDOW, SSIM_STEP).split(count, 1)
    means = mean1 * mean2
    squares = mean1.square() + mean2.square()
    return ((2 * means + SSIM_C1) * (2 * (product - means) + SSIM_C2)
            / ((squares + SSIM_C1) * (square1 + square2 - squares + SSIM_C2))).mean()


def kernel_distance(kernel: Tensor, truth: Tensor) -> Tensor:
    """L1 distance of kernels (B, 1, k, k): the sum over a kernel, between 0 and 2, and the mean over the batch."""
    return (kernel - truth).abs().sum((1, 2, 3)).mean()


def end_point_error(flow: Tensor, truth: Tensor) -> Tensor:
    """Mean length of the difference of two flow fields (B, 2, H, W)."""
    return (flow - truth).square().sum(1).clamp(min=1e-12).sqrt().mean()


def flow_terms(net: PWCNet, first: Tensor, second: Tensor, truth: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The multi-scale end-point error of PWC-Net (Sun et al., CVPR 2018, section 3).

    Args:
        net: flow network.
        first, second: (B, 3, H, W), RGB in [0, 1].
        truth: (B, 2, H, W), pixels.

    Returns:
        The weighted error of each level, in units of 20 pixels, whose sum is the loss; and the network's flow,
        (B, 2, H, W), pixels.
    """
    flows = net.flows(net.pyramid(first), net.pyramid(second))
    losses = {}
    for level, weight, flow in zip(LEVELS, LEVEL_WEIGHTS, flows, strict=True):
        losses[f"level{level}"] = weight * end_point_error(flow, net.to_level(truth, flow))
    return losses, net.to_pixels(flows[-1], (truth.shape[-2], truth.shape[-1]))
