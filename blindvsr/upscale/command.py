"""`blindvsr upscale`: options and their checks. The work is in `pipeline.py`, imported when there is some."""

import argparse
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from blindvsr import InputError

if TYPE_CHECKING:
    import torch

DEFAULT_MODEL = "clean"
INCOMPLETE = 3  # exit code: the input was damaged, what could be decoded is restored


def _tile(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _rate(text: str) -> Fraction:
    rate = Fraction(text)
    if rate <= 0:
        raise ValueError
    return rate


_tile.__name__, _rate.__name__ = "size or auto", "rate"  # argparse quotes them: invalid <name> value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `blindvsr upscale`; imports nothing heavy."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="video file or folder of images")
    parser.add_argument("output", type=Path, metavar="OUTPUT",
                        help="video file (.mp4, .mkv; frame rate and sound are kept) or folder of PNG images")
    parser.add_argument("--weights", metavar="NAME|FILE", type=Path,
                        help="the network's weights: clean or footage (one bundled network serves both), or a file "
                             f"in any known format (default: {DEFAULT_MODEL})")
    parser.add_argument("--tile", type=_tile, default="auto",
                        help="side of the tiles that large frames are cut into, in input pixels, or auto: what fits "
                             "into memory (default)")
    parser.add_argument("--precision", choices=("auto", "32", "bf16", "16"), default="auto",
                        help="of the network; auto is the fastest of the device that costs less than 0.05 dB")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="auto is cuda if there is one")
    parser.add_argument("--save_kernel", type=Path, metavar="FILE.mat",
                        help="the estimated blur kernel of every frame: kernel (N, 13, 13); with a picture beside it")
    parser.add_argument("--codec", default="libx264", help="FFmpeg's name of the video encoder (default %(default)s)")
    parser.add_argument("--crf", type=float, default=17.0,
                        help="quality of the encoded video, lower is better (default %(default)g)")
    parser.add_argument("--fps", type=_rate, default=Fraction(25),
                        help="frame rate for a folder of images, like 25 or 30000/1001 (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def check_paths(source: Path, target: Path, kernel_file: Path | None, overwrite: bool) -> None:
    """Refuses outputs that would replace something, before any work.

    Raises:
        InputError: naming the path and the remedy.
    """
    from blindvsr.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES
    from blindvsr.video.writer import WRITTEN_SUFFIXES

    suffix = target.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in VIDEO_SUFFIXES and suffix not in WRITTEN_SUFFIXES:
        raise InputError(f"OUTPUT {target}: videos are written as {' or '.join(WRITTEN_SUFFIXES)}, images to a folder")
    if not source.exists():
        raise InputError(f"INPUT {source}: no such file or folder")
    place = target.resolve()
    if place == source.resolve() or target.exists() and target.samefile(source):
        raise InputError(f"OUTPUT {target} is the input itself: choose another output")
    if place in source.resolve().parents:
        raise InputError(f"INPUT {source} lies in OUTPUT {target}, which is replaced as a whole: choose another output")
    if target.is_dir() and suffix in WRITTEN_SUFFIXES:
        raise InputError(f"OUTPUT {target} is a folder, but its name is a video's: choose another output")
    if kernel_file and kernel_file.suffix != ".mat":
        raise InputError(f"--save_kernel {kernel_file}: the name must end in .mat")
    _check_free(target, overwrite)
    for file in (kernel_file, kernel_file.with_suffix(".png")) if kernel_file else ():
        _check_free(file, overwrite)


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        strange = next((item.name for item in path.iterdir() if item.suffix != ".png"), None)
        if strange:  # whoever names the home folder by mistake keeps it, --overwrite or not
            raise InputError(f"folder {path} holds more than PNG images ({strange}): choose another output")
        if not any(path.iterdir()):
            return
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: give --overwrite to replace it, or choose another output")


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
        args: as parsed with the options of `add_arguments`.

    Returns:
        Exit code: 0, or 3 if the input is damaged and only a part of it is restored.

    Raises:
        InputError: for everything that a user can mend.
    """
    check_paths(args.input, args.output, args.save_kernel, args.overwrite)

    from blindvsr.network import SMALLEST
    from blindvsr.restorer import resolve_precision
    from blindvsr.upscale.pipeline import upscale
    from blindvsr.video.source import open_source
    from blindvsr.weights import BUNDLED, load_network

    if args.weights is None and DEFAULT_MODEL not in BUNDLED:
        raise InputError("no model is bundled with this installation: give the network's weights with --weights FILE")
    source = open_source(args.input, args.fps)
    if min(source.size) < SMALLEST:
        raise InputError(f"{args.input} is {source.size[1]}x{source.size[0]}: the least is {SMALLEST}x{SMALLEST}")
    for note in source.notes:
        print(note, file=sys.stderr)
    device = choose_device(args.device)
    precision = resolve_precision(args.precision, device)
    net = load_network(args.weights or DEFAULT_MODEL).to(device)
    summary = upscale(
        net, source, args.output, tile=args.tile, precision=precision, kernel_file=args.save_kernel,
        codec=args.codec, crf=args.crf,
    )
    height, width = source.size
    print(
        f"{args.output}: {summary.frames} frames, {width}x{height} -> {4 * width}x{4 * height}, "
        f"{summary.frames / summary.seconds:.3g} frames/s, precision {precision} on {device.type}, "
        f"cycle PSNR {summary.cycle_psnr:.2f} dB"
    )
    if summary.damage:
        print(f"{args.input} is damaged: {summary.damage}; restored {summary.frames} of {source.frames} frames",
              file=sys.stderr)
        return INCOMPLETE
    return 0
