"""Averaging over mirrored and turned frames, and back-projection."""

import numpy as np
import pytest
import torch

from blindvsr import InputError
from blindvsr.degrade import bicubic_up, blurred, gaussian_kernel
from blindvsr.frames import Frame
from blindvsr.metrics import psnr
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.ops import blur_down, to_frame, to_tensor
from blindvsr.refinement import Refinement, back_projected, enlarged
from blindvsr.stream import restore, restore_shots
from blindvsr.weights import load_network
from tests.clips import moving


@pytest.fixture(scope="module")
def small_net() -> BlindVSR:
    torch.manual_seed(0)
    return BlindVSR(NetConfig(num_features=8, extract_blocks=1, recon_blocks=1, flow_width=0.125)).eval()


def test_enlarging_is_aligned_bicubic() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    ours = to_frame(enlarged(to_tensor(frame)[None], 4)[0])
    assert np.abs(ours.astype(int) - bicubic_up(frame)).max() <= 1  # OpenCV rounds its coefficients


def test_back_projection_makes_the_output_explain_the_input(small_net: BlindVSR) -> None:
    generator = torch.Generator().manual_seed(0)
    window = [torch.rand(1, 3, 40, 48, generator=generator) for _ in range(5)]
    picture = torch.rand(1, 3, 160, 192, generator=generator)
    with torch.no_grad():
        kernel = small_net.estimate_kernel(torch.cat(window)[None])

    def residual(steps: int) -> float:
        again = blur_down(back_projected(small_net, picture, window, steps), kernel)
        return float((window[2] - again)[..., 4:-4, 4:-4].abs().mean())

    assert residual(0) > 2 * residual(1) > 4 * residual(3) > 0


def test_steps_are_those_on_large_frames(small_net: BlindVSR) -> None:
    """What is computed on small frames is what the textbook computes on large ones, but at the border."""
    generator = torch.Generator().manual_seed(1)
    window = [torch.rand(1, 3, 40, 48, generator=generator) for _ in range(5)]
    picture = expected = torch.rand(1, 3, 160, 192, generator=generator)
    with torch.no_grad():
        kernel = small_net.estimate_kernel(torch.cat(window)[None])
        for _ in range(3):
            expected = expected + 0.7 * enlarged(window[2] - blur_down(expected, kernel), 4)
    difference = (back_projected(small_net, picture, window, 3) - expected).abs()
    assert difference[..., 32:-32, 32:-32].max() < 2e-6
    assert difference.max() < 0.05


def test_both_gain_on_clean_frames(bundled_frames: list[Frame]) -> None:
    """Mirrored restorations lie on another grid: wrongly put together they would be 3 pixels apart, and worse."""
    net, truth = load_network("clean"), [frame[:192, :256] for frame in bundled_frames[:5]]
    low = [np.rint(frame).clip(0, 255).astype(np.uint8) for frame in blurred(np.stack(truth), gaussian_kernel(1.2))]

    def quality(refinement: Refinement) -> float:
        frame = next(restore(net, iter(low), only=range(2, 3), refinement=refinement))
        return psnr(frame, truth[2])

    plain = quality(Refinement())
    assert quality(Refinement(back_projections=3)) > plain + 0.01
    assert quality(Refinement(ensemble=True)) > plain + 0.05


def test_what_the_network_made_is_told_beside_it(small_net: BlindVSR) -> None:
    refined = next(restore_shots(small_net, iter(moving(5, 32, 40)), refinement=Refinement(back_projections=2)))
    plain = next(restore_shots(small_net, iter(moving(5, 32, 40))))
    assert torch.equal(refined.plain, plain.picture)
    assert not torch.equal(refined.picture, plain.picture)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="back_projections=21: give a number from 0 to 20"):
        Refinement(back_projections=21)
