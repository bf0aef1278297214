"""Without ground truth: the blur kernels that the network sees, and how well its output explains its input."""

import math
from pathlib import Path

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray

from blindvsr.degrade import kernel_picture
from blindvsr.frames import Frame, write_image
from blindvsr.network import BlindVSR
from blindvsr.ops import blur_down, to_tensor

LARGEST = 512  # sides of what is looked at, in LR pixels: the middle of larger frames tells as much
BORDER = 2  # LR pixels that the blur of a 13x13 kernel reaches beyond the crop
SHOWN = 12  # kernels in the picture


def _middle(length: int) -> slice:
    start = max(0, (length - LARGEST) // 2)
    return slice(start, start + min(length, LARGEST))


class KernelTrack:
    """Estimated kernels over time, and the cycle PSNR: the input against the output blurred and downsampled with them.

    A network that restores well and knows the blur explains its input: about 40 dB and more. Much less says that the
    video's degradation is not one it was trained for.

    Attributes:
        kernels: (13, 13) each, float32.
        indices: the frames that they belong to.
    """

    def __init__(self, net: BlindVSR, every: int = 1) -> None:
        """Looks at every `every`-th frame, on the network's device, in float32."""
        self.kernels: list[NDArray[np.float32]] = []
        self.indices: list[int] = []
        self._net = net
        self._every = every
        self._seen = 0
        self._squares = 0.0
        self._samples = 0

    @torch.inference_mode()
    def add(self, window: list[Frame], restored: Frame) -> None:
        """Takes the next restored frame.

        Args:
            window: the input frames around it, (H, W, 3) each, as many as the network takes.
            restored: (4H, 4W, 3).
        """
        index, self._seen = self._seen, self._seen + 1
        if index % self._every:
            return
        rows, columns = (_middle(side) for side in window[0].shape[:2])
        device = next(self._net.parameters()).device
        clip = to_tensor(np.stack([frame[rows, columns] for frame in window]), device)
        kernel = self._net.estimate_kernel(clip[None])
        self.kernels.append(kernel[0, 0].cpu().numpy())
        self.indices.append(index)
        large = [slice(4 * part.start, 4 * part.stop) for part in (rows, columns)]
        again = blur_down(to_tensor(restored[large[0], large[1]][None], device), kernel)
        inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        error = again[inner] - clip[len(window) // 2][inner]
        self._squares += float(error.square().sum())
        self._samples += error.numel()

    @property
    def cycle_psnr(self) -> float:
        """dB, of the mean square error over all frames looked at; infinite if there is none."""
        return -10 * math.log10(self._squares / self._samples) if self._squares else math.inf

    def save(self, mat: Path, picture: Path) -> None:
        """Writes the kernels as MATLAB file and as picture.

        Args:
            mat: gets `kernel` (N, 13, 13) and `frame` (1, N), counted from 0.
            picture: PNG of up to 12 kernels, evenly over time, on one scale of brightness.
        """
        kernels = np.stack(self.kernels)
        scipy.io.savemat(mat, {"kernel": kernels, "frame": np.array(self.indices)}, appendmat=False)
        shown = np.unique(np.linspace(0, len(kernels) - 1, min(SHOWN, len(kernels))).round().astype(int))
        write_image(picture, kernel_picture(kernels[shown], [str(self.indices[place]) for place in shown]))
