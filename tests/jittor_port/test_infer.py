"""The command: the whole chain from a checkpoint to a table, and what it says to bad input."""

import copy
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from blindvsr.cli import main
from blindvsr.frames import Frame
from blindvsr.network import BlindVSR
from blindvsr.stream import restore
from blindvsr.weights import load_network, save_network
from jittor_port.infer import main as jittor_main
from tests.conftest import REPOSITORY, draw_video, heed_signals
from tests.jittor_port.conftest import infer


@pytest.fixture(scope="session")
def dataset(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundled videos, blurred and downsampled: HR/ and LR_blurdown_x4/ of 24x32."""
    root = tmp_path_factory.mktemp("dataset")
    assert not main(["degrade", "--hr", str(footage), "--out", str(root), "--kind", "gaussian"])
    return root


@pytest.fixture(scope="session")
def vid4(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of six frames of a real benchmark clip, 320x256."""
    files = sorted((data / "vid4" / "HR" / "calendar").glob("*.png"))[:6]
    if not files:
        pytest.skip(f"no Vid4 at {data}/vid4/HR")
    hr, root = tmp_path_factory.mktemp("hr"), tmp_path_factory.mktemp("vid4")
    draw_video(hr / "HR" / "calendar", [read(path) for path in files], (100, 200), (256, 320))
    assert not main(["degrade", "--hr", str(hr), "--out", str(root), "--kind", "gaussian"])
    return root


def read(path: Path) -> Frame:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def folder(path: Path) -> list[Frame]:
    return [read(file) for file in sorted(path.glob("*.png"))]


def check_chain(root: Path, out: Path, exported: Path, net: BlindVSR, capsys: pytest.CaptureFixture[str]) -> None:
    """Restores a data set with the port, scores it with blindvsr, and compares with blindvsr's own results."""
    result = infer("--weights", exported, "--input", root, "--gt", root, "--output", out, "--dataset", "set",
                   "--kind", "gaussian", "--device", "cpu")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "device cpu" in result.stdout and "1.3.11.0" in result.stdout
    results = out / "set_gaussian"
    assert not main(["score", "--sr", str(results), "--gt", str(root), "--json", str(out / "score.json")])
    summary, score = (json.loads(path.read_text()) for path in (results / "summary.json", out / "score.json"))
    assert set(score) <= set(summary)
    for key in ("psnr", "ssim", "frames"):
        for name, row in score["videos"].items():
            assert summary["videos"][name][key] == pytest.approx(row[key], abs=1e-6)
        for mean in ("mean_of_frames", "mean_of_videos"):
            assert summary[mean][key] == pytest.approx(score[mean][key], abs=1e-6)
    for video in sorted((root / "LR_blurdown_x4").iterdir()):
        check_frames(video, results / video.name, out / "torch" / video.name, net)
        timing = summary["timing"]["videos"][video.name]
        assert timing["frames"] == len(folder(video)) and min(timing["pre"], timing["network"], timing["post"]) > 0
    capsys.readouterr()
    assert not main(["score", "--sr", str(out / "torch"), "--gt", str(root), "--json", str(out / "torch.json")])
    torch_score = json.loads((out / "torch.json").read_text())
    for name, row in torch_score["videos"].items():
        assert score["videos"][name]["psnr"] == pytest.approx(row["psnr"], abs=1e-3)
        assert score["videos"][name]["ssim"] == pytest.approx(row["ssim"], abs=1e-4)


def check_frames(low: Path, restored: Path, torch_folder: Path, net: BlindVSR) -> None:
    """The port's frames against blindvsr's, which are written down as well."""
    names = [file.name for file in sorted(low.glob("*.png"))]
    assert [file.name for file in sorted(restored.iterdir())] == names
    torch_folder.mkdir(parents=True)
    different = []
    for name, frame, expected in zip(names, folder(restored), restore(net, folder(low)), strict=True):
        cv2.imwrite(str(torch_folder / name), expected[..., ::-1])
        difference = np.abs(frame.astype(int) - expected)
        assert difference.max() <= 1
        different.append((difference > 0).mean())
    assert np.mean(different) <= 0.001


def test_chain(jittor: None, dataset: Path, exported: Path, official_net: BlindVSR, tmp_path: Path,
               capsys: pytest.CaptureFixture[str]) -> None:
    check_chain(dataset, tmp_path, exported, official_net, capsys)
    log = (tmp_path / "set_gaussian" / "inference.log").read_text()
    assert "left/00000000: pre" in log and "right/00000007: pre" in log


def test_chain_on_vid4(jittor: None, vid4: Path, exported: Path, official_net: BlindVSR, tmp_path: Path,
                       capsys: pytest.CaptureFixture[str]) -> None:
    check_chain(vid4, tmp_path, exported, official_net, capsys)


def test_a_video_file_by_its_name(jittor: None, small_file: Path, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (48, 32))
    for frame in frames:
        writer.write(frame)
    writer.release()
    result = infer("--weights", small_file, "--input", tmp_path / "clip.avi", "--output", tmp_path / "out",
                   "--tile", 32)
    assert result.returncode == 0, result.stderr[-3000:]
    restored = folder(tmp_path / "out" / "clip")
    assert [frame.shape for frame in restored] == [(128, 192, 3)] * 6
    assert "videos" not in json.loads((tmp_path / "out" / "summary.json").read_text())


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command says when it stops before Jittor starts."""
    capsys.readouterr()
    assert jittor_main([str(argument) for argument in arguments]) == 1
    return one_line(capsys.readouterr().err)


def one_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and "Traceback" not in stderr
    return lines[0]


def test_missing_weights(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = fails(capsys, "--weights", tmp_path / "none.safetensors", "--input", dataset, "--output", tmp_path)
    assert "none.safetensors" in message and "no such file" in message


def test_truncated_weights(small_file: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(small_file.read_bytes()[:-100])
    assert "broken.safetensors cannot be read" in fails(
        capsys, "--weights", broken, "--input", dataset, "--output", tmp_path)


@pytest.mark.parametrize("content", ["nothing", "files", "subfolder"])
def test_no_frames(content: str, small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in"
    (source / "a").mkdir(parents=True) if content == "subfolder" else source.mkdir()
    if content == "files":
        (source / "notes.txt").touch()
    message = fails(capsys, "--weights", small_file, "--input", source, "--output", tmp_path / "out")
    assert "--input" in message and "no frames" in message


def test_not_a_video(small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("film.mp4", "film.txt"):
        (tmp_path / name).write_text("no video")
        message = fails(capsys, "--weights", small_file, "--input", tmp_path / name, "--output", tmp_path / "out")
        assert name in message and "video" in message


@pytest.mark.parametrize(("change", "expected"), [
    ("name", "no video 'left'"), ("count", "7 frames"), ("size", "must be 4 times"), ("missing", "no such"),
])
def test_other_ground_truth(change: str, expected: str, small_file: Path, dataset: Path, tmp_path: Path,
                            capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth"
    if change != "missing":
        shutil.copytree(dataset / "HR", truth)
    if change == "name":
        (truth / "left").rename(truth / "other")
    elif change == "count":
        (truth / "left" / "00000003.png").unlink()
    elif change == "size":
        cv2.imwrite(str(truth / "left" / "00000000.png"), np.zeros((96, 120, 3), np.uint8))
    message = fails(capsys, "--weights", small_file, "--input", dataset, "--gt", truth, "--output", tmp_path / "out")
    assert "--gt" in message and expected in message
    assert not (tmp_path / "out").exists()


def test_results_never_replace_the_input(small_file: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    low = dataset / "LR_blurdown_x4"
    assert "lies in the input" in fails(capsys, "--weights", small_file, "--input", dataset, "--output", low)


def test_weights_of_another_configuration(jittor: None, small_net: BlindVSR, dataset: Path, tmp_path: Path) -> None:
    path, net = tmp_path / "other.safetensors", BlindVSR(small_net.config)
    net.tail[5] = copy.deepcopy(net.tail[4])
    save_network(net, path)
    result = infer("--weights", path, "--input", dataset, "--output", tmp_path / "out")
    message = one_line(result.stderr)
    assert result.returncode == 1
    assert "another network" in message and "tail.5.weight is (8, 8, 3, 3), not (3, 8, 3, 3)" in message


def test_frames_of_different_sizes(jittor: None, small_file: Path, tmp_path: Path) -> None:
    for number, width in enumerate((40, 40, 40, 44)):
        (tmp_path / "in").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), np.zeros((32, width, 3), np.uint8))
    result = infer("--weights", small_file, "--input", tmp_path / "in", "--output", tmp_path / "out")
    message = one_line(result.stderr)
    assert result.returncode == 1
    assert "frame 3 is 44x32 but the first is 40x32" in message
    assert not any(path.is_dir() for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(("name", "number", "said"), [
    ("in", signal.SIGINT, "interrupted"), ("in.avi", signal.SIGTERM, "terminated"), ("in", signal.SIGHUP, "hung up"),
])
def test_stopped_by_a_signal(name: str, number: signal.Signals, said: str, jittor: None, small_file: Path,
                             tmp_path: Path) -> None:
    """No half video is left, and what stood there before stays."""
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 64))
    (tmp_path / "in").mkdir()
    for index in range(300):
        cv2.imwrite(str(tmp_path / "in" / f"{index:03d}.png"), np.zeros((64, 64, 3), np.uint8))
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    before = tmp_path / "out" / "in" / "000.png"
    before.parent.mkdir(parents=True)
    before.write_bytes(b"of yesterday")
    command = ["-m", "jittor_port.infer", "--weights", small_file, "--input", tmp_path / name, "--output",
               tmp_path / "out", "--overwrite"]
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True,
                               preexec_fn=heed_signals)
    while process.poll() is None and not list(tmp_path.glob("out/.in.part-*/*.png")):
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr[-3000:]
    assert one_line(stderr.replace("\r", "\n")) == f"error: {said}; videos that were complete are kept"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["in", "inference.log"]
    assert [path.read_bytes() for path in before.parent.iterdir()] == [b"of yesterday"]


def test_help_is_quick_and_needs_no_jittor() -> None:
    result = infer("--help")
    assert result.returncode == 0 and "--weights" in result.stdout


def test_exported_weights_are_those_of_the_checkpoint(exported: Path, official_net: BlindVSR) -> None:
    state = load_network(exported).state_dict()
    assert all((state[name] == tensor).all() for name, tensor in official_net.state_dict().items())
