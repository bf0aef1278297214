"""Reading video files: frames, times, rotation, and files that are not what they should be."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from blindvsr import InputError
from blindvsr.video.colour import Colour, convert_format
from blindvsr.video.reader import VideoReader, read_video
from tests.clips import make_video, moving, truncate


NTSC = Fraction(30000, 1001)
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
    """Chroma reaches over the last row and column."""
    frames, colour = moving(2, 33, 41), Colour(matrix=6)
    to_420 = convert_format("yuv444p", "yuv420p", (33, 41), colour)  # FFmpeg 6 itself spoils the last column
    planes = [np.ascontiguousarray(colour.to_yuv(frame).transpose(2, 0, 1)) for frame in frames]
    pictures = [to_420(av.VideoFrame.from_ndarray(plane, format="yuv444p")) for plane in planes]
    decoded = list(read_video(make_video(tmp_path / "v.mkv", pictures, codec="ffv1")))
    assert decoded[0].shape == (33, 41, 3)
    error = np.abs(decoded[1].astype(int) - frames[1])
    assert error.mean() < 1 and error[:, -1].mean() < 5 and error[-1].mean() < 5


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


def test_frames_that_are_missing_in_a_constant_rate_leave_gaps(tmp_path: Path) -> None:
    times = [0, 1, 2, 5, 6, 7]
    source = make_video(tmp_path / "in.mp4", moving(6), times=times, time_base=Fraction(1, 25))
    reader = VideoReader(source)
    assert [ticks * reader.timing.time_base for ticks, _ in reader.timed()] == [Fraction(t, 25) for t in times]


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


def test_transparency_and_grey_are_noted(tmp_path: Path) -> None:
    frames = moving(2)
    clear = [av.VideoFrame.from_ndarray(np.dstack((f, np.full((24, 32), 9, np.uint8))), format="rgba") for f in frames]
    reader = VideoReader(make_video(tmp_path / "a.mov", clear, codec="qtrle", pix_fmt="argb"))
    assert "transparency" in reader.notes[0]
    assert np.array_equal(list(reader)[1], frames[1])
    clear = [frame.reformat(format="yuva420p") for frame in clear]
    reader = VideoReader(make_video(tmp_path / "a.webm", clear, codec="libvpx-vp9", pix_fmt="yuva420p"))
    assert [note.partition(": ")[2] for note in reader.notes] == ["transparency is dropped"]
    grey = [av.VideoFrame.from_ndarray(f[..., 0].copy(), format="gray") for f in frames]
    reader = VideoReader(make_video(tmp_path / "g.mkv", grey, codec="ffv1", pix_fmt="gray", tags={"color_range": 2}))
    assert "grey" in reader.notes[0]
    assert np.abs(list(reader)[1].astype(int) - frames[1][..., :1]).max() <= 1


@pytest.mark.parametrize(("suffix", "codec", "container"), [
    (".mp4", "libx264", {"movflags": "faststart"}), (".mkv", "libx264", {}), (".avi", "mpeg4", {}),
])
def test_truncated(tmp_path: Path, suffix: str, codec: str, container: dict[str, str]) -> None:
    path = make_video(tmp_path / f"v{suffix}", moving(60, 64, 96), codec=codec, container=container)
    reader = VideoReader(truncate(path, 0.6))
    decoded = list(reader)
    assert 5 < len(decoded) < 60
    assert reader.damage


def test_cut_within_the_last_frame(tmp_path: Path) -> None:
    """No time is missing, and still something is."""
    path = make_video(tmp_path / "v.mp4", moving(20, 64, 96), container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-20])
    reader = VideoReader(path)
    assert len(list(reader)) == 19
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
