"""A part of a video, and a preview of it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blindvsr import InputError
from blindvsr.degrade import bicubic_up
from blindvsr.frames import read_image
from blindvsr.network import BlindVSR
from blindvsr.stream import restore
from blindvsr.upscale.options import _time
from blindvsr.video.reader import VideoReader
from tests.clips import make_video, moving, packets, shown_at
from tests.upscale.conftest import Upscale


def test_times() -> None:
    assert [_time(text) for text in ("90", "1:30", "0:01:30.5", "1:00:00")] == [90, 90, Fraction(181, 2), 3600]
    for text in ("", "1:", "-1", "1:2:3:4", "soon"):
        with pytest.raises(ValueError):
            _time(text)


def test_picture_and_sound_are_cut_alike(tmp_path: Path, upscale: Upscale, net: BlindVSR) -> None:
    source = make_video(tmp_path / "in.mkv", moving(20), rate=Fraction(10), sound="libopus")
    assert upscale(source, tmp_path / "out.mkv", "--start", "0.75", "--end", "0:01.5") == 0
    assert shown_at(tmp_path / "out.mkv") == [Fraction(index, 10) for index in range(7)]
    whole, part = packets(source, "audio"), packets(tmp_path / "out.mkv", "audio")
    expected = [packet for packet in whole if Fraction(8, 10) <= packet[0] < Fraction(15, 10)]
    assert [packet[2] for packet in part] == [packet[2] for packet in expected]
    assert all(abs(a[0] + Fraction(8, 10) - b[0]) <= Fraction(1, 500) for a, b in zip(part, expected, strict=True))
    assert upscale(source, tmp_path / "out", "--start", "1.8") == 0
    frames = list(VideoReader(source))[18:]
    files = sorted((tmp_path / "out").iterdir())
    assert [file.stem for file in files] == ["00000018", "00000019"]
    for file, frame in zip(files, restore(net, iter(frames)), strict=True):
        assert np.array_equal(read_image(file), frame)


def test_variable_rate(tmp_path: Path, upscale: Upscale) -> None:
    times = [0, 40, 80, 200, 233, 500]
    source = make_video(tmp_path / "in.mkv", moving(6), times=times, time_base=Fraction(1, 1000))
    assert upscale(source, tmp_path / "out.mkv", "--start", "0.08", "--end", "0.3") == 0
    assert shown_at(tmp_path / "out.mkv") == [0, Fraction(120, 1000), Fraction(153, 1000)]


def test_nothing_there(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(tmp_path / "in.mp4", moving(3))
    for options, match in [
        (("--start", 5), "start=5: .*in.mp4 has no frames from second 5"), (("--start", 5, "--end", 4), "end=4: "),
        (("--preview",), "a preview is one image"),
    ]:
        with pytest.raises(InputError, match=match):
            upscale(source, tmp_path / "out.mp4", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_preview(tmp_path: Path, upscale: Upscale, net: BlindVSR, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_video(tmp_path / "in.mp4", moving(12), rate=Fraction(10))
    frames = list(VideoReader(source))
    for options, index in [((), 6), (("--start", "1.1"), 11)]:
        assert upscale(source, tmp_path / "look.png", "--preview", "--overwrite", *options) == 0
        assert f"the frame at {index / 10:.2f} s" in capsys.readouterr().out
        picture = read_image(tmp_path / "look.png")
        assert picture.shape == (96 + 40, 3 * 128, 3)
        expected = list(restore(net, iter(frames)))[index]
        assert np.array_equal(picture[40:, 256:], expected)
        assert np.array_equal(picture[40:, 128:256], bicubic_up(frames[index]))
        assert np.array_equal(picture[40::4, :128:4], frames[index])
    with pytest.raises(InputError, match="ends before that"):
        upscale(source, tmp_path / "look.png", "--preview", "--overwrite", "--start", 60)


def test_transparency_is_cut_alike(tmp_path: Path, upscale: Upscale) -> None:
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(moving(5)):
        alpha = np.full(frame.shape[:2], 60 * index, np.uint8)
        Image.fromarray(np.dstack((frame, alpha))).save(tmp_path / "in" / f"{index}.png")
    assert upscale(tmp_path / "in", tmp_path / "out", "--fps", 10, "--start", 0.1, "--end", 0.4) == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["1.png", "2.png", "3.png"]
    for index, file in enumerate(files, 1):
        with Image.open(file) as image:
            assert abs(np.asarray(image)[..., 3].mean() - 60 * index) < 30
