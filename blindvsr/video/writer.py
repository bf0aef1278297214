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
from blindvsr.video.colour import Colour, convert_format
from blindvsr.video.extras import Extras
from blindvsr.video.sound import Sound
from blindvsr.video.timing import Timing

WRITTEN_SUFFIXES = (".mp4", ".mkv")
CODEC = "libx264"
CRF = 17.0  # H.264 at 17 or 18 is held to be visually lossless
PIXELS = "yuv420p"  # what every player takes
LARGE = 12_000_000  # pixels
# From there on x264's waiting and reference frames take gigabytes, more with every thread (measured at 7680x4320, two
# threads: 3.1 GB after 25 frames and rising, with these 1.2 GB). Larger files, the same quality.
LEAN = "rc-lookahead=4:sync-lookahead=0:ref=1:bframes=0:sliced-threads=1"


@contextmanager
def write_video(
    target: Path,
    size: tuple[int, int],
    timing: Timing,
    *,
    colour: Colour = Colour(),
    pixel_aspect: Fraction = Fraction(1),
    sound: Path | None = None,
    extras: Path | None = None,
    end: int | None = None,
    codec: str = CODEC,
    crf: float = CRF,
) -> Iterator["VideoWriter"]:
    """Gives a `VideoWriter`; the file appears under its name when the block ends well, and not at all otherwise.

    Args:
        target: .mp4 or .mkv.
        size: (H, W), even.
        timing: frame rate and time base of the times that come with the frames.
        colour: matrix, range and tags to encode with.
        pixel_aspect: width of a pixel by its height.
        sound: a file whose sound streams are copied, packet by packet.
        extras: a file whose subtitles, chapters, texts and so on are copied, see `Extras`.
        end: when the last frame ends, in ticks of the timing; one frame after it starts if None.
        codec: FFmpeg's name of the encoder.
        crf: constant rate factor, lower is better; ignored by encoders that know none.

    Raises:
        InputError: if the encoder is unknown or unfit, the container cannot hold the sound, or nothing can be written
            (no space, no permission).
    """
    check_codec(codec)
    with replacing(target) as temporary:
        writer = VideoWriter(temporary, size, timing, colour=colour, codec=codec, crf=crf, pixel_aspect=pixel_aspect)
        try:
            if sound:
                writer.sound = Sound(sound, writer.container, target)
            if extras:
                writer.extras = Extras(extras, writer.container, writer.stream, target)
            writer.container.start_encoding()  # a size or option that the encoder refuses shows here
            yield writer
            writer.finish(end)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise  # `replacing` says which file could not be written
            raise InputError(f"cannot encode {target} with {codec} at {size[1]}x{size[0]}: {error.strerror}") from error
        finally:
            writer.abandon()


def check_codec(codec: str) -> None:
    """Raises InputError unless FFmpeg as installed has `codec` as a video encoder of plain 8-bit pictures."""
    try:
        formats = av.Codec(codec, "w").video_formats
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        raise InputError(f"codec={codec}: no such encoder here; try libx264 or libx265") from error
    if not any(layout.name == PIXELS for layout in formats or ()):
        raise InputError(f"codec={codec}: it does not encode {PIXELS} video; try libx264 or libx265")


def encoder_options(codec: str, crf: float, size: tuple[int, int]) -> dict[str, str]:
    """FFmpeg's options for an encoder of (H, W) frames; encoders pass over those of others."""
    options = {"crf": f"{crf:g}"}
    if codec == "libx265":
        options["x265-params"] = "log-level=error"  # it writes on stderr by itself otherwise
    if codec == "libx264" and size[0] * size[1] > LARGE:
        options["x264-params"] = LEAN
    return options


def _create(path: Path) -> Any:
    return av.open(str(path), "w")


class VideoWriter:
    """Encodes RGB frames one after another; made by `write_video`."""

    def __init__(
        self, path: Path, size: tuple[int, int], timing: Timing, *,
        colour: Colour, codec: str, crf: float, pixel_aspect: Fraction,
    ) -> None:
        """Opens the file; arguments as `write_video`."""
        self.timing = timing
        self.colour = colour
        self.sound: Sound | None = None
        self.extras: Extras | None = None
        self._size = size
        self._last: int | None = None
        self._convert = convert_format("yuv444p", PIXELS, size, colour)
        self.container = _create(path)
        options = encoder_options(codec, crf, size)
        self.stream: Any = self.container.add_stream(codec, rate=timing.rate, options=options)
        self.stream.height, self.stream.width = size
        self.stream.pix_fmt = PIXELS
        context: Any = self.stream.codec_context
        context.bit_rate = 0  # PyAV's default would compete with crf
        context.time_base = timing.time_base
        context.sample_aspect_ratio = pixel_aspect
        context.colorspace, context.color_range = colour.matrix, colour.range
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer

    def write(self, frame: Frame, ticks: int) -> None:
        """Encodes RGB uint8 (H, W, 3), to be shown at `ticks`.

        Raises:
            ValueError: if the frame has another size than the video.
        """
        if frame.shape[:2] != self._size:
            raise ValueError(f"a frame of {frame.shape[:2]} in a video of {self._size}")
        planes = np.ascontiguousarray(self.colour.to_yuv(frame).transpose(2, 0, 1))
        picture = self._convert(av.VideoFrame.from_ndarray(planes, format="yuv444p"))
        picture.colorspace, picture.color_range = self.colour.matrix, self.colour.range
        picture.pts, picture.time_base = ticks, self.timing.time_base
        picture.pict_type = 0  # the encoder chooses
        self._last = ticks
        self._mux(self.stream.encode(picture), self.timing.frame_ticks)

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
