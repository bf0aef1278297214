"""Kernels over time and the cycle PSNR."""

import cv2
import numpy as np
import pytest
import torch

from blindvsr.network import BlindVSR, NetConfig
from blindvsr.ops import blur_down, to_tensor
from blindvsr.stream import windows
from blindvsr.upscale.kernel_track import LARGEST, KernelTrack
from tests.clips import moving


@pytest.fixture(scope="module")
def net() -> BlindVSR:
    torch.manual_seed(0)
    return BlindVSR(NetConfig(num_features=8, extract_blocks=1, recon_blocks=1, flow_width=0.125)).eval()


def test_cycle_psnr_is_that_of_the_cycle(net: BlindVSR) -> None:
    """Known by construction: the input is the output, blurred with the kernel that the network will estimate."""
    frames = moving(5, 40, 40)
    clip = to_tensor(np.stack(frames))[None]
    sharp = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    with torch.no_grad():
        again = blur_down(to_tensor(sharp)[None], net.estimate_kernel(clip))
    difference = (again - clip[:, 2])[..., 2:-2, 2:-2]
    track = KernelTrack(net)
    track.add(list(clip.transpose(0, 1)), to_tensor(sharp))
    assert track.cycle_psnr == pytest.approx(float(-10 * difference.square().mean().log10()), abs=1e-3)
    assert track.indices == [0]


def test_large_frames_are_looked_at_in_the_middle(net: BlindVSR) -> None:
    height, width = 20, LARGEST + 100
    frames = [to_tensor(frame)[None] for frame in moving(5, height, width)]
    sharp = cv2.resize(moving(3, height, width)[2], (4 * width, 4 * height), interpolation=cv2.INTER_NEAREST)
    cut = [frame[..., 50:-50] for frame in frames]
    whole, middle = KernelTrack(net), KernelTrack(net)
    whole.add(frames, to_tensor(sharp))
    middle.add(cut, to_tensor(sharp[:, 200:-200]))
    assert np.array_equal(whole.kernels[0], middle.kernels[0])
    assert whole.cycle_psnr == pytest.approx(middle.cycle_psnr, abs=1e-6)


def test_windows_are_reflected_at_the_ends() -> None:
    """What the kernels are estimated from."""
    assert [list(window) for window in windows(iter("abc"), 2)] == [list("cbabc"), list("babcb"), list("abcba")]
