"""Video encoders: which one a container gets, what its quality is called, and whether it starts at all."""

import io
import os
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av

from blindvsr import InputError

FORMATS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov", ".webm": "webm", ".gif": "gif"}
WRITTEN_SUFFIXES = tuple(FORMATS)
CODEC = "libx264"
CODECS = {".webm": "libvpx-vp9", ".gif": "gif"}  # the others take H.264
PIXELS = "yuv420p"  # what every player takes
DEEP = "yuv420p10le"  # of 10 bits
PALETTE = "pal8"
# constant rate factor: least, most, and one held to be visually lossless (for H.264 17 or 18)
CRF = {
    "libx264": (0, 51, 17), "libx265": (0, 51, 17), "libvpx": (4, 63, 8), "libvpx-vp9": (0, 63, 24),
    "libsvtav1": (1, 63, 22), "libaom-av1": (0, 63, 22),
}
QUANTISER = ("mpeg4", "mpeg2video", "mpeg1video", "flv", "h263p", "msmpeg4", "msmpeg4v2", "wmv1", "wmv2")
LARGE = 12_000_000  # pixels
# From there on x264's waiting and reference frames take gigabytes, more with every thread (measured at 7680x4320, two
# threads: 3.1 GB after 25 frames and rising, with these 1.2 GB). Larger files, the same quality.
LEAN = "rc-lookahead=4:sync-lookahead=0:ref=1:bframes=0:sliced-threads=1"


@dataclass(frozen=True)
class Encoder:
    """An encoder and its quality; made by `choose_encoder`.

    Attributes:
        codec: FFmpeg's name.
        pixels: pixel format that it is given.
        options: FFmpeg's, for any size.
        bit_rate: 0 where the quality is constant.
        note: what to tell the user about the quality, or None.
    """

    codec: str
    pixels: str = PIXELS
    options: dict[str, str] = field(default_factory=dict)
    bit_rate: int = 0
    note: str | None = None

    def add_stream(self, container: Any, size: tuple[int, int], rate: Fraction, hdr: str = "") -> Any:
        """Adds a stream of (H, W) frames, not opened yet, to an av.OutputContainer; `hdr`: `hdr.encoder_options`."""
        options = dict(self.options)
        if self.codec == "libx264" and size[0] * size[1] > LARGE:
            options["x264-params"] = LEAN
        if hdr and self.codec in ("libx264", "libx265"):
            name = self.codec[3:] + "-params"
            options[name] = ":".join(filter(None, (options.get(name), hdr)))
        stream = container.add_stream(self.codec, rate=rate, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = self.pixels
        if container.format.name in ("mp4", "mov") and ("hevc" in self.codec or "265" in self.codec):
            stream.codec_context.codec_tag = "hvc1"  # Apple's players pass over FFmpeg's hev1
        stream.codec_context.bit_rate = self.bit_rate  # PyAV's default would compete with the quality
        return stream


def choose_encoder(
    suffix: str, codec: str | None = None, crf: float | None = None, pixels: str | None = None,
) -> Encoder:
    """The encoder for a container.

    Args:
        suffix: of the file, one of `WRITTEN_SUFFIXES`.
        codec: FFmpeg's name of the encoder; the container's usual one if None.
        crf: constant rate factor, lower is better and larger; one without visible loss if None.
        pixels: pixel format; the container's usual one if None.

    Raises:
        InputError: if the encoder is unknown, does not go with the container, has no such quality, or does not start.
    """
    codec = codec or CODECS.get(suffix, CODEC)
    pixels = pixels or (PALETTE if suffix == ".gif" else PIXELS)
    _check_codec(codec, pixels)
    encoder = Encoder(codec, pixels, *_quality(codec, crf))
    _check_start(encoder, suffix)
    return encoder


def _check_codec(codec: str, pixels: str) -> None:
    try:
        formats = av.Codec(codec, "w").video_formats
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        raise InputError(f"codec={codec}: no such encoder here; try libx264 or libx265") from error
    if not any(layout.name == pixels for layout in formats or ()):
        raise InputError(f"codec={codec}: it does not encode {pixels} video; leave it out, or try libx264 in an .mkv")


def _quality(codec: str, crf: float | None) -> tuple[dict[str, str], int, str | None]:
    """Options, bit rate and note."""
    if codec not in CRF:
        if crf is not None:
            raise InputError(f"crf={crf:g}: {codec} has no constant rate factor; leave it out, or choose one of "
                             f"{', '.join(CRF)} with --codec")
        if codec in QUANTISER:
            return {"flags": "+qscale"}, 0, f"{codec} has no --crf: its quantiser is 2, the best of 31"
        if codec.endswith("_nvenc"):
            return {"rc": "vbr", "cq": "19"}, 0, f"{codec} has no --crf: its constant quality is 19"
        return {}, 0, None if codec in ("gif", "ffv1") else f"{codec} has no --crf: it has FFmpeg's usual quality"
    low, high, usual = CRF[codec]
    if crf is not None and not low <= crf <= high:
        raise InputError(f"crf={crf:g}: the constant rate factor of {codec} is between {low} and {high}")
    options = {"crf": f"{usual if crf is None else crf:g}"}
    if codec == "libx265":
        options["x265-params"] = "log-level=error"  # it writes on stderr by itself otherwise
    elif codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # likewise
    elif codec.startswith("libvpx"):
        options |= {"cpu-used": "3", "row-mt": "1"}  # the slower steps gain little and take times as long
    return options, 100_000_000 if codec == "libvpx" else 0, None  # VP8 takes the bit rate as a limit


def _check_start(encoder: Encoder, suffix: str) -> None:
    """Opens the encoder for a file in memory: what is missing shows before the work."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as container:
            encoder.add_stream(container, (256, 256), Fraction(25)).codec_context.open()
    except av.FFmpegError as error:
        remedy = "hardware encoders need their device and its driver: " if "_" in encoder.codec else ""
        raise InputError(f"codec={encoder.codec}: the encoder does not start here ({error.strerror}); {remedy}try "
                         f"{CODECS.get(suffix, CODEC)}") from error
    except ValueError as error:
        raise InputError(f"codec={encoder.codec}: {suffix} cannot hold its video; choose .mkv, which holds any, or "
                         f"{CODECS.get(suffix, CODEC)}") from error
