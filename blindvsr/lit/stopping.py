"""SIGINT, SIGTERM and SIGHUP: a training stops after the batch it is at, with a checkpoint that it goes on from."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from blindvsr.signals import SIGNALS, Stopped, restore


class StopOnSignal(pl.Callback):
    """Stops at the first signal when a step is done, at the second at once; what trains nothing stops at once."""

    def __init__(self) -> None:
        self._received = 0
        self._training = False
        self._loops: dict[str, Any] = {}

    def listen(self) -> None:
        """Takes the signals over; Lightning, which does the same, would call a stopped training a finished one."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                    signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._training or self._received:
            raise Stopped(number)
        self._received = number
        say(f"{signal.Signals(number).name}: stopping after this step; once more stops at once")

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.listen()

    on_test_start = on_predict_start = on_sanity_check_start

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.listen()
        self._training = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop: Any = trainer.fit_loop.epoch_loop
        # a validation that is due comes first, and so does what accumulates into one step
        if not loop._should_accumulate() and not loop._num_ready_batches_reached() \
                and not loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
            self._stop(trainer, curves=True)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._training and batch_idx == 0:
            self._loops = trainer._checkpoint_connector._get_loops_state_dict()
            for progress in ("total", "current"):  # begun and not done: what goes on finds it so, and does it again
                counts = self._loops["fit_loop"]["epoch_loop.val_loop.batch_progress"][progress]
                counts["started"] = counts["ready"]

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._training:
            self._stop(trainer, self._loops)  # what goes on validates from the beginning: the means start anew

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._training = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._training = False

    def _stop(self, trainer: pl.Trainer, loops: dict[str, Any] | None = None, curves: bool = False) -> None:
        stop = bool(self._received)
        if trainer.world_size > 1:  # signals reach the processes at different steps, or one of them alone
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if not stop:
            return
        if curves:  # Lightning would write the values of this step after the callbacks
            trainer._logger_connector.on_batch_end()
            trainer._logger_connector.update_train_step_metrics()
        where = "there is no checkpoint"
        callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
        if callbacks and callbacks[0].dirpath:
            path = Path(callbacks[0].dirpath) / "last.ckpt"
            content = trainer._checkpoint_connector.dump_checkpoint()
            if loops:
                content["loops"] = loops
            trainer.strategy.save_checkpoint(content, path)
            trainer.strategy.barrier()
            where = f"go on with --ckpt_path {path}"
        if trainer.is_global_zero:
            say(f"stopped at step {trainer.global_step}: {where}")
        raise Stopped(self._received or signal.SIGTERM)


@contextmanager
def stopping() -> Iterator[StopOnSignal]:
    """Listens during the block; a signal ends it in `Stopped`."""
    before, stop = {number: signal.getsignal(number) for number in SIGNALS}, StopOnSignal()
    stop.listen()
    try:
        yield stop
    finally:
        restore(before)


def say(text: str) -> None:
    """One line on stderr, from one of the processes of a machine."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"blindvsr: {text}", file=sys.stderr, flush=True)
