"""Colours through files and conversions: against the standards' numbers, to one level."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from blindvsr.video.colour import Colour, convert_format
from blindvsr.video.reader import VideoReader, read_video
from blindvsr.video.timing import constant
from blindvsr.video.writer import write_video
from tests.clips import BARS, bars_frame, bars_yuv, colour_bars, make_video, moving


TAGS = {"bt601": 6, "bt709": 1}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("standard", ["bt601", "bt709"])
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "ffv1"), (".webm", "libvpx-vp9")])
def test_colour_bars_in(tmp_path: Path, suffix: str, codec: str, standard: str, full: bool) -> None:
    """Some decoders say by the pixel format that the range is full, others by a tag."""
    tags = {"colorspace": TAGS[standard], "color_range": 2 if full else 1}
    path = make_video(tmp_path / f"bars{suffix}", [bars_frame(32, 256, standard, full)] * 2, tags=tags, codec=codec,
                      options={"libx264": {"crf": "0"}, "libvpx-vp9": {"lossless": "1"}}.get(codec))
    for frame in read_video(path):
        assert np.abs(frame[16, 16::32].astype(int) - BARS).max() <= 1
        # and next to the edges: chroma is interpolated there, luma is not, and nothing wraps around
        assert np.abs(frame.astype(int) - colour_bars(32, 256)).mean() < 6


@pytest.mark.parametrize(("size", "standard"), [((480, 640), "bt601"), ((720, 1280), "bt709")])
def test_untagged_video_is_what_players_take_it_for(tmp_path: Path, size: tuple[int, int], standard: str) -> None:
    path = make_video(tmp_path / "bars.mp4", [bars_frame(*size, standard, False)], options={"crf": "0"})
    reader = VideoReader(path)
    frame = next(iter(reader))
    assert np.abs(frame[9, size[1] // 16 :: size[1] // 8].astype(int) - BARS).max() <= 1
    assert reader.colour.matrix == TAGS[standard]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("standard", ["bt601", "bt709"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_colour_bars_out(tmp_path: Path, standard: str, full: bool, suffix: str) -> None:
    """The samples in the file are the standard's, and so are the tags."""
    colour = Colour(matrix=TAGS[standard], range=2 if full else 1, primaries=5, transfer=6)
    with write_video(tmp_path / f"bars{suffix}", (32, 256), constant(Fraction(25)), colour=colour, crf=0) as writer:
        writer.write(colour_bars(32, 256), 0)
    with av.open(str(tmp_path / f"bars{suffix}")) as file:
        context = file.streams.video[0].codec_context
        tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        assert tags == (colour.matrix, colour.range, 5, 6)
        samples = next(file.decode(video=0)).to_ndarray()
    chroma = samples[32:].reshape(2, 16, 128)
    stored = np.stack((samples[16, 16::32], chroma[0, 8, 8::16], chroma[1, 8, 8::16]), 1)
    assert np.abs(stored - np.clip(bars_yuv(standard, full), 0, 255)).max() <= 1


def test_green_and_orange_differences(tmp_path: Path) -> None:
    """YCgCo by its definition: Cg and Co stand where the others have U and V."""
    luma, green, orange = 16 + 219 * 0.25, 128 - 224 * 0.25, 128 + 224 * 0.5  # of pure red
    planes = [np.full(shape, round(value), np.uint8) for value, shape in
              ((luma, (32, 48)), (green, (8, 48)), (orange, (8, 48)))]
    frame = av.VideoFrame.from_ndarray(np.concatenate(planes), format="yuv420p")
    path = make_video(tmp_path / "v.mkv", [frame], codec="ffv1", tags={"colorspace": 8, "color_range": 1})
    assert np.abs(next(iter(read_video(path)))[16, 16].astype(int) - (255, 0, 0)).max() <= 2


def test_hdr_is_said(tmp_path: Path) -> None:
    frames = [bars_frame(32, 256, "bt709", False).reformat(format="yuv420p10le")]
    path = make_video(tmp_path / "v.mkv", frames, codec="ffv1", pix_fmt="yuv420p10le", tags={"color_trc": 16})
    assert any("HDR (PQ) of 10 bits per sample becomes 8" in note for note in VideoReader(path).notes)


def test_ten_bits(tmp_path: Path) -> None:
    frames = [bars_frame(32, 256, "bt709", False).reformat(format="yuv420p10le") for _ in range(2)]
    tags = {"colorspace": 1, "color_range": 1}
    path = make_video(tmp_path / "v.mkv", frames, codec="ffv1", pix_fmt="yuv420p10le", tags=tags)
    reader = VideoReader(path)
    assert "10 bits" in reader.notes[0]
    assert np.abs(next(iter(reader))[16, 16::32].astype(int) - BARS).max() <= 1


@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("full", [False, True])
def test_matrices_are_exact(matrix: int, full: bool) -> None:
    colour = Colour(matrix=matrix, range=2 if full else 1)
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    exact = rgb @ colour.equation()[:, :3].T + colour.equation()[:, 3]
    assert np.abs(colour.to_yuv(rgb) - exact.clip(0, 255)).max() < 0.75
    yuv = colour.to_yuv(rgb)
    back = (yuv - colour.equation()[:, 3]) @ np.linalg.inv(colour.equation()[:, :3]).T
    assert np.abs(colour.to_rgb(yuv) - back.clip(0, 255)).max() < 0.75


@pytest.mark.parametrize("tag", [0, 1, 5, 9])
def test_changing_the_pixel_format_leaves_the_values(tag: int) -> None:
    """FFmpeg 8 converts between matrices and ranges on its own account when frames are tagged."""
    planes = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    for span in (1, 2):
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.colorspace, frame.color_range = tag, span
        result = convert_format("yuv420p", "yuv444p", (32, 64), Colour(range=span))(frame).to_ndarray()
        assert np.array_equal(result[0], planes[:32])
        assert np.abs(result[1].mean() - planes[32:40].mean()) < 0.5


@pytest.mark.parametrize(("codec", "pixels", "full"), [
    ("libx264", "yuv420p", False), ("libx264", "yuv420p", True), ("mjpeg", "yuvj420p", True),
])
def test_chroma_of_h264_is_on_the_left(tmp_path: Path, codec: str, pixels: str, full: bool) -> None:
    """FFmpeg decodes both to yuvj420p where the range is full."""
    path = make_video(tmp_path / "v.mov", moving(2), codec=codec, pix_fmt=pixels, tags={"color_range": 1 + full})
    assert VideoReader(path).colour.chroma_left == (codec == "libx264")


def test_chroma_sits_where_h264_puts_it() -> None:
    """On even luma columns: a ramp of 8 per chroma sample is one of 4 per pixel that starts at the same value."""
    planes = np.full((48, 64), 128, np.uint8)
    planes[32:40] = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (8, 2))
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    upsampled = convert_format("yuv420p", "yuv444p", (32, 64), Colour())(frame).to_ndarray()[1]
    assert np.abs(upsampled[10, 8:48].astype(int) - 4 * np.arange(8, 48)).max() <= 1
