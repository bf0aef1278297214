"""NaN and Inf in a training: said at once, and kept out of the weights and of the checkpoints."""

import math
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from blindvsr import InputError
from blindvsr.lit.objectives import Values

MOST = 10  # steps in a row that are left out: what is wrong with more is no single batch
LEAST_SCALE = 1.0  # a gradient that overflows without being enlarged is no matter of the scale


class BadNumbers(pl.Callback):
    """Looks at the terms of the loss and the gradient before a step is made of them, and at what validation measures.

    With 16-mixed the gradient overflows now and then, until its scale is found: the scaler leaves such steps out.

    Args:
        then: what follows a NaN or Inf. stop: the training ends with an error before the weights change, and
            checkpoints stay as they are. skip: the step is left out with a warning, unless 10 in a row were; after a
            validation no checkpoint is written.
    """

    def __init__(self, then: Literal["stop", "skip"] = "stop") -> None:
        self.then = then
        self._terms: list[Values] = []  # of all batches that one step is made of
        self._skipped = 0  # in a row

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self._terms.append(pl_module.terms)  # type: ignore[arg-type]

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        terms = [term for batch in self._terms for term in batch.items()]
        self._terms.clear()
        gradients = [(group["name"], parameter.grad) for group in optimizer.param_groups
                     for parameter in group["params"] if parameter.grad is not None]
        # one number, so that a device is waited for once
        size = torch.stack([value.float() for _, value in terms]).abs().sum()
        size = size + torch.nn.utils.get_total_norm([gradient for _, gradient in gradients])
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        bad = []
        if not math.isfinite(size):
            bad = [f"the loss term {name} is {float(value)}" for name, value in terms if not value.isfinite()]
            if not bad and (scaler is None or scaler.get_scale() <= LEAST_SCALE):
                names = dict.fromkeys(name for name, gradient in gradients if not gradient.isfinite().all())
                bad = [f"the gradient of {name} has NaN or Inf" for name in names]
        if not bad:
            self._skipped = 0
            return
        self._skipped += 1
        self._say(trainer, ", ".join(bad), "the step is left out", self._skipped > MOST)
        optimizer.zero_grad()  # Adam passes over what has no gradient

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        measured = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        bad = [f"{name} is {float(value)}" for name, value in measured.items()
               # the PSNR of equal frames is infinite
               if not (value.isfinite() or value == math.inf and name.endswith("psnr"))]
        if not bad or trainer.state.fn != "fit":
            return
        self._say(trainer, ", ".join(bad), "no checkpoint is written")
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint):
                callback._last_global_step_saved = trainer.global_step  # takes this step for saved

    def _say(self, trainer: pl.Trainer, what: str, then: str, often: bool = False) -> None:
        where = f"step {trainer.global_step}: {what}"
        if often:
            raise InputError(f"{where}, and the {MOST} steps before were left out too; lower --model.lr")
        if self.then == "stop":
            raise InputError(f"{where}: stopped, and checkpoints are as they were; lower --model.lr, or leave such "
                             "steps out: --bad_numbers.then skip")
        rank_zero_warn(f"{where}: {then}", stacklevel=3)


def check_finite(checkpoint: dict[str, Any], name: str) -> None:
    """Raises InputError for a checkpoint whose weights, or what the optimizer knows of them, have NaN or Inf."""
    states = [state for optimizer in checkpoint.get("optimizer_states", ()) for state in optimizer["state"].values()]
    for values in (checkpoint.get("state_dict", {}), *states):
        for value in values.values():
            if isinstance(value, Tensor) and not value.isfinite().all():
                raise InputError(f"the weights have NaN or Inf: {name} is not written; lower --model.lr")
