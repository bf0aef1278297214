"""The folder of a run: one training at a time writes into it, and nothing in it is ever half written or untrue."""

import io
import os
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import pytorch_lightning as pl
import torch
import yaml
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.cli import SaveConfigCallback

from blindvsr import InputError
from blindvsr.lit.bad_numbers import check_finite
from blindvsr.outputs import cannot_write

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class WholeCheckpoints(TorchCheckpointIO):
    """A checkpoint takes its name when it is whole, finite and on the disk; until then an older one keeps it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        place = Path(path)
        check_finite(checkpoint, place.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.part")
        try:
            content = io.BytesIO()
            torch.save(checkpoint, content)  # not into the file: a full disk would be told in words of torch's archive
            with temporary.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(place)
        except OSError as error:
            raise cannot_write(place, error) from error
        finally:
            temporary.unlink(missing_ok=True)


class RunConfig(SaveConfigCallback):
    """Writes config.yaml: what the run uses now. What it used before it was resumed stays, as config-1.yaml and on."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # on every device: it is agreed on by a broadcast
        path = folder / self.config_filename
        if trainer.is_global_zero and not self.already_saved and path.exists():
            before, now = (yaml.safe_load(text) for text in (path.read_text(), self.parser.dump(self.config)))
            if _options(before) != _options(now):
                number = next(n for n in count(1) if not (folder / f"config-{n}.yaml").exists())
                path.rename(folder / f"config-{number}.yaml")
        super().setup(trainer, pl_module, stage)


def _options(config: dict[str, Any]) -> dict[str, Any]:
    """All that decides what a run does; options that are not given are left out in some files."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": item for name, item in _options(value).items()}
        elif value is not None and key != "ckpt_path":
            flat[key] = value
    return flat


class OneAtATime(pl.Callback):
    """Keeps a second training out of the folder while one writes into it.

    The lock goes with the process that holds it, however that ends.
    """

    def __init__(self) -> None:
        self._file: TextIO | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        if stage != "fit" or not trainer.is_global_zero or fcntl is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another training writes into {folder}: wait for its end, or start a new one") from error
        except OSError:
            return  # a disk without locks
        for left in folder.glob("checkpoints/.*.part"):  # by a training that was killed while it wrote one
            left.unlink(missing_ok=True)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._release()

    def _release(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


def new_run(folder: Path) -> str:
    """Makes the next of the numbered folders, which no other training can make too: its name."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name[8:]) for path in folder.glob("version_*") if path.name[8:].isdigit()]
    number = max(taken, default=-1) + 1
    while True:
        try:
            (folder / f"version_{number}").mkdir()
            return f"version_{number}"
        except FileExistsError:
            number += 1
