"""`blindvsr fit | validate | test | predict`: LightningCLI, with the callbacks that every run needs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import Namespace
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger

from blindvsr import InputError
from blindvsr.lit.bad_numbers import BadNumbers
from blindvsr.lit.callbacks import FramesWriter, Pictures, Report, StepTime
from blindvsr.lit.data import BlindVSRData
from blindvsr.lit.help import TEXTS, Formatter, parser_options
from blindvsr.lit.mistakes import in_one_line, quiet
from blindvsr.lit.objectives import OBJECTIVES, Objective
from blindvsr.lit.processes import EndTogether, wait_for_others
from blindvsr.lit.resume import RUNS, find_checkpoint, read_checkpoint, settle
from blindvsr.lit.run_folder import OneAtATime, RunConfig, WholeCheckpoints, new_run
from blindvsr.lit.settings import check_settings
from blindvsr.lit.stopping import stopping
from blindvsr.lit.task import BlindVSRTask
from blindvsr.outputs import FULL, cannot_write
from blindvsr.weights import BUNDLED

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


class Command(LightningCLI):
    """The four commands; `--ckpt_path last` or `best` finds the newest run under trainer.default_root_dir."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({
            "checkpoint.mode": "max", "checkpoint.filename": "best", "checkpoint.auto_insert_metric_name": False,
        })
        # of the task that has been built: a link between flags would need both to be given
        parser.link_arguments("model.objective", "data.moving_pairs", _learns_from_pairs, "instantiate")
        # a checkpoint of its own: save_last writes only when the best improves, and a resumed run would lose the rest
        parser.add_lightning_class_args(ModelCheckpoint, "last_checkpoint")
        parser.set_defaults({"last_checkpoint.filename": "last", "last_checkpoint.enable_version_counter": False})
        parser.add_lightning_class_args(LearningRateMonitor, "lr_monitor")
        parser.add_lightning_class_args(FramesWriter, "writer")
        parser.add_lightning_class_args(Report, "report")
        parser.add_lightning_class_args(Pictures, "pictures")
        parser.add_lightning_class_args(StepTime, "step_time")
        parser.add_lightning_class_args(BadNumbers, "bad_numbers")
        parser.add_argument(
            "--new_rates", type=bool, default=False,
            help="When a training goes on (--ckpt_path): use the learning rates and the halving that are given here, "
                 "and not those of the checkpoint, as if they had been given from the start.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        command = self.config.subcommand
        config = self.config[command]
        if config.get("ckpt_path"):
            config.ckpt_path = str(find_checkpoint(config.ckpt_path, Path(config.trainer.default_root_dir or ".")))
            content = read_checkpoint(config.ckpt_path)
            if command == "fit":
                given = parser.parse_args(args, defaults=False)[command].get("model", Namespace())  # type: ignore
                settle(config.model, given, content, config.new_rates)
        elif command != "fit" and not config.model.weights:
            raise InputError(
                f"{command} needs a trained network: give --ckpt_path FILE (or best, or last), or --model.weights with "
                f"a file or a bundled model ({', '.join(BUNDLED)})"
            )
        if command == "validate" and not (config.data.val_root or config.data.train_root):
            raise InputError("data.val_root is missing: give --data.val_root DIR")
        objective, truth = OBJECTIVES[config.model.objective], config.data.kind != "none"
        if command in ("fit", "validate") and objective.needs_truth and not truth:
            raise InputError(
                f"--model.objective {config.model.objective} needs ground truth: give --data.kind gaussian or realistic"
            )
        if config.checkpoint.monitor is None:
            measure, config.checkpoint.mode = objective.monitored(truth)
            config.checkpoint.monitor = f"val/{measure}"

    def _run_subcommand(self, subcommand: str) -> None:
        """Says where a disk is full, which what curves and settings are written with does not."""
        try:
            super()._run_subcommand(subcommand)
        except OSError as error:
            if error.errno in FULL and not error.filename:
                raise cannot_write(Path(self.trainer.default_root_dir), error) from error
            raise

    def before_fit(self) -> None:
        """Takes a number for a new run; the other processes of a run agree on the first one's folder."""
        logger = self.trainer.logger
        if isinstance(logger, TensorBoardLogger) and logger._version is None and self.trainer.is_global_zero:
            try:
                logger._version = new_run(Path(logger.root_dir))
            except OSError as error:
                raise InputError(f"--trainer.default_root_dir: {logger.root_dir} cannot be written: {error.strerror}") \
                    from error
        self.model.new_rates = self.config.fit.new_rates

    def predict(self, **arguments: Any) -> None:
        """Frames go to the writer one by one; collected, they would fill the memory."""
        self.trainer.predict(**{**arguments, "return_predictions": False})

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Curves for training alone, without Lightning's placeholder metric; a resumed run continues its own."""
        config = self.config_init[self.config.subcommand]
        options = config.trainer
        if self.config.subcommand == "predict" and not sys.stderr.isatty():
            kwargs["enable_progress_bar"] = False  # the writer's lines say as much, without carriage returns
        for name in ("accumulate_grad_batches", "limit_train_batches"):
            if self.config.subcommand == "fit" and options[name] == 0:
                raise InputError(f"--trainer.{name} 0: nothing would be trained; give 1 or more")
        if options.barebones:
            options.log_every_n_steps = None  # the shipped configurations give it, and it logs nothing
        elif options.logger is None or options.logger is True:
            kwargs["logger"] = self._logger(config) if self.config.subcommand == "fit" else False
        trainer = super().instantiate_trainer(**{**kwargs, "plugins": _plugins(options.plugins)})
        if trainer.precision not in PRECISIONS:
            raise InputError(f"--trainer.precision {trainer.precision}: flows and coordinates need 32 bits, and 64 do "
                             f"not improve them: give {', '.join(PRECISIONS)}")
        return trainer

    def _logger(self, config: Namespace) -> TensorBoardLogger:
        root = Path(config.trainer.default_root_dir or ".")
        run = Path(config.get("ckpt_path") or "").parent.parent
        if run.parent.name == RUNS:
            return TensorBoardLogger(run.parent.parent, RUNS, run.name, default_hp_metric=False)
        return TensorBoardLogger(root, RUNS, default_hp_metric=False)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
        """Leaves out the callbacks for which the trainer's own switches leave no work."""
        needs: list[type] = []
        if config["barebones"]:
            needs = [LearningRateMonitor, ModelCheckpoint, Pictures, StepTime]
        elif not config["logger"]:
            needs = [LearningRateMonitor, Pictures, StepTime]
        if config["enable_checkpointing"] is False:
            needs.append(ModelCheckpoint)
        kept = [callback for callback in callbacks if not isinstance(callback, tuple(needs))]
        return super()._instantiate_trainer(config, kept)


def _learns_from_pairs(objective: Objective) -> bool:
    return objective.moving_pairs


def _plugins(given: Any) -> list[Any]:
    """The trainer's plugins, and a writer of checkpoints unless there is one."""
    plugins = list(given) if isinstance(given, (list, tuple)) else [given] if given else []
    own = not any(isinstance(plugin, CheckpointIO) for plugin in plugins)
    return [*plugins, WholeCheckpoints()] if own else plugins


def run(arguments: Sequence[str]) -> None:
    """Runs one command.

    Raises:
        InputError: for everything that the user can mend.
        Stopped: by a signal.
    """
    quiet()
    check_settings(arguments)
    with stopping() as stop, in_one_line():
        command = Command(
            BlindVSRTask, BlindVSRData, args=list(arguments), save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,  # the task has its own, with a rate for each part of the network
            trainer_defaults={"callbacks": [EndTogether(), OneAtATime(), stop]},
            save_config_callback=RunConfig if arguments[0] == "fit" else None,
            parser_kwargs={
                "exit_on_error": False, "formatter_class": Formatter, **{name: parser_options(name) for name in TEXTS},
            },
        )
        wait_for_others(command.trainer)
