"""What goes where: the inputs that a command line names, and what becomes of each."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blindvsr import InputError
from blindvsr.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES, image_files, natural_order
from blindvsr.outputs import OutputExists, OutputGuard
from blindvsr.video.encoder import WRITTEN_SUFFIXES, choose_encoder

FOUND_SUFFIXES = (*VIDEO_SUFFIXES, ".3gp", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".wmv")
PIPE = "-"
IMAGE = ".png"  # what images are written as


@dataclass(frozen=True)
class Job:
    """One input and its output."""

    source: Path
    target: Path

    @property
    def is_video(self) -> bool:
        """Whether the output is a video file."""
        return self.target.suffix.lower() in WRITTEN_SUFFIXES

    @property
    def is_pipe(self) -> bool:
        """Whether the output is standard output."""
        return str(self.target) == PIPE

    @property
    def is_image(self) -> bool:
        """Whether the output is one image."""
        return self.target.suffix.lower() == IMAGE and not self.source.is_dir() and not self.target.is_dir()


def is_several(inputs: Sequence[Path]) -> bool:
    """Whether the output is a folder with a result for each input: several, or a folder that holds videos."""
    first = inputs[0]
    return len(inputs) > 1 or first.is_dir() and not image_files(first) and any(True for _ in _found(first))


def find_jobs(inputs: Sequence[Path], output: Path) -> list[Job]:
    """The jobs of several inputs, or of a folder of videos; whatever a folder holds keeps its place in the output.

    Raises:
        InputError: if an input is missing, or the output is the name of a file.
    """
    if output.suffix.lower() in (*WRITTEN_SUFFIXES, IMAGE) or output.is_file() or str(output) == PIPE:
        raise InputError(f"OUTPUT {output}: several inputs are restored into a folder; give one, whose name has no "
                         "suffix")
    jobs: dict[Path, Job] = {}
    for path in inputs:
        if not path.exists():
            raise InputError(f"INPUT {path}: no such file or folder")
        inside = path.is_dir() and not image_files(path)
        for source in _found(path) if inside else (path,):
            place = output / (source.relative_to(path) if inside else source.name)
            target = _target(source, place)
            if target in jobs:  # clip.avi and clip.mkv
                target = place.with_name(place.name + target.suffix)
            jobs[target] = Job(source, target)
    return list(jobs.values())


def _found(folder: Path) -> Iterator[Path]:
    """Videos in a folder, and below it; folders of images where there are no videos beside them."""
    for place, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [path for path in Path(place).iterdir() if path.is_file() and not path.name.startswith(".")]
        videos = [path for path in files if path.suffix.lower() in FOUND_SUFFIXES]
        if not videos and image_files(Path(place)):
            folders.clear()  # what lies below would be written into its output
            yield Path(place)
        yield from sorted(videos, key=natural_order)


def _target(source: Path, place: Path) -> Path:
    if source.is_dir():
        return place
    if source.suffix.lower() in IMAGE_SUFFIXES:
        return place.with_suffix(IMAGE)
    # Matroska holds whatever sound and subtitles there are
    return place if source.suffix.lower() in WRITTEN_SUFFIXES else place.with_suffix(".mkv")


def check_jobs(args: argparse.Namespace, jobs: Sequence[Job], several: bool) -> list[Job]:
    """Refuses outputs that cannot be, or would replace something, before any work.

    Returns:
        The jobs to do: of several, those whose output exists already are left out, and named.

    Raises:
        InputError: naming the path and the remedy.
    """
    guard = OutputGuard([*args.inputs, *([args.weights] if args.weights else [])], args.overwrite)
    todo = []
    for job in jobs:
        if not several:
            _check_name(job)
        try:
            if not job.is_pipe:
                guard.check(job.target, () if job.is_video or job.is_image else (IMAGE,), "OUTPUT")
            todo.append(job)
        except OutputExists:
            if not several:
                raise
            print(f"{job.target} exists, and is left as it is without --overwrite", file=sys.stderr)
    _check_kernel_file(args.save_kernel, guard, several)
    _check_encoders(args, jobs)
    return todo


def _check_name(job: Job) -> None:
    if str(job.source) != PIPE and not job.source.exists():
        raise InputError(f"INPUT {job.source}: no such file or folder")
    # sigma1.2 is a folder's name, and so is whatever exists as one
    is_folder = not job.target.suffix or job.target.suffix[1:].isdigit() or job.target.is_dir()
    if not (job.is_video or job.is_image or job.is_pipe or is_folder):
        raise InputError(f"OUTPUT {job.target}: give a video file ({', '.join(WRITTEN_SUFFIXES)}), a folder for PNG "
                         "images, whose name has no suffix unless it exists, for one image one .png, or - for "
                         "standard output")


def _check_kernel_file(file: Path | None, guard: OutputGuard, several: bool) -> None:
    if file and file.suffix != ".mat":
        raise InputError(f"--save_kernel {file}: the name must end in .mat")
    if file and several:
        raise InputError(f"--save_kernel {file}: it holds the kernels of one input; give the inputs one by one")
    for output in (file, file.with_suffix(".png")) if file else ():
        guard.check(output, name="--save_kernel")


def _check_encoders(args: argparse.Namespace, jobs: Sequence[Job]) -> None:
    suffixes = {job.target.suffix.lower() for job in jobs if job.is_video}
    for option, value in (("codec", args.codec), ("crf", args.crf), ("pix_fmt", args.pix_fmt)):
        if value is not None and not suffixes:
            raise InputError(f"--{option} {value}: OUTPUT {args.output} is no video: leave it out")
    encoders = (choose_encoder(suffix, args.codec, args.crf, args.pix_fmt) for suffix in sorted(suffixes))
    for note in {encoder.note for encoder in encoders} - {None}:
        print(note, file=sys.stderr)
