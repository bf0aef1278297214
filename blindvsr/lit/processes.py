"""Several processes of one run: how they share the data out, and that they end together, also where one fails."""

import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch.utils.data import Dataset, DistributedSampler

from blindvsr import InputError

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
        known = isinstance(exception, (InputError, KeyboardInterrupt))
        # of a process that failed, this one sees a broken connection first
        failed = not known and any(_code(process) for process in others)
        for process in others:
            process.send_signal(signal.SIGINT)  # unwinds, so that no temporary file is left
        for process in others:
            if _code(process) is None:
                process.kill()  # it hangs in a collective operation
        if failed:
            raise InputError(FAILED) from exception


def _others(trainer: pl.Trainer) -> list[subprocess.Popen[bytes]]:
    return getattr(trainer.strategy.launcher, "procs", [])


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


class EpochSampler(DistributedSampler[Any]):
    """Shuffles `length` indices anew every epoch, shares them out among devices, and tells the data set the epoch.

    Lightning leaves a DistributedSampler as it is and calls its `set_epoch`, on one device as on many.
    """

    def __init__(self, length: int, seed: int, devices: int, rank: int) -> None:
        # devices take turns, so that their batches are together the batch that one device would draw; what is too
        # little for a turn of all is dropped, as the loader drops what is too little for a batch
        indices: Any = range(length)
        super().__init__(indices, devices, rank, shuffle=True, seed=seed, drop_last=True)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, index) for index in super().__iter__())


class OnceSampler(DistributedSampler[Any]):
    """Shares a data set out among devices, each item to one of them: the last devices may get fewer, or nothing."""

    def __init__(self, data: Dataset[Any], devices: int, rank: int) -> None:
        super().__init__(data, devices, rank, shuffle=False)
        self.indices = range(rank, len(data), devices)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
