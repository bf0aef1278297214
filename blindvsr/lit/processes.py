"""Several processes of one run: they end together, also where one fails."""

import signal
import subprocess
import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from blindvsr import InputError
from blindvsr.signals import Stopped

GRACE = 5.0  # seconds
FAILED = "another process of this run failed, and says above why"


class EndTogether(Callback):
    """An error in the process that started the others ends them too: they would wait for it half an hour.

    Processes that torchrun or SLURM started are theirs to end.
    """

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        environment = getattr(trainer.strategy, "cluster_environment", None)
        if trainer.local_rank and isinstance(environment, LightningEnvironment):
            time.sleep(GRACE / 2)  # a mistake that all make is said once: the first process interrupts this one
            return
        others = _others(trainer)
        known = isinstance(exception, (InputError, Stopped))
        # of a process that failed, this one sees a broken connection first
        failed = not known and any(_code(process) for process in others)
        if isinstance(exception, Stopped):  # they stop at the same step
            others = [process for process in others if _code(process) is None]
        for process in others:
            process.send_signal(signal.SIGINT)  # unwinds, so that no temporary file is left
        for process in others:
            if _code(process) is None:
                process.kill()  # it hangs in a collective operation
        if failed:
            raise InputError(FAILED) from exception


def _others(trainer: pl.Trainer) -> list[subprocess.Popen[bytes]]:
    # processes that were forked or spawned (ddp_spawn, ddp_notebook) are joined by their launcher
    launcher = trainer.strategy.launcher
    return launcher.procs if isinstance(launcher, _SubprocessScriptLauncher) else []


def wait_for_others(trainer: pl.Trainer) -> None:
    """The process that started the others ends last: it may have had the shorter videos.

    Raises:
        InputError: if one of them failed.
    """
    if any([process.wait() for process in _others(trainer)]):
        raise InputError(FAILED)


def _code(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code of a process that is about to end, or None."""
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        return None
