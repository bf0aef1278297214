"""A training that is killed at any moment resumes from a whole checkpoint, on the curve of an unbroken one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import REPOSITORY
from tests.lit.test_commands import fit_arguments, scalars

STARTING = 10.0  # seconds, about


def started(footage: Path, root: Path, *more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "blindvsr", *fit_arguments(footage, root, "--data.batches_per_epoch=2", *more)]
    return subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait(process: "subprocess.Popen[bytes]", moment: str, root: Path, begun: float) -> None:
    """Until a random moment: from the start on, after a checkpoint of this process, or while it writes one."""
    def written(pattern: str) -> bool:
        try:
            return any(path.stat().st_mtime > begun for path in root.glob(pattern))
        except FileNotFoundError:  # renamed while it was looked at
            return False

    if moment == "starting":
        time.sleep(random.uniform(0, STARTING))
        return
    while not written("**/last.ckpt" if moment == "training" else "**/.*.part"):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05 if moment == "training" else 0.0002)
    time.sleep(random.uniform(0, 2 if moment == "training" else 0.01))


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_resumes_on_the_same_curve(kills: int, footage: Path, tmp_path: Path) -> None:
    epochs = f"--trainer.max_epochs={6 if kills == 2 else 40}"
    whole, broken, resume = tmp_path / "whole", tmp_path / "broken", []
    torn = done = 0
    for number in range(kills):
        begun = time.time()
        process = started(footage, broken, epochs, *resume)
        wait(process, ("writing", "training", "starting")[number % 3], broken, begun)
        assert process.poll() is None, "the run ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        torn += any(path.stat().st_mtime > begun for path in broken.glob("**/.*.part"))
        checkpoints = list(broken.glob("**/last.ckpt"))
        for path in (*checkpoints, *broken.glob("**/best.ckpt")):
            torch.load(path, weights_only=True)
        steps = max((torch.load(path, weights_only=True)["global_step"] for path in checkpoints), default=0)
        print(f"kill {number}: step {done} -> {steps}, {torn} while a checkpoint was written")
        assert steps >= done
        done, resume = steps, ["--ckpt_path=last"] if checkpoints else []
    assert started(footage, broken, epochs, *resume).wait() == 0
    assert started(footage, whole, epochs).wait() == 0
    (run,) = {path.parents[1] for path in broken.glob("**/last.ckpt")}
    resumed, unbroken = scalars(run), scalars(whole / "lightning_logs" / "version_0")
    for name in ("train/loss", "val/psnr"):
        assert resumed[name].keys() == unbroken[name].keys()
        np.testing.assert_allclose(list(resumed[name].values()), list(unbroken[name].values()), rtol=1e-6)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
