"""`blindvsr fit | validate | test | predict`: LightningCLI, with the callbacks that every run needs."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentError
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import TensorBoardLogger

from blindvsr import InputError
from blindvsr.lit.callbacks import FramesWriter, Pictures, StepTime
from blindvsr.lit.data import BlindVSRData
from blindvsr.lit.objectives import OBJECTIVES
from blindvsr.lit.processes import EndTogether, wait_for_others
from blindvsr.lit.task import BlindVSRTask
from blindvsr.weights import BUNDLED, read_state_dict

RUNS = "lightning_logs"  # Lightning's own name for the folder of numbered runs


class Command(LightningCLI):
    """The four commands; `--ckpt_path last` or `best` finds the newest run under trainer.default_root_dir."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({
            "checkpoint.mode": "max", "checkpoint.filename": "best", "checkpoint.auto_insert_metric_name": False,
        })
        parser.link_arguments("model.objective", "data.moving_pairs", compute_fn=_learns_from_pairs)
        # a checkpoint of its own: save_last writes only when the best improves, and a resumed run would lose the rest
        parser.add_lightning_class_args(ModelCheckpoint, "last_checkpoint")
        parser.set_defaults({"last_checkpoint.filename": "last", "last_checkpoint.enable_version_counter": False})
        parser.add_lightning_class_args(LearningRateMonitor, "lr_monitor")
        parser.add_lightning_class_args(FramesWriter, "writer")
        parser.add_lightning_class_args(Pictures, "pictures")
        parser.add_lightning_class_args(StepTime, "step_time")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path"):
            config.ckpt_path = str(_find_checkpoint(config.ckpt_path, Path(config.trainer.default_root_dir or ".")))
            _check_checkpoint(config.ckpt_path)
        elif self.config.subcommand != "fit" and not config.model.weights:
            raise InputError(
                f"{self.config.subcommand} needs a trained network: give --ckpt_path FILE (or best, or last), or "
                f"--model.weights with a file or a bundled model ({', '.join(BUNDLED)})"
            )
        objective, truth = OBJECTIVES[config.model.objective], config.data.kind != "none"
        if self.config.subcommand in ("fit", "validate") and objective.needs_truth and not truth:
            raise InputError(
                f"--model.objective {config.model.objective} needs ground truth: give --data.kind gaussian or realistic"
            )
        if config.checkpoint.monitor is None:
            measure, config.checkpoint.mode = objective.monitored(truth)
            config.checkpoint.monitor = f"val/{measure}"

    def predict(self, **arguments: Any) -> None:
        """Frames go to the writer one by one; collected, they would fill the memory."""
        self.trainer.predict(**{**arguments, "return_predictions": False})

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Curves for training alone, without Lightning's placeholder metric; a resumed run continues its own."""
        command = self.config.subcommand
        config = self.config[command]
        if command == "predict" and not sys.stderr.isatty():
            kwargs["enable_progress_bar"] = False  # the writer's lines say as much, without carriage returns
        if config.trainer.get("logger") is None:
            root, version = Path(config.trainer.default_root_dir or "."), None
            run = Path(config.get("ckpt_path") or "").parent.parent
            if run.parent.name == RUNS:
                root, version = run.parent.parent, run.name
            fit = command == "fit"
            kwargs["logger"] = TensorBoardLogger(root, RUNS, version, default_hp_metric=False) if fit else False
        return super().instantiate_trainer(**kwargs)


def _learns_from_pairs(objective: str) -> bool:
    return OBJECTIVES[objective].moving_pairs


def _find_checkpoint(name: str, root: Path) -> Path:
    """A checkpoint by path, or the newest run's `last` or `best` under root.

    Raises:
        InputError: if there is none.
    """
    if name not in ("last", "best"):
        if not Path(name).is_file():
            raise InputError(f"--ckpt_path {name}: no such file")
        return Path(name)
    found = sorted((root / RUNS).glob(f"*/checkpoints/{name}.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        where = f"{RUNS}/*/checkpoints/{name}.ckpt under trainer.default_root_dir={root}"
        raise InputError(f"--ckpt_path {name}: there is no {where}; train first, or give the file")
    return found[-1]


def _check_checkpoint(path: str) -> None:
    """Says what is wrong with a file before anything is built.

    Raises:
        InputError: if it cannot be read, or holds weights alone.
    """
    read_state_dict(path)
    weights_alone = Path(path).suffix in (".safetensors", ".pkl")
    if not weights_alone:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights_alone = "pytorch-lightning_version" not in content
    if weights_alone:
        raise InputError(
            f"--ckpt_path {path} holds weights alone, and not the state of a training: give --model.weights {path}"
        )


def run(arguments: Sequence[str]) -> None:
    """Runs one command.

    Raises:
        InputError: for everything that the user can mend.
    """
    for pattern in (  # true of runs like ours, and nothing that a user should act on
        ".*does not have many workers.*", ".*smaller than the logging interval.*",
        ".*LeafSpec.*", ".*dirpath has changed.*", ".*Checkpoint directory .* exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", pattern)
    no_exit = {"exit_on_error": False}
    try:
        command = Command(
            BlindVSRTask, BlindVSRData, args=list(arguments), save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,  # the task has its own, with a rate for each part of the network
            trainer_defaults={"callbacks": [EndTogether()]},
            save_config_callback=SaveConfigCallback if arguments[0] == "fit" else None,
            parser_kwargs={**no_exit, **{name: dict(no_exit) for name in Command.subcommands()}},
        )
    except ArgumentError as error:
        raise InputError(str(error)) from error
    wait_for_others(command.trainer)
