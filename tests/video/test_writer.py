"""Writing video files: rates and times, sound, codecs, and failures that leave nothing."""

import gc
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from blindvsr import InputError
from blindvsr.video.colour import Colour
from blindvsr.video.reader import VideoReader
from blindvsr.video.timing import constant
from blindvsr.video.writer import SEGMENT, write_video
from tests.clips import make_video, moving, packets, real_clip, shown_at
from tests.conftest import held_memory


NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)


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


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_late_start_is_kept(tmp_path: Path, suffix: str) -> None:
    """A video that starts after its sound."""
    source = make_video(tmp_path / f"in{suffix}", moving(5), times=[20, 21, 22, 23, 24], rate=NTSC, sound="aac")
    reader = VideoReader(source)
    with write_video(tmp_path / f"out{suffix}", reader.size, reader.timing, sound=reader.sound) as writer:
        for ticks, frame in reader.timed():
            writer.write(frame, ticks)
    before, after = shown_at(source), shown_at(tmp_path / f"out{suffix}")
    rounding = Fraction(1, 1000) if suffix == ".mkv" else 0
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= rounding
    assert packets(tmp_path / f"out{suffix}", "audio") == packets(source, "audio")


@pytest.mark.parametrize(("suffix", "codec", "target"), [
    (".mp4", "aac", ".mp4"), (".mkv", "aac", ".mkv"), (".webm", "libopus", ".mkv"), (".avi", "libmp3lame", ".mp4"),
])
def test_sound_is_copied(tmp_path: Path, suffix: str, codec: str, target: str) -> None:
    video = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    source = make_video(tmp_path / f"in{suffix}", moving(30), sound=codec, sound_start=4800, codec=video)
    reader = VideoReader(source)
    with write_video(tmp_path / f"out{target}", reader.size, reader.timing, sound=reader.sound) as writer:
        for ticks, frame in reader.timed():
            writer.write(frame, ticks)
    before, after = packets(source, "audio"), packets(tmp_path / f"out{target}", "audio")
    assert len(before) > 40 and [content for *_, content in before] == [content for *_, content in after]
    # against the video: a container may count from another zero, by a millisecond where it rounds to that
    start = shown_at(source)[0], shown_at(tmp_path / f"out{target}")[0]
    drift = [abs((a[0] - start[0]) - (b[0] - start[1])) for a, b in zip(before, after, strict=True)]
    assert max(drift) <= (Fraction(1, 1000) if target == ".mkv" or suffix == ".avi" else 0)


def test_sound_keeps_step_with_the_video(tmp_path: Path) -> None:
    """Sound that came only at the end would keep all the video waiting in memory for its place in the file."""
    source = make_video(tmp_path / "in.mp4", moving(15, 16, 16) * 20, rate=Fraction(5), sound="aac")
    reader = VideoReader(source)
    written = 0
    with write_video(tmp_path / "out.mp4", reader.size, reader.timing, sound=reader.sound) as writer:
        for index, (ticks, frame) in enumerate(reader.timed()):
            writer.write(frame, ticks)
            if index == 250:
                written = next(tmp_path.glob(".out*")).stat().st_size
    assert written > (tmp_path / "out.mp4").stat().st_size / 4  # FFmpeg writes in large pieces


@pytest.mark.parametrize("name", ["carphone_pristine.mp4", "bigbuckbunny.mp4"])
def test_real_clips(tmp_path: Path, name: str) -> None:
    source = real_clip(name)
    reader = VideoReader(source)
    target = tmp_path / name
    with write_video(target, reader.size, reader.timing, colour=reader.colour, sound=reader.sound, crf=12) as writer:
        for ticks, frame in islice(reader.timed(), 10):
            writer.write(frame, ticks)
    again = VideoReader(target)
    assert again.timing.rate == reader.timing.rate
    assert shown_at(target) == shown_at(source)[:10]
    for first, second in zip(islice(reader, 10), again, strict=True):
        assert np.abs(first.astype(float).mean((0, 1)) - second.astype(float).mean((0, 1))).max() < 0.5
    if name.startswith("big"):
        assert packets(target, "audio") == packets(source, "audio")


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.mp4").write_bytes(b"what was there")
    with pytest.raises(RuntimeError, match="halfway"):
        with write_video(tmp_path / "old.mp4", (24, 32), constant(NTSC)) as writer:
            writer.write(moving(1)[0], 0)
            raise RuntimeError("halfway")
    assert (tmp_path / "old.mp4").read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("codec", ["nonsense", "aac", "gif", "libvpx"])
def test_unfit_codec(tmp_path: Path, codec: str) -> None:
    with pytest.raises(InputError, match=f"codec={codec}: "):
        with write_video(tmp_path / "v.mp4", (24, 32), constant(NTSC), codec=codec):
            pass
    assert not list(tmp_path.iterdir())


BT601 = Colour(matrix=6)  # what small videos have where the file does not say it


@pytest.mark.parametrize(("codec", "suffix"), [
    ("libx265", ".mp4"), ("ffv1", ".mkv"), ("libvpx-vp9", ".mkv"), ("mpeg4", ".mov"), (None, ".webm"), (None, ".gif"),
    (None, ".mov"), ("libvpx", ".webm"), ("libsvtav1", ".mp4"),
])
def test_codecs_and_containers(tmp_path: Path, codec: str | None, suffix: str) -> None:
    """Each with the quality that it has when none is asked for."""
    frames = moving(4, 64, 96)
    with write_video(tmp_path / f"v{suffix}", (64, 96), constant(FILM), colour=BT601, codec=codec) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame, index * writer.timing.frame_ticks)
    reader = VideoReader(tmp_path / f"v{suffix}")
    assert abs(reader.timing.rate - FILM) < (2 if suffix == ".gif" else 1e-9)  # a GIF counts hundredths of a second
    decoded = list(reader)
    if codec == "libx265":
        with av.open(str(tmp_path / f"v{suffix}")) as file:
            assert file.streams.video[0].codec_context.codec_tag == "hvc1"  # what Apple's players take
    assert all(np.abs(a.astype(int) - b).mean() < 6 for a, b in zip(decoded, frames, strict=True))


@pytest.mark.parametrize("count", [1, 2, SEGMENT + 2])
def test_few_frames_at_the_end_of_a_libx265_video(tmp_path: Path, count: int) -> None:
    """Of fewer frames than it reorders libx265 says anything for when they are decoded."""
    timing, frames = constant(FILM), moving(count, 64, 96)
    for attempt in range(5):  # what it says differs from time to time
        target = tmp_path / f"{attempt}.mp4"
        with write_video(target, (64, 96), timing, codec="libx265") as writer:
            for index, frame in enumerate(frames):
                writer.write(frame, index * timing.frame_ticks)
        assert shown_at(target) == [index / FILM for index in range(count)]


def test_large_frames_are_encoded_in_little_memory(tmp_path: Path) -> None:
    """What takes the memory is left out: frames that wait to be referred to from both sides."""
    small, large = (
        make_restored(tmp_path / f"{size[1]}.mp4", size) for size in ((64, 96), (3072, 4096))
    )
    assert [shown for shown, *_ in small] != sorted(shown for shown, *_ in small)
    assert [shown for shown, *_ in large] == sorted(shown for shown, *_ in large)


def make_restored(path: Path, size: tuple[int, int]) -> list[tuple[Fraction, Fraction, bytes]]:
    """The video packets, in the file's order, of a few frames that move."""
    with write_video(path, size, constant(Fraction(25))) as writer:
        for index, frame in enumerate(moving(5, 64, 96)):
            repeats = size[0] // 64, size[1] // 96 + 1
            writer.write(np.tile(frame, (*repeats, 1))[:, : size[1]], index * writer.timing.frame_ticks)
    return packets(path, "video")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read in /proc")
def test_segments_leave_nothing_in_memory(tmp_path: Path) -> None:
    """Each has an encoder of its own, of several megabytes."""
    frame, timing = np.zeros((192, 256, 3), np.uint8), constant(Fraction(25))
    gc.disable()
    try:
        with write_video(tmp_path / "out.mkv", frame.shape[:2], timing) as writer:
            after = []
            for index in range(6 * SEGMENT):
                if writer.write(frame, index * timing.frame_ticks):
                    after.append(held_memory())
        assert after[-1] - after[0] < 8 * 2**20
    finally:
        gc.enable()
