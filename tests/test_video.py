"""Reading and writing video files: frames, times, colours, sound, and files that are not what they should be."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from blindvsr import InputError
from blindvsr.colour import Colour, convert_format
from blindvsr.encode import write_video
from blindvsr.timing import constant
from blindvsr.video import VideoReader, read_video
from tests.clips import (
    BARS, bars_frame, bars_yuv, colour_bars, make_video, moving, packets, real_clip, shown_at, truncate,
)

NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)
TAGS = {"bt601": 6, "bt709": 1}
CONTAINERS = [
    (".mp4", "libx264", "yuv420p"), (".mkv", "libx264", "yuv420p"), (".mov", "libx264", "yuv444p"),
    (".avi", "mpeg4", "yuv420p"), (".webm", "libvpx-vp9", "yuv420p"),
]


@pytest.mark.parametrize(("suffix", "codec", "pixels"), CONTAINERS)
def test_reads_every_container(tmp_path: Path, suffix: str, codec: str, pixels: str) -> None:
    frames = moving(7, 33, 41) if pixels == "yuv444p" else moving(7, 32, 40)
    path = make_video(tmp_path / f"v{suffix}", frames, codec=codec, pix_fmt=pixels, rate=NTSC,
                      options={"crf": "5"} if codec != "mpeg4" else {})
    reader = VideoReader(path)
    decoded = list(reader)
    assert (reader.frames, len(decoded), reader.damage) == (7, 7, None)
    assert reader.size == frames[0].shape[:2]
    assert reader.timing.constant and reader.timing.rate == NTSC
    assert all(np.abs(a.astype(int) - b).mean() < 6 for a, b in zip(decoded, frames, strict=True))


def test_reads_odd_sizes(tmp_path: Path) -> None:
    frames = moving(2, 33, 41)
    path = make_video(tmp_path / "v.mkv", frames, codec="ffv1", pix_fmt="yuv420p")
    decoded = list(read_video(path))
    assert decoded[0].shape == (33, 41, 3)
    assert np.abs(decoded[1].astype(int) - frames[1]).mean() < 6


def test_reads_gif_with_its_times(tmp_path: Path) -> None:
    pictures = [Image.fromarray(frame) for frame in moving(5)]
    pictures[0].save(tmp_path / "v.gif", save_all=True, append_images=pictures[1:], duration=[40, 100, 40, 200, 40])
    reader = VideoReader(tmp_path / "v.gif")
    timed = list(reader.timed())
    assert [ticks * reader.timing.time_base for ticks, _ in timed] == [Fraction(t, 100) for t in (0, 4, 14, 18, 38)]
    assert not reader.timing.constant
    # 256 colours of its own: what Pillow shows is what was stored
    with Image.open(tmp_path / "v.gif") as stored:
        stored.seek(3)
        assert np.array_equal(timed[3][1], np.array(stored.convert("RGB")))


@pytest.mark.parametrize("rate", [NTSC, FILM, Fraction(25), Fraction(60000, 1001), Fraction(15, 2)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rate_is_exact(tmp_path: Path, rate: Fraction, suffix: str) -> None:
    """Matroska rounds to milliseconds, and still gives the rate that was meant."""
    source = make_video(tmp_path / f"in{suffix}", moving(40, 16, 16), rate=rate)
    reader = VideoReader(source)
    assert reader.timing.constant and reader.timing.rate == rate
    with write_video(tmp_path / "out.mp4", reader.size, reader.timing) as writer:
        for ticks, frame in reader.timed():
            writer.write(frame, ticks)
    assert shown_at(tmp_path / "out.mp4") == [i / rate for i in range(40)]
    with av.open(str(tmp_path / "out.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.average_rate, stream.frames) == (rate, 40)
        assert stream.duration * stream.time_base == 40 / rate


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rate_keeps_its_timestamps(tmp_path: Path, suffix: str) -> None:
    times = [0, 40, 80, 200, 233, 266, 800, 840]
    source = make_video(tmp_path / f"in{suffix}", moving(8), times=times, time_base=Fraction(1, 1000))
    reader = VideoReader(source)
    assert not reader.timing.constant
    target = tmp_path / f"out{suffix}"
    with write_video(target, reader.size, reader.timing, end=reader.end) as writer:
        for ticks, frame in reader.timed():
            writer.write(frame, ticks)
    assert shown_at(target) == shown_at(source) == [Fraction(t, 1000) for t in times]


def test_frames_that_are_missing_in_a_constant_rate_leave_gaps(tmp_path: Path) -> None:
    times = [0, 1, 2, 5, 6, 7]
    source = make_video(tmp_path / "in.mp4", moving(6), times=times, time_base=Fraction(1, 25))
    reader = VideoReader(source)
    assert [ticks * reader.timing.time_base for ticks, _ in reader.timed()] == [Fraction(t, 25) for t in times]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_late_start_is_kept(tmp_path: Path, suffix: str) -> None:
    """A video that starts after its sound."""
    source = make_video(tmp_path / f"in{suffix}", moving(5), times=[20, 21, 22, 23, 24], rate=NTSC, sound="aac")
    reader = VideoReader(source)
    with write_video(tmp_path / f"out{suffix}", reader.size, reader.timing, sound=source) as writer:
        for ticks, frame in reader.timed():
            writer.write(frame, ticks)
    before, after = shown_at(source), shown_at(tmp_path / f"out{suffix}")
    rounding = Fraction(1, 1000) if suffix == ".mkv" else 0
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= rounding
    assert packets(tmp_path / f"out{suffix}", "audio") == packets(source, "audio")


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("standard", ["bt601", "bt709"])
def test_colour_bars_in(tmp_path: Path, standard: str, full: bool) -> None:
    tags = {"colorspace": TAGS[standard], "color_range": 2 if full else 1}
    path = make_video(tmp_path / "bars.mp4", [bars_frame(32, 256, standard, full)] * 2, tags=tags,
                      options={"crf": "0"})
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
    with write_video(tmp_path / f"bars{suffix}", (32, 256), constant(NTSC), colour=colour, crf=0) as writer:
        writer.write(colour_bars(32, 256), 0)
    with av.open(str(tmp_path / f"bars{suffix}")) as file:
        context = file.streams.video[0].codec_context
        tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        assert tags == (colour.matrix, colour.range, 5, 6)
        samples = next(file.decode(video=0)).to_ndarray()
    chroma = samples[32:].reshape(2, 16, 128)
    stored = np.stack((samples[16, 16::32], chroma[0, 8, 8::16], chroma[1, 8, 8::16]), 1)
    assert np.abs(stored - np.clip(bars_yuv(standard, full), 0, 255)).max() <= 1


@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
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


def test_chroma_sits_where_h264_puts_it() -> None:
    """On even luma columns: a ramp of 8 per chroma sample is one of 4 per pixel that starts at the same value."""
    planes = np.full((48, 64), 128, np.uint8)
    planes[32:40] = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (8, 2))
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    upsampled = convert_format("yuv420p", "yuv444p", (32, 64), Colour())(frame).to_ndarray()[1]
    assert np.abs(upsampled[10, 8:48].astype(int) - 4 * np.arange(8, 48)).max() <= 1


# quarter turns clockwise, mirrored -> a, b, c, d of the header's matrix
MATRICES = {
    (1, False): (0, 1, -1, 0), (2, False): (-1, 0, 0, -1), (3, False): (0, -1, 1, 0), (0, True): (-1, 0, 0, 1),
}


@pytest.mark.parametrize(("turn", "mirrored"), MATRICES)
def test_rotation_is_applied(tmp_path: Path, turn: int, mirrored: bool) -> None:
    frames = moving(3, 32, 48)
    path = make_video(tmp_path / "v.mp4", frames, options={"crf": "1"}, pix_fmt="yuv444p")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    a, b, c, d = MATRICES[turn, mirrored]
    content[matrix : matrix + 36] = np.array(
        (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30), ">i4"
    ).tobytes()
    path.write_bytes(content)
    upright = np.rot90(frames[1][:, ::-1] if mirrored else frames[1], -turn)
    reader = VideoReader(path)
    assert reader.size == upright.shape[:2]
    assert np.abs(list(reader)[1].astype(int) - upright).mean() < 3


def test_ten_bits(tmp_path: Path) -> None:
    frames = [bars_frame(32, 256, "bt709", False).reformat(format="yuv420p10le") for _ in range(2)]
    tags = {"colorspace": 1, "color_range": 1}
    path = make_video(tmp_path / "v.mkv", frames, codec="ffv1", pix_fmt="yuv420p10le", tags=tags)
    reader = VideoReader(path)
    assert "10 bits" in reader.notes[0]
    assert np.abs(next(iter(reader))[16, 16::32].astype(int) - BARS).max() <= 1


def test_transparency_and_grey_are_noted(tmp_path: Path) -> None:
    frames = moving(2)
    clear = [av.VideoFrame.from_ndarray(np.dstack((f, np.full((24, 32), 9, np.uint8))), format="rgba") for f in frames]
    reader = VideoReader(make_video(tmp_path / "a.mov", clear, codec="qtrle", pix_fmt="argb"))
    assert "transparency" in reader.notes[0]
    assert np.array_equal(list(reader)[1], frames[1])
    grey = [av.VideoFrame.from_ndarray(f[..., 0].copy(), format="gray") for f in frames]
    reader = VideoReader(make_video(tmp_path / "g.mkv", grey, codec="ffv1", pix_fmt="gray", tags={"color_range": 2}))
    assert "grey" in reader.notes[0]
    assert np.abs(list(reader)[1].astype(int) - frames[1][..., :1]).max() <= 1


@pytest.mark.parametrize(("suffix", "codec", "target"), [
    (".mp4", "aac", ".mp4"), (".mkv", "aac", ".mkv"), (".webm", "libopus", ".mkv"), (".avi", "libmp3lame", ".mp4"),
])
def test_sound_is_copied(tmp_path: Path, suffix: str, codec: str, target: str) -> None:
    video = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    source = make_video(tmp_path / f"in{suffix}", moving(30), sound=codec, sound_start=4800, codec=video)
    reader = VideoReader(source)
    with write_video(tmp_path / f"out{target}", reader.size, reader.timing, sound=source) as writer:
        for ticks, frame in reader.timed():
            writer.write(frame, ticks)
    before, after = packets(source, "audio"), packets(tmp_path / f"out{target}", "audio")
    assert len(before) > 40 and [content for *_, content in before] == [content for *_, content in after]
    # against the video: a container may count from another zero, by a millisecond where it rounds to that
    start = shown_at(source)[0], shown_at(tmp_path / f"out{target}")[0]
    drift = [abs((a[0] - start[0]) - (b[0] - start[1])) for a, b in zip(before, after, strict=True)]
    assert max(drift) <= (Fraction(1, 1000) if target == ".mkv" or suffix == ".avi" else 0)


def test_sound_that_the_container_cannot_hold(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", moving(3), sound="tta")
    with pytest.raises(InputError, match="cannot hold the sound .* choose .mkv"):
        with write_video(tmp_path / "out.mp4", (24, 32), constant(NTSC), sound=source):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


@pytest.mark.parametrize("name", ["carphone_pristine.mp4", "bigbuckbunny.mp4"])
def test_real_clips(tmp_path: Path, name: str) -> None:
    source = real_clip(name)
    reader = VideoReader(source)
    target = tmp_path / name
    with write_video(target, reader.size, reader.timing, colour=reader.colour, sound=source, crf=12) as writer:
        for ticks, frame in islice(reader.timed(), 10):
            writer.write(frame, ticks)
    again = VideoReader(target)
    assert again.timing.rate == reader.timing.rate
    assert shown_at(target) == shown_at(source)[:10]
    for first, second in zip(islice(reader, 10), again, strict=True):
        assert np.abs(first.astype(float).mean((0, 1)) - second.astype(float).mean((0, 1))).max() < 0.5
    if name.startswith("big"):
        assert packets(target, "audio") == packets(source, "audio")


@pytest.mark.parametrize(("suffix", "codec", "container"), [
    (".mp4", "libx264", {"movflags": "faststart"}), (".mkv", "libx264", {}), (".avi", "mpeg4", {}),
])
def test_truncated(tmp_path: Path, suffix: str, codec: str, container: dict[str, str]) -> None:
    path = make_video(tmp_path / f"v{suffix}", moving(60, 64, 96), codec=codec, container=container)
    reader = VideoReader(truncate(path, 0.6))
    decoded = list(reader)
    assert 5 < len(decoded) < 60
    assert reader.damage


def test_whole_files_are_not_called_damaged(tmp_path: Path) -> None:
    """Sound may outlast the video, and an edit list may leave frames out."""
    for suffix in (".mp4", ".mkv"):
        path = make_video(tmp_path / f"v{suffix}", moving(20), sound="aac", sound_start=48000)
        reader = VideoReader(path)
        assert (len(list(reader)), reader.damage) == (20, None)
    path = make_video(tmp_path / "edited.mp4", moving(20), times=list(range(-5, 15)))
    reader = VideoReader(path)
    assert (len(list(reader)), reader.frames, reader.damage) == (15, 15, None)


def test_damaged_frames_are_passed_over(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.avi", moving(30, 64, 96), codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    position = content.index(b"00dc", len(content) // 2) + 4
    length = int.from_bytes(content[position : position + 4], "little")
    content[position + 4 : position + 4 + length] = bytes(length)
    path.write_bytes(content)
    reader = VideoReader(path)
    decoded = list(reader)
    assert len(decoded) == 29
    assert "damaged" in (reader.damage or "")


@pytest.mark.parametrize(("name", "content", "message"), [
    ("v.mp4", b"", "cannot be read as a video"),
    ("v.mp4", b"this is no video at all" * 100, "cannot be read as a video"),
    ("v.mp4", None, "no such file"),
])
def test_not_a_video(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        VideoReader(tmp_path / name)
    assert "\n" not in str(error.value)


def test_sound_alone(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "v.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=48000)
        for at in range(0, 10240, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48000, at
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.raises(InputError, match="no video stream .only: audio"):
        VideoReader(tmp_path / "v.mp4")


def test_no_frames(tmp_path: Path) -> None:
    """A header, and nothing after it."""
    with av.open(str(tmp_path / "v.avi"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        file.start_encoding()
    with pytest.raises(InputError, match="holds no frames"):
        VideoReader(tmp_path / "v.avi")


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.mp4").write_bytes(b"what was there")
    with pytest.raises(RuntimeError, match="halfway"):
        with write_video(tmp_path / "old.mp4", (24, 32), constant(NTSC)) as writer:
            writer.write(moving(1)[0], 0)
            raise RuntimeError("halfway")
    assert (tmp_path / "old.mp4").read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("codec", ["nonsense", "aac", "gif"])
def test_unfit_codec(tmp_path: Path, codec: str) -> None:
    with pytest.raises(InputError, match=f"--codec {codec}"):
        with write_video(tmp_path / "v.mp4", (24, 32), constant(NTSC), codec=codec):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("codec", "suffix"), [("libx265", ".mp4"), ("ffv1", ".mkv"), ("libvpx-vp9", ".mkv")])
def test_other_codecs(tmp_path: Path, codec: str, suffix: str) -> None:
    frames = moving(4, 64, 96)
    with write_video(tmp_path / f"v{suffix}", (64, 96), constant(FILM), codec=codec, crf=8) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame, index * writer.timing.frame_ticks)
    decoded = list(read_video(tmp_path / f"v{suffix}"))
    assert all(np.abs(a.astype(int) - b).mean() < 6 for a, b in zip(decoded, frames, strict=True))
