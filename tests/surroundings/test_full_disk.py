"""A disk that fills up at any of the writes: one line names the output and the remedy, nothing stands half written
under its name, and what stood there before stays."""

import subprocess
from pathlib import Path

import pytest

from blindvsr.cli import main
from jittor_port import InputError, environment
from tests.clips import make_video, moving
from tests.conftest import REPOSITORY, run_fails
from tests.jittor_port.conftest import infer
from tests.lit.test_commands import fit_arguments
from tests.surroundings.conftest import Disk

FULL = "No space left on device; make room there, or choose another output"
QUIET = [f"--trainer.{name}=false" for name in ("enable_progress_bar", "enable_model_summary")]


def visible(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def fails_full(arguments: list[object], place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs a command that has no room; gives the line that it says."""
    said = run_fails([*arguments], capsys)
    assert FULL in said
    assert f"cannot write {place}" in said
    assert ".part" not in said
    return said


@pytest.mark.parametrize(("output", "size"), [
    ("out.mp4", 4), ("out.mp4", 16), ("out.mkv", 32), ("out.gif", 48), ("out", 4), ("out", 150), ("out.png", 48),
])
def test_upscale(output: str, size: int, disk: Disk, noise: Path, weights: Path,
                 capsys: pytest.CaptureFixture[str]) -> None:
    place = disk(f"size={size}k")
    before = place / output if "." in output else place / output / "0.png"
    before.parent.mkdir(exist_ok=True)
    before.write_bytes(b"of yesterday")
    source = noise / "a" / "000.png" if output.endswith(".png") else noise / "a"
    crf = ["--crf", 1] if output.endswith(("mp4", "mkv")) else []
    fails_full(["upscale", source, place / output, "--weights", weights, "--overwrite", *crf], place, capsys)
    assert visible(place) == [str(before.relative_to(place))]
    assert before.read_bytes() == b"of yesterday"


def test_kernels_without_room_leave_no_video(disk: Disk, weights: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    source, place, other = make_video(tmp_path / "in.mp4", moving(3)), disk("size=4k"), tmp_path / "out.mp4"
    arguments = ["upscale", source, other, "--weights", weights, "--save_kernel", place / "k.mat"]
    assert "k." in fails_full(arguments, place, capsys)
    assert not other.exists()
    assert visible(place) == []


def test_resume_goes_on_when_there_is_room(disk: Disk, weights: Path, tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    source, place = make_video(tmp_path / "in.mp4", moving(54, 16, 16)), disk("size=40k")
    arguments = ["upscale", source, place / "out.mp4", "--weights", weights, "--resume"]
    fails_full(arguments, place, capsys)
    assert not (place / "out.mp4").exists()
    subprocess.run(["mount", "-o", "remount,size=8m", place], check=True)
    assert main([str(argument) for argument in arguments]) == 0
    assert "54 frames (50 kept from before)" in capsys.readouterr().out


@pytest.mark.parametrize("codec", [None, "libx264", "jpeg"])
def test_degrade(codec: str | None, disk: Disk, noise: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for size in (4, 16, 40):
        place = disk(f"size={size}k")
        more = ["--codec", codec] if codec else []
        fails_full(["degrade", "--hr", noise, "--out", place / "set", "--kind", "gaussian", *more], place, capsys)
        # of a video everything or nothing; the first one may be whole
        names = [name for name in visible(place) if not name.startswith("set/encoded")]
        assert len(names) in (0, 9), names
        assert not any("/b" in name or ".part" in name for name in visible(place))


def test_a_table_in_two_files_is_there_whole_or_not_at_all(disk: Disk, noise: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    place = disk("size=4k")  # room for one of them
    score = ["score", "--sr", noise, "--gt", noise, "--all_frames", "--json"]
    assert "s.csv" in fails_full([*score, place / "s.json"], place, capsys)
    assert visible(place) == []


def test_export_score_predict(disk: Disk, noise: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = disk("size=24k")
    for name in ("net.safetensors", "s.html"):
        (place / name).write_bytes(b"of yesterday")
    outputs = ["--json", place / "s.json", "--html", place / "s.html", "--per_frame", place / "f.csv", "--overwrite",
               "--all_frames"]
    assert "s.html" in fails_full(["score", "--sr", noise, "--gt", noise, *outputs], place, capsys)
    export = ["export", "--checkpoint", weights, "--overwrite", "--out"]
    assert "net.safetensors" in fails_full([*export, place / "net.safetensors"], place, capsys)
    for name in ("net.safetensors", "s.html"):
        assert (place / name).read_bytes() == b"of yesterday"
    fails_full(["predict", "--config", REPOSITORY / "configs" / "tiny.yaml", f"--model.weights={weights}",
                f"--data.predict_root={noise}", f"--writer.output={place / 'out'}", *QUIET], place, capsys)
    assert not list((place / "out").iterdir())


@pytest.mark.parametrize("size", [8, 700])
def test_fit(size: int, footage: Path, disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    """Full when settings and curves are written, or the first checkpoint."""
    place = disk(f"size={size}k")
    said = run_fails([*fit_arguments(footage, place / "runs")], capsys)
    assert f"cannot write {place / 'runs'}" in said
    assert "No space left on device; make room there" in said
    assert not list(place.rglob("*.ckpt*"))


@pytest.mark.parametrize("size", [4, 40])
def test_jittor_port(size: int, disk: Disk, noise: Path, weights: Path) -> None:
    try:
        environment.check()
    except InputError as error:
        pytest.skip(f"Jittor cannot run here: {error}")
    place = disk(f"size={size}k")
    result = infer("--weights", weights, "--input", noise, "--output", place / "out", "--device", "cpu")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr and "Logging error" not in result.stderr
    assert "No space left on device" in result.stderr.strip().splitlines()[-1]
    assert not [name for name in visible(place) if ".part" in name or "/b/" in name]
