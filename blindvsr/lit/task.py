"""LightningModule: training for an objective, validation, the protocol's test and prediction."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from blindvsr.datasets import Video
from blindvsr.frames import Frame
from blindvsr.lit.footage import ValidationClip
from blindvsr.lit.measures import score_video
from blindvsr.lit.objectives import OBJECTIVES, PARTS, Batch, Name, Values
from blindvsr.lit.resume import RATES, mend_progress, put_rates
from blindvsr.metrics import Channels, Scores
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.layouts.pairs import scored_range
from blindvsr.scoring.folders import Summary, summarise, table, write_summary
from blindvsr.stream import restore
from blindvsr.weights import LIGHTNING_PREFIX, check_state_dict, load_network, load_part


def _part(name: str) -> str:
    """Which of PARTS a parameter belongs to."""
    return {"kernel_net": "kernel", "flow_net": "flow"}.get(name.split(".")[0], "network")


class BlindVSRTask(pl.LightningModule):
    """Trains BlindVSR, and runs it on whole videos.

    Args:
        network: shape of the network; a checkpoint's own shape wins over it.
        weights: start from these weights instead of random ones: a file in any layout that `blindvsr.weights` reads, or
            the name of a bundled model (clean, footage). Their shape wins over `network`.
        flow_weights: start the flow network from this file: PWC-Net's network-default.pytorch, or a network of ours.
        kernel_weights: start the kernel estimator from this file, a network of ours.
        lr: learning rate of Adam, for every part of the network that has none of its own.
        flow_lr: learning rate of a flow network that was pretrained, where the whole network is trained; one that was
            not learns at `lr`. 0 leaves it as it is; untrained, it says that nothing moves.
        kernel_lr: learning rate of the kernel estimator; `lr` when None; 0 leaves it as it is.
        halve_every: epochs after which the learning rates are halved.
        objective: what is trained, and on what. self_supervised: the whole network, on low-resolution clips alone, as
            published. supervised: the whole network, on the high-resolution frames that the clips were made of and
            their kernels. kernel: the kernel estimator alone, on known kernels. flow: the flow network alone, on pairs
            of frames moved by known motion.
        recompute_trunk: computes the trunk's activations twice instead of keeping them: less memory for a third more
            time there.
        test_channels: what `test` measures PSNR and SSIM on: rgb, or the luma y.
        test_temporal: let `test` measure temporal consistency too, see `blindvsr.scoring.temporal`.
        cuts: whether predict looks for cuts, see `blindvsr.stream.restore`. Validation and test never do.
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
        objective: Name = "self_supervised",
        recompute_trunk: bool = False,
        test_channels: Channels = "rgb",
        test_temporal: bool = False,
        cuts: Literal["auto", "off"] = "auto",
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
        # plain values: what a resumed training goes on with, see `resume.py`
        self.settings: dict[str, Any] = {
            "weights": weights, "flow_weights": flow_weights, "kernel_weights": kernel_weights, "objective": objective,
            "lr": lr, "flow_lr": flow_lr, "kernel_lr": kernel_lr, "halve_every": halve_every,
        }
        self.objective = OBJECTIVES[objective]
        self.new_rates = False
        self.cuts = cuts == "auto"
        self._settle()
        # only what rebuilds the network, as plain values: hyper-parameters in a checkpoint beat flags, and
        # weights_only=True admits nothing else
        self.save_hyperparameters({"network": asdict(self.net.config)})
        # nan: what has one is one; left to itself a mean passes over them
        self.val_means = nn.ModuleDict({name: MeanMetric(float("nan")) for name in self.objective.measures})
        self.test_channels, self.test_temporal = test_channels, test_temporal
        self.test_scores: dict[str, Scores] = {}
        self.test_summary: Summary | None = None
        self.test_group: Any = None

    def _settle(self) -> None:
        """Makes of the settings what was loaded, at which rate each part of the network learns, and what is frozen."""
        weights, *parts = (self.settings[name] for name in ("weights", "kernel_weights", "flow_weights"))
        given = dict(zip(PARTS, (weights, *(part or weights for part in parts)), strict=True))
        self.loaded = {part for part in PARTS if given[part]}
        self.rates = self.objective.rates(self.settings, self.loaded)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(self.rates.get(_part(name), 0) > 0)

    @property
    def lr(self) -> float:
        """What Lightning's finder of learning rates reads and sets; parts with rates of their own keep them."""
        return self.settings["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        self.settings["lr"] = value
        self._settle()
        self.new_rates = True  # the finder has given all parts of the optimizer this one

    def forward(self, clip: Tensor) -> Tensor:
        """The restored middle frame of each clip.

        Args:
            clip: (B, 5, 3, H, W), RGB in [0, 1]; H, W >= 16.

        Returns:
            (B, 3, 4H, 4W), unclamped.
        """
        return self.net(clip)

    def configure_optimizers(self) -> Any:
        """Adam with a rate for each part that is trained, all halved every `halve_every` epochs."""
        groups: list[dict[str, Any]] = [
            {"name": part, "lr": rate, "params": [
                parameter for name, parameter in self.net.named_parameters() if _part(name) == part
            ]} for part, rate in self.rates.items()
        ]
        optimizer = torch.optim.Adam(groups)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, self.settings["halve_every"], gamma=0.5)]

    def setup(self, stage: str) -> None:
        if stage == "fit":
            # convolutions are fastest so; before the strategy lays its buffers out likewise
            self.net.to(memory_format=torch.channels_last)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Prepares what starts from nothing, once: with accumulated gradients the first step takes several batches."""
        # the step that curves are drawn at: after some breaks Lightning counts one too many
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.trainer.global_step
        if self.current_epoch == batch_idx == 0 and not self.loaded.issuperset(self.objective.parts):
            self.objective.start(self.net, batch)
            # the same on all devices, each of which has a batch of its own
            self.net.load_state_dict(self.trainer.strategy.broadcast(self.net.state_dict()))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        losses, curves = self.objective.losses(self.net, batch)
        loss = torch.stack(list(losses.values())).sum()
        curves = self._over_devices({**losses, "loss": loss, **curves})
        self.terms = {name: curves[name] for name in losses}  # for `BadNumbers`, the same on all devices
        self.log_dict({f"train/{name}": value for name, value in curves.items()}, batch_size=1)
        self.log("loss", curves["loss"], prog_bar=True, logger=False)
        return loss

    def _over_devices(self, curves: Values) -> Values:
        """Means over all devices' batches. One exchange for all of them, which nobody waits for: sync_dist=True would
        hold every device up at two barriers per value."""
        values = torch.stack([value.detach() for value in curves.values()])
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(values)
        return dict(zip(curves, values / self.trainer.world_size, strict=True))

    def validation_step(self, item: ValidationClip | Batch, batch_idx: int) -> None:
        weight = self._weight(batch_idx)
        for name, values in self.objective.measure(self.net, item).items():
            mean = self.val_means[name]
            assert isinstance(mean, MeanMetric)
            values = values.to(self.device)
            mean.update(values, torch.full_like(values, weight))
            self.log(f"val/{name}", mean, prog_bar=name in ("psnr", "epe"), batch_size=1)

    def _weight(self, batch_idx: int) -> float:
        """0 for an item that another device has too: all devices get equally many, and the last may be repetitions."""
        items = len(self.trainer.val_dataloaders.dataset)  # type: ignore[union-attr]
        return float(batch_idx * self.trainer.world_size + self.trainer.global_rank < items)

    def on_test_epoch_start(self) -> None:
        self.test_scores = {}
        if self.trainer.world_size > 1:
            # videos differ in length, and the trainer's own group gives a late device up after half an hour
            self.test_group = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=7))

    def test_step(self, pair: tuple[Video, Video], batch_idx: int) -> None:
        high, low = pair
        self.test_scores[high.name] = score_video(
            self.net, low.read(), high.read(), scored_range(high), high.name, self.stream_precision(),
            self.test_channels, self.test_temporal,
        )

    def on_test_epoch_end(self) -> None:
        """Prints the protocol's table, and writes it as JSON and CSV beside the weights it belongs to."""
        gathered: list[dict[str, Scores]] = [self.test_scores]
        if self.trainer.world_size > 1:
            gathered = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(gathered, self.test_scores, self.test_group)
        # by name: a video that padding handed to two devices counts once
        self.test_scores = {name: scores for part in gathered for name, scores in part.items()}
        self.test_summary = summarise(self.test_scores, self.test_channels)
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
        return restore(self.net, video.read(), "auto", self.stream_precision(), cuts=self.cuts)

    def stream_precision(self) -> str:
        """The stream's name for the trainer's precision: it sets its own casts, see `blindvsr.flow`."""
        name = str(self.trainer.precision)
        return "bf16" if "bf16" in name else "16" if name.startswith("16") else "32"

    def on_train_start(self) -> None:
        """A checkpoint brings its own rates: `new_rates` puts those of the settings in their place."""
        if not self.new_rates:
            return
        schedule = self.lr_schedulers()
        assert isinstance(schedule, torch.optim.lr_scheduler.StepLR)
        put_rates(schedule, self.settings["halve_every"], list(self.rates.values()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["settings"] = self.settings

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("state_dict", {})
        net = {key.removeprefix(LIGHTNING_PREFIX): value for key, value in state.items()
               if key.startswith(LIGHTNING_PREFIX)}
        check_state_dict(self.net, net, "ckpt_path")
        rates = {name: self.settings[name] for name in RATES} if self.new_rates else {}
        self.settings |= {**checkpoint.get("settings", {}), **rates}
        if "optimizer_states" in checkpoint:
            self._settle()
            mend_progress(checkpoint["loops"])
