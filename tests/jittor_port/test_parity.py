"""The port against the official code's numbers and against the torch side."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from blindvsr.network import BlindVSR
from blindvsr.stream import restore, restore_float
from tests.conftest import load_fixture
from tests.jittor_port.probe_inputs import LENGTHS, MEMORY_FRAMES, SIZE, shots, video

Probed = dict[str, np.ndarray]


def close(actual: np.ndarray, expected: np.ndarray, atol: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["a1_infer", "a2_infer"])
def test_official_numbers(probed: Probed, name: str) -> None:
    fixture = load_fixture(name)
    close(probed[f"{name}.restored"][..., ::2, 1::2], fixture["recons"], atol=1e-5)
    close(probed[f"{name}.kernel"], fixture["est_kernel"], atol=1e-6)
    close(probed[f"{name}.flows"], fixture["flows_0134"], atol=1e-4)


def test_borders_are_exact_and_equal_torch(probed: Probed, official_net: BlindVSR) -> None:
    """The fixtures hold every second pixel; the collapsed tail has places of its own for every border."""
    with torch.inference_mode():
        expected = official_net(torch.from_numpy(load_fixture("a2_infer")["x"]))
    close(probed["a2_infer.restored"], expected.numpy(), atol=2e-5)


def test_tiles_agree_with_the_whole_frame(probed: Probed) -> None:
    close(probed["a1_infer.tiled"], probed["a1_infer.restored"], atol=1e-4)


@pytest.mark.parametrize("form", ["", "_plain"])
def test_operators(probed: Probed, form: str) -> None:
    cost, warp = load_fixture("f_costvolume"), load_fixture("g_warp")
    close(probed[f"cost{form}"], cost["out"], atol=1e-6)
    close(probed[f"warp_border{form}"], warp["warp_out"], atol=5e-5)
    close(probed[f"warp_zeros{form}"], warp["backward_out"], atol=5e-5)


def test_a_window_is_warped_like_the_whole(probed: Probed) -> None:
    close(probed["warp_part"], probed["warp_border"][:, :, 2:, 3:], atol=1e-6)


def test_resizing_and_pooling(probed: Probed) -> None:
    image = torch.from_numpy(load_fixture("g_warp")["x"])
    close(probed["along_plain"], probed["along"], atol=1e-5)
    close(probed["resized"], F.interpolate(image, (50, 17), mode="bilinear", align_corners=False).numpy(), atol=1e-5)
    close(probed["pooled"], F.adaptive_avg_pool2d(image, 13).numpy(), atol=1e-5)


@pytest.mark.parametrize("form", ["chain_blas", "chain_jittor"])
def test_every_way_of_convolving_agrees(probed: Probed, form: str) -> None:
    close(probed[form], probed["chain"], atol=1e-4)


@pytest.mark.parametrize("count", LENGTHS)
def test_videos_of_any_length(probed: Probed, small_net: BlindVSR, count: int) -> None:
    expected = np.stack(list(restore(small_net, video(count, *SIZE))))
    assert probed[f"video{count}"].shape == expected.shape
    difference = np.abs(probed[f"video{count}"].astype(int) - expected)
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


def test_shots_on_their_own(probed: Probed, small_net: BlindVSR) -> None:
    first, second = shots()
    apart = np.stack([*restore(small_net, first), *restore(small_net, second)])
    assert np.abs(probed["shots"].astype(int) - apart).max() <= 1
    astride = np.stack(list(restore(small_net, first + second, cuts=False)))
    assert np.abs(probed["astride"].astype(int) - astride).max() <= 1
    assert np.abs(astride.astype(int) - apart).max() > 1


def test_a_frame_of_odd_size(probed: Probed, small_net: BlindVSR) -> None:
    expected = list(restore_float(small_net, video(5, *SIZE)))[2]
    close(probed["float"][0], expected.numpy(), atol=1e-5)


def test_memory_does_not_grow(probed: Probed) -> None:
    memory = probed["memory"]
    assert len(memory) == MEMORY_FRAMES
    assert memory[-1] - memory[20] < 4 * 2**20  # a single held frame with its features would be 60 kB a frame: 11 MB
