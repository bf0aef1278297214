"""What is watched and written while a trainer runs: pictures, time per step, restored frames."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter, Callback
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from blindvsr.datasets import Video, input_places
from blindvsr.frames import Frame, frame_names, write_image
from blindvsr.lit.task import BlindVSRTask
from blindvsr.outputs import OutputGuard, replacing
from blindvsr.progress import progress


class StepTime(Callback):
    """Logs time/step: seconds from one training batch's end to the next, loading included."""

    def __init__(self) -> None:
        self.last: float | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last = None  # validation lies in between

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self.last is not None:
            pl_module.log("time/step", now - self.last)
        self.last = now


class Pictures(Callback):
    """After each validation, what the objective shows of its first item, see `pictures.py`."""

    def __init__(self) -> None:
        self.item: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit" or getattr(trainer, "fast_dev_run", False):
            return
        if not any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
            rank_zero_warn("there will be no pictures: none of the loggers is TensorBoard's", stacklevel=2)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self.item = batch

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # other devices have other clips, and no event file
        if not trainer.is_global_zero or not isinstance(pl_module, BlindVSRTask) or self.item is None:
            return
        loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not loggers:
            return
        for name, picture in pl_module.objective.pictures(pl_module.net, self.item).items():
            for logger in loggers:
                logger.experiment.add_image(f"pictures/{name}", picture, trainer.global_step, dataformats="HWC")


class FramesWriter(BasePredictionWriter):
    """Writes each predicted video as a folder of PNG frames, which appears when all of them are there.

    Args:
        output: folder for the videos; `predictions` in the trainer's folder when None.
        overwrite: replace the videos of an earlier run.
    """

    def __init__(self, output: str | None = None, overwrite: bool = False) -> None:
        super().__init__(write_interval="batch")
        self.output, self.overwrite = output, overwrite

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Says before any work which output cannot be."""
        videos = trainer.datamodule.predict_videos if stage == "predict" else []  # type: ignore[attr-defined]
        guard = OutputGuard(input_places(videos), self.overwrite)
        for video in videos:
            guard.check(self._root(trainer) / video.name, (".png",))

    def _root(self, trainer: pl.Trainer) -> Path:
        return Path(self.output) if self.output else Path(trainer.default_root_dir) / "predictions"

    def write_on_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, prediction: Iterator[Frame],
        batch_indices: Any, batch: Video, batch_idx: int, dataloader_idx: int,
    ) -> None:
        names = frame_names(batch.files)
        with replacing(self._root(trainer) / batch.name, folder=True) as folder:
            frames = progress(prediction, desc=batch.name, total=len(names) or None, unit=" frame", leave=False,
                              disable=not trainer.is_global_zero)  # bars of several devices would overwrite each other
            for index, frame in enumerate(frames):
                write_image(folder / f"{names[index] if names else f'{index:08d}'}.png", frame)
