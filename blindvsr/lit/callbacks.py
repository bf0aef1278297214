"""What is watched and written while a trainer runs: pictures, time per step, restored frames, a page of scores."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter, Callback
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from blindvsr.datasets import Video, input_places
from blindvsr.degrade import bicubic_up
from blindvsr.frames import Frame, frame_names, write_image
from blindvsr.layouts.pairs import is_centred, scored_range
from blindvsr.lit.task import BlindVSRTask
from blindvsr.metrics import Scores
from blindvsr.outputs import OutputGuard
from blindvsr.replacing import replacing
from blindvsr.progress import progress
from blindvsr.scoring.folders import score_pairs, summarise, write_frames
from blindvsr.scoring.report import chosen_frames, picture_of, write_report
from blindvsr.stream import restore


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


class Report(Callback):
    """Writes what a test has measured of every frame, where asked for.

    Args:
        html: file for one page with the table, curves over the frames, and a slider between input, bicubic, restored
            and truth; it holds its pictures and needs no other file.
        per_frame: file for the values of every frame, as CSV.
        show: frames for the slider, calendar/00000020 say; without any, the worst one of each video, of eight videos
            at most.
        overwrite: replace the files of an earlier test.
    """

    def __init__(
        self, html: str | None = None, per_frame: str | None = None, show: Sequence[str] = (), overwrite: bool = False
    ) -> None:
        self.html, self.per_frame, self.show, self.overwrite = html, per_frame, show, overwrite

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Says before any work which output cannot be, and which frame there is not."""
        if stage != "test":
            return
        pairs = trainer.datamodule.test_pairs  # type: ignore[attr-defined]
        guard = OutputGuard(input_places([video for pair in pairs for video in pair]), self.overwrite)
        for name, path in (("html", self.html), ("per_frame", self.per_frame)):
            if path:
                guard.check(Path(path), name=f"--report.{name}")
        if self.show:
            scores = {high.name: Scores(names=[path.stem for path, _ in _scored(high, low)]) for high, low in pairs}
            chosen_frames(scores, self.show, argument="report.show")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (trainer.is_global_zero and isinstance(pl_module, BlindVSRTask)):
            return
        pairs = {high.name: (high, low) for high, low in trainer.datamodule.test_pairs  # type: ignore[attr-defined]
                 if high.name in pl_module.test_scores}
        for name, pair in pairs.items():
            pl_module.test_scores[name].names = [path.stem for path, _ in _scored(*pair)]
        if self.per_frame:
            write_frames({name: pl_module.test_scores[name] for name in pairs}, Path(self.per_frame))
        if self.html:
            self._write_page(Path(self.html), pl_module, pairs, trainer.datamodule.test_name)  # type: ignore

    def _write_page(self, path: Path, task: BlindVSRTask, pairs: dict[str, tuple[Video, Video]], title: str) -> None:
        centred = is_centred(next(iter(pairs.values()))[1].source)
        baseline = score_pairs({name: [files[::-1] for files in _scored(*pair)] for name, pair in pairs.items()},
                               task.test_channels, partial(bicubic_up, centred=centred), task.test_temporal)
        pictures = []
        for name, index in chosen_frames(task.test_scores, self.show, argument="report.show"):
            high, low = pairs[name]
            place = scored_range(high)[index]
            restored = next(restore(task.net, low.read(), "auto", task.stream_precision(),
                                    only=range(place, place + 1), cuts=False))
            pictures.append(picture_of(name, restored, high.files[place], low.files[place], centred))
        summary = {**(task.test_summary or {}), "bicubic": summarise(baseline)}
        write_report(path, summary, {name: task.test_scores[name] for name in pairs}, baseline, pictures,
                     f"Scores of {title}")


def _scored(high: Video, low: Video) -> list[tuple[Path, Path]]:
    """(truth, input) of the frames of a video that the protocol scores."""
    return [(high.files[index], low.files[index]) for index in scored_range(high)]
