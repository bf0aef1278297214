"""Several inputs, and folders of videos."""

from pathlib import Path

import pytest

from blindvsr import InputError
from blindvsr.frames import write_image
from blindvsr.upscale.jobs import find_jobs, is_several
from blindvsr.video.reader import VideoReader
from tests.clips import make_video, moving
from tests.upscale.conftest import Upscale


def test_what_goes_where(tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "deep" / "frames").mkdir(parents=True)
    (source / ".hidden").mkdir()
    for name in ("2.mp4", "10.avi", "10.mkv", "deep/x.webm", "deep/y.GIF", "deep/notes.txt", ".hidden/z.mp4", ".z.mp4"):
        (source / name).touch()
    write_image(source / "deep" / "frames" / "0.png", moving(1)[0])
    assert is_several([source])
    jobs = find_jobs([source], tmp_path / "out")
    assert [(str(job.source.relative_to(source)), str(job.target.relative_to(tmp_path / "out"))) for job in jobs] == [
        ("2.mp4", "2.mp4"), ("10.avi", "10.mkv"), ("10.mkv", "10.mkv.mkv"), ("deep/x.webm", "deep/x.webm"),
        ("deep/y.GIF", "deep/y.GIF"), ("deep/frames", "deep/frames"),
    ]
    photo = tmp_path / "photo.jpg"
    photo.touch()
    assert [job.target.name for job in find_jobs([photo, source / "2.mp4"], tmp_path / "out")] == ["photo.png", "2.mp4"]
    assert not is_several([source / "deep" / "frames"])
    with pytest.raises(InputError, match="into a folder"):
        find_jobs([photo, source], tmp_path / "out.mp4")


def test_one_that_fails_stops_none(tmp_path: Path, upscale: Upscale, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in"
    (source / "b").mkdir(parents=True)
    make_video(source / "a.mp4", moving(3))
    (source / "b" / "bad.mp4").write_text("no video")
    make_video(source / "b" / "c.mkv", moving(2))
    assert upscale(source, tmp_path / "out", "--scale", 2) == 1
    for name, frames in (("a.mp4", 3), ("b/c.mkv", 2)):
        result = VideoReader(tmp_path / "out" / name)
        assert (result.frames, result.size) == (frames, (48, 64))
    said = capsys.readouterr()
    assert "bad.mp4: error: " in said.err and "Traceback" not in said.err
    assert f"3 inputs: 2 restored, 1 failed: {source / 'b' / 'bad.mp4'}\n" in said.out
    before = (tmp_path / "out" / "a.mp4").stat().st_mtime_ns
    (source / "b" / "bad.mp4").unlink()
    assert upscale(source, tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "2 inputs: 0 restored, 2 left as they were" in said.out and "a.mp4 exists" in said.err
    assert (tmp_path / "out" / "a.mp4").stat().st_mtime_ns == before


def test_refused_before_the_work(tmp_path: Path, upscale: Upscale) -> None:
    first = make_video(tmp_path / "a.mp4", moving(2))
    (tmp_path / "other").mkdir()
    second = make_video(tmp_path / "other" / "b.mp4", moving(2))
    for arguments, match in [
        ((first, second, tmp_path, "--overwrite"), "is the input"),
        ((first, tmp_path / "missing.mp4", tmp_path / "out"), "INPUT .*missing.mp4: no such"),
        ((first, second, tmp_path / "out", "--save_kernel", tmp_path / "k.mat"), "kernels of one input"),
        ((tmp_path / "other", tmp_path / "other" / "out"), "lies in the input"),
        ((first, second, tmp_path / "out", "--crf", 99), "crf=99"),
    ]:
        with pytest.raises(InputError, match=match):
            upscale(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "other"]
