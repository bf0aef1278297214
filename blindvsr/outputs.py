"""Outputs: none replaces an input or, unasked, anything else."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from blindvsr import InputError

LEFT_BY_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")  # in every folder that a file manager has shown

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: on the disk, of the user's share, in one file

Identity = tuple[int, int]
FREE: set[Path] = set()  # where guards found nothing: what appears there later, while a network loads, is not ours


class OutputExists(InputError):
    """Something stands where an output shall go, and nobody has said that it may be replaced."""


class OutputGuard:
    """Says, before any work is done, what the outputs of a command must not do to what is there.

    Args:
        inputs: every file and folder that the work reads, ground truth and weights included; those that do not exist
            are passed over.
        overwrite: what stands where an output goes may be replaced.
    """

    def __init__(self, inputs: Iterable[Path], overwrite: bool) -> None:
        self._overwrite = overwrite
        self._inputs: dict[Identity, Path] = {}  # those themselves
        self._holders: dict[Identity, Path] = {}  # what they lie in, and what links in them point to lies in
        self._outputs: dict[Path, Path] = {}
        self._above: dict[Path, Path] = {}
        for source in inputs:
            if source.exists():
                self._inputs[_identities(source)[0]] = source
                for place in _places(source):
                    self._holders |= dict.fromkeys(_identities(place), source)

    def check(self, target: Path, folder: Sequence[str] = (), name: str = "output") -> None:
        """Checks one output.

        Args:
            target: where it will be written.
            folder: of an output that is a folder, and replaced as a whole, the suffixes of the files that it is made
                of: one that holds anything else stays, whatever `overwrite` says. Nothing for a file.
            name: what to call it in messages.

        Raises:
            OutputExists: if something stands there and `overwrite` is not given.
            InputError: if it is, holds or lies in an input, through links too, or in another output; if a file stands
                where a folder shall go, or the reverse; if a folder holds something else; if nothing can be written.
        """
        what = f"{name} {target}"
        try:
            self._check_inputs(target, what)
            self._check_outputs(target, what)
            if target.exists() and target.is_dir() != bool(folder):
                kinds = ("folder", "file") if target.is_dir() else ("file", "folder")
                raise InputError(f"{what} is a {kinds[0]}, and a {kinds[1]} shall be written: choose another")
            above = next(place for place in real_path(target).parents if place.exists())
            if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
                reason = "closed to writing" if above.is_dir() else "a file"
                raise InputError(f"cannot write {what}: {above} is {reason}; choose another")
            if folder and target.is_dir():
                _check_content(target, folder)
            if stands(target) and not self._overwrite:
                raise OutputExists(f"{what} exists: choose another")
            (FREE.discard if stands(target) else FREE.add)(real_path(target))
        except OSError as error:
            raise InputError(f"cannot write {what}: {error.strerror or error}; choose another") from error

    def _check_inputs(self, target: Path, what: str) -> None:
        around = _identities(target)
        source = next((self._inputs[place] for place in around if place in self._inputs), None)
        if source:
            verb = "is" if target.exists() and target.samefile(source) else "lies in"
            raise InputError(f"{what} {verb} the input {source}: choose another")
        if target.exists() and around[0] in self._holders:
            raise InputError(f"{what} holds the input {self._holders[around[0]]}: choose another")

    def _check_outputs(self, target: Path, what: str) -> None:
        place = real_path(target)
        around = (place, *place.parents)
        other = next((self._outputs[place] for place in around if place in self._outputs), self._above.get(place))
        if other:
            raise InputError(f"{what} and the output {other} would be written over each other: choose another")
        self._outputs[place] = target
        self._above |= dict.fromkeys(place.parents, target)


def _identities(path: Path) -> list[Identity]:
    """(device, inode) of a path and of every folder above it, as far as they exist: the same by whatever name."""
    real = real_path(path)
    found = [place.stat() for place in (real, *real.parents) if place.exists()]
    return [(status.st_dev, status.st_ino) for status in found]


def real_path(path: Path) -> Path:
    """Where a path leads, links followed."""
    return Path(os.path.realpath(path))  # as Path.resolve, but links in a circle are no error


def _places(source: Path) -> Iterator[Path]:
    """Where an input lies: itself, and whatever links in a folder point to."""
    yield source
    for folder, folders, files in os.walk(source):
        yield from (place for name in (*folders, *files) if (place := Path(folder, name)).is_symlink())


def _check_content(folder: Path, suffixes: Sequence[str]) -> None:
    """Raises InputError for a folder that is no earlier output: whoever names the home folder by mistake keeps it."""
    for item in folder.iterdir():
        if item.name not in LEFT_BY_SYSTEMS and (item.suffix.lower() not in suffixes or item.is_dir()):
            raise InputError(f"folder {folder} holds more than {', '.join(suffixes)} files ({item.name}): "
                             "choose another output, or move that away")


def stands(path: Path) -> bool:
    """Whether there is anything at a path; an empty folder is nothing."""
    return path.exists() and not (path.is_dir() and all(item.name in LEFT_BY_SYSTEMS for item in path.iterdir()))


def cannot_write(target: Path, error: OSError) -> InputError:
    """What to tell of an output that the system refuses, with the remedy."""
    remedy = "make room there, or choose another output" if error.errno in FULL else "choose another output"
    return InputError(f"cannot write {target}: {error.strerror or error}; {remedy}")
