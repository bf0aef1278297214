"""Standard input and output as video, in y4m: uncompressed, at one rate, without sound; for use between commands."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import chain, count, repeat
from pathlib import Path
from typing import IO, Any

import av
import numpy as np

from blindvsr import InputError
from blindvsr.frames import Frame
from blindvsr.video.clock import ClockedFile
from blindvsr.video.colour import FULL, Colour, ToRGB, convert_format
from blindvsr.video.deinterlace import deinterlaced
from blindvsr.video.encoder import PIXELS
from blindvsr.video.timing import Timing, constant

PIPE = "-"
FORMAT = "yuv4mpegpipe"


class PipeReader:
    """What comes from standard input as a `Source`, once; its `frames` are 0, for nobody knows how many will come."""

    path = Path(PIPE)
    frames = 0
    end: int | None = None
    sound: ClockedFile | None = None
    extras: ClockedFile | None = None
    damage: str | None = None

    def __init__(self, deinterlace: bool = True) -> None:
        """Reads the header and the first frame.

        Raises:
            InputError: if standard input is a terminal, or no y4m comes.
        """
        if sys.stdin.isatty():
            raise InputError(f"INPUT -: standard input is a terminal; give it y4m: ffmpeg -i FILE -f {FORMAT} - | ...")
        try:
            self._container: Any = av.open("pipe:0", format=FORMAT)
            stream = self._container.streams.video[0]
            self._frames: Iterator[Any] = self._container.decode(stream)
            first = next(self._frames)
        except (av.FFmpegError, OSError, StopIteration, IndexError) as error:
            raise InputError(f"INPUT -: no y4m video comes; make it with ffmpeg -i FILE -f {FORMAT} -") from error
        self._frames = deinterlaced(chain([first], self._frames), self.path, deinterlace)
        self.size = (first.height, first.width)
        self.colour = Colour.of(stream.codec_context, self.size)
        self.pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
        self.timing = constant(Fraction(stream.average_rate or stream.guessed_rate or 25))
        self.notes: list[str] = []
        self._to_rgb = ToRGB(first.format.name, self.size, self.colour)

    def timed(self) -> Iterator[tuple[int, Frame]]:
        """(time in ticks of `timing.time_base`, RGB uint8 (H, W, 3)); ends early where the stream is cut."""
        try:
            for index, frame in enumerate(self._frames):
                yield index * self.timing.frame_ticks, self._to_rgb(frame)
        except (av.FFmpegError, OSError) as error:
            self.damage = f"standard input is cut off ({error})"

    def names(self) -> Iterator[str]:
        """Numbers of eight digits, from 0."""
        return (f"{index:08d}" for index in count())

    def tags(self) -> Iterator[dict[str, bytes]]:
        """Nothing."""
        return repeat({})

    def alphas(self) -> None:
        """Nothing: all is opaque."""
        return None


def _put(out: IO[bytes], content: bytes | None) -> None:
    """Writes, or with nothing to write flushes."""
    try:
        out.flush() if content is None else out.write(content)
    except OSError as error:
        raise InputError(f"OUTPUT -: standard output was closed ({error.strerror})") from error


@contextmanager
def write_pipe(
    size: tuple[int, int], timing: Timing, colour: Colour, pixel_aspect: Fraction,
) -> Iterator[Callable[[Frame, int], None]]:
    """Gives a function that writes a frame, RGB uint8 (H, W, 3), and its time in ticks, to standard output.

    y4m has one rate: where that of the frames varies they are repeated, or left out, so that they come in time.

    Args:
        size: (H, W), even.
        timing: of the times.
        colour: matrix and range to write; y4m does not say the matrix.
        pixel_aspect: width of a pixel by its height.

    Raises:
        InputError: if standard output is a terminal, or is closed by its reader.
    """
    if sys.stdout.isatty():
        raise InputError("OUTPUT -: standard output is a terminal; give it to a command: ... | ffmpeg -i - FILE")
    out = sys.stdout.buffer
    convert = convert_format("yuv444p", PIXELS, size, colour)
    written = 0
    last = b""
    put = partial(_put, out)

    def write(frame: Frame, ticks: int) -> None:
        nonlocal written, last
        place = round(ticks * timing.time_base * timing.rate)
        for _ in range(written, place if last else 0):
            put(last)
            written += 1
        planes = np.ascontiguousarray(colour.to_yuv(frame).transpose(2, 0, 1))
        picture = convert(av.VideoFrame.from_ndarray(planes, format="yuv444p"))
        last = b"FRAME\n" + picture.to_ndarray().tobytes()
        if place >= written:
            put(last)
            written += 1

    chroma, span = "420mpeg2" if colour.chroma_left else "420jpeg", "FULL" if colour.range == FULL else "LIMITED"
    rate, shape = timing.rate, pixel_aspect
    put(f"YUV4MPEG2 W{size[1]} H{size[0]} F{rate.numerator}:{rate.denominator} Ip "
        f"A{shape.numerator}:{shape.denominator} C{chroma} XCOLORRANGE={span}\n".encode())
    yield write
    put(None)
