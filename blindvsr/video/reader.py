"""Reading video files: upright RGB frames, exact times, and what was wrong with the file."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count, repeat
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

from blindvsr import InputError
from blindvsr.frames import Frame
from blindvsr.video.clock import ClockedFile
from blindvsr.video.colour import HDR, Colour, ToRGB, is_grey
from blindvsr.video.deinterlace import deinterlaced
from blindvsr.video.hdr import mastering
from blindvsr.video.packets import open_video, scan
from blindvsr.video.timing import Timing


def orientation(frame: Any) -> tuple[int, bool]:
    """Quarter turns counter-clockwise that set a decoded frame upright, and whether it is mirrored before that."""
    for data in frame.side_data:
        if data.type == SideDataType.DISPLAYMATRIX:
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.int64)
            mirrored = a * d - b * c < 0
            a, b = (-a, -b) if mirrored else (a, b)
            # (a, b) is where the picture's x axis goes on the screen, y down
            return round(np.arctan2(-b, a) / (np.pi / 2)) % 4, bool(mirrored)
    return 0, False


class VideoReader:
    """A video file as upright RGB frames, in order, each with its time; it can be read any number of times.

    It is a `blindvsr.video.source.Source`, whose `frames` are counted from the packets.
    """

    def __init__(
        self, path: str | Path, rate: Fraction | None = None, deinterlace: bool = True, with_alpha: bool = False,
        deep: bool = False,
    ) -> None:
        """Opens the file, goes through its packets and decodes one frame.

        Args:
            path: the file.
            rate: frames per second of a raw stream, in place of what it says itself.
            deinterlace: make whole frames of interlaced ones.
            deep: give frames of 16 bits.
            with_alpha: `alphas` is wanted, where the video has them.

        Raises:
            InputError: if it is no video, has no video stream, no frame can be decoded, or a rate is given for a file
                that has times of its own.
        """
        self.path = Path(path)
        self._state = _state(self.path)
        self._deinterlace = deinterlace
        self._deep = deep
        found = scan(self.path, rate)
        self.sound: ClockedFile | None = ClockedFile(self.path, found.clock)
        self.extras: ClockedFile | None = self.sound
        self.timing: Timing = found.timing
        self.end, self.frames, self._cut, self._clock = found.end, found.frames, found.damage, found.clock
        self.damage: str | None = self._cut
        container, stream = open_video(self.path)
        with container:
            first = next(self._decode(container, stream), None)
            if first is None:
                raise InputError(f"{self.path} holds no frames that can be decoded")
            self.turns, self.mirrored = orientation(first)
            self.colour = Colour.of(stream.codec_context, (first.height, first.width))
            display, light = mastering(first)
            self.colour = replace(self.colour, display=display, light=light)
            self._coded = (first.height, first.width)
            self.size = self._coded[::-1] if self.turns % 2 else self._coded
            aspect = stream.sample_aspect_ratio or Fraction(1)
            self.pixel_aspect = 1 / aspect if self.turns % 2 else aspect
            self.notes = _conversions(first.format, self.path, None if deep else self.colour)
            self._with_alpha = with_alpha and has_alpha(first.format)
            if has_alpha(first.format) and not with_alpha:
                self.notes.append(f"{self.path}: transparency is dropped")
            if stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1":
                self.notes.append(f"{self.path}: transparency is dropped")  # VP8 and VP9 hide it from their decoder

    def __iter__(self) -> Iterator[Frame]:
        """RGB uint8 (H, W, 3), upright. See `timed` for the times."""
        return (frame for _, frame in self.timed())

    def timed(self) -> Iterator[tuple[int, Frame]]:
        """(time in ticks of `timing.time_base`, RGB uint8 (H, W, 3)); the times rise strictly.

        Interlaced video is deinterlaced, frames of another size than the first are scaled to its size: both are said
        in a warning. It ends early, with the reason in `damage`, where the file is cut.
        """
        to_rgb: ToRGB | None = None
        last: int | None = None
        for frame in self._shown():
            last = self.timing.ticks(frame.pts, last)
            if to_rgb is None or to_rgb.source != (frame.format.name, self._coded):
                to_rgb = ToRGB(frame.format.name, self._coded, self.colour, self._deep)
            yield last, self._upright(to_rgb(frame))

    def alphas(self) -> Iterator[Frame] | None:
        """What of the frames is opaque, as grey frames (H, W, 3); None if all is, or it is not wanted."""
        if not self._with_alpha or all((alpha == 255).all() for alpha in self._alphas()):
            return None
        return self._alphas()

    def _alphas(self) -> Iterator[Frame]:
        for frame in self._shown():
            alpha = frame.reformat(format="rgba").to_ndarray()[..., 3:]
            yield self._upright(alpha.repeat(3, axis=2))

    def _shown(self) -> Iterator[Any]:
        """The frames of one size, deinterlaced."""
        self.damage = self._cut
        container, stream = open_video(self.path)
        with container:
            frames = self._one_size(self._in_time(self._decode(container, stream)))
            yield from deinterlaced(frames, self.path, self._deinterlace)
        if _state(self.path) not in (self._state, None):  # removed: it was open, and so is whole
            self.damage = self.damage or "it was changed while it was read"

    def names(self) -> Iterator[str]:
        """Numbers of eight digits, from 0."""
        return (f"{index:08d}" for index in count())

    def tags(self) -> Iterator[dict[str, bytes]]:
        """Nothing: what a video says, it says once."""
        return repeat({})

    def _decode(self, container: Any, stream: Any) -> Iterator[Any]:
        """The decoded frames; damaged packets are passed over and noted."""
        packets = self._clock.mend(container.demux(stream))
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                self.damage = self.damage or str(error)
                packet = None
            if packet is not None and not packet.size and packet.dts is not None:
                continue  # Theora repeats a frame so: the one before is shown for longer
            try:
                # None flushes the decoder after an error in the file
                yield from packet.decode() if packet is not None else stream.codec_context.decode(None)
            except av.EOFError:
                return  # flushed before
            except (av.MemoryError, av.BlockingIOError) as error:  # no room for a thread: the file is not to blame
                raise MemoryError("Cannot allocate memory") from error
            except av.FFmpegError as error:
                self.damage = f"damaged frames ({error.strerror})"
            if packet is None:
                return

    def _one_size(self, frames: Iterator[Any]) -> Iterator[Any]:
        height, width = last = self._coded
        for frame in frames:
            size = (frame.height, frame.width)
            if size not in (last, self._coded):
                warnings.warn(f"{self.path}: frames change to {size[1]}x{size[0]}, and are scaled to the first size, "
                              f"{width}x{height}", stacklevel=2)
            last = size
            yield frame if size == self._coded else frame.reformat(width, height, interpolation="BICUBIC")

    def _in_time(self, frames: Iterator[Any]) -> Iterator[Any]:
        """Frames of which the file only says when they are decoded, as they are shown: all after the same delay."""
        delay: int | None = None
        for frame in frames:
            if self._clock.decoded is not None and frame.dts is not None:
                delay = frame.dts - self.timing.start if delay is None else delay
                frame.pts = frame.dts - delay
            yield frame

    def _upright(self, frame: Frame) -> Frame:
        if self.mirrored:
            frame = frame[:, ::-1]
        return np.ascontiguousarray(np.rot90(frame, self.turns))


def _state(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another, or from what it was; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def has_alpha(layout: Any) -> bool:
    """Whether an av.VideoFormat has transparency."""
    return any(part.is_alpha for part in layout.components)


def _conversions(layout: Any, path: Path, colour: Colour | None) -> list[str]:
    notes = []
    if is_grey(layout):
        notes.append(f"{path}: grey becomes RGB")
    depth = max(part.bits for part in layout.components)
    if colour is None:  # all bits are kept
        return notes
    if colour.transfer in HDR:
        notes.append(f"{path}: HDR ({HDR[colour.transfer]}) of {depth} bits per sample becomes 8, with its colours as "
                     "they are: smooth areas may show bands; --pix_fmt "
                     "yuv420p10le keeps them")
    elif depth > 8 and not layout.has_palette:
        notes.append(f"{path}: {depth} bits per sample become 8")
    return notes


def read_video(path: str | Path) -> Iterator[Frame]:
    """The frames of a video file, RGB uint8 (H, W, 3), upright; warns at the end if some are missing.

    Raises:
        InputError: as `VideoReader`.
    """
    reader = VideoReader(path)
    yield from reader
    if reader.damage:
        warnings.warn(f"{path} is damaged: {reader.damage}; only what can be decoded of it is used", stacklevel=2)
