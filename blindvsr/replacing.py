"""Outputs appear whole or not at all, several of one work together, and what they replace stays until then."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from blindvsr import InputError
from blindvsr.outputs import FREE, cannot_write, real_path, stands
from blindvsr.signals import undisturbed


class _Output:
    """One output on its way: a temporary path that takes the place of `target` in the end."""

    def __init__(self, target: Path, folder: bool, within: Path | None) -> None:
        self.target, self._place, self._folder = target, real_path(target), folder
        token = secrets.token_hex(4)  # at random: machines that share a disk have processes of the same number
        # names may have 255 bytes, and letters up to four of them
        stem, self._suffix = self._place.stem[:48], self._place.suffix  # which encoders look at
        self.temporary = (within or self._place.parent) / f".{stem}.part-{token}{self._suffix}"
        self._aside = self._place.with_name(f".{stem}.old-{token}")
        self._kept = self._place.with_name(f"{stem}-{token}{self._suffix}")
        self._stood = self._placed = False

    def make(self) -> None:
        """Makes the temporary file or folder, and the folders above it."""
        self._stood = stands(self._place) and self._place not in FREE
        self._place.parent.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir() if self._folder else self.temporary.touch()

    @property
    def has_appeared(self) -> bool:
        """Whether something stands there since."""
        return stands(self._place) and not self._stood

    def keep(self) -> Path:
        """Gives the result a name beside the one that is taken."""
        return self.temporary.rename(self._kept)

    def put(self, alone: bool) -> None:
        """Moves the result to its place; what stood there is kept until `finish`."""
        FREE.discard(self._place)
        if self._place.exists() and (self._folder or not alone):  # a file alone is replaced in one step
            self._place.rename(self._aside)
        self.temporary.replace(self._place)
        self._placed = True

    def take_back(self) -> None:
        """Undoes `put`, or the part of it that was done."""
        if self._placed:
            self._place.rename(self.temporary)
        if self._aside.exists():
            self._aside.rename(self._place)

    def finish(self) -> None:
        """Removes what the result has replaced."""
        _remove(self._aside)

    def clear(self) -> None:
        """Removes the temporary path, if it is there."""
        _remove(self.temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def replacing(target: Path, folder: bool = False, within: Path | None = None) -> Iterator[Path]:
    """Gives a temporary path that takes the place of `target` when the block ends well.

    Whatever stood at `target` stays untouched until then, and for good if the block fails or is interrupted. What
    appeared there during the block, or since an `OutputGuard` looked, stays as well: the result is kept beside it
    then. Links are followed. The temporary name keeps the suffix.

    Args:
        target: the final path; missing parent folders are made.
        folder: the output is a folder (made, empty) instead of a file.
        within: folder on the same disk for the temporary path; beside `target` if None.

    Raises:
        InputError: if nothing can be written there, or something appeared there meanwhile.
    """
    with replacing_together() as replace:
        yield replace(target, folder, within)


@contextmanager
def replacing_together() -> Iterator[Callable[..., Path]]:
    """Gives a function with the arguments and the result of `replacing`, for outputs that appear all, or none.

    Raises:
        InputError: as `replacing`, naming one of the outputs.
    """
    outputs: list[_Output] = []

    def replace(target: Path, folder: bool = False, within: Path | None = None) -> Path:
        outputs.append(_Output(target, folder, within))
        with undisturbed():
            outputs[-1].make()
        return outputs[-1].temporary

    try:
        yield replace
        with undisturbed():
            _put(outputs)
    except InputError as error:  # temporary names mean nothing to the user
        said = str(error)
        for output in outputs:
            said = said.replace(str(output.temporary), str(output.target))
        raise InputError(said) from error
    except OSError as error:
        if (meant := _meant(error, outputs)) is None:
            raise
        raise cannot_write(meant.target, error) from error
    finally:
        with undisturbed():
            for output in outputs:
                output.clear()


def _put(outputs: Sequence[_Output]) -> None:
    """Moves all outputs to their places, or none."""
    if appeared := [output.target for output in outputs if output.has_appeared]:
        kept = ", ".join(str(output.keep()) for output in outputs)
        raise InputError(f"{appeared[0]} has appeared meanwhile and stays as it is: the result is {kept}")
    for number, output in enumerate(outputs):
        try:
            output.put(alone=len(outputs) == 1)
        except OSError as error:
            for done in reversed(outputs[: number + 1]):
                done.take_back()
            raise cannot_write(output.target, error) from error
    for output in outputs:
        output.finish()


def _meant(error: OSError, outputs: Sequence[_Output]) -> _Output | None:
    """The output that an error is about, the last one where it names nothing; None where it names something else."""
    names = [Path(os.fsdecode(name)) for name in (error.filename2, error.filename) if isinstance(name, (str, bytes))]
    for name in names:
        for output in outputs:
            if output.temporary in (name, *name.parents) or name in output.temporary.parents:
                return output
    return outputs[-1] if outputs and not names else None
