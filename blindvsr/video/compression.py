"""What a real encoder leaves of a clip: frames through FFmpeg's encoders and back, in memory."""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray
from PIL import Image

from blindvsr import InputError
from blindvsr.frames import Frame

CRF = {"libx264": (0, 51), "libx265": (0, 51)}  # constant rate factor, the less the better
QUANTISER = {"mpeg4": (1, 31), "mpeg2video": (1, 31)}  # likewise
JPEG = {"jpeg": (1, 100)}  # quality, the more the better
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
QUALITIES = {**CRF, **QUANTISER, **JPEG}
RATE = 25
# encoders differ when they are given different numbers of threads, and clips are small
SINGLE_THREAD = {
    "libx264": {"x264-params": "threads=1"},
    "libx265": {"x265-params": "pools=none:frame-threads=1:log-level=none"},
}

Clip = NDArray[np.uint8]


def check_quality(codec: str, quality: int, preset: str = "medium") -> None:
    """Raises InputError for a codec or preset that `compressed` does not know, or a quality out of its range."""
    if codec not in QUALITIES:
        raise InputError(f"codec={codec!r}: choose one of {', '.join(QUALITIES)}")
    low, high = QUALITIES[codec]
    if not low <= quality <= high:
        raise InputError(f"quality={quality} of {codec}: it must be between {low} and {high}")
    if preset not in PRESETS:
        raise InputError(f"preset={preset}: choose one of {', '.join(PRESETS)}")


def compressed(frames: Clip, codec: str, quality: int, preset: str = "medium") -> Clip:
    """Encodes a clip and decodes it again, in memory.

    Args:
        frames: (N, H, W, 3), RGB.
        codec: libx264, libx265, mpeg4, mpeg2video, or jpeg for every frame on its own.
        quality: constant rate factor of H.264 and H.265 (0 to 51), quantiser of MPEG-4 and MPEG-2 (1 to 31), quality of
            JPEG (1 to 100).
        preset: of H.264 and H.265.

    Returns:
        (N, H, W, 3).

    Raises:
        InputError: for an unknown codec or preset, or a quality out of its range.
    """
    check_quality(codec, quality, preset)
    if codec == "jpeg":
        return np.stack([np.asarray(Image.open(io.BytesIO(jpeg(frame, quality)))) for frame in frames])
    file = io.BytesIO()
    encode(iter(frames), file, codec, quality, preset)
    file.seek(0)
    return np.stack(list(decode(file, frames.shape[1], frames.shape[2])))


def encode(frames: Iterator[Frame], file: str | BinaryIO, codec: str, quality: int, preset: str = "medium") -> None:
    """Writes frames (H, W, 3) of one size into a Matroska file, 4:2:0, 25 a second; odd sides are padded to even ones.

    Args:
        frames: RGB, one by one.
        file: path, or a file that can be written and sought in.
        codec, quality, preset: as of `compressed`, without jpeg.
    """
    with av.open(file, "w", format="matroska") as container:
        stream = None
        for number, frame in enumerate(frames):
            even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), "edge")
            stream = stream or _stream(container, codec, quality, preset, even.shape[0], even.shape[1])
            picture = av.VideoFrame.from_ndarray(even, "rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode(None))


def _stream(
    container: OutputContainer, codec: str, quality: int, preset: str, height: int, width: int
) -> av.VideoStream:
    options = {"crf": str(quality), "preset": preset, **SINGLE_THREAD[codec]} if codec in CRF else {}
    stream = container.add_stream(codec, RATE, options=options)
    assert isinstance(stream, av.VideoStream)
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    if codec in QUANTISER:
        context.bit_rate, context.qmin, context.qmax = 100_000_000, quality, quality
    return stream


def decode(file: str | BinaryIO, height: int, width: int) -> Iterator[Frame]:
    """The frames of what `encode` wrote, (height, width, 3), RGB, one by one."""
    with av.open(file, "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24")[:height, :width], np.uint8)


def jpeg(frame: Frame, quality: int) -> bytes:
    """A frame (H, W, 3) as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return file.getvalue()
