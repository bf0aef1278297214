"""Small real files for the tests: videos with known colours, times and sound, encoded on the spot."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

DATA = Path(os.environ.get("BLINDVSR_DATA") or Path(__file__).parents[2] / "shared" / "data")
BARS = np.array([
    (255, 255, 255), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0),
], np.uint8)
# the standards' own numbers (weights of red and blue), so that the code's table is not tested against itself
STANDARDS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def real_clip(name: str) -> Path:
    """A clip of the data bundle; skips the test without it."""
    path = DATA / "video" / name
    if not path.is_file():
        pytest.skip(f"no {path}: set BLINDVSR_DATA to the folder that holds video/{name}")
    return path


def colour_bars(height: int, width: int) -> np.ndarray:
    """RGB uint8 (H, W, 3): eight bars."""
    return np.repeat(BARS, width // 8, axis=0)[None].repeat(height, axis=0)


def bars_yuv(standard: str, full: bool) -> np.ndarray:
    """The bars' (8, 3) YUV values, unrounded."""
    red, blue = STANDARDS[standard]
    r, g, b = BARS.T / 255
    luma = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)
    if full:
        return np.stack((255 * luma, 128 + 255 * u, 128 + 255 * v), 1)
    return np.stack((16 + 219 * luma, 128 + 224 * u, 128 + 224 * v), 1)


def bars_frame(height: int, width: int, standard: str, full: bool) -> av.VideoFrame:
    """The bars as yuv420p, chroma constant within each bar."""
    values = np.clip(bars_yuv(standard, full).round(), 0, 255).astype(np.uint8)
    planes = [np.repeat(values[:, 0], width // 8)[None].repeat(height, 0)]
    planes += [np.repeat(values[:, i], width // 16)[None].repeat(height // 2, 0) for i in (1, 2)]
    return av.VideoFrame.from_ndarray(np.concatenate([plane.reshape(-1, width) for plane in planes]), format="yuv420p")


def moving(count: int, height: int = 24, width: int = 32) -> list[np.ndarray]:
    """RGB frames of a smooth picture that moves and differs from frame to frame."""
    y, x = np.mgrid[:height, :width]
    return [
        np.stack((128 + 90 * np.sin((x + 3 * t) / 5), 128 + 90 * np.cos((y - t) / 6), 4 * t + 2 * y), -1)
        .clip(0, 255).astype(np.uint8)
        for t in range(count)
    ]


def make_video(
    path: Path, frames: list[Any], *, codec: str = "libx264", pix_fmt: str = "yuv420p",
    rate: Fraction = Fraction(25), time_base: Fraction | None = None, times: list[int] | None = None,
    sound: str | None = None, sound_start: int = 0, tags: dict[str, int] | None = None,
    options: dict[str, str] | None = None, bit_rate: int = 2_000_000, container: dict[str, str] | None = None,
) -> Path:
    """Encodes RGB arrays or av.VideoFrames.

    Args:
        times: of the frames, in `time_base`; one frame after another if None.
        sound: codec of a tone as long as the video.
        sound_start: in samples of 48 kHz.
        tags: colour tags by the name of the codec context's attribute.
        options: of the encoder.
        bit_rate: for encoders without a quality option.
        container: of the muxer.
    """
    with av.open(str(path), "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options or {})
        first = frames[0]
        stream.width, stream.height = (first.width, first.height) if hasattr(first, "width") else first.shape[1::-1]
        stream.pix_fmt, stream.bit_rate = pix_fmt, bit_rate
        stream.codec_context.time_base = time_base or 1 / rate
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        tone: Any = file.add_stream(sound, rate=48000) if sound else None
        if tone:
            tone.layout = "mono"
        for index, frame in enumerate(frames):
            if isinstance(frame, np.ndarray):
                frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
            frame.pts = times[index] if times else index
            frame.time_base = time_base or 1 / rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if tone:
            make_tone(file, tone, int(48000 * len(frames) / rate), sound_start)
    return path


def make_tone(file: Any, stream: Any, samples: int, start: int) -> None:
    """Encodes a rising tone."""
    size = stream.codec_context.frame_size or 1024
    layout = stream.codec_context.format.name
    dtype, scale, zero = {
        "u8": (np.uint8, 100, 128), "s16": (np.int16, 2e4, 0), "s32": (np.int32, 1e9, 0), "flt": (np.float32, 0.9, 0),
    }[layout.removesuffix("p")]
    for at in range(0, samples, size):
        wave = np.sin((at + np.arange(size)) ** 1.5 / 3000)[None]
        frame = av.AudioFrame.from_ndarray((wave * scale + zero).astype(dtype), format=layout, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start + at, Fraction(1, 48000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def packets(path: Path, kind: str) -> list[tuple[Fraction, Fraction, bytes]]:
    """(time, duration, content) of the packets of the first stream of a kind, times in seconds."""
    with av.open(str(path)) as file:
        stream = getattr(file.streams, kind)[0]
        return [
            (packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base, bytes(packet))
            for packet in file.demux(stream) if packet.size
        ]


def shown_at(path: Path) -> list[Fraction]:
    """When the frames of a video are shown, in seconds."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


def truncate(path: Path, share: float) -> Path:
    """Cuts a file to a share of its length."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
