"""Lightning's own switches work or are refused in one line, and so are numbers that make no sense."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.tuner import Tuner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from blindvsr.cli import main
from blindvsr.export import session
from blindvsr.lit.data import BlindVSRData
from blindvsr.lit.task import BlindVSRTask
from tests.conftest import SMALL, run_fails
from tests.lit.test_commands import fit_arguments, scalars

pytestmark = pytest.mark.usefixtures("one_thread")
SHORT = ("--trainer.max_epochs=1", "--data.batches_per_epoch=1", "--trainer.limit_train_batches=1")


def test_what_is_switched_off_is_not_needed(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    off = ["--trainer.logger=false"], ["--trainer.enable_checkpointing=false"], ["--trainer.barebones=true"]
    for number, options in enumerate(off):
        assert main(fit_arguments(footage, tmp_path / str(number), *SHORT, *options)) == 0
    assert {path.name for path in (tmp_path / "0" / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert not list(tmp_path.glob("[12]/**/*.ckpt"))
    again = [*SHORT[1:], "--trainer.max_epochs=2", "--trainer.logger=false", "--ckpt_path=last"]
    assert main(fit_arguments(footage, tmp_path / "0", *again)) == 0, "without a number the run is found too"
    said = capsys.readouterr()
    assert "Tip:" not in said.out + said.err


def test_overfitting_sees_the_same_batches(footage: Path, tmp_path: Path) -> None:
    options = ["--trainer.overfit_batches=2", "--model.lr=1e-9", "--model.kernel_lr=1e-9",
               "--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}"]
    assert main(fit_arguments(footage, tmp_path, *options)) == 0
    lines = next(tmp_path.glob("**/metrics.csv")).read_text().splitlines()
    column = lines[0].split(",").index("train/loss")
    losses = [float(value) for line in lines[1:] if (value := line.split(",")[column])]
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-5)
    assert losses[0] != losses[1]


def test_pictures_need_no_place_among_the_loggers(footage: Path, tmp_path: Path) -> None:
    loggers = ", ".join(f"{{class_path: {name}, init_args: {{save_dir: {tmp_path}}}}}"
                        for name in ("CSVLogger", "TensorBoardLogger"))
    assert main(fit_arguments(footage, tmp_path, *SHORT, f"--trainer.logger=[{loggers}]")) == 0
    events = EventAccumulator(str(next(tmp_path.glob("**/events*")).parent))
    events.Reload()
    assert len(events.Tags()["images"]) == 6


def test_validation_within_an_epoch_and_an_end_by_the_clock(footage: Path, tmp_path: Path) -> None:
    """After every other batch of four; and with far more epochs than there is time for."""
    assert main(fit_arguments(footage, tmp_path, "--trainer.val_check_interval=2", "--trainer.max_epochs=1")) == 0
    assert list(scalars(tmp_path / "lightning_logs" / "version_0")["val/psnr"]) == [1, 3]
    clock = ["--trainer.max_time=00:00:00:01", "--trainer.max_epochs=100000"]
    assert main(fit_arguments(footage, tmp_path, *clock)) == 0
    run = tmp_path / "lightning_logs" / "version_1"
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == len(scalars(run)["train/loss"]) > 0


def test_finder_of_learning_rates(footage: Path, tmp_path: Path) -> None:
    data = BlindVSRData(str(footage), patch=16, batch_size=1, batches_per_epoch=24, num_workers=0, val_frames=5)
    task = BlindVSRTask(SMALL, kernel_lr=1e-5)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                         enable_model_summary=False, default_root_dir=tmp_path, limit_val_batches=0, max_steps=1)
    found = Tuner(trainer).lr_find(task, datamodule=data, num_training=24)
    assert found is not None and task.lr == found.suggestion() != 1e-4
    trainer.fit(task, datamodule=data)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [task.lr, 1e-5, task.lr]


@pytest.mark.long
def test_export_by_lightning(tmp_path: Path) -> None:
    """For clips of one size; `blindvsr export` makes a graph for all."""
    task, clip = BlindVSRTask(SMALL).eval(), torch.rand(1, 5, 3, 24, 32)
    task.to_onnx(tmp_path / "net.onnx", clip, input_names=["clip"])
    with torch.inference_mode():
        expected = task(clip)
    (restored,) = session(tmp_path / "net.onnx").run(None, {"clip": clip.numpy()})
    torch.testing.assert_close(torch.from_numpy(restored), expected, rtol=0, atol=1e-5)


@pytest.mark.long
def test_spawned_processes(footage: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    two = ["--trainer.devices=2", "--trainer.strategy=ddp_spawn", "--trainer.accelerator=cpu"]
    assert main(fit_arguments(footage, tmp_path, *SHORT, *two)) == 0
    assert next(tmp_path.glob("**/last.ckpt")).is_file()


@pytest.mark.parametrize(("option", "words"), [
    ("trainer.precision=64-true", "32-true"), ("trainer.precision=bf16-true", "bf16-mixed"),
    ("trainer.accelerator=abacus", "abacus"), ("trainer.devices=0", "devices"), ("trainer.logger=WandbLogger", "wandb"),
    ("trainer.strategy=deepspeed", "pip install"), ("trainer.strategy=nonsense", "nonsense"),
    ("trainer.val_check_interval=100", "val_check_interval"), ("trainer.max_time=soon", "duration"),
    ("trainer.limit_train_batches=0", "limit_train_batches"), ("trainer.accumulate_grad_batches=0", "1 or more"),
    ("trainer.default_root_dir=/proc/nowhere", "default_root_dir"), ("checkpoint.monitor=val/none", "val/none"),
    ("optimizer=Adam", "--model.kernel_lr"), ("lr_scheduler.step_size=1", "--model.halve_every"),
    ("data.seed=-1", "data.seed"), ("data.num_workers=-1", "data.num_workers"), ("data.patch=18", "multiple of 4"),
    ("model.lr=nan", "model.lr"), ("data.batches_per_epoch=0", "data.batches_per_epoch"), ("data.shrink=0", "1 is the"),
])
def test_one_line(
    option: str, words: str, footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in run_fails([*fit_arguments(footage, tmp_path, *SHORT), f"--{option}"], capsys)
