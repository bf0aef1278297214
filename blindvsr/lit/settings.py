"""Files of settings are looked at before the parser gets them: it follows references in a circle for ever."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from blindvsr import InputError

LARGEST = 2**20  # bytes
VALUES = 20_000  # that references may make of them


def check_settings(arguments: Sequence[str]) -> None:
    """Reads every file that follows --config, or -c.

    Raises:
        InputError: if one is not text in UTF-8, no YAML, refers to itself, or is far larger than settings are.
    """
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    names = [following if name in ("--config", "-c") else name.removeprefix("--config=") for name, following in pairs
             if name in ("--config", "-c") or name.startswith("--config=")]
    for path in map(Path, names):
        if path.is_file():  # else the parser says so
            _check(path)


def _check(path: Path) -> None:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"--config {path}: {path.stat().st_size} bytes are no file of settings")
        left = VALUES - _values(yaml.safe_load(path.read_text("utf-8")), (), VALUES)
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"--config {path}: it is not text in UTF-8; save it so") from error
    except Exception as error:  # whatever the parser of YAML says, or a file that cannot be read
        raise InputError(f"--config {path}: {error}") from error
    if left <= 0:
        raise InputError(f"--config {path}: its references (&, *) make more than {VALUES} values of it")


def _values(value: Any, around: tuple[int, ...], most: int) -> int:
    """How many values there are, references followed; `most` when there are more, or one refers to what it is in."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) in around or len(around) > 50:
        return most
    count = 1
    for item in value.values() if isinstance(value, dict) else value:
        count += _values(item, (*around, id(value)), most - count)
        if count >= most:
            return most
    return count
