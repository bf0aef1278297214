"""Sound: every track is checked, copied or encoded anew in step with the picture, and none costs the picture."""

from pathlib import Path

import av
import numpy as np
import pytest

from blindvsr.video.reader import VideoReader
from blindvsr.video.writer import write_video
from tests.clips import make_video, moving


def rewrite(source: Path, target: Path, encode: bool = False) -> str | None:
    """Writes the frames and the sound of one file into another; gives what is missing of the sound."""
    reader = VideoReader(source)
    with write_video(target, reader.size, reader.timing, sound=reader.sound, encode_sound=encode) as writer:
        for ticks, frame in reader.timed():
            writer.write(frame, ticks)
    assert writer.sound is not None
    return writer.sound.damage


def tracks(path: Path) -> list[str]:
    with av.open(str(path)) as file:
        return [stream.codec_context.name for stream in file.streams.audio]


def heard(path: Path) -> np.ndarray:
    """The samples of the first track at 48 kHz, from the time of the first frame on."""
    with av.open(str(path)) as file:
        start = next(float(frame.pts * frame.time_base) for frame in file.decode(video=0))
    wave = np.zeros(48000 * 6, np.float32)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=48000)
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            at = round((float(frame.pts * frame.time_base) - start) * 48000)
            samples = np.concatenate([part.to_ndarray()[0] for part in resampler.resample(frame)])
            samples = samples[max(-at, 0):]
            wave[max(at, 0) : max(at, 0) + len(samples)] = samples
    return wave


def lag(first: np.ndarray, second: np.ndarray) -> float:
    """Seconds that the second comes after the first."""
    size = 2 * len(first)
    match = np.fft.irfft(np.fft.rfft(second, size) * np.conj(np.fft.rfft(first, size)))
    place = int(match.argmax())
    return (place - size if place > size // 2 else place) / 48000


@pytest.mark.parametrize(("codec", "target", "becomes"), [
    ("tta", ".mp4", "aac"), ("adpcm_ms", ".mkv", "aac"), ("libmp3lame", ".webm", "opus"),
])
def test_what_a_container_cannot_hold_is_encoded_anew(tmp_path: Path, codec: str, target: str, becomes: str) -> None:
    suffix = ".avi" if codec == "adpcm_ms" else ".mkv"
    source = make_video(tmp_path / f"in{suffix}", moving(50), sound=codec, sound_start=4800, codec="mpeg4")
    with pytest.warns(UserWarning, match=rf"sound track 1 \({codec[:4].removeprefix('lib')}.*is encoded anew") as notes:
        assert rewrite(source, tmp_path / f"out{target}") is None
    assert len(notes) == 1
    assert tracks(tmp_path / f"out{target}") == [becomes]
    assert abs(lag(heard(source), heard(tmp_path / f"out{target}"))) < 1 / 50


def test_pauses_and_joints_stay_in_step(tmp_path: Path) -> None:
    """Where packets are missing, and where recordings were joined, the sound after it is heard when it should be."""
    part = make_video(tmp_path / "part.ts", moving(50, 48, 64), codec="mpeg2video", sound="mp2")
    content = part.read_bytes()
    pieces = [content[at : at + 188] for at in range(0, len(content), 188)]
    sound = [number for number, piece in enumerate(pieces) if (piece[1] & 31) << 8 | piece[2] == 257]
    for number in sound[len(sound) // 3 : len(sound) // 2]:
        pieces[number] = b""
    (tmp_path / "in.ts").write_bytes(b"".join(pieces) + content)
    rewrite(tmp_path / "in.ts", tmp_path / "out.mp4", encode=True)
    whole, before, after = (heard(tmp_path / name) for name in ("part.ts", "in.ts", "out.mp4"))
    assert np.abs(whole[48000:57600]).max() > 0.5
    for start in (72000, 48000 * 2 + 4800):  # after the pause, and in the second recording
        expected = np.roll(whole, 96000) if start > 96000 else whole
        window = slice(start, start + 19200)
        assert abs(lag(expected[window], after[window])) < 1 / 25
    assert before.any()


def test_unspecified_channels(tmp_path: Path) -> None:
    """AVI does not say which channels PCM has: MP4 only notices at the end of the file."""
    with av.open(str(tmp_path / "in.avi"), "w") as file:
        picture = file.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 32, 24, "yuv420p"
        sound = file.add_stream("pcm_s16le", rate=48000)
        sound.layout = "stereo"
        for frame in moving(5):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(picture.encode(None))
        tone = av.AudioFrame.from_ndarray(np.full((1, 2 * 9600), 999, np.int16), format="s16", layout="stereo")
        tone.sample_rate = 48000
        file.mux(sound.encode(tone))
    with pytest.warns(UserWarning, match="as AAC: .mp4 cannot hold it as it is; .mkv can"):
        assert rewrite(tmp_path / "in.avi", tmp_path / "out.mp4") is None
    assert rewrite(tmp_path / "in.avi", tmp_path / "out.mkv") is None
    assert (tracks(tmp_path / "out.mp4"), tracks(tmp_path / "out.mkv")) == (["aac"], ["pcm_s16le"])


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_unknown_track_is_left_out(tmp_path: Path, target: str) -> None:
    """As the second track of an iPhone's films."""
    source = make_video(tmp_path / "in.mov", moving(5), sound="aac")
    content = source.read_bytes()
    source.write_bytes(content.replace(b"mp4a", b"apac").replace(b"esds", b"dapa"))
    with pytest.warns(UserWarning, match="sound track 1 .* is left out: .*no decoder"):
        assert rewrite(source, tmp_path / target) is None
    assert (tracks(tmp_path / target), VideoReader(tmp_path / target).frames) == ([], 5)


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_empty_track_is_left_out(tmp_path: Path, target: str) -> None:
    """Announced by a broadcast, and never sent."""
    source = make_video(tmp_path / "in.ts", moving(25, 48, 64), codec="mpeg2video", sound="mp2")
    content = source.read_bytes()
    pieces = [content[at : at + 188] for at in range(0, len(content), 188)]
    source.write_bytes(b"".join(piece for piece in pieces if (piece[1] & 31) << 8 | piece[2] != 257))
    with pytest.warns(UserWarning, match="sound track 1 .* is left out: it is empty"):
        assert rewrite(source, tmp_path / target) is None
    assert (tracks(tmp_path / target), VideoReader(tmp_path / target).frames) == ([], 25)


@pytest.mark.parametrize("target", [".mp4", ".mkv"])
def test_lost_packets_cost_only_themselves(tmp_path: Path, target: str) -> None:
    source = make_video(tmp_path / "in.ts", moving(75, 48, 64), sound="aac")
    content = source.read_bytes()
    third = len(content) // 188 // 3
    source.write_bytes(content[: third * 188] + content[(third + 12) * 188 :])
    assert VideoReader(source).damage
    missing = rewrite(source, tmp_path / f"out{target}")
    assert missing is None or "of sound left out" in missing
    with av.open(str(tmp_path / f"out{target}")) as file:
        assert sum(packet.size > 0 for packet in file.demux(audio=0)) > 100
    assert abs(lag(heard(source), heard(tmp_path / f"out{target}"))) < 1 / 50
