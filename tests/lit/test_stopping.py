"""What a signal stops ends with a code of its own, after a whole checkpoint, and resumes on the same curve."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl

from blindvsr.cli import main
from tests.lit.test_commands import fit_arguments, scalars


class Signal(pl.Callback):
    """Sends a signal to this process, once, at one place."""

    def __init__(self, number: int, step: int, place: str) -> None:
        self.number, self.step, self.place = number, step, place

    def _at(self, trainer: pl.Trainer, place: str) -> None:
        if not trainer.sanity_checking and place == self.place and trainer.global_step == self.step:
            self.place = ""
            os.kill(os.getpid(), self.number)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._at(trainer, "batch")

    def on_validation_batch_start(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self._at(trainer, "validation")


@pytest.fixture(scope="module")
def whole(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    assert main(fit_arguments(footage, root)) == 0
    return root / "lightning_logs" / "version_0"


@pytest.mark.parametrize(("name", "step", "place"), [
    ("SIGTERM", 3, "batch"),
    *(pytest.param(*case, marks=pytest.mark.long)
      for case in (("SIGINT", 1, "batch"), ("SIGTERM", 4, "validation"), ("SIGHUP", 5, "batch"))),
])
def test_stopped_and_resumed(
    name: str, step: int, place: str, whole: Path, footage: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    options = f"{{number: {int(number)}, step: {step}, place: {place}}}"
    kick = f"--trainer.callbacks=[{{class_path: tests.lit.test_stopping.Signal, init_args: {options}}}]"
    with pytest.raises(SystemExit) as stopped:
        main(fit_arguments(footage, tmp_path, kick))
    assert stopped.value.code == 128 + number
    said = capfd.readouterr().err
    assert "go on with --ckpt_path" in said
    assert "Traceback" not in said
    assert signal.getsignal(number) == before
    assert main(fit_arguments(footage, tmp_path, "--ckpt_path=last")) == 0
    (run,) = (tmp_path / "lightning_logs").iterdir()
    broken, unbroken = scalars(run), scalars(whole)
    for curve in ("train/loss", "val/psnr"):
        assert broken[curve].keys() == unbroken[curve].keys()
        np.testing.assert_allclose(list(broken[curve].values()), list(unbroken[curve].values()), rtol=1e-6)
