"""Temporal consistency of restored frames, held against ground truth: warping error and tOF.

Both grow with flicker and false motion. A blurred result has a low warping error too, so it tells something only beside
PSNR, or beside another method at the same PSNR.
"""

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blindvsr import InputError
from blindvsr.frames import Frame
from blindvsr.metrics import CROP
from blindvsr.ops import backwarp, to_tensor
from blindvsr.ops.warp import coverage


class Consistency:
    """Measures the frames of one video, handed over one after another.

    warping_error, after Lai et al., Learning Blind Video Temporal Consistency, ECCV 2018: with S the restored frames in
    [0, 1] and F the flow from frame t of the ground truth to frame t + 1,
        sum over p of M(p) |S_t(p) - S_t+1(p + F(p))|^2 / sum over p of M(p),
    averaged over the channels. M is 0 where p + F(p) leaves the picture and where Ruder et al. (Artistic Style Transfer
    for Videos, GCPR 2016) see an occlusion, |F + B|^2 > 0.01 (|F|^2 + |B|^2) + 0.5 with B the flow back at p + F(p), or
    a motion boundary, |grad F|^2 > 0.01 |F|^2 + 0.002. There F is FlowNet 2's, here that of DIS (Kroeger et al., Fast
    Optical Flow using Dense Inverse Search, ECCV 2016) at OpenCV's medium preset: no network's, so that values stay
    comparable whatever is trained.

    tOF, after Chu et al., Learning Temporal Coherence via Self-Supervision for GAN-based Video Generation (TecoGAN),
    ACM TOG 2020: the mean over the pixels of |OF(S_t, S_t+1) - OF(T_t, T_t+1)|, T the ground truth and OF Farneback's
    flow of the grey frames with the parameters of their code; in pixels. They leave a border of 8 pixels or more out,
    here it is the protocol's 4.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {"warping_error": [], "tof": []}
        self._before: tuple[Frame, Frame] | None = None

    def add(self, restored: Frame, truth: Frame) -> None:
        """Measures a frame against the one before it; the first one adds nothing.

        Args:
            restored: uint8 RGB (H, W, 3).
            truth: its ground truth, of the same size.
        """
        if self._before is not None:
            first, true = self._before
            self._values["warping_error"].append(self._warping_error((first, restored), (true, truth)))
            self._values["tof"].append(_tof((first, restored), (true, truth)))
        self._before = (restored, truth)

    def result(self, name: str) -> dict[str, list[float]]:
        """The measures: name -> a value for every frame but the first.

        Args:
            name: of the video, for messages.

        Raises:
            InputError: if there were fewer than two frames.
        """
        if not self._values["tof"]:
            raise InputError(f"temporal consistency takes two scored frames, and video {name} has fewer; leave it out, "
                             "or score all frames")
        return self._values

    @staticmethod
    @torch.inference_mode()
    def _warping_error(restored: tuple[Frame, Frame], truth: tuple[Frame, Frame]) -> float:
        first, second = map(_grey, truth)
        forward, backward = _dense(first, second), _dense(second, first)
        seen = _visible(forward, backward)[..., CROP:-CROP, CROP:-CROP]
        before, after = (to_tensor(frame[None]) for frame in restored)
        squares = (before - backwarp(after, forward)).square().mean(1, keepdim=True)[..., CROP:-CROP, CROP:-CROP]
        return float((squares * seen).double().sum() / seen.double().sum().clamp(min=1))


def _visible(forward: Tensor, backward: Tensor) -> Tensor:
    """M of the warping error, (1, 1, H, W) of 0 and 1."""
    back = backwarp(backward, forward)
    lengths = forward.square().sum(1, keepdim=True)
    returns = (forward + back).square().sum(1, keepdim=True)
    occluded = returns > 0.01 * (lengths + back.square().sum(1, keepdim=True)) + 0.5
    down = torch.diff(forward, dim=2, append=forward[:, :, -1:]).square()
    right = torch.diff(forward, dim=3, append=forward[..., -1:]).square()
    boundary = (down + right).sum(1, keepdim=True) > 0.01 * lengths + 0.002
    return ((coverage(forward) >= 0.999) & ~occluded & ~boundary).float()


def _tof(restored: tuple[Frame, Frame], truth: tuple[Frame, Frame]) -> float:
    difference = _farneback(*restored) - _farneback(*truth)
    return float(np.linalg.norm(difference[CROP:-CROP, CROP:-CROP], axis=2).mean())


def _grey(frame: Frame) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _dense(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Tensor:
    """(1, 2, H, W), pixels."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    start = np.zeros((*first.shape, 2), np.float32)
    return torch.from_numpy(np.asarray(method.calc(first, second, start), np.float32)).permute(2, 0, 1)[None]


def _farneback(first: Frame, second: Frame) -> NDArray[np.float32]:
    before, after = map(_grey, (first, second))
    start = np.zeros((*before.shape, 2), np.float32)
    return np.asarray(cv2.calcOpticalFlowFarneback(before, after, start, 0.5, 3, 15, 3, 5, 1.2, 0), np.float32)


def consistency(frames: Iterable[tuple[Frame, Frame]], name: str) -> dict[str, list[float]]:
    """The measures of a whole video: name -> a value for every frame but the first.

    Args:
        frames: restored frames, each with its ground truth.
        name: of the video, for messages.

    Raises:
        InputError: if there are fewer than two frames.
    """
    measured = Consistency()
    for restored, truth in frames:
        measured.add(restored, truth)
    return measured.result(name)
