"""Writing video files: frames at their times and in their colours, the sound of another file copied beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from blindvsr import InputError
from blindvsr.frames import Frame
from blindvsr.outputs import replacing
from blindvsr.video.clock import ClockedFile
from blindvsr.video.colour import Colour, convert_format
from blindvsr.video.encoder import DEEP, PALETTE, Encoder, choose_encoder
from blindvsr.video.extras import Extras
from blindvsr.video.palette import in_palette
from blindvsr.video.hdr import encoder_options
from blindvsr.video.sound import Sound
from blindvsr.video.timing import Timing


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
) -> Iterator["VideoWriter"]:
    """Gives a `VideoWriter`; the file appears under its name when the block ends well, and not at all otherwise.

    Args:
        target: a video file by its suffix, one of `encoder.WRITTEN_SUFFIXES`.
        size: (H, W), even but for a GIF.
        timing: frame rate and time base of the times that come with the frames.
        colour: matrix, range and tags to encode with.
        pixel_aspect: width of a pixel by its height.
        sound: a file whose sound tracks come along, see `Sound`.
        encode_sound: encode them anew; False copies those that the container can hold.
        extras: a file whose subtitles, chapters, texts and so on are copied, see `Extras`.
        end: when the last frame ends, in ticks of the timing; one frame after it starts if None.
        codec: FFmpeg's name of the encoder; the container's usual one if None.
        crf: constant rate factor, lower is better; one without visible loss if None.
        pixels: pixel format; `encoder.DEEP` takes frames of 16 bits.

    Raises:
        InputError: if the encoder is unknown or unfit, or nothing can be written (no space, no permission).
    """
    encoder = choose_encoder(target.suffix.lower(), codec, crf, pixels)
    with replacing(target) as temporary:
        writer = VideoWriter(
            temporary, size, timing, colour=colour, encoder=encoder, pixel_aspect=pixel_aspect,
        )
        try:
            if sound and target.suffix.lower() != ".gif":
                writer.sound = Sound(sound, writer.container, target, encode_sound)
            if extras:
                writer.extras = Extras(extras, writer.container, writer.stream, target)
            writer.container.start_encoding()  # a size or option that the encoder refuses shows here
            yield writer
            writer.finish(end)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise  # `replacing` says which file could not be written
            what = f"{target} with {encoder.codec} at {size[1]}x{size[0]}"
            raise InputError(f"cannot encode {what}: {error.strerror}") from error
        finally:
            writer.abandon()


def _create(path: Path) -> Any:
    return av.open(str(path), "w")


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
        self._last: int | None = None
        palette = encoder.pixels == PALETTE
        self._full = "yuv444p16le" if encoder.pixels == DEEP else "yuv444p"  # what frames become first
        self._convert = None if palette else convert_format(self._full, encoder.pixels, size, colour)
        self.container = _create(path)
        hdr = encoder_options(encoder.codec, colour.display, colour.light) if encoder.pixels == DEEP else ""
        self.stream: Any = encoder.add_stream(self.container, size, timing.rate, hdr)
        context: Any = self.stream.codec_context
        context.time_base = timing.time_base
        context.sample_aspect_ratio = pixel_aspect
        if not palette:
            context.colorspace, context.color_range = colour.matrix, colour.range
            context.color_primaries, context.color_trc = colour.primaries, colour.transfer

    def write(self, frame: Frame, ticks: int) -> None:
        """Encodes RGB (H, W, 3), uint8 or uint16 by the pixel format, to be shown at `ticks`.

        Raises:
            ValueError: if the frame has another size than the video.
        """
        if frame.shape[:2] != self._size:
            raise ValueError(f"a frame of {frame.shape[:2]} in a video of {self._size}")
        picture = self._picture(frame)
        picture.pts, picture.time_base = ticks, self.timing.time_base
        picture.pict_type = 0  # the encoder chooses
        self._last = ticks
        self._mux(self.stream.encode(picture), self.timing.frame_ticks)

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
        self._mux(self.stream.encode(None), duration)
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
        try:
            self.container.close()
        except (av.FFmpegError, OSError, ValueError):
            pass  # an earlier error is on its way already

    def _mux(self, packets: list[Any], last_duration: int) -> None:
        for packet in packets:
            packet.duration = last_duration if packet.pts == self._last else self.timing.frame_ticks
            if self.sound:
                self.sound.copy(packet.dts * self.timing.time_base)
            if self.extras:
                self.extras.copy(packet.dts * self.timing.time_base)
            self.container.mux(packet)
