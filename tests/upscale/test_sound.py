"""What `blindvsr upscale` does with sound, and says of it."""

from pathlib import Path

import av
import pytest

from tests.clips import make_video, moving
from tests.upscale.conftest import Upscale
from tests.video.test_sound import tracks


def test_damaged_track_is_left_out(tmp_path: Path, upscale: Upscale, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_video(tmp_path / "in.mkv", moving(5), sound="aac")
    with av.open(str(source)) as file:
        damaged = [bytes(packet) for packet in file.demux(audio=0) if packet.size > 4]
    content = source.read_bytes()
    for packet in damaged:
        content = content.replace(packet, b"\xff" * len(packet))
    source.write_bytes(content)
    assert upscale(source, tmp_path / "out.mp4") == 3
    said = capsys.readouterr().err
    assert "sound track 1 (aac) is left out: nothing of it can be decoded" in said
    assert "is damaged: a sound track cannot be decoded; restored 5 of 5 frames" in said
    assert tracks(tmp_path / "out.mp4") == []


def test_sound_option(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(tmp_path / "in.mkv", moving(5), sound="libmp3lame")
    for option, expected in (("copy", ["mp3float"]), ("aac", ["aac"]), ("none", [])):
        assert upscale(source, tmp_path / "out.mkv", "--sound", option, "--overwrite") == 0
        assert tracks(tmp_path / "out.mkv") == expected
