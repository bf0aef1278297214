"""From file to file: decoding, the network and encoding at the same time."""

import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from blindvsr import InputError
from blindvsr.frames import Frame, write_image
from blindvsr.network import BlindVSR
from blindvsr.ops import to_deep_frame, to_frame
from blindvsr.outputs import replacing
from blindvsr.progress import progress
from blindvsr.stream import restore, restore_shots
from blindvsr.upscale.jobs import IMAGE, PIPE
from blindvsr.upscale.kernel_track import KernelTrack
from blindvsr.upscale.size import OutputSize, reduced
from blindvsr.video.encoder import DEEP, WRITTEN_SUFFIXES
from blindvsr.video.extras import warn_of_all
from blindvsr.video.pipe import write_pipe
from blindvsr.video.source import Source
from blindvsr.video.threads import read_ahead, write_behind
from blindvsr.video.writer import write_video

DEPTH = 2  # frames that wait on either side of the network: more would only take memory
SAMPLED = 8  # without a file of kernels, one frame in so many is looked at: the estimate is 1 % of the plain network

LINE = "{n_fmt}/{total_fmt} frames, {rate_noinv_fmt}, {remaining} left"
BAR = "{percentage:3.0f}% |{bar}| " + LINE


@dataclass(frozen=True)
class Summary:
    """What came out.

    Attributes:
        frames: restored and written.
        size: (H, W) of what was written.
        seconds: from the first frame's decoding to the last one's writing.
        cycle_psnr: dB, see `KernelTrack`.
        blur: what the estimated kernels are, shot by shot, in words.
        damage: what was wrong with the input, or None.
    """

    frames: int
    size: tuple[int, int]
    seconds: float
    cycle_psnr: float
    blur: str
    damage: str | None


def upscale(
    net: BlindVSR,
    source: Source,
    target: Path,
    *,
    tile: int | str | None = "auto",
    precision: str = "auto",
    cuts: bool = True,
    kernel_file: Path | None = None,
    codec: str | None = None,
    crf: float | None = None,
    pixels: str | None = None,
    size: OutputSize = OutputSize(),
    sound: str = "copy",
) -> Summary:
    """Restores a video or a folder of images.

    Args:
        net: the network, on the device to work on.
        source: what to restore.
        target: a video file by its suffix, one PNG for one image, otherwise a folder of PNG.
        tile: see `blindvsr.stream.restore`.
        precision: see there.
        cuts: see there.
        kernel_file: .mat for the kernels, one per frame; a picture of the same name is put beside it.
        codec: of a video, see `blindvsr.video.encoder.choose_encoder`.
        crf: see there.
        pixels: see there.
        size: of the output.
        sound: copy what the container can hold and encode the rest anew, aac for encoding all, or none.

    Raises:
        InputError: if something cannot be read or written. Nothing is left under the target's name then.
    """
    track = KernelTrack(net, every=1 if kernel_file else SAMPLED)
    suffix = target.suffix.lower()
    out = size.of(source.size, even=str(target) == PIPE or suffix in WRITTEN_SUFFIXES and suffix != ".gif")
    started = time.perf_counter()
    lost: list[str] = []
    with ExitStack() as files:
        pictures = None
        if kernel_file:  # opened first, so that a folder that cannot be written to says so before the work
            pictures = [files.enter_context(replacing(kernel_file.with_suffix(end))) for end in (".mat", ".png")]
        with (
            _warnings_beside_the_bar(),
            _open_target(source, target, out, codec, crf, pixels, sound, lost) as write,
            write_behind(write, DEPTH) as hand_over,
        ):
            count = _run(net, source, track, hand_over, tile=tile, precision=precision, cuts=cuts, deep=pixels == DEEP)
        seconds = time.perf_counter() - started
        if pictures:
            track.save(*pictures)
    damage = ", ".join(filter(None, (source.damage, *lost))) or None
    return Summary(count, out, seconds, track.cycle_psnr, track.blur(), damage)


def _run(
    net: BlindVSR, source: Source, track: KernelTrack, hand_over: Callable[[tuple[int, Frame]], None], *,
    tile: int | str | None, precision: str, cuts: bool, deep: bool,
) -> int:
    """Hands over (time, frame) one after another, frames of 16 bits if deep; returns how many."""
    times: deque[int] = deque()

    def note_time(item: tuple[int, Frame]) -> Frame:
        times.append(item[0])
        return item[1]

    count = 0
    with (
        closing(read_ahead(source.timed(), DEPTH)) as decoded,
        progress(bar=BAR, line=LINE, total=source.frames or None, unit=" frames") as bar,
    ):
        alphas = source.alphas()
        opaque = restore(net, alphas, tile, precision, cuts=cuts) if alphas is not None else None
        for restored in restore_shots(net, map(note_time, decoded), tile, precision, cuts=cuts):
            frame = to_deep_frame(restored.picture) if deep else to_frame(restored.picture)
            track.add(restored.window, frame, restored.shot)
            if opaque is not None:
                frame = np.dstack((frame, next(opaque)[..., 1]))
            hand_over((times.popleft(), frame))
            count += 1
            bar.update()
    return count


@contextmanager
def _warnings_beside_the_bar() -> Iterator[None]:
    """Warnings (smaller tiles when memory runs out) become one line each, above the progress bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: tqdm.write(str(message), file=sys.stderr)
        yield


@contextmanager
def _open_target(
    source: Source, target: Path, size: tuple[int, int], codec: str | None, crf: float | None, pixels: str | None,
    sound: str, lost: list[str],
) -> Iterator[Callable[[tuple[int, Frame]], None]]:
    """A function that writes (time, frame) to a video, an image or a folder; all appears at the end of the block.

    `lost` gets what is missing of the sound.
    """
    suffix = target.suffix.lower()
    moving, gif = suffix in WRITTEN_SUFFIXES, suffix == ".gif"
    if source.extras and (gif or not moving):
        warn_of_all(source.extras.path)
    if str(target) == PIPE:
        with write_pipe(size, source.timing, source.colour, source.pixel_aspect) as write_on:
            yield lambda item: write_on(reduced(item[1], size), item[0])
        return
    if moving:
        with write_video(
            target, size, source.timing, colour=source.colour, pixel_aspect=source.pixel_aspect,
            sound=None if gif or sound == "none" else source.sound, encode_sound=sound == "aac",
            extras=None if gif else source.extras, end=source.end, codec=codec, crf=crf, pixels=pixels,
        ) as writer:
            yield lambda item: writer.write(reduced(item[1], size), item[0])
        if writer.sound and writer.sound.damage:
            lost.append(writer.sound.damage)
        return
    one = suffix == IMAGE
    if one and source.frames != 1:
        raise InputError(f"OUTPUT {target} holds one image, and {source.path} has {source.frames}: give a folder, "
                         f"whose name has no suffix, or a video file ({', '.join(WRITTEN_SUFFIXES)})")
    names, tags = source.names(), source.tags()
    with replacing(target, folder=not one) as place:

        def write(item: tuple[int, Frame]) -> None:
            try:
                write_image(place if one else place / f"{next(names)}.png", reduced(item[1], size), next(tags))
            except InputError as error:  # the temporary name means nothing to the user
                raise InputError(str(error).replace(str(place), str(target))) from error

        yield write
