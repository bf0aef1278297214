"""Outputs appear whole or not at all: they are written under a temporary name and renamed."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blindvsr import InputError


@contextmanager
def replacing(target: Path, folder: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside `target` that takes its place when the block ends well.

    Whatever stood at `target` stays untouched until then, and for good if the block fails or is interrupted. The
    temporary name keeps the suffix, which encoders look at, and is drawn at random: machines that share a disk have
    processes of the same number.

    Args:
        target: the final path; missing parent folders are made.
        folder: the output is a folder (made, empty) instead of a file.

    Raises:
        InputError: if nothing can be written there.
    """
    token = secrets.token_hex(4)
    temporary = target.with_name(f".{target.stem}.part-{token}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            temporary.mkdir()
        else:
            temporary.touch()
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}; choose another output") from error
    try:
        yield temporary
        if folder and target.exists():
            old = target.with_name(f".{target.name}.old-{token}")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if folder:
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
