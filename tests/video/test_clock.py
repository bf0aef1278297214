"""Clocks that start anywhere, jump, go back or wrap: even times from 0 on, the same for sound and picture."""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from blindvsr import InputError
from blindvsr.video.reader import VideoReader
from blindvsr.video.writer import write_video
from tests.clips import make_video, moving

RATE = Fraction(25)
WRAP = 2**33 / 90000  # seconds at which the clock of MPEG-TS starts again


def recording(path: Path, start: float = 0, frames: int = 25, **options: Any) -> Path:
    """A second of MPEG-TS, or MPEG-PS by the suffix .vob, with sound, whose clock starts anywhere."""
    codecs = {".vob": ("mpeg2video", "ac3")}.get(path.suffix, ("libx264", "aac"))
    return make_video(path, moving(frames, 48, 64), codec=codecs[0], sound=codecs[1], rate=RATE,
                      container={"output_ts_offset": f"{start:f}"}, **options)


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def sound_at(path: Path, reader: VideoReader) -> list[float]:
    """The mended times of the sound's packets, in seconds."""
    assert reader.sound is not None
    with av.open(str(path)) as file:
        return [float(packet.pts * packet.time_base) for packet in reader.sound.clock.mend(file.demux(audio=0))
                if packet.pts is not None]


def check_even(path: Path, frames: int, gap: float = 0.1) -> None:
    """All frames are there, one after another without a gap, and the sound goes on beside them."""
    reader = VideoReader(path)
    shown = [float(ticks * reader.timing.time_base) for ticks, _ in reader.timed()]
    assert (len(shown), reader.frames, reader.damage) == (frames, frames, None)
    assert np.allclose(np.diff(shown), 1 / 25, atol=1e-9)
    assert 0 <= shown[0] < 0.1
    heard = sound_at(path, reader)
    assert abs(heard[0] - shown[0]) < 0.1 and abs(heard[-1] - shown[-1]) < 0.1
    assert np.abs(np.diff(heard)).max() < gap


@pytest.mark.parametrize("start", [0, 36000, WRAP - 0.5, WRAP - 30])
def test_start_is_subtracted(tmp_path: Path, start: float) -> None:
    check_even(recording(tmp_path / "v.ts", start), 25)


@pytest.mark.parametrize("suffix", [".ts", ".vob"])
@pytest.mark.parametrize("starts", [(0, 0), (0, 0, 0), (500, 20), (20, 500), (0, WRAP - 2)])
def test_joined_recordings_go_on(tmp_path: Path, suffix: str, starts: tuple[float, ...]) -> None:
    parts = [recording(tmp_path / f"{number}{suffix}", start) for number, start in enumerate(starts)]
    check_even(joined(tmp_path / f"all{suffix}", *parts), 25 * len(parts))


def test_joined_without_sound(tmp_path: Path) -> None:
    part = make_video(tmp_path / "v.ts", moving(10), rate=RATE)
    reader = VideoReader(joined(tmp_path / "all.ts", part, part))
    shown = [ticks * reader.timing.time_base * RATE for ticks, _ in reader.timed()]
    assert (shown, reader.frames, reader.damage) == (list(range(20)), 20, None)


def test_sound_that_pauses_is_no_jump(tmp_path: Path) -> None:
    """Half a minute without sound: picture and sound both go on where they are."""
    reader = VideoReader(silent_between(tmp_path / "v.ts"))
    shown = [float(ticks * reader.timing.time_base) for ticks, _ in reader.timed()]
    assert np.allclose(np.diff(shown), 1, atol=1e-9)
    heard = sound_at(tmp_path / "v.ts", reader)
    assert 28 < np.diff(heard).max() < 32
    assert abs(heard[-1] - shown[-1]) < 2


def silent_between(path: Path) -> Path:
    """40 s of picture, one frame a second, with sound in the first and the last 5 s."""
    with av.open(str(path), "w") as file:
        picture: Any = file.add_stream("mpeg2video", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 25)
        sound: Any = file.add_stream("mp2", rate=48000)
        sound.layout = "mono"
        for second, array in enumerate(moving(40, 48, 64)):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = 25 * second, Fraction(1, 25)
            file.mux(picture.encode(frame))
            for part in range(40) if second < 5 or second >= 35 else ():
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1200), np.int16), format="s16", layout="mono")
                silence.sample_rate, silence.time_base = 48000, Fraction(1, 48000)
                silence.pts = 48000 * second + 1200 * part
                file.mux(sound.encode(silence))
        file.mux(picture.encode(None))
        file.mux(sound.encode(None))
    return path


def test_order_of_avi(tmp_path: Path) -> None:
    """It only says when frames are decoded: B-frames come out of step by FFmpeg's guess."""
    path = make_video(tmp_path / "v.avi", moving(20), options={"bf": "2"}, rate=RATE, sound="libmp3lame")
    reader = VideoReader(path)
    assert [ticks * reader.timing.time_base * RATE for ticks, _ in reader.timed()] == list(range(20))


@pytest.mark.parametrize(("suffix", "codec"), [(".h264", "libx264"), (".hevc", "libx265"), (".m2v", "mpeg2video")])
def test_raw_streams(tmp_path: Path, suffix: str, codec: str) -> None:
    rate = Fraction(30000, 1001)
    options = {"x265-params": "log-level=error"} if codec == "libx265" else {}
    path = make_video(tmp_path / f"v{suffix}", moving(12, 48, 64), codec=codec, rate=rate, options=options)
    for given, expected in ((None, rate), (Fraction(50), Fraction(50))):
        reader = VideoReader(path, given)
        assert [ticks * reader.timing.time_base * expected for ticks, _ in reader.timed()] == list(range(12))
        assert (reader.timing.rate, reader.frames, reader.damage) == (expected, 12, None)


def test_rate_of_a_file_with_times(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--fps 30: .*v.mp4 has times of its own"):
        VideoReader(make_video(tmp_path / "v.mp4", moving(2)), Fraction(30))


def test_empty_packets_repeat_a_frame(tmp_path: Path) -> None:
    """As Theora has them: nothing is damaged, the frame before is shown for longer, the last one too."""
    ffmpeg = shutil.which("ffmpeg")
    if not ffmpeg:
        pytest.skip("PyAV's FFmpeg writes no Theora, and there is no other one")
    made = subprocess.run([ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=30:d=1", "-c:v", "libtheora",
                           tmp_path / "v.ogv"], check=False)
    if made.returncode:
        pytest.skip("ffmpeg writes no Theora here")
    reader = VideoReader(tmp_path / "v.ogv")
    shown = [float(ticks * reader.timing.time_base) for ticks, _ in reader.timed()]
    assert reader.damage is None and len(shown) == reader.frames
    with av.open(str(tmp_path / "v.ogv")) as file:
        expected = [float(packet.pts * packet.time_base) for packet in file.demux(video=0) if packet.size]
    assert np.allclose(shown, expected)
    assert reader.end is not None and reader.end * reader.timing.time_base == 1


def test_cover_that_is_not_marked_is_no_film(tmp_path: Path) -> None:
    film = make_video(tmp_path / "film.mp4", moving(5))
    cover = make_video(tmp_path / "cover.mov", moving(1, 96, 96), codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(tmp_path / "all.mp4"), "w") as out, av.open(str(film)) as video, av.open(str(cover)) as picture:
        copies = [out.add_stream_from_template(file.streams.video[0]) for file in (picture, video)]
        for file, copy in zip((picture, video), copies, strict=True):
            for packet in file.demux(video=0):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
    reader = VideoReader(tmp_path / "all.mp4")
    assert (reader.size, reader.frames, len(list(reader))) == ((24, 32), 5, 5)


def test_colons_in_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = VideoReader(make_video(tmp_path / "12:30.mp4", moving(2), sound="aac"))
    relative = VideoReader("12:30.mp4")
    with write_video(Path("o:1.mp4"), reader.size, reader.timing, sound=relative.sound) as writer:
        for ticks, frame in relative.timed():
            writer.write(frame, ticks)
    assert VideoReader("o:1.mp4").frames == 2
