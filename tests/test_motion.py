"""Frames moved by known motion, and the loss on them."""

import numpy as np
import pytest
import torch

from blindvsr import motion
from blindvsr.flow import LEVELS, PWCNet
from blindvsr.frames import Frame
from blindvsr.initial import normalise_flow
from blindvsr.motion import draw_flow, end_point_error, flow_terms, moving_pair
from blindvsr.ops import backwarp, coverage


def pair(frames: list[Frame], seed: int, side: int = 64) -> dict[str, torch.Tensor]:
    made = moving_pair(frames[0], frames[-1], side, np.random.default_rng(seed))
    return {name: torch.from_numpy(array)[None] for name, array in made.items()}


def test_the_flow_says_where_the_first_frame_is_found_in_the_second(
    bundled_frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without objects, noise and exposure, warping the second frame by the flow gives the first one."""
    for name in ("MOVERS", "NOISE", "GAIN"):
        monkeypatch.setattr(motion, name, 0)
    for seed in range(8):
        made = pair(bundled_frames, seed)
        inside = coverage(made["flow"]) == 1
        assert inside.float().mean() > 0.3
        error = (backwarp(made["second"], made["flow"]) - made["first"]).abs() * inside
        unmoved = (made["second"] - made["first"]).abs() * inside
        assert error.mean() < 0.5 * unmoved.mean() or made["flow"].abs().max() < 1


def test_objects_hide_what_is_behind_them(bundled_frames: list[Frame]) -> None:
    """Somewhere the flow jumps from one pixel to the next: there an object ends."""
    jumps = [float(pair(bundled_frames, seed)["flow"].diff(dim=-1).abs().max()) for seed in range(12)]
    assert max(jumps) > 2
    assert min(jumps) < 0.5, "and some pairs have no object"


def test_pairs_depend_on_the_generator_alone(bundled_frames: list[Frame]) -> None:
    first, again, other = (pair(bundled_frames, seed) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["first"], other["first"])


def test_motion_is_smooth_and_of_the_size_of_low_resolution_video() -> None:
    flows = [draw_flow(np.random.default_rng(seed), 64) for seed in range(200)]
    lengths = [float(np.hypot(*flow.reshape(-1, 2).T).mean()) for flow in flows]
    assert 1 < np.median(lengths) < 5
    assert max(lengths) < 2 * motion.LARGEST
    assert max(np.abs(np.diff(flow, axis=1)).max() for flow in flows) < 2


def test_the_loss_is_zero_for_the_truth_alone() -> None:
    """Constant flow in frames whose sides are no multiples of 64: every level in its own units."""
    net = PWCNet(0.1)
    truth = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(2, 2, 48, 80)
    units = {48: 20 * 48 / 64, 80: 20 * 80 / 128}
    flows = [torch.tensor([3 / units[80], -2 / units[48]]).view(1, 2, 1, 1).expand(2, 2, 64 >> level, 128 >> level)
             for level in LEVELS]
    for flow in flows:
        assert end_point_error(flow, net.to_level(truth, flow)) < 1e-5
    assert end_point_error(net.to_pixels(flows[-1], (48, 80)), truth) < 1e-5
    assert end_point_error(truth, torch.zeros_like(truth)).item() == pytest.approx(13**0.5)


def test_a_few_steps_lower_the_end_point_error(bundled_frames: list[Frame]) -> None:
    torch.manual_seed(0)
    net = PWCNet(0.1)
    made = pair(bundled_frames, 1)
    normalise_flow(net, made["first"])
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    errors = []
    for _ in range(25):
        losses, flow = flow_terms(net, made["first"], made["second"], made["flow"])
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        errors.append(end_point_error(flow, made["flow"]).item())
    assert losses.keys() == {"level6", "level5", "level4", "level3", "level2"}
    assert errors[-1] < 0.6 * errors[0]
