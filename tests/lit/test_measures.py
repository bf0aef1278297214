"""What validation looks at: bounded, and the protocol's frames alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from blindvsr.datasets import find_videos
from blindvsr.frames import Frame
from blindvsr.lit.footage import ValidationClip, ValidationClips
from blindvsr.lit.measures import kernel_error, middle_window, score_video, twin_error
from blindvsr.lit.objectives import OBJECTIVES
from blindvsr.metrics import psnr
from blindvsr.stream import restore
from tests.conftest import moving_network


def large_clip(height: int, width: int) -> ValidationClip:
    """Noise of (height, width) low-resolution pixels, of seven frames."""
    rng = np.random.default_rng(0)
    low = rng.integers(0, 256, (7, height, width, 3), dtype=np.uint8)
    kernel = np.zeros((13, 13))
    kernel[6, 6] = 1
    truth = low.repeat(4, 1).repeat(4, 2)
    return ValidationClip("large", low, truth, kernel, kernel[None])


def test_the_middle_of_large_frames_is_looked_at() -> None:
    clip = large_clip(70, 541)
    low, truth = middle_window(clip)
    assert truth is not None
    assert (low.shape, truth.shape) == ((5, 68, 512, 3), (5, 272, 2048, 3))
    np.testing.assert_array_equal(truth[:, ::4, ::4], low)
    np.testing.assert_array_equal(low, clip.low[1:6, 1:69, 14:526])


@torch.no_grad()
def test_no_pass_over_whole_large_frames() -> None:
    """The network never sees more than 512 pixels a side at once, and pictures show 192."""
    net = moving_network()
    seen: list[int] = []
    for module in (net.kernel_net, net.extract, net.flow_net.extractor[0]):
        module.register_forward_pre_hook(lambda _, inputs: seen.append(max(inputs[0].shape[-2:])))
    clip = large_clip(32, 900)
    kernel_error(net, clip)
    twin_error(net, clip)
    assert 0 < max(seen) <= 512
    for name in ("self_supervised", "kernel"):
        pictures = OBJECTIVES[name].pictures(net, clip)
        assert max(picture.shape[1] for picture in pictures.values()) <= 4 * 192


@torch.no_grad()
def test_a_video_is_scored_on_the_protocols_frames(footage: Path) -> None:
    net = moving_network()
    clip = ValidationClips(find_videos(footage, "root", ("HR",)), kind="gaussian", seed=0)[0]
    assert clip.truth is not None and len(clip.low) == 8
    scores = score_video(net, iter(clip.low), iter(clip.truth), range(2, 6), "left")
    every = list(restore(net, iter(clip.low)))
    assert scores.psnr == pytest.approx([psnr(every[index], clip.truth[index]) for index in range(2, 6)], abs=1e-4)


def test_probes_are_narrow_middle_and_wide(footage: Path, bundled_frames: list[Frame]) -> None:
    videos = find_videos(footage, "root", ("HR",))
    gaussian, realistic, plain = (ValidationClips(videos, kind=kind, seed=0)[0]  # type: ignore[arg-type]
                                  for kind in ("gaussian", "realistic", "none"))
    assert gaussian.probes is not None and len(gaussian.probes) == 3
    assert realistic.probes is not None and np.array_equal(realistic.probes[0], realistic.kernel)
    assert (plain.truth, plain.kernel, plain.probes) == (None, None, None)
