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
EXAMPLES = """\
examples:
  blindvsr upscale my.mp4 restored.mp4
  blindvsr upscale frames/ restored/ --save_kernel kernel.mat
  blindvsr upscale frames/ restored.mkv --fps 24000/1001 --weights net.safetensors --overwrite"""
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
                        help="video file (.mp4 or .mkv; frame rate and sound are kept) or folder for PNG images")
    parser.add_argument("--weights", metavar="NAME|FILE", type=Path,
                        help="the network's weights: clean or footage (one bundled network serves both), or a file "
                             f"in any known format (default: {DEFAULT_MODEL})")
    parser.add_argument("--tile", type=_tile, default="auto",
                        help="side of the tiles that large frames are restored in, in input pixels, 32 at least; auto "
                             "(default) takes the largest that fit into memory")
    parser.add_argument("--precision", choices=("auto", "32", "bf16", "16"), default="auto",
                        help="precision of the network's numbers; auto (default) takes the fastest that the device has "
                             "and that costs less than 0.05 dB")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="where the network runs; auto (default) takes a CUDA device if there is one")
    parser.add_argument("--save_kernel", type=Path, metavar="FILE.mat",
                        help="write the estimated blur kernel of every frame into this file, as the array kernel of "
                             "(frames, 13, 13), and a picture of some of them beside it")
    parser.add_argument("--codec", default="libx264", help="video encoder, by FFmpeg's name (default %(default)s)")
    parser.add_argument("--crf", type=float, default=17.0,
                        help="constant rate factor of the video encoder: lower is better and larger (default "
                             "%(default)g)")
    parser.add_argument("--fps", type=_rate, default=Fraction(25),
                        help="frames per second of a folder of images, like 25 or 30000/1001 (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace what stands where the output goes")


def check_paths(args: argparse.Namespace) -> None:
    """Refuses outputs that cannot be, or would replace something, before any work.

    Raises:
        InputError: naming the path and the remedy.
    """
    from blindvsr.outputs import OutputGuard
    from blindvsr.video.writer import WRITTEN_SUFFIXES

    source, target, kernel_file = args.input, args.output, args.save_kernel
    if not source.exists():
        raise InputError(f"INPUT {source}: no such file or folder")
    is_video = target.suffix.lower() in WRITTEN_SUFFIXES
    # sigma1.2 is a folder's name, and so is whatever exists as one
    is_number = target.suffix[1:].isdigit()
    if str(target) == "-" or target.suffix and not (is_video or is_number or target.is_dir()):
        raise InputError(f"OUTPUT {target}: give a video file ({' or '.join(WRITTEN_SUFFIXES)}) or a folder for PNG "
                         "images, whose name has no suffix unless it exists")
    if kernel_file and kernel_file.suffix != ".mat":
        raise InputError(f"--save_kernel {kernel_file}: the name must end in .mat")
    guard = OutputGuard([source, *([args.weights] if args.weights else [])], args.overwrite)
    guard.check(target, () if is_video else (".png",), "OUTPUT")
    for file in (kernel_file, kernel_file.with_suffix(".png")) if kernel_file else ():
        guard.check(file, name="--save_kernel")


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
    check_paths(args)

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
