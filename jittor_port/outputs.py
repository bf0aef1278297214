"""Results: none replaces what is read or, unasked, anything else, and each video appears whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jittor_port import InputError
from jittor_port.frames import Video
from jittor_port.signals import undisturbed

Identity = tuple[int, int]
LEFT_BY_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")  # in every folder that a file manager has shown


def input_places(videos: Sequence[Video]) -> list[Path]:
    """What reading videos touches: each of them, and the folder that several lie in."""
    sources = [video.path for video in videos]
    parents = {source.parent for source in sources}
    return [*sources, *parents] if len(parents) == 1 < len(sources) else sources


def check_outputs(folders: Sequence[Path], files: Sequence[Path], inputs: Iterable[Path], overwrite: bool) -> None:
    """Refuses, before any work, what results must not do.

    Args:
        folders: of PNG images, each replaced as a whole.
        files: the others.
        inputs: every file and folder that is read.
        overwrite: what stands there may be replaced.

    Raises:
        InputError: if one is, holds or lies in an input, through links too; if a file stands where a folder shall go,
            or the reverse; if a folder holds more than PNG images; or if something stands there and `overwrite` is not
            given.
    """
    inputs = list(inputs)
    read = {_identities(source)[0]: source for source in inputs}
    holders = {place: source for source in inputs for place in _around(source)}
    for target in (*folders, *files):
        around = _identities(target)
        source = next((read[place] for place in around if place in read), None)
        source = source or (holders.get(around[0]) if target.exists() else None)
        if source:
            raise InputError(f"--output: {target} is, holds or lies in the input {source}; choose another")
        if target.exists() and target.is_dir() != (target in folders):
            raise InputError(f"--output: {target} is a {'folder' if target.is_dir() else 'file'}, and cannot be "
                             "replaced; choose another")
        items = [item for item in target.iterdir() if item.name not in LEFT_BY_SYSTEMS] if target.is_dir() else []
        for item in items:
            if item.suffix != ".png" or item.is_dir():
                raise InputError(f"--output: {target} holds more than PNG images ({item.name}); choose another")
        if (items or target.is_file()) and not overwrite:
            raise InputError(f"--output: {target} exists; choose another, or replace it with --overwrite")


def _identities(path: Path) -> list[Identity]:
    """(device, inode) of a path and of every folder above it, as far as they exist: the same by whatever name."""
    real = Path(os.path.realpath(path))
    found = [place.stat() for place in (real, *real.parents) if place.exists()]
    return [(status.st_dev, status.st_ino) for status in found]


def _around(source: Path) -> Iterator[Identity]:
    """What holds an input, and what holds the targets of the links in it."""
    yield from _identities(source)
    for folder, folders, files in os.walk(source):
        for name in (*folders, *files):
            if os.path.islink(os.path.join(folder, name)):
                yield from _identities(Path(folder, name))


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `target` that takes its place when the block ends well, and vanishes if not.

    Raises:
        InputError: if nothing can be written there.
    """
    target = Path(os.path.realpath(target))
    token = secrets.token_hex(4)
    # names may have 255 bytes, and letters up to four of them
    temporary, old = (target.with_name(f".{target.name[:48]}.{kind}-{token}") for kind in ("part", "old"))
    try:
        with undisturbed():
            temporary.mkdir(parents=True)
        yield temporary
        with undisturbed():
            _put(temporary, target, old)
    except OSError as error:
        raise InputError(f"--output: cannot write {target}: {error.strerror or error}") from error
    finally:
        with undisturbed():
            shutil.rmtree(temporary, ignore_errors=True)


def _put(result: Path, target: Path, old: Path) -> None:
    """Moves a folder to its place; what stood there is removed only after that."""
    if target.exists():
        target.rename(old)
    try:
        result.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
