"""`blindvsr fit | validate | test | predict`: LightningCLI, with the callbacks that every run needs."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import ArgumentError
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import TensorBoardLogger

from blindvsr import InputError
from blindvsr.lit.callbacks import FramesWriter, Pictures, StepTime
from blindvsr.lit.data import BlindVSRData
from blindvsr.lit.processes import EndTogether, wait_for_others
from blindvsr.lit.task import BlindVSRTask
from blindvsr.weights import read_state_dict

RUNS = "lightning_logs"  # Lightning's own name for the folder of numbered runs


class Command(LightningCLI):
    """The four commands; `--ckpt_path last` or `best` finds the newest run under trainer.default_root_dir."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({
            "checkpoint.monitor": "val/psnr", "checkpoint.mode": "max", "checkpoint.filename": "best",
            "checkpoint.auto_insert_metric_name": False,
        })
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
            read_state_dict(config.ckpt_path)  # a file that cannot be read is said before anything is built

    def predict(self, **arguments: Any) -> None:
        """Frames go to the writer one by one; collected, they would fill the memory."""
        self.trainer.predict(**{**arguments, "return_predictions": False})

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Curves for training alone, without Lightning's placeholder metric; a resumed run continues its own."""
        command = self.config.subcommand
        config = self.config[command]
        if config.trainer.get("logger") is None:
            root, version = Path(config.trainer.default_root_dir or "."), None
            run = Path(config.get("ckpt_path") or "").parent.parent
            if run.parent.name == RUNS:
                root, version = run.parent.parent, run.name
            fit = command == "fit"
            kwargs["logger"] = TensorBoardLogger(root, RUNS, version, default_hp_metric=False) if fit else False
        return super().instantiate_trainer(**kwargs)


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
            trainer_defaults={"callbacks": [EndTogether()]},
            save_config_callback=SaveConfigCallback if arguments[0] == "fit" else None,
            parser_kwargs={**no_exit, **{name: dict(no_exit) for name in Command.subcommands()}},
        )
    except ArgumentError as error:
        raise InputError(str(error)) from error
    wait_for_others(command.trainer)
