"""What can be had beyond the network's own output: an average over mirrored and turned frames, and back-projection."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blindvsr import InputError
from blindvsr.frames import Frame
from blindvsr.network import BlindVSR
from blindvsr.ops import blur_down
from blindvsr.restorer import Encoded, Restorer

MOST_PROJECTIONS = 20
LARGEST = 256  # sides of what the kernel is estimated from, LR pixels: of larger frames the middle is enough
STEP = 0.7  # share of the residual that a back-projection adds
CUBIC = -0.75  # of the bicubic kernel, as in `blindvsr.degrade.bicubic_up`
REACH = 2  # LR pixels that the bicubic kernel sees each way
RESPONSE = 4  # and those that this and the blur, of 13 large pixels, reach together
# bits of a view's number
MIRRORED, UPSIDE_DOWN, TRANSPOSED = 1, 2, 4
VIEWS = 8


@dataclass(frozen=True)
class Refinement:
    """How the network's output is refined; not at all by default.

    Attributes:
        ensemble: averages what the network makes of a window and of its seven mirrored and turned twins, for eight
            times the work (Timofte et al., CVPR 2016, section 3.4).
        back_projections: how many times the difference between the input and the output, blurred by the estimated
            kernel and downsampled, is enlarged and added to the output (Irani and Peleg, 1991); 0 to 20. Three add up
            to 0.4 dB where the input is clean, and harm where it is noisy or compressed.

    Raises:
        InputError: for another number of back-projections.
    """

    ensemble: bool = False
    back_projections: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.back_projections <= MOST_PROJECTIONS:
            raise InputError(f"back_projections={self.back_projections}: give a number from 0 to {MOST_PROJECTIONS}")


@dataclass
class EncodedViews:
    """What is computed from one frame alone, for all views of it.

    Attributes:
        frame: (1, 3, H, W), RGB in [0, 1], as it is.
        views: of the frame mirrored, upside down and transposed, by the bits of their place.
    """

    frame: Tensor
    views: list[Encoded]


class Ensemble:
    """Stands in for a `Restorer`, and takes the average of eight restorations.

    Mirroring moves the grid: low-resolution pixel i lies on pixel `scale` * i of the output, and on the last but
    `scale` * i + 3 of a mirrored one. So a mirrored restoration belongs 3 pixels further on, and its last 3 rows or
    columns have no counterpart; there the average is over those views that have one.

    Args:
        net, tile, precision: see `Restorer`.
    """

    def __init__(self, net: BlindVSR, tile: int | str | None, precision: str) -> None:
        self._upright = Restorer(net, tile, precision, copies=VIEWS)
        self._turned = Restorer(net, tile, precision, copies=VIEWS)  # frames of another size, planned for by itself
        self._beyond = net.config.scale - 1

    def _restorer(self, view: int) -> Restorer:
        return self._turned if view & TRANSPOSED else self._upright

    def encode(self, frame: Frame) -> EncodedViews:
        """Everything that a frame (H, W, 3) needs for all the windows it will be in."""
        views = []
        for view in range(VIEWS):
            seen = frame.transpose(1, 0, 2) if view & TRANSPOSED else frame
            seen = seen[:: -1 if view & UPSIDE_DOWN else 1, :: -1 if view & MIRRORED else 1]
            views.append(self._restorer(view).encode(np.ascontiguousarray(seen)))
        return EncodedViews(views[0].frame, views)

    def restore(self, window: Sequence[EncodedViews]) -> Tensor:
        """The restored middle frame of a window: (1, 3, 4H, 4W) float32, unclamped."""
        total = count = None
        for view in range(VIEWS):
            picture = self._restorer(view).restore([encoded.views[view] for encoded in window])
            covered = torch.ones_like(picture[:, :1])
            for bit, axis in ((UPSIDE_DOWN, 2), (MIRRORED, 3)):
                if view & bit:
                    picture, covered = (self._mirrored_back(values, axis) for values in (picture, covered))
            if view & TRANSPOSED:
                picture, covered = picture.mT, covered.mT
            total, count = (picture, covered) if total is None or count is None else (total + picture, count + covered)
        assert total is not None and count is not None
        return total / count

    def _mirrored_back(self, values: Tensor, axis: int) -> Tensor:
        """Mirrored and moved to where it belongs; zero where there is nothing."""
        kept = values.narrow(axis, 0, values.shape[axis] - self._beyond).flip(axis)
        return F.pad(kept, (0, 0, 0, self._beyond) if axis == 2 else (0, self._beyond))


def middle(length: int, most: int) -> slice:
    """The middle of a side of a frame, so many pixels at most."""
    start = max(0, (length - most) // 2)
    return slice(start, start + min(length, most))


@torch.inference_mode()
def back_projected(net: BlindVSR, picture: Tensor, window: Sequence[Tensor], steps: int) -> Tensor:
    """Makes a restored frame agree with the input, as the kernel that the network estimates explains it.

    Args:
        net: estimates the kernel, from the middle of the window.
        picture: (1, 3, 4H, 4W), restored, float32.
        window: (1, 3, H, W) each, RGB in [0, 1]: the frames around it, itself in the middle.
        steps: how many times.

    Returns:
        (1, 3, 4H, 4W).
    """
    if not steps:
        return picture
    frame = window[len(window) // 2]
    rows, columns = (middle(side, LARGEST) for side in frame.shape[-2:])
    kernel = net.estimate_kernel(torch.cat([each[..., rows, columns] for each in window])[None])
    residual, correction = frame - blur_down(picture, kernel), torch.zeros_like(frame)
    # what comes back of a single pixel that is enlarged, blurred and downsampled: so the steps need no large frames
    pixel = F.pad(frame.new_ones(1, 1, 1, 1), (RESPONSE,) * 4)
    response = blur_down(enlarged(pixel, net.config.scale), kernel).flip(-2, -1)
    for _ in range(steps):
        correction = correction + STEP * residual
        padded = F.pad(residual.flatten(0, 1)[:, None], (RESPONSE,) * 4, mode="replicate")
        residual = residual - STEP * F.conv2d(padded, response).view_as(residual)
    return picture + enlarged(correction, net.config.scale)


def enlarged(image: Tensor, scale: int) -> Tensor:
    """Bicubic upsampling (B, C, H, W) -> (B, C, 4H, 4W) that puts pixel i on `scale` * i, where `blur_down` took it
    from: `blindvsr.degrade.bicubic_up` for tensors, as one convolution and a shuffle."""
    offsets = torch.arange(-REACH, REACH + 1, device=image.device, dtype=image.dtype)
    phases = torch.arange(scale, device=image.device, dtype=image.dtype) / scale
    t = (phases[:, None] - offsets).abs()
    near = ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * t * CUBIC - 4 * CUBIC
    line = torch.where(t <= 1, near, torch.where(t < 2, far, 0))
    weight = torch.einsum("ai,bj->abij", line, line).flatten(0, 1)[:, None]
    planes = F.pad(image.flatten(0, 1)[:, None], (REACH,) * 4, mode="replicate")
    large = F.pixel_shuffle(F.conv2d(planes, weight), scale)
    return large.view(*image.shape[:2], *large.shape[2:])
