"""What each objective trains."""

import pytest

from blindvsr.lit.objectives import OBJECTIVES, PARTS
from blindvsr.lit.task import BlindVSRTask
from tests.conftest import SMALL


def learning(task: BlindVSRTask) -> set[str]:
    """The parts whose parameters get gradients."""
    modules = {"kernel": task.net.kernel_net, "flow": task.net.flow_net, "network": task.net.trunk}
    return {part for part, module in modules.items() if any(value.requires_grad for value in module.parameters())}


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_only_the_parts_of_an_objective_learn(name: str) -> None:
    task = BlindVSRTask(SMALL, objective=name)  # type: ignore[arg-type]
    task.setup("fit")
    assert learning(task) == set(OBJECTIVES[name].parts)
    groups = task.configure_optimizers()[0][0].param_groups
    assert [group["name"] for group in groups] == list(OBJECTIVES[name].parts)


@pytest.mark.parametrize("name", ["self_supervised", "supervised"])
def test_a_rate_of_0_holds_a_part_fixed(name: str) -> None:
    task = BlindVSRTask(SMALL, objective=name, flow_lr=0, kernel_lr=0)  # type: ignore[arg-type]
    task.setup("fit")
    assert learning(task) == {"network"}


@pytest.mark.parametrize(("name", "truth", "expected"), [
    ("self_supervised", True, ("psnr", "max")), ("self_supervised", False, ("aux_psnr", "max")),
    ("supervised", True, ("psnr", "max")), ("kernel", True, ("kernel", "min")), ("flow", False, ("epe", "min")),
])
def test_what_is_monitored_is_measured(name: str, truth: bool, expected: tuple[str, str]) -> None:
    objective = OBJECTIVES[name]
    assert objective.monitored(truth) == expected
    assert expected[0] in objective.measures
    assert set(objective.parts) <= set(PARTS)
