"""What validation and test measure: restoration against the truth, the estimated kernels, and the objective's own pair.

Memory stays bounded whatever the size of the frames: videos are restored in tiles, and of everything else the middle is
looked at, which tells as much.
"""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blindvsr.datasets import WINDOW
from blindvsr.frames import Frame
from blindvsr.lit.footage import ValidationClip
from blindvsr.losses import kernel_distance
from blindvsr.metrics import Channels, Scores, scored_frames
from blindvsr.network import BlindVSR
from blindvsr.ops import to_tensor
from blindvsr.ops.blur import SCALE, blur_down
from blindvsr.scoring.folders import crop_to
from blindvsr.stream import restore
from blindvsr.tail import collapse
from blindvsr.scoring.temporal import Consistency

LARGEST = 512  # sides of the middle that is looked at, low-resolution pixels


def to_clip(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) -> (1, N, 3, H, W) in [0, 1]."""
    return to_tensor(frames, device)[None]


def mean_psnr(first: Tensor, second: Tensor) -> Tensor:
    """Mean over the batch of the PSNR of tensors (B, C, H, W) in [0, 1], dB; for curves, not for tables."""
    errors = (first.float() - second.float()).square().mean((1, 2, 3))
    return -10 * torch.log10(errors.clamp(min=1e-10)).mean()


def middle_window(clip: ValidationClip, largest: int = LARGEST) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The five frames in the middle of a clip, and in space the middle of them.

    Args:
        clip: any.
        largest: sides of what is kept, low-resolution pixels; cut to multiples of 4.

    Returns:
        LR frames (5, h, w, 3) and their truth (5, 4h, 4w, 3), or None where there is none.
    """
    start = len(clip.low) // 2 - WINDOW // 2
    sides = [min(side, largest) // SCALE * SCALE for side in clip.low.shape[1:3]]
    corner = [(whole - side) // 2 for whole, side in zip(clip.low.shape[1:3], sides, strict=True)]

    def cut(frames: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
        rows, columns = (slice(scale * first, scale * (first + side))
                         for first, side in zip(corner, sides, strict=True))
        return frames[start : start + WINDOW, rows, columns]

    return cut(clip.low, 1), None if clip.truth is None else cut(clip.truth, SCALE)


def score_video(
    net: BlindVSR, low: Iterable[Frame], truth: Iterable[Frame], chosen: range, name: str, precision: str = "32",
    channels: Channels = "rgb", temporal: bool = False,
) -> Scores:
    """Restores the frames that the protocol scores, and scores them as they come.

    Args:
        net: the network, on the device to work on.
        low: LR frames.
        truth: HR frames.
        chosen: indices of the frames to score.
        name: of the video, for messages.
        precision: see `blindvsr.stream.restore`.
        channels: rgb, or y for the luma alone.
        temporal: measure temporal consistency too, see `blindvsr.scoring.temporal`.

    Raises:
        InputError: if LR and HR do not fit, or there are too few frames for `temporal`.
    """
    scores, consistency = Scores(), Consistency() if temporal else None
    restored = restore(net, low, "auto", precision, only=chosen, cuts=False)  # the protocol's windows
    for frame, true in zip(restored, islice(truth, chosen.start, chosen.stop), strict=True):
        true = crop_to(true, frame, name)
        scores.add(frame, true, channels)
        if consistency:
            consistency.add(frame, true)
    if consistency:
        scores.temporal = consistency.result(name)
    return scores


def restoration(net: BlindVSR, clip: ValidationClip) -> dict[str, Tensor]:
    """psnr (dB) and ssim of the frames of a clip that the protocol scores."""
    assert clip.truth is not None
    scores = score_video(net, iter(clip.low), iter(clip.truth), scored_frames(len(clip.low)), clip.name)
    return {"psnr": torch.tensor(scores.psnr), "ssim": torch.tensor(scores.ssim)}


def kernel_error(net: BlindVSR, clip: ValidationClip) -> dict[str, Tensor]:
    """kernel: L1 distance of the estimated kernels to the true ones, over the probes of a clip."""
    assert clip.probes is not None
    device = next(net.parameters()).device
    true = torch.from_numpy(clip.probes).float()[:, None].to(device)
    high = middle_window(clip)[1]
    assert high is not None
    truth = to_clip(high, device).expand(len(true), -1, -1, -1, -1)
    return {"kernel": kernel_distance(net.estimate_kernel(blur_down(truth, true)), true)}


def twin_error(net: BlindVSR, clip: ValidationClip) -> dict[str, Tensor]:
    """aux_psnr: dB, of the clip's middle frame restored from its own re-degraded twin; needs no truth."""
    frames = to_clip(middle_window(clip)[0], next(net.parameters()).device)
    restored = net(blur_down(frames, net.estimate_kernel(frames)), tail=collapse(net.tail))
    return {"aux_psnr": mean_psnr(restored, frames[:, WINDOW // 2])}
