"""fit, test and predict in two processes that exchange over gloo give what one process gives."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from blindvsr.cli import main
from blindvsr.frames import Frame, read_image
from blindvsr.lit.loaders import EpochSampler, OnceSampler
from blindvsr.weights import save_network
from tests.clips import make_video, moving
from tests.conftest import REPOSITORY, draw_video, moving_network, run_fails
from tests.lit.test_commands import OPTIONS, scalars

TIMEOUT = 600  # seconds; a hang must not last for ever, and a busy machine is slow
ONE = ["--trainer.accelerator=cpu", "--trainer.precision=32"]
TWO = [*ONE, "--trainer.devices=2", "--trainer.strategy=ddp"]


def run_processes(arguments: list[str], *launcher: str) -> tuple[int, str]:
    """Runs `python -m ARGUMENTS`, or a launcher's own command, with all its processes: exit code and output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-m", *launcher, *arguments], cwd=REPOSITORY, env=environment,
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
        return process.returncode, output
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # whatever hangs, or outlived its parent
        except ProcessLookupError:
            pass


@pytest.fixture(scope="module")
def three(bundled_frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HR videos of different lengths: an odd number, so that two processes cannot share them evenly."""
    root = tmp_path_factory.mktemp("three")
    for index, corner in enumerate([(120, 60), (200, 330), (30, 200)]):
        draw_video(root / "HR" / f"clip{index}", bundled_frames[index:], corner)
    return root


@pytest.fixture(scope="module")
def pairs(three: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "three"
    assert main(["degrade", "--hr", str(three), "--out", str(root), "--kind", "gaussian"]) == 0
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_network(moving_network(), path)
    return path


def assert_same_run(one: Path, two: Path) -> None:
    """Equal curves and weights; float sums over two halves of a batch round differently."""
    curves, others = scalars(one), scalars(two)
    assert curves.keys() == others.keys()
    for name in curves.keys() - {"time/step"}:
        assert curves[name].keys() == others[name].keys()
        np.testing.assert_allclose(list(others[name].values()), list(curves[name].values()), rtol=1e-3, atol=1e-6,
                                   err_msg=name)
    for name in ("best.ckpt", "last.ckpt"):
        first, second = (torch.load(run / "checkpoints" / name, weights_only=True) for run in (one, two))
        assert (first["epoch"], first["global_step"]) == (second["epoch"], second["global_step"])
        for key, value in first["state_dict"].items():
            torch.testing.assert_close(second["state_dict"][key], value, rtol=1e-3, atol=1e-5)


def test_fit_and_resume(footage: Path, three: Path, tmp_path: Path) -> None:
    """Two processes with batches of 2 are one with batches of 4, launched by Lightning and resumed by torchrun."""
    fit = ["fit", *OPTIONS, f"--data.train_root={footage}", f"--data.val_root={three}", "--data.cache"]
    assert main([*fit, str(tmp_path / "cache1"), *ONE, f"--trainer.default_root_dir={tmp_path / 'one'}",
                 "--data.batch_size=4"]) == 0
    fit += [str(tmp_path / "cache2"), *TWO, f"--trainer.default_root_dir={tmp_path / 'two'}"]
    code, output = run_processes([*fit, "--trainer.max_epochs=1"], "blindvsr")
    assert code == 0, output
    assert "warning" not in output
    code, output = run_processes(["--standalone", "--nproc_per_node=2", "-m", "blindvsr", *fit, "--ckpt_path=last"],
                                 "torch.distributed.run")
    assert code == 0, output
    runs = [list((tmp_path / name / "lightning_logs").iterdir()) for name in ("one", "two")]
    assert [len(found) for found in runs] == [1, 1], "all processes agree on one folder"
    assert_same_run(runs[0][0], runs[1][0])


def test_test_counts_each_frame_once(pairs: Path, weights: Path, tmp_path: Path) -> None:
    test = ["test", *OPTIONS, f"--model.weights={weights}", f"--data.test_root={pairs}"]
    assert main([*test, *ONE, f"--trainer.default_root_dir={tmp_path / 'one'}"]) == 0
    code, output = run_processes([*test, *TWO, f"--trainer.default_root_dir={tmp_path / 'two'}"], "blindvsr")
    assert code == 0, output
    assert output.count("mean of frames") == 1
    one, two = (json.loads((tmp_path / name / "three.json").read_text()) for name in ("one", "two"))
    assert two["mean_of_frames"]["frames"] == 4 + 3 + 2
    # the numbers of threads differ, and with them the order of sums and, rarely, a rounded pixel
    assert two["videos"].keys() == one["videos"].keys()
    for name, row in {**one["videos"], "mean": one["mean_of_frames"]}.items():
        assert {**two["videos"], "mean": two["mean_of_frames"]}[name] == pytest.approx(row, abs=1e-3)


def predict(root: Path, output: Path, weights: Path) -> tuple[int, str]:
    return run_processes(["predict", *OPTIONS, *TWO, f"--model.weights={weights}", f"--data.predict_root={root}",
                          f"--writer.output={output}"], "blindvsr")


def written(output: Path) -> dict[str, int]:
    return {path.name: len(list(path.iterdir())) for path in output.iterdir()}


def test_predict_writes_each_video_once(pairs: Path, weights: Path, tmp_path: Path) -> None:
    code, output = predict(pairs, tmp_path, weights)
    assert code == 0, output
    assert written(tmp_path) == {"clip0": 8, "clip1": 7, "clip2": 6}, "and nothing that is half written"
    assert all(read_image(path).shape == (96, 128, 3) for path in tmp_path.glob("*/*.png"))


def test_a_process_without_a_video_waits(pairs: Path, weights: Path, tmp_path: Path) -> None:
    code, output = predict(pairs / "LR_blurdown_x4" / "clip1", tmp_path, weights)
    assert code == 0, output
    assert written(tmp_path) == {"clip1": 7}


def test_a_mistake_ends_all_processes(weights: Path, tmp_path: Path) -> None:
    """The second process alone reads the video that is none; the first is busy, or done and waiting."""
    videos = tmp_path / "videos"
    videos.mkdir()
    make_video(videos / "clip0.mp4", moving(12))
    (videos / "clip1.mp4").write_bytes(b"no video" * 100)
    code, output = predict(videos, tmp_path / "out", weights)
    assert code != 0
    assert len([line for line in output.splitlines() if "error" in line and "clip1.mp4" in line]) == 1, output
    assert "Traceback" not in output
    assert not list((tmp_path / "out").glob(".*")), "nothing that is half written"


def test_two_videos_of_one_name(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in ("mp4", "mkv"):
        make_video(tmp_path / f"clip.{suffix}", moving(2))
    assert "both be written to clip/" in run_fails(
        ["predict", *OPTIONS, *ONE, f"--model.weights={weights}", f"--data.predict_root={tmp_path}"], capsys)


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_batches_of_all_devices_are_one_large_batch(devices: int) -> None:
    whole = list(EpochSampler(50, 0, 1, 0))
    shares = [list(EpochSampler(50, 0, devices, rank)) for rank in range(devices)]
    together = [key for turn in zip(*shares, strict=True) for key in turn]
    assert together == whole[: len(together)]
    assert len(whole) - len(together) < devices


def test_shares_of_prediction() -> None:
    for count in (1, 3, 4):
        shares = [list(OnceSampler(range(count), 2, rank)) for rank in (0, 1)]
        assert sorted(shares[0] + shares[1]) == list(range(count))
        assert [len(OnceSampler(range(count), 2, rank)) for rank in (0, 1)] == [len(share) for share in shares]
