"""What no command does to what is there: inputs stay, and so does everything else unless --overwrite is given."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from blindvsr import InputError
from blindvsr.cli import main
from blindvsr.frames import Frame, image_files, read_image, write_image
from blindvsr.outputs import OutputGuard
from blindvsr.replacing import replacing
from blindvsr.weights import load_network
from tests.clips import make_video, moving
from tests.conftest import REPOSITORY, SMALL, draw_video, run_fails

Files = dict[Path, bytes]


def content(root: Path) -> Files:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two videos of three frames."""
    for name in ("a", "b"):
        draw_video(tmp_path / "clips" / name, moving(3), (0, 0), (24, 32))
    return tmp_path / "clips"


@pytest.fixture
def stays(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused before it does anything below a folder; gives what it says."""

    def call(root: Path, *arguments: object) -> str:
        before = content(root)
        said = run_fails(list(arguments), capsys)  # type: ignore[arg-type]
        assert content(root) == before
        return said

    return call


def predict(weights: Path, root: Path, output: Path, *more: str) -> list[str]:
    quiet = [f"--trainer.{name}=false" for name in ("enable_progress_bar", "enable_model_summary")]
    return ["predict", "--config", str(REPOSITORY / "configs" / "tiny.yaml"), f"--model.weights={weights}",
            f"--data.predict_root={root}", f"--writer.output={output}", *quiet, *more]


def test_predict(clips: Path, weights: Path, tmp_path: Path, stays: Callable[..., str],
                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clips / "b")
    (tmp_path / "link").symlink_to(clips)
    over = "--writer.overwrite=true"
    for root, output, verb in [
        (clips / "a", clips, "is"), (clips, clips, "is"), (clips, tmp_path / "link", "is"),
        (clips / "a", Path(".."), "is"), (clips, clips / "out", "lies in"),
        (clips / "a", clips / "a" / "out", "lies in"),
    ]:
        assert f"{verb} the input" in stays(tmp_path, *predict(weights, root, output, over))
    assert main(predict(weights, clips, tmp_path / "out")) == 0
    assert len(image_files(tmp_path / "out" / "b")) == 3
    again = predict(weights, clips / "a", tmp_path / "out")
    assert "exists: choose another, or replace it with --writer.overwrite true" in stays(tmp_path, *again)
    assert main([*again, over]) == 0
    (tmp_path / "out" / "a" / "letter.txt").write_text("dear")
    assert "letter.txt" in stays(tmp_path, *again, over)


def test_images_of_one_stem_stay_apart(clips: Path, weights: Path, tmp_path: Path) -> None:
    """00000000.png beside 00000000.jpg: every frame comes back, of predict, and of degrade at its place."""
    shutil.copy(clips / "a" / "00000001.png", clips / "a" / "00000000.bmp")
    names = [f"0000000{number}.png" for number in range(4)]
    assert main(predict(weights, clips / "a", tmp_path / "out")) == 0
    assert [path.name for path in image_files(tmp_path / "out" / "a")] == names
    assert main(["degrade", "--hr", str(clips), "--out", str(tmp_path / "set"), "--kind", "gaussian"]) == 0
    assert [path.name for path in image_files(tmp_path / "set" / "LR_blurdown_x4" / "a")] == names
    assert [path.stem for path in image_files(tmp_path / "set" / "HR" / "a")] == [name[:-4] for name in names]


def test_degrade(clips: Path, tmp_path: Path, stays: Callable[..., str]) -> None:
    out = tmp_path / "set"
    call = ["degrade", "--hr", clips, "--out", out, "--kind", "gaussian"]
    draw_video(out / "HR" / "a", moving(4), (0, 0), (24, 32))
    assert "HR/a exists" in stays(tmp_path, *call)
    (out / "kernel").mkdir()
    (out / "kernel" / "b").write_text("a file where a folder goes")
    assert "kernel/b is a file, and a folder shall be written" in stays(tmp_path, *call, "--overwrite")
    (out / "kernel" / "b").unlink()
    assert "lies in the input" in stays(tmp_path, *call[:4], clips / "a", *call[5:], "--overwrite")
    assert main([str(part) for part in (*call, "--overwrite")]) == 0
    assert [path.name for path in image_files(out / "HR" / "a")] == [f"0000000{number}.png" for number in range(3)]
    make_video(clips / "a.mp4", moving(2))
    assert "rename one" in stays(tmp_path, *call, "--overwrite")


def test_export(weights: Path, tmp_path: Path, stays: Callable[..., str]) -> None:
    own = shutil.copy(weights, tmp_path / "own.safetensors")
    (tmp_path / "link.safetensors").symlink_to(own)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"trained for a week")
    call = ["export", "--checkpoint", own, "--out"]
    assert "is the input" in stays(tmp_path, *call, own, "--overwrite")
    assert "is the input" in stays(tmp_path, *call, tmp_path / "link.safetensors", "--overwrite")
    assert "exists: choose another, or replace it with --overwrite" in stays(tmp_path, *call, other)
    assert main([str(part) for part in (*call, other, "--overwrite")]) == 0
    assert load_network(other).config == SMALL


def test_score(clips: Path, tmp_path: Path, stays: Callable[..., str]) -> None:
    draw_video(tmp_path / "truth" / "HR" / "a", moving(5), (0, 0), (24, 32))
    draw_video(tmp_path / "results" / "a", moving(5), (0, 0), (24, 32))
    call = ["score", "--sr", tmp_path / "results", "--gt", tmp_path / "truth", "--json"]
    for place in ("results", "truth", "truth/HR/a"):
        assert "lies in the input" in stays(tmp_path, *call, tmp_path / place / "scores.json")
    frame = tmp_path / "truth" / "HR" / "a" / "00000000.png"
    assert "lies in the input" in stays(tmp_path, *call, frame, "--overwrite")
    assert "over each other" in stays(tmp_path, *call, tmp_path / "scores.csv")
    (tmp_path / "scores.csv").write_text("mine")
    assert "scores.csv exists" in stays(tmp_path, *call, tmp_path / "scores.json")
    assert main([str(part) for part in (*call, tmp_path / "scores.json", "--overwrite")]) == 0
    written = (tmp_path / "scores.json").read_text()
    # equal frames have no PSNR that JSON could hold
    assert json.loads(written, parse_constant=pytest.fail)["mean_of_frames"] == {"psnr": None, "ssim": 1, "frames": 1}


def test_upscale(clips: Path, weights: Path, tmp_path: Path, stays: Callable[..., str]) -> None:
    call = ["upscale", clips / "a", "--weights", weights]
    (tmp_path / "notes").write_text("precious")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "0.png").symlink_to(clips / "b" / "00000000.png")
    for arguments, said in [
        ((clips,), "OUTPUT .* holds the input"), ((clips / "a" / "out",), "lies in the input"),
        ((tmp_path / "notes",), "notes is a file, and a folder shall be written"),
        ((tmp_path / "out", "--save_kernel", tmp_path / "out" / "k.mat"), "--save_kernel .* over each other"),
        ((tmp_path / "out", "--save_kernel", clips / "a" / "k.mat"), "--save_kernel .* lies in the input"),
        ((tmp_path / "notes" / "out",), "notes is a file"),
    ]:
        assert re.search(said, stays(tmp_path, *call, *arguments, "--overwrite"))
    linked = ["upscale", tmp_path / "linked", clips / "b", "--weights", weights, "--overwrite"]
    assert "holds the input" in stays(tmp_path, *linked)
    for name in ("b.mpg", "x.ts", "x.png", "x.wmv"):
        assert ".mp4, .mkv" in stays(tmp_path, *call, tmp_path / name)
    assert main([str(part) for part in (*call, tmp_path / "sigma1.2")]) == 0
    (tmp_path / "sigma1.2" / ".DS_Store").touch()
    assert "exists" in stays(tmp_path, *call, tmp_path / "sigma1.2")
    assert main([str(part) for part in (*call, tmp_path / "sigma1.2", "--overwrite")]) == 0


def test_many_outputs_are_checked_at_once(tmp_path: Path) -> None:
    """A set of hundreds of videos is not looked through hundreds of times."""
    for number in range(400):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        (tmp_path / "in" / str(number) / "0.png").touch()
    guard = OutputGuard([*(tmp_path / "in").iterdir(), tmp_path / "in"], overwrite=False)
    for number in range(400):
        guard.check(tmp_path / "out" / str(number), (".png",))


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    for folder in (False, True):
        target = tmp_path / f"out{folder}"
        with pytest.raises(InputError, match="the result is") as error, replacing(target, folder) as temporary:
            write_image(temporary / "0.png" if folder else temporary, moving(1)[0])
            target.write_text("mine")
        assert target.read_text() == "mine"
        kept = Path(str(error.value).rsplit(" is ", 1)[1])
        frame: Frame = read_image(kept / "0.png" if folder else kept)
        assert (frame == moving(1)[0]).all()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_appears_between_check_and_work_stays(tmp_path: Path) -> None:
    target = tmp_path / "out"
    OutputGuard([], overwrite=False).check(target, (".png",))
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="appeared meanwhile"), replacing(target, folder=True):
        pass
    assert (target / "thesis.txt").read_text() == "mine"


def test_long_names_and_links(tmp_path: Path) -> None:
    name = 80 * "長" + "z.mp4"  # 245 bytes of the 255 that a name may have
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("whole")
    assert (tmp_path / name).read_text() == "whole"
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old.png").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing(tmp_path / "link", folder=True) as temporary:
        (temporary / "new.png").touch()
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new.png"]
    assert len(list(tmp_path.iterdir())) == 3
