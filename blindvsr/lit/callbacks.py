"""What is watched and written while a trainer runs: pictures, time per step, restored frames."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import BasePredictionWriter, Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import flow_to_image
from tqdm import tqdm

from blindvsr.datasets import WINDOW, Video
from blindvsr.degrade import bicubic_up
from blindvsr.frames import Frame, write_image
from blindvsr.lit.footage import ValidationClip
from blindvsr.lit.task import BlindVSRTask, to_clip
from blindvsr.network import BlindVSR
from blindvsr.outputs import replacing

KERNEL_ZOOM = 16


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


def kernel_picture(kernels: Sequence[NDArray[np.float64]]) -> Frame:
    """Kernels side by side, each enlarged and scaled to its own maximum, uint8 (h, w, 3)."""
    panels = []
    for kernel in kernels:
        grey = np.kron(kernel / kernel.max(), np.ones((KERNEL_ZOOM, KERNEL_ZOOM)))
        panels += [grey, np.ones((grey.shape[0], KERNEL_ZOOM // 2))]
    row = np.hstack(panels[:-1])
    return np.repeat(np.rint(255 * row).astype(np.uint8)[..., None], 3, axis=2)


class Pictures(Callback):
    """After each validation, for the first clip's middle frame: the input, bicubic (aligned), restored, the truth,
    the estimated kernel (left) beside the true one, and the flow to the next frame in colour. For the first pair with
    known motion: both frames, the true flow and the estimated one."""

    def __init__(self) -> None:
        self.batch: Any = None

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self.batch = batch

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        logger = trainer.logger
        if not trainer.is_global_zero:  # the others have other clips, and no event file
            return
        if not isinstance(logger, TensorBoardLogger) or not isinstance(pl_module, BlindVSRTask):
            return
        drawn = motion_pictures if isinstance(self.batch, dict) else clip_pictures
        for name, picture in drawn(pl_module.net, self.batch).items() if self.batch is not None else ():
            logger.experiment.add_image(f"pictures/{name}", picture, trainer.global_step, dataformats="HWC")


def _image(values: Tensor) -> Frame:
    """(3, H, W) in [0, 1] -> uint8 (H, W, 3)."""
    return (values.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def clip_pictures(net: BlindVSR, clip: ValidationClip) -> dict[str, Frame]:
    """What the network makes of the middle of a clip."""
    middle = len(clip.low) // 2
    window = clip.low[middle - WINDOW // 2 : middle + WINDOW // 2 + 1]
    frames = to_clip(window, next(net.parameters()).device)
    flow = net.flow(frames[:, WINDOW // 2], frames[:, WINDOW // 2 + 1])
    kernel = net.estimate_kernel(frames)[0, 0].double().cpu().numpy()
    kernels = [kernel] if clip.kernel is None else [kernel, clip.kernel]
    pictures = {
        "1_input": window[WINDOW // 2],
        "2_bicubic": bicubic_up(window[WINDOW // 2]),
        "3_restored": _image(net(frames)[0]),
        "5_kernel_estimated_true": kernel_picture(kernels),
        "6_flow": flow_to_image(flow)[0].permute(1, 2, 0).cpu().numpy(),
    }
    return pictures if clip.truth is None else {**pictures, "4_truth": clip.truth[middle]}


def motion_pictures(net: BlindVSR, pairs: dict[str, Tensor]) -> dict[str, Frame]:
    """What the flow network makes of the first pair; both flows in one scale of colours."""
    first, second, truth = (pairs[name][:1] for name in ("first", "second", "flow"))
    flows = flow_to_image(torch.cat((truth, net.flow(first, second)), -1))[0]
    return {
        "1_first": _image(first[0]), "2_second": _image(second[0]),
        "3_flow_true_estimated": flows.permute(1, 2, 0).cpu().numpy(),
    }


class FramesWriter(BasePredictionWriter):
    """Writes each predicted video as a folder of PNG frames, which appears when all of them are there.

    Args:
        output: folder for the videos; `predictions` in the trainer's folder when None.
    """

    def __init__(self, output: str | None = None) -> None:
        super().__init__(write_interval="batch")
        self.output = output

    def write_on_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, prediction: Iterator[Frame],
        batch_indices: Any, batch: Video, batch_idx: int, dataloader_idx: int,
    ) -> None:
        root = Path(self.output) if self.output else Path(trainer.default_root_dir) / "predictions"
        names = [path.stem for path in batch.files]
        with replacing(root / batch.name, folder=True) as folder:
            frames = tqdm(prediction, batch.name, len(names) or None, unit="frame", leave=False,
                          disable=not trainer.is_global_zero)  # bars of several devices would overwrite each other
            for index, frame in enumerate(frames):
                write_image(folder / f"{names[index] if names else f'{index:08d}'}.png", frame)
