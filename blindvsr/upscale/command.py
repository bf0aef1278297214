"""`blindvsr upscale`: what is refused before the work. That is in `pipeline.py`, imported when there is some."""

import argparse
import sys
from typing import TYPE_CHECKING

from blindvsr import InputError
from blindvsr.upscale.options import DEFAULT_MODEL

if TYPE_CHECKING:
    import torch

INCOMPLETE = 3  # exit code: the input was damaged, what could be decoded is restored


def check_paths(args: argparse.Namespace) -> None:
    """Refuses outputs that cannot be, or would replace something, before any work.

    Raises:
        InputError: naming the path and the remedy.
    """
    from blindvsr.outputs import OutputGuard
    from blindvsr.video.encoder import WRITTEN_SUFFIXES, choose_encoder

    source, target, kernel_file = args.input, args.output, args.save_kernel
    if not source.exists():
        raise InputError(f"INPUT {source}: no such file or folder")
    is_video = target.suffix.lower() in WRITTEN_SUFFIXES
    # sigma1.2 is a folder's name, and so is whatever exists as one
    is_number = target.suffix[1:].isdigit()
    is_image = target.suffix.lower() == ".png" and source.is_file()
    if str(target) == "-" or target.suffix and not (is_video or is_image or is_number or target.is_dir()):
        raise InputError(f"OUTPUT {target}: give a video file ({', '.join(WRITTEN_SUFFIXES)}), a folder for PNG "
                         "images, whose name has no suffix unless it exists, or for one image one .png")
    if kernel_file and kernel_file.suffix != ".mat":
        raise InputError(f"--save_kernel {kernel_file}: the name must end in .mat")
    guard = OutputGuard([source, *([args.weights] if args.weights else [])], args.overwrite)
    guard.check(target, () if is_video or is_image else (".png",), "OUTPUT")
    for file in (kernel_file, kernel_file.with_suffix(".png")) if kernel_file else ():
        guard.check(file, name="--save_kernel")
    for option, value in (("codec", args.codec), ("crf", args.crf)):
        if value is not None and not is_video:
            raise InputError(f"--{option} {value}: OUTPUT {target} is no video: leave it out, or give a video file")
    if is_video:
        encoder = choose_encoder(target.suffix.lower(), args.codec, args.crf)
        if encoder.note:
            print(encoder.note, file=sys.stderr)


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
        Exit code: 0, or 3 if the input is damaged and only a part of it is restored.

    Raises:
        InputError: for everything that a user can mend.
    """
    check_paths(args)

    from blindvsr.network import SMALLEST
    from blindvsr.restorer import fastest_precision, resolve_precision
    from blindvsr.upscale.pipeline import upscale
    from blindvsr.upscale.size import OutputSize
    from blindvsr.video.encoder import WRITTEN_SUFFIXES
    from blindvsr.video.source import open_source
    from blindvsr.weights import BUNDLED, load_network

    if args.weights is None and DEFAULT_MODEL not in BUNDLED:
        raise InputError("no model is bundled with this installation: give the network's weights with --weights FILE")
    is_video = args.output.suffix.lower() in WRITTEN_SUFFIXES
    source = open_source(args.input, args.fps, deinterlace=args.deinterlace == "auto", srgb=is_video)
    if min(source.size) < SMALLEST:
        raise InputError(f"{args.input} is {source.size[1]}x{source.size[0]}: the least is {SMALLEST}x{SMALLEST}")
    size = OutputSize(args.scale, args.height)
    size.of(source.size)
    for note in source.notes:
        print(note, file=sys.stderr)
    device = choose_device(args.device)
    precision = resolve_precision(args.precision, device)
    why = f" ({fastest_precision(device)[1]})" if args.precision == "auto" else ""
    net = load_network(args.weights or DEFAULT_MODEL).to(device)
    summary = upscale(
        net, source, args.output, tile=args.tile, precision=precision, kernel_file=args.save_kernel,
        codec=args.codec, crf=args.crf, size=size,
    )
    height, width = source.size
    tall, wide = size.of(source.size, even=args.output.suffix.lower() in (".mp4", ".mkv", ".mov", ".webm"))
    print(
        f"{args.output}: {summary.frames} frames, {width}x{height} -> {wide}x{tall}, "
        f"{summary.frames / summary.seconds:.3g} frames/s, precision {precision} on {device.type}{why}, "
        f"cycle PSNR {summary.cycle_psnr:.2f} dB"
    )
    if summary.damage:
        print(f"{args.input} is damaged: {summary.damage}; restored {summary.frames} of {source.frames} frames",
              file=sys.stderr)
        return INCOMPLETE
    return 0
