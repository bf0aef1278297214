"""What an unfinished job leaves beside its output, so that `--resume` goes on from there."""

import hashlib
import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from blindvsr import InputError
from blindvsr.network import BlindVSR
from blindvsr.outputs import cannot_write, real_path
from blindvsr.video.writer import SEGMENT

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

JOB, FRAMES, NUMBERED = "job.json", "frames", "{:06}.npz"

Arrays = dict[str, NDArray[Any]]


class Journal:
    """Finished segments of one output, in a hidden folder beside it.

    Attributes:
        folder: where they are; what else the job writes on the way to its output may lie there too.
        segments: how many are finished.
    """

    def __init__(self, target: Path, job: dict[str, str], resume: bool) -> None:
        """Opens the folder. What an earlier job left there is gone on with, or removed and named.

        Args:
            target: the output.
            job: whatever decides on the output's content: input, weights, options, in words.
            resume: go on with what was left, and leave it if this job is interrupted.

        Raises:
            InputError: if what was left is of another job, a running one has the same output, or nothing can be
                written.
        """
        self._target, self._resume = target, resume
        place = real_path(target)
        self.folder = place.with_name(f".{place.name[:48]}.unfinished")
        self.segments = 0
        try:
            self._lock = self._locked()
            try:
                self._take_over(job)
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise cannot_write(target, error) from error

    def _take_over(self, job: dict[str, str]) -> None:
        left = 0
        while (self.folder / NUMBERED.format(left)).is_file():
            left += 1
        if left and self._resume:
            self._compare(job)
            self.segments = left
        elif left:
            print(f"{self._target}: {left * SEGMENT} frames of an interrupted job are removed; --resume would have "
                  "gone on from them", file=sys.stderr)
        self._clear()
        if not self.segments:  # what is gone on with has it: on a full disk it would lose it here
            try:
                (self.folder / JOB).write_text(json.dumps(job, indent=1), encoding="utf-8")
            except OSError:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise

    def _locked(self) -> IO[str]:
        """The file that says whose the folder is, held by this process alone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / JOB).exists() and any(item.name != "lock" for item in self.folder.iterdir()):
            raise InputError(f"{self.folder} is not what an unfinished job leaves: move it away")
        file = open(self.folder / "lock", "w")
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise InputError(
                f"another job is writing {self._target}: wait for it, or choose another output"
            ) from error
        return file

    def _compare(self, job: dict[str, str]) -> None:
        earlier = json.loads((self.folder / JOB).read_text(encoding="utf-8"))
        for name in sorted(job.keys() | earlier.keys()):
            if job.get(name) != earlier.get(name):
                raise InputError(
                    f"--resume: the unfinished {self._target} is of another job: {name} was {earlier.get(name)}, and "
                    f"is {job.get(name)} now. Give the same again, or leave --resume out to begin anew"
                )

    def _clear(self) -> None:
        """Removes what is not gone on with."""
        kept = {"lock", JOB, FRAMES} if self.segments else {"lock"}
        for item in sorted(self.folder.iterdir(), key=lambda item: item.name == JOB):  # by which it is known, the last
            if item.name not in kept and not (self.segments and item.suffix == ".npz"):
                shutil.rmtree(item) if item.is_dir() else item.unlink()

    def place_for(self, path: Path) -> Path | None:
        """The folder, if what is written there can be moved to `path` in the end, which takes the same disk."""
        above = next(place for place in real_path(path).parents if place.exists())
        return self.folder if above.stat().st_dev == self.folder.stat().st_dev else None

    @property
    def frames(self) -> int:
        """How many frames are finished."""
        return self.segments * SEGMENT

    def __iter__(self) -> Iterator[Arrays]:
        """The finished segments; a broken one ends them, and is done again with those after it."""
        for number in range(self.segments):
            try:
                with np.load(self.folder / NUMBERED.format(number)) as arrays:
                    segment = dict(arrays)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile):
                self.keep(number)
                return
            yield segment

    def keep(self, segments: int) -> None:
        """Forgets all but the first segments."""
        for number in range(segments, self.segments):
            (self.folder / NUMBERED.format(number)).unlink()
        self.segments = segments

    def add(self, segment: Arrays) -> None:
        """Takes down the next finished segment; it is there whole, or not at all."""
        part, content = self.folder / "part", io.BytesIO()
        np.savez(content, **segment)  # not into the file: on a full disk the archive would try to end itself twice
        with open(part, "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / NUMBERED.format(self.segments))
        self.segments += 1

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._lock.close()
        if kind and self._resume and self.segments:
            print(f"{self._target}: {self.frames} frames are kept in {self.folder}; --resume goes on from there",
                  file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(path: Path) -> str:
    """What tells one input from another, without reading all of it: names, sizes and times."""
    files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
    told = hashlib.sha256()
    for file in files:
        status = file.stat()
        told.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return f"{real_path(path)} ({len(files)} files, {told.hexdigest()[:12]})"


def weights_fingerprint(net: BlindVSR) -> str:
    """What tells one network from another."""
    told = hashlib.sha256()
    for name, value in net.state_dict().items():
        told.update(name.encode())
        told.update(value.detach().cpu().contiguous().numpy().tobytes())
    return told.hexdigest()[:12]
