"""Frames moved by known motion."""

import numpy as np
import pytest
import torch

from blindvsr.frames import Frame
from blindvsr.lit import motion
from blindvsr.lit.motion import draw_flow, moving_pair
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
