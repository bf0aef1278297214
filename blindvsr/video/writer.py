"""Writing video files: frames at their times and in their colours, the sound of another file copied beside them.

Frames are encoded in segments, each by an encoder of its own, so that what one segment becomes does not depend on the
others: an interrupted job goes on at the next one, and its output is that of an unbroken one.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from blindvsr import InputError
from blindvsr.container import give_back_memory
from blindvsr.frames import Frame
from blindvsr.replacing import replacing
from blindvsr.video.clock import ClockedFile
from blindvsr.video.colour import Colour, convert_format
from blindvsr.video.encoder import DEEP, PALETTE, Encoder, choose_encoder
from blindvsr.video.extras import Extras
from blindvsr.video.palette import in_palette
from blindvsr.video.hdr import encoder_options
from blindvsr.video.sound import Sound
from blindvsr.video.timing import Timing


Segment = dict[str, NDArray[Any]]  # packets: data (bytes of all, uint8), and FIELDS of each, times in ticks
FIELDS = ("sizes", "pts", "dts", "key")
REORDERED = 16  # frames that an encoder may hold back to put them into another order, at most
SEGMENT = 50  # frames: what a killed job loses at most


@contextmanager
def write_video(
    target: Path,
    size: tuple[int, int],
    timing: Timing,
    *,
    colour: Colour = Colour(),
    pixel_aspect: Fraction = Fraction(1),
    sound: ClockedFile | None = None,
    encode_sound: bool = False,
    extras: ClockedFile | None = None,
    end: int | None = None,
    codec: str | None = None,
    crf: float | None = None,
    pixels: str | None = None,
    within: Path | None = None,
) -> Iterator["VideoWriter"]:
    """Gives a `VideoWriter`; the file appears under its name when the block ends well, and not at all otherwise.

    Args:
        target: a video file by its suffix, one of `encoder.WRITTEN_SUFFIXES`.
        size: (H, W), even but for a GIF.
        timing: frame rate and time base of the times that come with the frames.
        colour, pixel_aspect: matrix, range and tags to encode with; width of a pixel by its height.
        sound, encode_sound: a file whose sound tracks come along, and whether all are encoded anew, see `Sound`.
        extras: a file whose subtitles, chapters, texts and so on are copied, see `Extras`.
        end: when the last frame ends, in ticks of the timing; one frame after it starts if None.
        codec, crf, pixels: see `encoder.choose_encoder`; `encoder.DEEP` takes frames of 16 bits.
        within: see `blindvsr.outputs.replacing`.

    Raises:
        InputError: if the encoder is unknown or unfit, or nothing can be written (no space, no permission).
    """
    encoder = choose_encoder(target.suffix.lower(), codec, crf, pixels)
    with replacing(target, within=within) as temporary, _errors_named(target, encoder.codec, size):
        writer = VideoWriter(temporary, size, timing, colour=colour, encoder=encoder, pixel_aspect=pixel_aspect)
        try:
            if encoder.pixels != PALETTE:  # a GIF holds pictures alone
                writer.take_along(sound, encode_sound, extras, target)
            writer.container.start_encoding()  # a size or option that the encoder refuses shows here
            yield writer
            writer.finish(end)
        finally:
            writer.abandon()


@contextmanager
def _errors_named(target: Path, codec: str, size: tuple[int, int]) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise  # `replacing` says which file could not be written
        what = f"{target} with {codec} at {size[1]}x{size[0]}"
        raise InputError(f"cannot encode {what}: {error.strerror}") from error


def _decoding_times(pts: NDArray[Any], dts: NDArray[Any], largest: int) -> NDArray[Any]:
    """`dts`, unless it cannot be: libx265 says anything of fewer frames than it reorders."""
    if (dts <= pts).all() and dts.min() >= pts.min() - largest:
        return dts
    in_order = np.sort(pts)
    return in_order - (in_order - pts).max()


def _create(path: Path) -> Any:
    # no random numbers of the file, and no release of the writing library: the same job writes the same bytes
    return av.open(str(path), "w", container_options={"fflags": "+bitexact"})


class VideoWriter:
    """Encodes RGB frames one after another; made by `write_video`."""

    def __init__(
        self, path: Path, size: tuple[int, int], timing: Timing, *,
        colour: Colour, encoder: Encoder, pixel_aspect: Fraction,
    ) -> None:
        """Opens the file; arguments as `write_video`."""
        self.timing = timing
        self.colour = colour
        self.sound: Sound | None = None
        self.extras: Extras | None = None
        self._size = size
        self._count = 0  # frames given to `write`
        self._last: int | None = None  # time of the last frame
        self._last_dts: int | None = None
        self._encoder = encoder
        self._pixel_aspect = pixel_aspect
        self._segment: Any = None  # a container in memory, whose encoder works on the current segment
        self._encoded: list[Any] = []  # its packets so far
        self._waiting: Segment = {}  # the last finished one: its last frame may be the video's, which lasts longer
        palette = encoder.pixels == PALETTE
        self._full = "yuv444p16le" if encoder.pixels == DEEP else "yuv444p"  # what frames become first
        self._convert = None if palette else convert_format(self._full, encoder.pixels, size, colour)
        self.container = _create(path)
        self.stream: Any = self._add_stream(self.container)

    def take_along(
        self, sound: ClockedFile | None, encode_sound: bool, extras: ClockedFile | None, target: Path
    ) -> None:
        """Declares what goes beside the frames; arguments as `write_video`."""
        if sound:
            self.sound = Sound(sound, self.container, target, encode_sound)
        if extras:
            self.extras = Extras(extras, self.container, self.stream, target)

    def _add_stream(self, container: Any) -> Any:
        encoder, colour = self._encoder, self.colour
        hdr = encoder_options(encoder.codec, colour.display, colour.light) if encoder.pixels == DEEP else ""
        stream = encoder.add_stream(container, self._size, self.timing.rate, hdr)
        context = stream.codec_context
        context.time_base = self.timing.time_base
        context.sample_aspect_ratio = self._pixel_aspect
        if self._convert:
            context.colorspace, context.color_range = colour.matrix, colour.range
            context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        return stream

    def write(self, frame: Frame, ticks: int) -> Segment | None:
        """Encodes RGB (H, W, 3), uint8 or uint16 by the pixel format, to be shown at `ticks`.

        Returns:
            The segment that the frame completes, if any; `add_segment` makes the same part of a video of it.

        Raises:
            ValueError: if the frame has another size than the video.
        """
        if frame.shape[:2] != self._size:
            raise ValueError(f"a frame of {frame.shape[:2]} in a video of {self._size}")
        picture = self._picture(frame)
        picture.pts, picture.time_base = ticks, self.timing.time_base
        picture.pict_type = 0  # the encoder chooses
        self._last = ticks
        if self._segment is None:
            self._segment = av.open(io.BytesIO(), "w", format=self.container.format.name)
            self._add_stream(self._segment)
        self._encoded += self._segment.streams[0].encode(picture)
        self._count += 1
        return None if self._count % SEGMENT else self._end_segment()

    def _end_segment(self) -> Segment:
        packets = self._encoded + self._segment.streams[0].encode(None)
        self._segment.close()  # or its encoder stays, with 7 MB for frames of 192x128, until rubbish is collected
        self._segment, self._encoded = None, []
        give_back_memory()
        pts = np.array([packet.pts for packet in packets])
        dts = np.array([packet.pts if packet.dts is None else packet.dts for packet in packets])
        segment = {
            "data": np.frombuffer(b"".join(map(bytes, packets)), np.uint8),
            "sizes": np.array([packet.size for packet in packets]),
            "pts": pts,
            "dts": _decoding_times(pts, dts, REORDERED * self.timing.frame_ticks),
            "key": np.array([packet.is_keyframe for packet in packets]),
        }
        self.add_segment(segment)
        return segment

    def add_segment(self, segment: Segment) -> None:
        """Takes the next segment of the video."""
        self._mux(self._waiting, self.timing.frame_ticks)
        self._waiting = segment
        self._last = int(segment["pts"].max())

    def _picture(self, frame: Frame) -> Any:
        """The frame as the encoder takes it."""
        if self._convert is None:
            return in_palette(frame)
        planes = self.colour.to_yuv(frame)
        if frame.dtype == np.uint8:  # PyAV has the planes of 8 bits first, those of 16 last
            planes = np.ascontiguousarray(planes.transpose(2, 0, 1))
        picture = self._convert(av.VideoFrame.from_ndarray(planes, format=self._full))
        picture.colorspace, picture.color_range = self.colour.matrix, self.colour.range
        return picture

    def finish(self, end: int | None) -> None:
        """Writes what the encoder still holds, the rest of the sound and the index."""
        duration = self.timing.frame_ticks
        if end is not None and self._last is not None and end > self._last:
            duration = end - self._last
        if self._segment:
            self._end_segment()
        self._mux(self._waiting, duration)
        if self.sound:
            self.sound.copy(None)
        if self.extras:
            self.extras.copy(None)
        self.container.close()

    def abandon(self) -> None:
        """Lets go of the file, whatever state it is in."""
        if self.sound:
            self.sound.close()
        if self.extras:
            self.extras.close()
        for container in filter(None, (self._segment, self.container)):
            try:
                container.close()
            except (av.FFmpegError, OSError, ValueError):
                pass  # an earlier error is on its way already

    def _mux(self, segment: Segment, last_duration: int) -> None:
        """Writes a segment, and the sound and whatever else belongs beside it."""
        ends = np.cumsum(segment["sizes"]) if segment else ()
        for end, size, pts, dts, key in zip(ends, *(segment[name] for name in FIELDS), strict=True) if segment else ():
            packet = av.Packet(segment["data"][end - size : end].tobytes())
            # an encoder that reorders frames of a variable rate begins a segment before the last one has ended
            self._last_dts = int(dts) if self._last_dts is None else max(int(dts), self._last_dts + 1)
            packet.pts, packet.dts, packet.is_keyframe = int(pts), self._last_dts, bool(key)
            packet.stream, packet.time_base = self.stream, self.timing.time_base
            packet.duration = last_duration if pts == self._last else self.timing.frame_ticks
            for beside in (self.sound, self.extras):
                if beside:
                    beside.copy(self._last_dts * self.timing.time_base)
            self.container.mux(packet)
