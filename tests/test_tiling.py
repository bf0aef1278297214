
import pytest
import torch

from blindvsr import tiling
from blindvsr.tiling import FIXED, KEPT, SMALLEST_TILE, WORK, Plan, boxes, make_plan, memory_budget


@pytest.mark.parametrize("size", [(16, 16), (33, 200), (100, 64)])
@pytest.mark.parametrize("side", [None, 32, 50, 1000])
def test_shares_sum_to_one_and_cores_fill_the_frame(size: tuple[int, int], side: int | None) -> None:
    total, cores = torch.zeros(4 * size[0], 4 * size[1]), torch.zeros(size)
    for rows, columns in boxes(*size, side):
        share = rows.weight(4, total)[:, None] * columns.weight(4, total)
        assert share.min() >= 0
        total[rows.scaled(4), columns.scaled(4)] += share
        cores[rows.core, columns.core] += 1
        assert max(cores[rows.core, columns.core].shape) <= (side or 1000)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)
    assert (cores == 1).all()


def test_a_share_is_zero_where_context_is_missing_and_changes_smoothly() -> None:
    left, right = (columns.weight(4, torch.zeros(())) for _, columns in boxes(16, 128, 64))
    context = 4 * (tiling.OVERLAP - tiling.RAMP)
    assert not left[-context:].any() and not right[:context].any()
    assert left.diff().abs().max() <= 1 / (8 * tiling.RAMP) + 1e-6


FEATURES = 128 * 4
HD = (1080, 1920)


def test_automatic_tiles_follow_the_budget() -> None:
    pixels = HD[0] * HD[1]
    whole = pixels * (FIXED + FEATURES * (KEPT + WORK))
    assert make_plan("auto", *HD, FEATURES, whole) == Plan(None, keep=True)
    plans = [make_plan("auto", *HD, FEATURES, int(share * whole)) for share in (0.99, 0.6, 0.4, 0.25, 0.1)]
    assert [plan.keep for plan in plans] == [True, True, False, False, False]
    sides = [plan.tile or 0 for plan in plans]
    assert sides[0] >= sides[1] > 0 and sides[2] >= sides[3] > sides[4] == SMALLEST_TILE


def test_a_given_tile_is_kept_whatever_the_budget() -> None:
    assert make_plan(64, *HD, FEATURES, 0) == Plan(64, keep=False)
    assert make_plan(64, *HD, FEATURES, 2**40) == Plan(64, keep=True)
    assert make_plan(None, *HD, FEATURES, 0) == Plan(None, keep=True)
    assert make_plan(2000, *HD, FEATURES, 2**40).tile is None


def test_smaller_plans_end() -> None:
    plan, sides = Plan(None, keep=True), []
    while plan := plan.smaller(180, 320):
        assert not plan.keep
        sides.append(plan.tile)
    assert sides == [160, 80, 40]
    assert Plan(1000, keep=True).smaller(100, 100) == Plan(50, keep=False)


def test_budget_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert 0 < memory_budget(cpu, "auto") <= tiling.AUTO_LIMIT
    monkeypatch.setattr(tiling, "free_memory", lambda: 2**40)
    assert memory_budget(cpu, "auto") == tiling.AUTO_LIMIT
    assert memory_budget(cpu, 64) == 2**39
