"""NaN and Inf in a loss, a gradient, the weights or a validation: said at once, never in a checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from blindvsr.cli import main
from tests.conftest import run_fails
from tests.lit.test_commands import fit_arguments, scalars

pytestmark = pytest.mark.usefixtures("one_thread")
SKIP = "--bad_numbers.then=skip"
KERNEL = "--model.objective=kernel"  # the quickest to train


class Spoil(pl.Callback):
    """Puts one number into a batch, a gradient or the weights, at one step or, from it on, at all of them.

    Args:
        what: clip, gradient, weights (after the step) or measures (of the validation that follows the step).
        step: number of it, from 0.
        always: at all later steps too.
        value: the number.
    """

    def __init__(self, what: str, step: int, always: bool = False, value: str = "nan") -> None:
        self.what, self.step, self.always, self.value = what, step, always, float(value)

    def _is_due(self, what: str, step: int) -> bool:
        return what == self.what and (step == self.step or self.always and step > self.step)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._is_due("clip", trainer.global_step):
            batch["clip"][0, 2, :, 3, 5] = self.value

    def on_after_backward(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self._is_due("gradient", trainer.global_step):
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            pl_module.net.kernel_net.linear[0].weight.grad[0, 0] = self.value * (scaler.get_scale() if scaler else 1)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if self._is_due("weights", trainer.global_step - 1):
            pl_module.net.tail[0].weight.data[0] = self.value

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if not trainer.sanity_checking and self._is_due("measures", trainer.global_step - 1):
            pl_module.val_means["kernel"].update(torch.tensor(self.value), torch.tensor(1.0))


def spoil(what: str, step: int, **more: Any) -> str:
    given = {"what": what, "step": step, **more}
    return f"--trainer.callbacks=[{{class_path: tests.lit.test_bad_numbers.Spoil, init_args: {given}}}]"


def last(root: Path, name: str = "last") -> dict[str, Any]:
    content = torch.load(next(root.glob(f"**/{name}.ckpt")), weights_only=True)
    assert all(value.isfinite().all() for value in content["state_dict"].values())
    return content


def test_a_loss_stops_or_is_skipped(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = spoil("clip", 5)
    line = run_fails([*fit_arguments(footage, tmp_path), bad], capsys)
    assert "step 5: the loss term aux is nan" in line and "--bad_numbers.then skip" in line
    assert last(tmp_path)["global_step"] == 4, "the end of the first epoch"
    assert main([*fit_arguments(footage, tmp_path), bad, SKIP, "--ckpt_path=last"]) == 0
    assert "warning: step 5: the loss term aux is nan" in capsys.readouterr().err
    content = last(tmp_path)
    assert content["global_step"] == 8
    states = content["optimizer_states"][0]["state"].values()
    assert {int(state["step"]) for state in states} == {7}, "Adam has seen one step less"


def test_a_gradient_is_told_by_its_part(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = fit_arguments(footage, tmp_path, KERNEL, "--trainer.max_epochs=1", "--trainer.gradient_clip_val=1")
    assert "step 2: the gradient of kernel has NaN" in run_fails([*fit, spoil("gradient", 2, value="inf")], capsys)
    assert not list(tmp_path.glob("**/*.ckpt"))
    huge = spoil("gradient", 2, value="1e25")  # its square is infinite, and it is not
    assert main([*fit, huge]) == 0


def test_nothing_but_bad_steps_ends(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = fit_arguments(footage, tmp_path, KERNEL, SKIP, spoil("clip", 4, always=True), "--trainer.max_epochs=9")
    line = run_fails(fit, capsys)
    assert "step 14: " in line and "10 steps before" in line


def test_the_scaler_of_float16_finds_its_scale(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaler = "{class_path: torch.amp.GradScaler, init_args: {device: cpu, init_scale: 4}}"
    plugin = f"{{precision: 16-mixed, device: cpu, scaler: {scaler}}}"
    plugins = f"--trainer.plugins=[{{class_path: pytorch_lightning.plugins.MixedPrecision, init_args: {plugin}}}]"
    fit = fit_arguments(footage, tmp_path, KERNEL, plugins)
    assert main([*fit, "--trainer.max_epochs=1", spoil("gradient", 2, value="inf")]) == 0
    assert "step 2" not in capsys.readouterr().err
    assert last(tmp_path)["MixedPrecision"]["scale"] == 2
    line = run_fails([*fit, spoil("gradient", 2, value="inf", always=True)], capsys)
    assert "step 4: the gradient of kernel" in line, "one that overflows at a scale of 1 is no matter of the scale"


@pytest.mark.parametrize("validate", [True, False])
def test_no_checkpoint_of_bad_weights(
    validate: bool, footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [spoil("weights", 7), SKIP] + ([] if validate else [KERNEL, "--trainer.limit_val_batches=0"])
    line = run_fails([*fit_arguments(footage, tmp_path), *options], capsys)
    assert "NaN or Inf" in line
    assert last(tmp_path)["global_step"] == 4
    assert not validate or last(tmp_path, "best")["global_step"] == 4


def test_no_checkpoint_of_a_bad_validation(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(fit_arguments(footage, tmp_path, KERNEL, spoil("measures", 7), SKIP)) == 0
    assert "step 8: val/kernel is nan: no checkpoint" in capsys.readouterr().err
    assert last(tmp_path)["global_step"] == last(tmp_path, "best")["global_step"] == 4
    line = run_fails([*fit_arguments(footage, tmp_path / "stop", KERNEL), spoil("measures", 3)], capsys)
    assert "step 4: val/kernel is nan" in line
    assert not list(tmp_path.glob("stop/**/*.ckpt"))
    assert scalars(tmp_path / "lightning_logs" / "version_0")["val/kernel"].keys() == {3, 7}
