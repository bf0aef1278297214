"""Without ground truth: the blur kernels that the network sees, and how well its output explains its input."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from torch import Tensor

from blindvsr.degrade import kernel_picture
from blindvsr.frames import write_image
from blindvsr.network import BlindVSR
from blindvsr.ops import blur_down
from blindvsr.outputs import cannot_write
from blindvsr.refinement import middle

LARGEST = 512  # sides of what is looked at, in LR pixels: the middle of larger frames tells as much
BORDER = 2  # LR pixels that the blur of a 13x13 kernel reaches beyond the crop
SHOWN = 12  # kernels in the picture
LISTED = 6  # shots whose blur is told one by one
SIGMAS = [round(0.4 + 0.05 * step, 2) for step in range(53)]  # to 3.0


def nearest_sigma(kernel: NDArray[np.float32]) -> float:
    """The standard deviation, to 0.05 pixels, of the Gaussian that differs least from a kernel (k, k), in L1."""
    squares = (np.arange(len(kernel)) - len(kernel) // 2) ** 2

    def difference(sigma: float) -> float:
        line = np.exp(-squares / (2 * sigma**2))
        line /= line.sum()
        return float(np.abs(kernel - np.outer(line, line)).sum())

    return min(SIGMAS, key=difference)


class KernelTrack:
    """Estimated kernels over time, and the cycle PSNR: the input against the output blurred and downsampled with them.

    A network that restores well and knows the blur explains its input: about 40 dB and more. Much less says that the
    video's degradation is not one it was trained for.

    Attributes:
        kernels: (13, 13) each, float32.
        indices: the frames that they belong to.
        shots: the shots that they belong to, counted from 0.
    """

    def __init__(self, net: BlindVSR, every: int = 1) -> None:
        """Looks at every `every`-th frame of each shot, the first to begin with, in float32 on the network's device."""
        self.kernels: list[NDArray[np.float32]] = []
        self.indices: list[int] = []
        self.shots: list[int] = []
        self.starts: list[int] = []
        self._net = net
        self._shape = (net.config.kernel_size,) * 2
        self._every = every
        self._seen = 0
        self._squares: list[float] = []  # of each frame looked at, and of how many samples
        self._samples: list[int] = []
        self._noted = (0, 0)  # kernels and shots that `note` has told already

    @torch.inference_mode()
    def add(self, window: Sequence[Tensor], restored: Tensor, shot: int = 0) -> None:
        """Takes the next restored frame.

        Args:
            window: the input frames around it, as many as the network takes: (1, 3, H, W) each, RGB in [0, 1].
            restored: (3, 4H, 4W), RGB, what the network made of them.
            shot: that it belongs to; they are counted from 0, one after another.
        """
        index, self._seen = self._seen, self._seen + 1
        if shot == len(self.starts):
            self.starts.append(index)
        if (index - self.starts[shot]) % self._every:
            return
        rows, columns = (middle(side, LARGEST) for side in window[0].shape[-2:])
        clip = torch.cat([frame[..., rows, columns] for frame in window])
        kernel = self._net.estimate_kernel(clip[None])
        self.kernels.append(kernel[0, 0].cpu().numpy())
        self.indices.append(index)
        self.shots.append(shot)
        large = [slice(4 * part.start, 4 * part.stop) for part in (rows, columns)]
        again = blur_down(restored[None, :, large[0], large[1]].clamp(0, 1), kernel)
        inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        error = again[inner] - clip[len(window) // 2][inner]
        self._squares.append(float(error.square().sum()))
        self._samples.append(error.numel())

    @property
    def cycle_psnr(self) -> float:
        """dB, of the mean square error over all frames looked at; infinite if there is none."""
        squares = math.fsum(self._squares)
        return -10 * math.log10(squares / sum(self._samples)) if squares else math.inf

    def note(self) -> dict[str, NDArray[Any]]:
        """What is new since the last note, as arrays, for `remember`."""
        (kernels, shots), self._noted = self._noted, (len(self.kernels), len(self.starts))
        return {
            "kernels": np.array(self.kernels[kernels:], np.float32).reshape(-1, *self._shape),
            "indices": np.array(self.indices[kernels:], int), "shots": np.array(self.shots[kernels:], int),
            "squares": np.array(self._squares[kernels:], float), "samples": np.array(self._samples[kernels:], int),
            "starts": np.array(self.starts[shots:], int), "seen": np.array(self._seen),
        }

    def remember(self, note: dict[str, NDArray[Any]]) -> None:
        """Takes a note as if its frames had been added; notes come in their order, before any frame."""
        self.kernels += list(note["kernels"])
        self.indices += note["indices"].tolist()
        self.shots += note["shots"].tolist()
        self.starts += note["starts"].tolist()
        self._squares += note["squares"].tolist()
        self._samples += note["samples"].tolist()
        self._seen = int(note["seen"])
        self._noted = len(self.kernels), len(self.starts)

    def means(self) -> NDArray[np.float32]:
        """(S, 13, 13): the mean kernel of every shot."""
        kernels, shots = np.stack(self.kernels), np.array(self.shots)
        return np.stack([kernels[shots == shot].mean(0) for shot in range(len(self.starts))])

    def blur(self) -> str:
        """What the shots' mean kernels are, in words: the nearest Gaussians, in pixels of the output."""
        if not self.kernels:
            return "no blur known"
        sigmas = [nearest_sigma(kernel) for kernel in self.means()]
        if len(sigmas) == 1:
            return f"blur like a Gaussian of sigma {sigmas[0]:.2f}"
        if len(sigmas) > LISTED:
            return f"{len(sigmas)} shots, blur like Gaussians of sigma {min(sigmas):.2f} to {max(sigmas):.2f}"
        each = (f"{sigma:.2f} from frame {at}" for sigma, at in zip(sigmas, self.starts, strict=True))
        return f"{len(sigmas)} shots, blur like Gaussians of sigma {', '.join(each)}"

    def save(self, mat: Path, picture: Path) -> None:
        """Writes the kernels as MATLAB file and as picture.

        Args:
            mat: gets `kernel` (N, 13, 13), `frame` (1, N) and `shot` (1, N), counted from 0; for the S shots their mean
                kernels `shot_kernel` (S, 13, 13) and first frames `shot_start` (1, S).
            picture: PNG of up to 12 kernels, evenly over time, on one scale of brightness.

        Raises:
            InputError: if one cannot be written.
        """
        kernels = np.stack(self.kernels)
        content = {"kernel": kernels, "frame": np.array(self.indices), "shot": np.array(self.shots),
                   "shot_kernel": self.means(), "shot_start": np.array(self.starts)}
        try:
            scipy.io.savemat(mat, content, appendmat=False)
        except OSError as error:
            raise cannot_write(mat, error) from error
        shown = np.unique(np.linspace(0, len(kernels) - 1, min(SHOWN, len(kernels))).round().astype(int))
        write_image(picture, kernel_picture(kernels[shown], [str(self.indices[place]) for place in shown]))
