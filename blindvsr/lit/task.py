"""LightningModule: self-supervised training, validation, the protocol's test and prediction."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import MeanMetric

from blindvsr import InputError
from blindvsr.datasets import WINDOW, Video
from blindvsr.degrade import blur_down, draw_kernel
from blindvsr.frames import Frame
from blindvsr.lit.footage import ValidationClip
from blindvsr.lit.normalise import normalise_flow, normalise_kernel
from blindvsr.losses import (
    Rollout, end_point_error, flow_terms, kernel_distance, rollout, supervised, terms,
)
from blindvsr.metrics import Scores, scored_frames
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.scoring import Summary, crop_to, summarise, table, write_summary
from blindvsr.stream import restore
from blindvsr.weights import LIGHTNING_PREFIX, check_state_dict, load_network, load_part

PROBED_SIGMAS = (0.6, 1.2, 1.8)  # HR pixels


def _psnr(first: Tensor, second: Tensor) -> Tensor:
    """Mean over the batch of the PSNR of tensors (B, C, H, W) in [0, 1], dB; for curves, not for tables."""
    errors = (first.float() - second.float()).square().mean((1, 2, 3))
    return -10 * torch.log10(errors.clamp(min=1e-10)).mean()


def _length(batch: dict[str, Tensor]) -> int:
    return len(next(iter(batch.values())))


def to_clip(frames: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) -> (1, N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)[None].float() / 255


class BlindVSRTask(pl.LightningModule):
    """Trains BlindVSR, and runs it on whole videos.

    Batches of pairs with known motion train its flow network alone.

    Args:
        network: shape of the network; a checkpoint's own shape wins over it.
        weights: start from these weights (any layout that `blindvsr.weights` reads) instead of random ones; their
            shape wins over `network`.
        flow_weights: start the flow network from this file: PWC-Net's network-default.pytorch, or a network of ours.
        kernel_weights: start the kernel estimator from this file, a network of ours.
        lr: learning rate of Adam.
        flow_lr: of the flow network if it starts from pretrained weights; without them it learns at `lr`. 0 leaves it
            as it is; untrained, it says that nothing moves.
        kernel_lr: of the kernel estimator; `lr` when None; 0 leaves it as it is.
        halve_every: epochs after which the rates are halved.
        objective: self_supervised learns from the low-resolution clips alone, as published; supervised uses the
            high-resolution frames that training made them of, and their kernels; kernel trains the estimator alone, on
            known kernels.
        recompute_trunk: saves memory, see `BlindVSR`.
    """

    def __init__(
        self,
        network: NetConfig = NetConfig(),
        weights: str | None = None,
        flow_weights: str | None = None,
        kernel_weights: str | None = None,
        lr: float = 1e-4,
        flow_lr: float = 1e-6,
        kernel_lr: float | None = None,
        halve_every: int = 100,
        objective: Literal["self_supervised", "supervised", "kernel"] = "self_supervised",
        recompute_trunk: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(network, dict):  # as load_from_checkpoint hands it over
            network = NetConfig(**network)
        self.net = load_network(weights).train() if weights else BlindVSR(network)
        if flow_weights:
            load_part(self.net, "flow_net", flow_weights)
        if kernel_weights:
            load_part(self.net, "kernel_net", kernel_weights)
        self.net.recompute_trunk = recompute_trunk
        self.lr, self.halve_every, self.objective = lr, halve_every, objective
        self.kernel_lr = lr if kernel_lr is None else kernel_lr
        self.known = {"flow": bool(weights or flow_weights), "kernel": bool(weights or kernel_weights)}
        self.flow_lr = flow_lr if self.known["flow"] or flow_lr == 0 else lr
        self.net.flow_net.requires_grad_(self.flow_lr > 0)
        self.net.kernel_net.requires_grad_(self.kernel_lr > 0)
        # only what rebuilds the network, as plain values: hyper-parameters in a checkpoint beat flags, and
        # weights_only=True admits nothing else
        self.save_hyperparameters({"network": asdict(self.net.config)})
        self.val_psnr, self.val_ssim, self.val_aux_psnr = MeanMetric(), MeanMetric(), MeanMetric()
        self.val_kernel = MeanMetric()
        self.test_scores: dict[str, Scores] = {}
        self.test_summary: Summary | None = None
        self.test_group: Any = None

    def configure_optimizers(self) -> Any:
        """Adam with three rates, all halved every `halve_every` epochs."""
        groups: dict[str, dict[str, Any]] = {
            "network": {"lr": self.lr}, "kernel": {"lr": self.kernel_lr}, "flow": {"lr": self.flow_lr},
        }
        for name, parameter in self.net.named_parameters():
            part = {"kernel_net": "kernel", "flow_net": "flow"}.get(name.split(".")[0], "network")
            groups[part].setdefault("params", []).append(parameter)
        optimizer = torch.optim.Adam([{**group, "name": name} for name, group in groups.items()])
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, self.halve_every, gamma=0.5)]

    def setup(self, stage: str) -> None:
        """Freezes what the data or the objective leave out: several devices wait for the gradients of all the rest.
        Then chooses the layout of the weights."""
        if stage != "fit":
            return
        motion = getattr(self.trainer.datamodule, "kind", "none") == "motion"  # type: ignore[attr-defined]
        part = self.net.flow_net if motion else self.net.kernel_net if self.objective == "kernel" else None
        if part is not None:
            self.net.requires_grad_(False)
            part.requires_grad_(True)
        # convolutions are fastest so; before the strategy lays its buffers out likewise
        self.net.to(memory_format=torch.channels_last)

    def on_fit_start(self) -> None:
        kind = getattr(self.trainer.datamodule, "kind", "none")  # type: ignore[attr-defined]
        if self.objective != "self_supervised" and kind == "none":
            raise InputError(
                f"model.objective={self.objective} needs ground truth: give --data.kind gaussian or realistic"
            )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if self.global_step == 0:
            self._normalise(batch)
        losses, curves = self._losses(batch)
        loss = torch.stack(list(losses.values())).sum()
        curves = self._over_devices({**losses, "loss": loss, **curves})
        self.log_dict({f"train/{name}": value for name, value in curves.items()}, batch_size=_length(batch))
        self.log("loss", curves["loss"], prog_bar=True, logger=False)
        return loss

    def _normalise(self, batch: dict[str, Tensor]) -> None:
        """Starts a part that learns alone and from nothing where it learns soonest."""
        if "flow" in batch and not self.known["flow"]:
            normalise_flow(self.net.flow_net, batch["first"])
        elif "flow" not in batch and self.objective == "kernel" and not self.known["kernel"]:
            normalise_kernel(self.net.kernel_net, batch["clip"])
        else:
            return
        # the same on all devices, each of which has a batch of its own
        self.net.load_state_dict(self.trainer.strategy.broadcast(self.net.state_dict()))

    def _losses(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms of the loss, and what else is worth a curve."""
        if "flow" in batch:
            losses, flow = flow_terms(self.net.flow_net, batch["first"], batch["second"], batch["flow"])
            return losses, {"epe": end_point_error(flow, batch["flow"])}
        if self.objective == "kernel":
            return {"kernel": kernel_distance(self.net.estimate_kernel(batch["clip"]), batch["kernel"])}, {}
        if self.objective == "supervised":
            truth = batch["frames"][:, WINDOW // 2].movedim(-1, 1).float() / 255
            losses, restored = supervised(self.net, batch["clip"], truth, batch["kernel"])
            return losses, {"psnr": _psnr(restored.detach(), truth)}
        outputs = rollout(self.net, batch["clip"])
        return terms(outputs), self._psnrs(outputs)

    def _over_devices(self, curves: dict[str, Tensor]) -> dict[str, Tensor]:
        """Means over all devices' batches. One exchange for all of them, which nobody waits for: sync_dist=True would
        hold every device up at two barriers per value."""
        values = torch.stack([value.detach() for value in curves.values()])
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(values)
        return dict(zip(curves, values / self.trainer.world_size, strict=True))

    @staticmethod
    @torch.no_grad()
    def _psnrs(outputs: Rollout) -> dict[str, Tensor]:
        return {"cycle_psnr": _psnr(outputs.cycle, outputs.centre),
                "aux_psnr": _psnr(outputs.restored_down, outputs.centre)}

    def validation_step(self, clip: ValidationClip | dict[str, Tensor], batch_idx: int) -> None:
        if isinstance(clip, dict):
            error = end_point_error(self.net.flow(clip["first"], clip["second"]), clip["flow"])
            self.log("val/epe", error, prog_bar=True, batch_size=_length(clip), sync_dist=True)
            return
        middle = slice(len(clip.low) // 2 - WINDOW // 2, len(clip.low) // 2 + WINDOW // 2 + 1)
        outputs = rollout(self.net, to_clip(clip.low[middle], self.device))
        weight = self._weight(batch_idx)
        self.val_aux_psnr.update(self._psnrs(outputs)["aux_psnr"], weight)
        self.log("val/aux_psnr", self.val_aux_psnr, batch_size=1)
        if clip.truth is None:
            return
        scores = _score(restore(self.net, iter(clip.low)), iter(clip.truth), len(clip.low), clip.name)
        for metric, values in ((self.val_psnr, scores.psnr), (self.val_ssim, scores.ssim)):
            metric.update(torch.tensor(values, device=self.device), weight)
        self.log("val/psnr", self.val_psnr, prog_bar=True, batch_size=1)
        self.log("val/ssim", self.val_ssim, batch_size=1)
        self.val_kernel.update(self._kernel_error(clip, middle), weight)
        self.log("val/kernel", self.val_kernel, batch_size=1)

    def _kernel_error(self, clip: ValidationClip, window: slice) -> Tensor:
        """L1 distance of the estimated kernels to the true ones: of a narrow, a middle and a wide Gaussian, or of the
        clip's own kernel where that is none."""
        assert clip.truth is not None and clip.kernel is not None
        kernels = [clip.kernel]
        if getattr(self.trainer.datamodule, "kind", "none") == "gaussian":  # type: ignore[attr-defined]
            kernels = [draw_kernel("gaussian", np.random.default_rng(0), sigma) for sigma in PROBED_SIGMAS]
        true = torch.from_numpy(np.stack(kernels)).float()[:, None].to(self.device)
        truth = to_clip(clip.truth[window], self.device).expand(len(true), -1, -1, -1, -1)
        return kernel_distance(self.net.estimate_kernel(blur_down(truth, true)), true)

    def _weight(self, batch_idx: int) -> float:
        """0 for a clip that another device has too: every device gets equally many, and the last may be repetitions."""
        clips = len(self.trainer.val_dataloaders.dataset)  # type: ignore[union-attr]
        return float(batch_idx * self.trainer.world_size + self.trainer.global_rank < clips)

    def on_test_epoch_start(self) -> None:
        self.test_scores = {}
        if self.trainer.world_size > 1:
            # videos differ in length, and the trainer's own group gives a late device up after half an hour
            self.test_group = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=7))

    def test_step(self, pair: tuple[Video, Video], batch_idx: int) -> None:
        high, low = pair
        restored = restore(self.net, low.read(), precision=self._precision())
        self.test_scores[high.name] = _score(restored, high.read(), len(high.files), high.name)

    def on_test_epoch_end(self) -> None:
        """Prints the protocol's table, and writes it as JSON and CSV beside the weights it belongs to."""
        gathered: list[dict[str, Scores]] = [self.test_scores]
        if self.trainer.world_size > 1:
            gathered = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(gathered, self.test_scores, self.test_group)
        # by name: a video that padding handed to two devices counts once
        self.test_summary = summarise({name: scores for part in gathered for name, scores in part.items()})
        path = self._table_path()  # on every device: the trainer agrees on its folder by a broadcast
        if self.trainer.is_global_zero:
            print(table(self.test_summary))
            write_summary(self.test_summary, path)

    def _table_path(self) -> Path:
        checkpoint = self.trainer.ckpt_path
        name = getattr(self.trainer.datamodule, "test_name", "test")  # type: ignore[attr-defined]
        if checkpoint:
            return Path(checkpoint).parent / f"{Path(checkpoint).stem}-{name}.json"
        return Path(self.trainer.log_dir or self.trainer.default_root_dir) / f"{name}.json"

    def predict_step(self, video: Video, batch_idx: int) -> Iterator[Frame]:
        """The restored frames, made one by one as the writer asks for them."""
        return restore(self.net, video.read(), precision=self._precision())

    def _precision(self) -> str:
        """The stream's name for the trainer's precision: it sets its own casts, see `blindvsr.flow`."""
        name = str(self.trainer.precision)
        return "bf16" if "bf16" in name else "16" if name.startswith("16") else "32"

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("state_dict", {})
        net = {key.removeprefix(LIGHTNING_PREFIX): value for key, value in state.items()
               if key.startswith(LIGHTNING_PREFIX)}
        check_state_dict(self.net, net, "--ckpt_path")


def _score(restored: Iterator[Frame], truth: Iterator[Frame], count: int, name: str) -> Scores:
    """Scores the frames that the protocol takes, as they come."""
    chosen, scores = scored_frames(count), Scores()
    if not chosen:
        raise InputError(f"video {name} has {count} frames; a window takes {WINDOW}")
    for index, (frame, true) in enumerate(zip(restored, truth, strict=True)):
        if index in chosen:
            scores.add(frame, crop_to(true, frame, name))
    return scores
