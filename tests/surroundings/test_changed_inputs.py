"""Input that is cut, replaced or removed while it is read: one line, or a part of the result that is called one."""

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from blindvsr import testset
from blindvsr.cli import main
from blindvsr.frames import write_image
from blindvsr.scoring import folders
from blindvsr.upscale import pipeline
from tests.clips import make_video, moving
from tests.conftest import run_fails
from tests.surroundings.conftest import at_line

LENGTH = 30
Change = Callable[[Path], None]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def replaced(path: Path) -> None:
    """By another video, or image, of another size."""
    other = path.with_name(f"other{path.suffix}")
    write_image(other, moving(1, 32, 32)[0]) if path.suffix == ".png" else make_video(other, moving(2, 32, 32))
    other.replace(path)


def overwritten(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(np.random.default_rng(0).bytes(size // 2))


@pytest.fixture(scope="module")
def noisy() -> list[np.ndarray]:
    """Frames that take more in a file than its reader reads ahead."""
    return list(np.random.default_rng(0).integers(0, 256, (LENGTH, 48, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(("name", "change", "sound"), [
    ("in.mp4", cut, "copy"), ("in.mkv", cut, "aac"), ("in.mkv", replaced, "copy"), ("in.ts", emptied, "aac"),
    ("in.mp4", overwritten, "aac"), ("in.mkv", overwritten, "copy"), ("in.avi", Path.unlink, "copy"),
])
def test_upscale_of_a_video(name: str, change: Change, sound: str, noisy: list[np.ndarray], weights: Path,
                            tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The threads that decode, and copy or encode the sound, meet what cannot be decoded halfway."""
    source, output = tmp_path / name, tmp_path / "out.mkv"
    make_video(source, noisy, sound="aac", options={"crf": "1", "preset": "ultrafast"})
    with at_line(100, pipeline, lambda: change(source)) as lines:
        code = main(["upscale", str(source), str(output), "--weights", str(weights), "--sound", sound])
    told = capsys.readouterr()
    assert lines() >= 100 and "Traceback" not in told.err
    with av.open(str(output)) as video:
        count = sum(1 for _ in video.decode(video=0))
    assert f"out.mkv: {count} frames" in told.out
    if change is Path.unlink:  # it is open: all of it comes
        assert code == 0 and count == LENGTH
    else:
        assert code == 3 and f"restored {count} of {LENGTH} frames" in told.err.splitlines()[-1]
        assert 0 < count <= LENGTH and (count == LENGTH) == (change is replaced)


@pytest.mark.parametrize(("change", "said"), [
    (cut, "truncated or damaged"), (Path.unlink, "missing"), (replaced, "is 32x32, but its video starts with 64x48"),
])
def test_folders(change: Change, said: str, noisy: list[np.ndarray], weights: Path, tmp_path: Path,
                 capsys: pytest.CaptureFixture[str]) -> None:
    """Of `upscale`, `score` and `degrade`."""
    for module, line, command in (
        (pipeline, 80, ["upscale", "in", "out", "--weights", weights]),
        (folders, 25, ["score", "--sr", "in", "--gt", "gt", "--json", "s.json"]),
        (testset, 70, ["degrade", "--hr", "in", "--out", "set", "--kind", "gaussian"]),
    ):
        for number, frame in enumerate(noisy):
            for folder in ("in", "gt"):
                (tmp_path / folder).mkdir(exist_ok=True)
                write_image(tmp_path / folder / f"{number:02}.png", frame)
        arguments = [tmp_path / word if word in ("in", "gt", "out", "s.json", "set") else word for word in command]
        with at_line(line, module, lambda: change(tmp_path / "in" / "27.png")) as lines:
            error = run_fails(arguments, capsys)
        assert lines() >= line and "27.png" in error
        assert said in error or module is folders and "restored 32x32 does not fit ground truth 64x48" in error
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name not in ("in", "gt")]


@pytest.mark.parametrize("change", [cut, overwritten])
def test_degrade_of_a_video(change: Change, noisy: list[np.ndarray], tmp_path: Path,
                            capsys: pytest.CaptureFixture[str]) -> None:
    source = make_video(tmp_path / "in.mkv", noisy, options={"crf": "1", "preset": "ultrafast"})
    with at_line(70, testset, lambda: change(source)) as lines:
        assert main(["degrade", "--hr", str(source), "--out", str(tmp_path / "set"), "--kind", "gaussian"]) == 0
    assert lines() >= 70
    assert f"{source} is damaged" in capsys.readouterr().err
    counts = {len(list((tmp_path / "set" / folder / "in").iterdir())) for folder in ("HR", "LR_blurdown_x4", "kernel")}
    assert len(counts) == 1 and 0 < counts.pop() < LENGTH
