"""`blindvsr upscale`: from the command line to the work, whose modules are imported when there is some."""

import argparse
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from blindvsr import InputError

if TYPE_CHECKING:
    import torch

    from blindvsr.network import BlindVSR
    from blindvsr.refinement import Refinement
    from blindvsr.upscale.jobs import Job
    from blindvsr.video.source import Source

CLEAN_PROJECTIONS = 3  # what the model for clean frames gains by: see docs/footage.md
INCOMPLETE = 3  # exit code: the input was damaged, what could be decoded is restored


def choose_device(name: str) -> "torch.device":
    """The device of that name, "auto" being cuda if there is one.

    Raises:
        InputError: for cuda where there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no usable CUDA device; choose auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Runs `blindvsr upscale`.

    Args:
        args: as parsed with the options of `options.add_arguments`.

    Returns:
        Exit code: 0; 3 if an input is damaged and only a part of it is restored; 1 if one of several has failed.

    Raises:
        InputError: for everything that a user can mend, of a single input.
    """
    from blindvsr.upscale.batch import run_all
    from blindvsr.upscale.jobs import Job, check_jobs, find_jobs, is_several

    several = is_several(args.inputs)
    if args.preview:
        from blindvsr.upscale.preview import check_preview

        check_preview(args, several)
        jobs = todo = [Job(args.inputs[0], args.output)]
    else:
        jobs = find_jobs(args.inputs, args.output) if several else [Job(args.inputs[0], args.output)]
        todo = check_jobs(args, jobs, several)

    from blindvsr.weights import BUNDLED, load_network

    if args.weights is None and not BUNDLED:
        raise InputError("no model is bundled with this installation: give the network's weights with --weights FILE")
    device = choose_device(args.device)

    @cache
    def load(file: Path) -> "BlindVSR":
        return load_network(file).to(device)

    if several:
        return run_all(todo, lambda job: _restore(args, job, device, load), len(jobs) - len(todo))
    return _restore(args, todo[0], device, load)


def _open(args: argparse.Namespace, job: "Job") -> "Source":
    """What is to be restored."""
    from blindvsr.network import SMALLEST
    from blindvsr.upscale.excerpt import Excerpt
    from blindvsr.video.encoder import DEEP
    from blindvsr.video.source import open_source

    plain = job.is_video or job.is_pipe or args.preview
    deep = args.pix_fmt == DEEP and job.is_video and not args.preview
    source = open_source(job.source, args.fps, deinterlace=args.deinterlace == "auto", for_video=plain, deep=deep)
    if min(source.size) < SMALLEST:
        raise InputError(f"{job.source} is {source.size[1]}x{source.size[0]}: the least is {SMALLEST}x{SMALLEST}")
    if not args.preview and (args.start is not None or args.end is not None):
        return Excerpt(source, args.start or Fraction(0), args.end)
    return source


def _restore(args: argparse.Namespace, job: "Job", device: "torch.device", load: Callable[[Path], "BlindVSR"]
             ) -> int:
    """Restores one input; returns the exit code."""
    from blindvsr.refinement import Refinement
    from blindvsr.restorer import resolve_precision
    from blindvsr.upscale.choice import choose_model
    from blindvsr.upscale.destination import Destination
    from blindvsr.upscale.pipeline import upscale
    from blindvsr.upscale.size import OutputSize
    from blindvsr.weights import BUNDLED

    source = _open(args, job)
    name, reason = (str(args.weights), "") if args.weights else choose_model(job.source)
    weights = BUNDLED.get(name, Path(name))
    projections = args.back_projections if args.back_projections is not None else CLEAN_PROJECTIONS * (name == "clean")
    refinement = Refinement(args.ensemble, projections)
    if args.preview:
        return _preview(args, source, device, lambda: load(weights), refinement)
    size = OutputSize(args.scale, args.height)
    destination = Destination(source, job.target, size, args.codec, args.crf, args.pix_fmt, args.sound)
    for note in source.notes:
        print(note, file=sys.stderr)
    precision = resolve_precision(args.precision, device)
    summary = upscale(load(weights), destination, tile=args.tile, precision=precision, cuts=args.cuts == "auto",
                      refinement=refinement, kernel_file=args.save_kernel, resume=args.resume)
    kept = f" ({summary.kept} kept from before)" if summary.kept else ""
    print(
        f"{job.target}: {summary.frames} frames{kept}, {_shape(source.size)} -> {_shape(summary.size)}, "
        f"{summary.rate:.3g} frames/s, weights {name}{reason and f' ({reason})'}, "
        f"{_arithmetic(precision, device, args.precision == 'auto')}, "
        f"cycle PSNR {summary.cycle_psnr:.2f} dB, {summary.blur}",
        file=sys.stderr if job.is_pipe else sys.stdout,
    )
    if summary.damage:
        print(f"{job.source} is damaged: {summary.damage}; restored {summary.frames} of {source.frames or '?'} frames",
              file=sys.stderr)
        return INCOMPLETE
    return 0


def _preview(args: argparse.Namespace, source: "Source", device: "torch.device",
             load: Callable[[], "BlindVSR"], refinement: "Refinement") -> int:
    """Shows one frame; returns the exit code."""
    from blindvsr.restorer import resolve_precision
    from blindvsr.upscale.preview import write_preview

    precision = resolve_precision(args.precision, device)
    seconds = write_preview(load(), source, args.output, args.start, args.tile, precision, refinement)
    print(f"{args.output}: the frame at {float(seconds):.2f} s as it is, bicubic and restored")
    return 0


def _arithmetic(precision: str, device: "torch.device", chosen: bool) -> str:
    """How it was computed, in words, and why so where it was `chosen` for the user."""
    from blindvsr.ops.winograd import why_not
    from blindvsr.restorer import fastest_precision

    words = f"precision {precision} on {device.type}" + (f" ({fastest_precision(device)[1]})" if chosen else "")
    if precision != "32" or device.type != "cpu":
        return words
    against = why_not(device)
    return f"{words}, convolutions by " + (f"torch ({against})" if against else "Winograd's algorithm")


def _shape(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
