"""What a training that goes on after a checkpoint may change, and what it may not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from torch.optim.lr_scheduler import StepLR

from blindvsr import InputError
from blindvsr.weights import read_state_dict

RATES = ("lr", "flow_lr", "kernel_lr", "halve_every")  # of the task, and not fixed for a whole training
RUNS = "lightning_logs"  # Lightning's own name for the folder of numbered runs


def find_checkpoint(name: str, root: Path) -> Path:
    """A checkpoint by path, or the newest run's `last` or `best` under root.

    Raises:
        InputError: if there is none.
    """
    if name not in ("last", "best"):
        if not Path(name).is_file():
            raise InputError(f"--ckpt_path {name}: no such file")
        return Path(name)
    places = (f"{RUNS}/*/checkpoints", "checkpoints")  # without a logger runs have no numbers
    found = [path for place in places for path in root.glob(f"{place}/{name}.ckpt")]
    if not found:
        where = f"{places[0]}/{name}.ckpt under --trainer.default_root_dir {root}"
        raise InputError(f"--ckpt_path {name}: there is no {where}; train first, or give the file")
    return max(found, key=lambda path: path.stat().st_mtime)


def read_checkpoint(path: str) -> dict[str, Any]:
    """The content of a training's checkpoint.

    Raises:
        InputError: if it cannot be read, or holds weights alone.
    """
    read_state_dict(path)
    content: dict[str, Any] = {}
    if Path(path).suffix not in (".safetensors", ".pkl"):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if "pytorch-lightning_version" not in content:
        raise InputError(
            f"--ckpt_path {path} holds weights alone, and not the state of a training: give --model.weights {path}"
        )
    return content


def settle(model: Namespace, given: Namespace, content: dict[str, Any], new_rates: bool) -> None:
    """Makes a configuration of a task say what will be used when its training goes on.

    Args:
        model: all options of the task; changed in place.
        given: those that the user has given.
        content: of the checkpoint.
        new_rates: the rates given are to be used, and not those of the checkpoint.

    Raises:
        InputError: if the user has given what the checkpoint says otherwise.
    """
    settings = _settings(content)
    network = content.get("hyper_parameters", {}).get("network", {})
    kept: dict[str, Any] = {**settings, **{f"network.{name}": value for name, value in network.items()}}
    for name, value in kept.items():
        wanted = given.get(name, value)
        if wanted == value or (name in RATES and new_rates):
            continue
        remedy = "; --new_rates true puts the rates that you give in its place" if name in RATES else \
            "; a training with another takes its weights alone: give --model.weights instead of --ckpt_path"
        raise InputError(f"--model.{name} {wanted}: the training that goes on has {value}: leave it out{remedy}")
    for name, value in settings.items():
        if name not in given and not name.endswith("weights"):  # loaded once, and now part of the checkpoint
            model[name] = value


def _settings(content: dict[str, Any]) -> dict[str, Any]:
    """The task's options that a checkpoint was trained with, as far as it says."""
    if "settings" in content:
        return dict(content["settings"])
    groups, schedules = content["optimizer_states"][0]["param_groups"], content["lr_schedulers"]
    return {"lr": groups[0]["initial_lr"], "halve_every": schedules[0]["step_size"]}


def put_rates(schedule: StepLR, halve_every: int, rates: Sequence[float]) -> None:
    """Makes a schedule what it would be, had it had these rates from the start."""
    schedule.step_size, schedule.base_lrs = halve_every, list(rates)
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["initial_lr"] = rate
        group["lr"] = rate * schedule.gamma ** (schedule.last_epoch // halve_every)


def mend_progress(loops: dict[str, Any]) -> None:
    """Lightning counts an epoch as done that trainer.max_steps or max_time broke off, and then goes on with it: the
    numbers of all later epochs would be one too high.

    Args:
        loops: of a checkpoint; changed in place.
    """
    fit = loops.get("fit_loop")
    if fit and not fit["epoch_loop.batch_progress"]["is_last_batch"]:
        for progress in fit["epoch_progress"].values():
            if progress["processed"] == progress["ready"]:
                progress["processed"] -= 1
                progress["completed"] = min(progress["completed"], progress["processed"])
