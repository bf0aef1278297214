"""What a real encoder leaves of a clip: frames through FFmpeg's encoders and back, in memory."""

import io
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray
from PIL import Image

from blindvsr import InputError

CRF = {"libx264": (0, 51), "libx265": (0, 51)}  # constant rate factor, the less the better
QUANTISER = {"mpeg4": (1, 31), "mpeg2video": (1, 31)}  # likewise
JPEG = {"jpeg": (1, 100)}  # quality, the more the better
QUALITIES = {**CRF, **QUANTISER, **JPEG}
RATE = 25
# encoders differ when they are given different numbers of threads, and clips are small
OPTIONS = {"libx264": {"x264-params": "threads=1"}, "libx265": {"x265-params": "pools=none:frame-threads=1:log-level=none"}}

Clip = NDArray[np.uint8]


def check_quality(codec: str, quality: int) -> None:
    """Raises InputError for a codec that `compressed` does not know, or a quality out of its range."""
    if codec not in QUALITIES:
        raise InputError(f"codec={codec!r}: choose one of {', '.join(QUALITIES)}")
    low, high = QUALITIES[codec]
    if not low <= quality <= high:
        raise InputError(f"quality={quality} of {codec}: it must be between {low} and {high}")


def compressed(frames: Clip, codec: str, quality: int, preset: str = "medium") -> Clip:
    """Encodes a clip and decodes it again.

    Args:
        frames: (N, H, W, 3), RGB. Odd sides are repeated to even ones for the encoder, whose colours are 4:2:0.
        codec: libx264, libx265, mpeg4, mpeg2video, or jpeg for every frame on its own.
        quality: constant rate factor of H.264 and H.265 (0 to 51), quantiser of MPEG-4 and MPEG-2 (1 to 31), quality of
            JPEG (1 to 100).
        preset: of H.264 and H.265.

    Returns:
        (N, H, W, 3).

    Raises:
        InputError: for an unknown codec, or a quality out of its range.
    """
    check_quality(codec, quality)
    if codec == "jpeg":
        return np.stack([_jpeg(frame, quality) for frame in frames])
    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), "edge")
    encoder = _encoder(codec, quality, preset, even.shape[2], even.shape[1])
    decoder = av.CodecContext.create({"libx264": "h264", "libx265": "hevc"}.get(codec, codec), "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    packets = []
    for number, picture in enumerate(even):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    return np.stack([frame.to_ndarray(format="rgb24")[:height, :width] for frame in decoded])


def _encoder(codec: str, quality: int, preset: str, width: int, height: int) -> VideoCodecContext:
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, RATE), Fraction(RATE)
    encoder.thread_count = 1
    if codec in CRF:
        encoder.options = {"crf": str(quality), "preset": preset, **OPTIONS[codec]}
    else:
        encoder.bit_rate, encoder.qmin, encoder.qmax = 100_000_000, quality, quality
    return encoder


def _jpeg(frame: Clip, quality: int) -> Clip:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
