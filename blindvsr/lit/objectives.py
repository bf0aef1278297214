"""What can be trained: one class for each value of `--model.objective`, and everything that depends on it."""

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from blindvsr import InputError
from blindvsr.datasets import WINDOW
from blindvsr.frames import Frame
from blindvsr.lit.footage import ValidationClip
from blindvsr.lit.measures import kernel_error, mean_psnr, restoration, twin_error
from blindvsr.lit.normalise import normalise_flow, normalise_kernel
from blindvsr.lit.pictures import clip_pictures, kernel_pictures, motion_pictures
from blindvsr.losses import end_point_error, flow_terms, kernel_distance, rollout, supervised, terms
from blindvsr.network import BlindVSR
from blindvsr.ops import to_tensor

Name = Literal["self_supervised", "supervised", "kernel", "flow"]
Batch = dict[str, Tensor]  # see `BlindVSRData`
Values = dict[str, Tensor]
PARTS = ("network", "kernel", "flow")  # the reconstruction, the kernel estimator, the flow network


class Objective(ABC):
    """What a training run is about.

    Attributes:
        parts: which of PARTS learn; the others are frozen.
        needs_truth: footage has to be blurred by kernels that are known: data.kind must not be none.
        moving_pairs: learns from pairs of frames with known motion, and not from clips.
        measures: names of all that `measure` may return.
    """

    parts: tuple[str, ...] = PARTS
    needs_truth = False
    moving_pairs = False
    measures: tuple[str, ...]

    @abstractmethod
    def monitored(self, truth: bool) -> tuple[str, str]:
        """The measure that says which checkpoint is the best, and whether its "min" or its "max" does.

        Args:
            truth: whether the true high-resolution frames are known.
        """

    def start(self, net: BlindVSR, batch: Batch) -> None:
        """Prepares parts into which nothing was loaded, for the first batch; by default they start as they are made."""

    @abstractmethod
    def losses(self, net: BlindVSR, batch: Batch) -> tuple[Values, Values]:
        """The weighted terms, whose sum is the loss, and what else is worth a curve."""

    @abstractmethod
    def measure(self, net: BlindVSR, item: Any) -> Values:
        """What a validation item says about the network: name -> one value, or one per frame."""

    def pictures(self, net: BlindVSR, item: Any) -> dict[str, Frame]:
        """What there is to see of a validation item; by default all that the network makes of a clip."""
        return clip_pictures(net, item)

    def rates(self, settings: dict[str, Any], loaded: set[str]) -> dict[str, float]:
        """The learning rate of each part that is trained.

        Args:
            settings: of the task: lr, flow_lr, kernel_lr and halve_every.
            loaded: which of PARTS did not start from nothing.

        Raises:
            InputError: for rates that are none, or all 0.
        """
        given = {name: settings["lr"] if settings[name] is None else settings[name]
                 for name in ("lr", "flow_lr", "kernel_lr")}
        for name, rate in given.items():
            if not 0 <= rate < math.inf:
                raise InputError(f"model.{name}={rate}: a learning rate is a number, and not negative")
        if settings["halve_every"] < 1:
            raise InputError(f"model.halve_every={settings['halve_every']}: 1 epoch is the least")
        drifts = "flow" in loaded and len(self.parts) > 1
        flow = given["flow_lr"] if drifts or given["flow_lr"] == 0 else given["lr"]
        rates = {"network": given["lr"], "kernel": given["kernel_lr"], "flow": flow}
        rates = {part: rates[part] for part in self.parts}
        if not any(rates.values()):
            raise InputError("all that --model.objective trains has a learning rate of 0 (--model.lr, --model.flow_lr, "
                             "--model.kernel_lr)")
        return rates


class SelfSupervised(Objective):
    """Learns from low-resolution clips alone, as published."""

    measures = ("psnr", "ssim", "kernel", "aux_psnr")

    def monitored(self, truth: bool) -> tuple[str, str]:
        return ("psnr" if truth else "aux_psnr"), "max"

    def losses(self, net: BlindVSR, batch: Batch) -> tuple[Values, Values]:
        outputs = rollout(net, batch["clip"])
        with torch.no_grad():
            curves = {"cycle_psnr": mean_psnr(outputs.cycle, outputs.centre),
                      "aux_psnr": mean_psnr(outputs.restored_down, outputs.centre)}
        return terms(outputs), curves

    def measure(self, net: BlindVSR, item: ValidationClip) -> Values:
        if item.truth is None:
            return twin_error(net, item)
        return {**restoration(net, item), **kernel_error(net, item), **twin_error(net, item)}


class Supervised(Objective):
    """Learns from the high-resolution frames that the clips were made of, and their kernels."""

    needs_truth = True
    measures = ("psnr", "ssim", "kernel")

    def monitored(self, truth: bool) -> tuple[str, str]:
        return "psnr", "max"

    def losses(self, net: BlindVSR, batch: Batch) -> tuple[Values, Values]:
        truth = to_tensor(batch["frames"][:, WINDOW // 2])
        losses, restored = supervised(net, batch["clip"], truth, batch["kernel"])
        return losses, {"psnr": mean_psnr(restored.detach(), truth)}

    def measure(self, net: BlindVSR, item: ValidationClip) -> Values:
        return {**restoration(net, item), **kernel_error(net, item)}


class KernelOnly(Objective):
    """Trains the kernel estimator alone, on known kernels."""

    parts = ("kernel",)
    needs_truth = True
    measures = ("kernel",)

    def monitored(self, truth: bool) -> tuple[str, str]:
        return "kernel", "min"

    def start(self, net: BlindVSR, batch: Batch) -> None:
        normalise_kernel(net.kernel_net, batch["clip"])

    def losses(self, net: BlindVSR, batch: Batch) -> tuple[Values, Values]:
        return {"kernel": kernel_distance(net.estimate_kernel(batch["clip"]), batch["kernel"])}, {}

    def measure(self, net: BlindVSR, item: ValidationClip) -> Values:
        return kernel_error(net, item)

    def pictures(self, net: BlindVSR, item: ValidationClip) -> dict[str, Frame]:
        return kernel_pictures(net, item)


class FlowOnly(Objective):
    """Trains the flow network alone, on pairs of frames with known motion."""

    parts = ("flow",)
    moving_pairs = True
    measures = ("epe",)

    def monitored(self, truth: bool) -> tuple[str, str]:
        return "epe", "min"

    def start(self, net: BlindVSR, batch: Batch) -> None:
        normalise_flow(net.flow_net, batch["first"])

    def losses(self, net: BlindVSR, batch: Batch) -> tuple[Values, Values]:
        losses, flow = flow_terms(net.flow_net, batch["first"], batch["second"], batch["flow"])
        return losses, {"epe": end_point_error(flow, batch["flow"])}

    def measure(self, net: BlindVSR, item: Batch) -> Values:
        return {"epe": end_point_error(net.flow(item["first"], item["second"]), item["flow"])}

    def pictures(self, net: BlindVSR, item: Batch) -> dict[str, Frame]:
        return motion_pictures(net, item)


OBJECTIVES: dict[str, Objective] = {
    "self_supervised": SelfSupervised(), "supervised": Supervised(), "kernel": KernelOnly(), "flow": FlowOnly(),
}
