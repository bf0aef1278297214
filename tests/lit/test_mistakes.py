"""What a user of the Lightning commands gets wrong is said in one line."""

from pathlib import Path

import pytest
import torch

from blindvsr.frames import Frame
from blindvsr.weights import load_network, save_network
from tests.conftest import draw_video, run_fails
from tests.lit.test_commands import OPTIONS, fit_arguments


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_random_weights_are_refused(
    command: str, footage: Path, fitted: Path, test_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roots = [f"--data.val_root={footage}", f"--data.test_root={test_set}", f"--data.predict_root={test_set}"]
    said = run_fails([command, *OPTIONS, *roots, f"--writer.output={tmp_path / 'out'}"], capsys)
    assert f"{command} needs a trained network" in said
    assert "--model.weights with a file or a bundled model (clean" in said
    save_network(load_network(fitted / "checkpoints" / "last.ckpt"), tmp_path / "net.safetensors")
    torch.save(load_network(tmp_path / "net.safetensors").state_dict(), tmp_path / "net.pt")
    for path in (tmp_path / "net.safetensors", tmp_path / "net.pt"):
        said = run_fails([command, *OPTIONS, *roots, f"--ckpt_path={path}"], capsys)
        assert f"give --model.weights {path}" in said
    assert not (tmp_path / "out").exists()


def test_mistakes(
    footage: Path, fitted: Path, test_set: Path, bundled_frames: list[Frame], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit = fit_arguments(footage, tmp_path)
    assert "no such folder" in run_fails(fit_arguments(tmp_path / "absent", tmp_path), capsys)
    assert "needs ground truth" in run_fails([*fit, "--model.objective=supervised", "--data.kind=none"], capsys)
    frozen = ["--model.objective=kernel", "--model.kernel_lr=0"]
    assert "has a learning rate of 0" in run_fails([*fit, *frozen], capsys)
    numbers = {"model.lr": -1, "model.halve_every": 0, "data.frames_per_video": 4, "data.batch_size": 0}
    for option, value in numbers.items():
        assert f"{option}={value}" in run_fails([*fit, f"--{option}={value}"], capsys)
    assert "error: --data.shrink=0.5:" in run_fails([*fit, "--data.shrink=0.5"], capsys)
    assert "error: --model.network.num_features=0:" in run_fails([*fit, "--model.network.num_features=0"], capsys)
    assert "error: --data.disturbance.crf=[9, 1]:" in run_fails([*fit, "--data.disturbance.crf=[9, 1]"], capsys)
    assert "error: --data.val_root is missing" in run_fails(["validate", "--model.weights=clean"], capsys)
    assert "error: --data.test_root is missing" in run_fails(["test", "--model.weights=clean"], capsys)
    assert "data.synthetic=2" in run_fails([*fit, "--data.synthetic=2"], capsys)
    assert "data.stills" in run_fails([*fit, f"--data.stills={tmp_path / 'absent'}"], capsys)
    assert "disturbance.noisy=2" in run_fails([*fit, "--data.disturbance.noisy=2"], capsys)
    assert "nonsense" in run_fails([*fit, "--data.nonsense=1"], capsys)
    (tmp_path / "unknown.yaml").write_text("data:\n  patches: 3\n")
    assert "patches" in run_fails(["fit", "--config", tmp_path / "unknown.yaml"], capsys)
    assert "there is no" in run_fails([*fit, "--ckpt_path=last"], capsys)
    assert "no such file" in run_fails([*fit, "--ckpt_path=absent.ckpt"], capsys)
    (tmp_path / "cut.ckpt").write_bytes((fitted / "checkpoints" / "last.ckpt").read_bytes()[:9000])
    assert "cannot be read" in run_fails([*fit, f"--ckpt_path={tmp_path / 'cut.ckpt'}"], capsys)
    other = torch.load(fitted / "checkpoints" / "last.ckpt", weights_only=True)
    other["state_dict"].pop("net.fuse.bias")
    torch.save(other, tmp_path / "other.ckpt")
    test = ["test", *OPTIONS, f"--data.test_root={test_set}", f"--ckpt_path={tmp_path / 'other.ckpt'}"]
    assert "another network: missing fuse.bias" in run_fails(test, capsys)
    assert "train_root is missing" in run_fails(["fit", *OPTIONS, f"--trainer.default_root_dir={tmp_path}"], capsys)
    draw_video(tmp_path / "broken" / "clip", bundled_frames, (0, 0))
    image = tmp_path / "broken" / "clip" / "00000001.png"
    image.write_bytes(image.read_bytes()[:2000])
    # read in a worker process, whose traceback must not reach the user
    assert "00000001.png" in run_fails(
        [*fit_arguments(tmp_path / "broken", tmp_path), f"--data.val_root={footage}", "--data.num_workers=1"], capsys)
