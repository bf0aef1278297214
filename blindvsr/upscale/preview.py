"""One frame as it is, enlarged and restored, side by side: what a network makes of a video, before hours of work."""

import argparse
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blindvsr import InputError
from blindvsr.degrade import bicubic_up
from blindvsr.frames import Frame, write_image
from blindvsr.network import BlindVSR
from blindvsr.outputs import OutputGuard
from blindvsr.replacing import replacing
from blindvsr.refinement import Refinement
from blindvsr.stream import restore
from blindvsr.video.source import Source

LARGEST = (288, 384)  # rows and columns of the input that are shown: their middle, so that it takes seconds
USUAL = Fraction(10)  # seconds into the video, or its middle if that is earlier
STRIP = 40  # rows of the labels


def check_preview(args: argparse.Namespace, several: bool) -> None:
    """Refuses, before the work, what a preview cannot be made of.

    Raises:
        InputError: naming the argument and the remedy.
    """
    if several:
        raise InputError(f"--preview shows a frame of one video: give one INPUT instead of {len(args.inputs)} or a "
                         "folder of videos")
    if str(args.inputs[0]) != "-" and not args.inputs[0].exists():
        raise InputError(f"INPUT {args.inputs[0]}: no such file or folder")
    if args.output.suffix.lower() != ".png":
        raise InputError(f"OUTPUT {args.output}: a preview is one image; give a name that ends in .png")
    for option in ("end", "height", "codec", "crf", "save_kernel"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option} {getattr(args, option)}: a preview is one frame, four times as large; leave "
                             "it out")
    guard = OutputGuard([*args.inputs, *([args.weights] if args.weights else [])], args.overwrite)
    guard.check(args.output, name="OUTPUT")


def write_preview(
    net: BlindVSR, source: Source, target: Path, at: Fraction | None, tile: int | str | None, precision: str,
    refinement: Refinement = Refinement(),
) -> Fraction:
    """Writes the picture: the middle of a frame with its pixels visible, by bicubic interpolation, and restored.

    Args:
        net: the network, on the device to work on.
        source: what to show.
        target: a PNG.
        at: seconds into the source; 10, or its middle, if None.
        tile: see `blindvsr.stream.restore`.
        precision, refinement: see there.

    Returns:
        Seconds into the source of the frame shown.

    Raises:
        InputError: if there is no frame at that time.
    """
    rate = source.timing.rate
    at = min(USUAL, source.frames // 2 / rate) if at is None else at
    window, middle, seconds = _window(source, at, net.config.num_frames // 2)
    restored = next(restore(net, iter(window), tile, precision, only=range(middle, middle + 1),
                            refinement=refinement))
    frame = window[middle]
    scale = net.config.scale
    panels = {
        "input": frame.repeat(scale, 0).repeat(scale, 1), "bicubic": bicubic_up(frame, scale), "restored": restored,
    }
    with replacing(target) as temporary:
        write_image(temporary, np.concatenate([_labelled(*panel) for panel in panels.items()], 1))
    return seconds


def _window(source: Source, at: Fraction, radius: int) -> tuple[list[Frame], int, Fraction]:
    """The frames around a time, cropped; the place in them of the one shown then; and when that is shown."""
    held: list[Frame] = []
    frames = source.timed()
    for ticks, frame in frames:
        held = [*held[-radius:], _middle(frame)]
        seconds = ticks * source.timing.time_base
        if seconds >= at:
            after: Iterator[Frame] = (_middle(frame) for _, frame in islice(frames, radius))
            return [*held, *after], len(held) - 1, seconds
    raise InputError(f"start={float(at):g}: {source.path} ends before that")


def _middle(frame: Frame) -> Frame:
    rows, columns = (slice(max(0, side - most) // 2, max(0, side - most) // 2 + most)
                     for side, most in zip(frame.shape, LARGEST, strict=False))
    return np.ascontiguousarray(frame[rows, columns])


def _labelled(name: str, frame: Frame) -> Frame:
    strip = Image.new("RGB", (frame.shape[1], STRIP))
    ImageDraw.Draw(strip).text((8, 6), name, "white", ImageFont.load_default(STRIP * 0.6))
    return np.concatenate([np.asarray(strip), frame])
