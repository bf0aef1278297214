"""From file to file: decoding, the network and encoding at the same time."""

import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from blindvsr import InputError, __version__
from blindvsr.frames import Frame
from blindvsr.network import BlindVSR
from blindvsr.ops import to_deep_frame, to_frame
from blindvsr.replacing import replacing
from blindvsr.progress import progress
from blindvsr.refinement import Refinement
from blindvsr.stream import restore, restore_shots
from blindvsr.upscale.destination import Destination, Item
from blindvsr.upscale.journal import Journal, fingerprint, weights_fingerprint
from blindvsr.upscale.kernel_track import KernelTrack
from blindvsr.video.encoder import DEEP
from blindvsr.video.source import Source
from blindvsr.video.threads import read_ahead, write_behind
from blindvsr.video.writer import SEGMENT

DEPTH = 2  # frames that wait on either side of the network: more would only take memory
SAMPLED = 8  # without a file of kernels, one frame in so many is looked at: the estimate is 1 % of the plain network

LINE = "{n_fmt}/{total_fmt} frames, {rate_noinv_fmt}, {remaining} left"
BAR = "{percentage:3.0f}% |{bar}| " + LINE


@dataclass(frozen=True)
class Summary:
    """What came out.

    Attributes:
        frames: written.
        kept: how many of them an interrupted job had restored.
        size: (H, W) of what was written.
        seconds: from the first frame's decoding to the last one's writing.
        cycle_psnr: dB, see `KernelTrack`.
        blur: what the estimated kernels are, shot by shot, in words.
        damage: what was wrong with the input, or None.
    """

    frames: int
    kept: int
    size: tuple[int, int]
    seconds: float
    cycle_psnr: float
    blur: str
    damage: str | None

    @property
    def rate(self) -> float:
        """Frames restored in a second."""
        return (self.frames - self.kept) / self.seconds


def upscale(
    net: BlindVSR,
    destination: Destination,
    *,
    tile: int | str | None = "auto",
    precision: str = "auto",
    cuts: bool = True,
    refinement: Refinement = Refinement(),
    kernel_file: Path | None = None,
    resume: bool = False,
) -> Summary:
    """Restores a video or a folder of images.

    Args:
        net, destination: the network, on the device to work on; what to restore, and where it goes.
        tile, precision, cuts, refinement: see `blindvsr.stream.restore`.
        kernel_file: .mat for the kernels, one per frame; a picture of the same name is put beside it.
        resume: go on with what an interrupted job of the same kind has left, and leave it if this one is interrupted,
            see `Journal`.

    Raises:
        InputError: if something cannot be read or written. Nothing is left under the target's name then.
    """
    source, track = destination.source, KernelTrack(net, every=1 if kernel_file else SAMPLED)
    started = time.perf_counter()
    with ExitStack() as files:
        journal = None
        if not destination.is_whole:
            job = _job(net, destination, precision=precision, cuts=cuts, refinement=refinement,
                       kernels=bool(kernel_file))
            journal = files.enter_context(Journal(destination.target, job, resume))
        pictures = None
        if kernel_file:  # opened first, so that a folder that cannot be written to says so before the work
            pictures = [files.enter_context(place) for place in _kernel_files(kernel_file, journal)]
        with _warnings_beside_the_bar(), destination.open(journal, track.remember) as write:
            with write_behind(write, DEPTH) as hand_over:
                kept = journal.frames if journal else 0
                count = _run(net, source, track, hand_over, tile=tile, precision=precision, cuts=cuts,
                             refinement=refinement, start=kept, deep=destination.pixels == DEEP)
            if pictures:  # inside: without room for them nothing gets its name
                track.save(*pictures)
        seconds = time.perf_counter() - started
    damage = ", ".join(filter(None, (source.damage, *destination.lost))) or None
    return Summary(count, kept, destination.size, seconds, track.cycle_psnr, track.blur(), damage)


def _kernel_files(file: Path, journal: Journal | None) -> list[AbstractContextManager[Path]]:
    within = journal.place_for(file) if journal else None
    return [replacing(file.with_suffix(ending), within=within) for ending in (".mat", ".png")]


def _job(net: BlindVSR, destination: Destination, **options: object) -> dict[str, str]:
    """What decides on the content of an output, in words."""
    source, output = destination.source, destination
    return {
        "input": fingerprint(source.path), "weights": weights_fingerprint(net),
        "frames": f"{source.frames} at {source.timing}, {source.end}, {'; '.join(source.notes)}",
        "output": f"{output.size[1]}x{output.size[0]}, codec {output.codec}, crf {output.crf}, pixels {output.pixels}, "
                  f"sound {output.sound}",
        **{name: str(value) for name, value in options.items()}, "version": __version__,
    }


def _run(
    net: BlindVSR, source: Source, track: KernelTrack, hand_over: Callable[[Item], None], *,
    tile: int | str | None, precision: str, cuts: bool, refinement: Refinement, deep: bool, start: int,
) -> int:
    """Hands over one frame after another, of 16 bits if deep, from number `start` on; returns how many there are."""
    times: deque[int] = deque()

    def note_time(numbered: tuple[int, tuple[int, Frame]]) -> Frame:
        number, (ticks, frame) = numbered
        if number >= start:
            times.append(ticks)
        return frame

    count, only = start, range(start, sys.maxsize)
    with (
        closing(read_ahead(source.timed(), DEPTH)) as decoded,
        progress(bar=BAR, line=LINE, total=source.frames or None, unit=" frames", initial=start) as bar,
    ):
        frames, alphas = map(note_time, enumerate(decoded)), source.alphas()
        opaque = restore(net, alphas, tile, precision, only, cuts) if alphas is not None else None
        for restored in restore_shots(net, frames, tile, precision, only, cuts, refinement):
            frame = to_deep_frame(restored.picture) if deep else to_frame(restored.picture)
            track.add(restored.window, restored.plain, restored.shot)
            if opaque is not None:
                frame = np.dstack((frame, next(opaque)[..., 1]))
            count += 1
            hand_over((times.popleft(), frame, {} if count % SEGMENT else track.note()))
            bar.update()
    if not count:
        raise InputError(f"{source.path}: no frame of it can be decoded ({source.damage or 'it is empty'})")
    return count


@contextmanager
def _warnings_beside_the_bar() -> Iterator[None]:
    """Warnings (smaller tiles when memory runs out) become one line each, above the progress bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: tqdm.write(str(message), file=sys.stderr)
        yield
