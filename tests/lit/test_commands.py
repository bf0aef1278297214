"""fit, test and predict as a user calls them, on real frames, with a shipped configuration made smaller still."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from blindvsr.cli import main
from blindvsr.frames import read_image
from blindvsr.lit.task import BlindVSRTask
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.scoring.folders import score_folders
from blindvsr.stream import restore
from blindvsr.weights import load_network, save_network
from tests.conftest import REPOSITORY, run_fails
from tests.scoring.test_report import pictures

OPTIONS = [
    "--config", str(REPOSITORY / "configs" / "tiny.yaml"), "--model.network.num_features=8",
    "--model.network.recon_blocks=1", "--model.network.flow_width=0.1", "--data.patch=16", "--data.batch_size=2",
    "--data.batches_per_epoch=4", "--data.num_workers=0", "--data.val_frames=5", "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
]


def fit_arguments(footage: Path, root: Path, *more: str) -> list[str]:
    return ["fit", *OPTIONS, f"--data.train_root={footage}", f"--trainer.default_root_dir={root}", *more]


def scalars(run: Path) -> dict[str, dict[int, float]]:
    """Curves of all event files of a run: name -> step -> value."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_every_curve_and_picture_is_in_the_event_file(fitted: Path) -> None:
    curves = scalars(fitted)
    terms = {f"train/{name}" for name in ("loss", "aux", "cycle", "boundary", "sparse", "centre")}
    expected = {*terms, "train/cycle_psnr", "train/aux_psnr", "val/psnr", "val/ssim", "val/aux_psnr", "val/kernel",
                "time/step", "lr-Adam/network", "lr-Adam/kernel", "lr-Adam/flow"}
    assert curves.keys() - {"epoch"} == expected
    assert len(curves["train/loss"]) == 8
    np.testing.assert_allclose(sum(curves[name][0] for name in terms - {"train/loss"}), curves["train/loss"][0],
                               rtol=1e-5)
    events = EventAccumulator(str(fitted), size_guidance={"images": 0})
    events.Reload()
    sizes = {tag.removeprefix("pictures/"): (event.width, event.height)
             for tag in events.Tags()["images"] for event in events.Images(tag)[-1:]}
    large, small = (128, 96), (32, 24)
    assert sizes == {"1_input": small, "2_bicubic": large, "3_restored": large, "4_truth": large,
                     "5_kernel_estimated_true": (2 * (13 * 10 + 8), 13 * 10 + 28), "6_flow": small}


def test_checkpoints_load_safely(fitted: Path) -> None:
    assert {path.name for path in (fitted / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    last = torch.load(fitted / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 8, "the end of training, whether it was the best or not"
    content = torch.load(fitted / "checkpoints" / "best.ckpt", weights_only=True)
    assert content["hyper_parameters"]["network"]["num_features"] == 8
    task = BlindVSRTask.load_from_checkpoint(fitted / "checkpoints" / "last.ckpt", map_location="cpu")
    assert task.net.config == load_network(fitted / "checkpoints" / "last.ckpt").config


def test_training_lowers_the_loss(footage: Path, tmp_path: Path) -> None:
    assert main(fit_arguments(footage, tmp_path, "--trainer.max_epochs=1", "--data.batches_per_epoch=40")) == 0
    loss = list(scalars(tmp_path / "lightning_logs" / "version_0")["train/loss"].values())
    assert np.mean(loss[-5:]) < 0.8 * np.mean(loss[:5])


def test_flow_from_nothing_then_supervised(footage: Path, tmp_path: Path) -> None:
    """The flow objective's checkpoint starts the flow network of another one, which may hold it fixed."""
    assert main(fit_arguments(footage, tmp_path / "flow", "--model.objective=flow", "--data.patch=64")) == 0
    run = tmp_path / "flow" / "lightning_logs" / "version_0"
    curves = scalars(run)
    assert {"train/epe", "train/level6", "train/level2", "val/epe"} <= curves.keys()
    assert len(curves["val/epe"]) == 2
    events = EventAccumulator(str(run), size_guidance={"images": 0})
    events.Reload()
    assert set(events.Tags()["images"]) == {f"pictures/{name}" for name in
                                            ("1_first", "2_second", "3_flow_true_estimated")}
    weights = run / "checkpoints" / "best.ckpt"
    averaged = "--trainer.callbacks+=pytorch_lightning.callbacks.EMAWeightAveraging"
    assert main(fit_arguments(footage, tmp_path / "sr", "--model.objective=supervised", "--model.flow_lr=0",
                              f"--model.flow_weights={weights}", averaged)) == 0
    run = tmp_path / "sr" / "lightning_logs" / "version_0"
    assert {"train/restored", "train/kernel", "train/psnr", "val/psnr", "val/kernel"} <= scalars(run).keys()
    assert "val/aux_psnr" not in scalars(run), "the twin is the other objective's"
    last = run / "checkpoints" / "last.ckpt"
    assert main(fit_arguments(footage, tmp_path / "kernel", "--model.objective=kernel", f"--model.weights={last}")) == 0
    run = tmp_path / "kernel" / "lightning_logs" / "version_0"
    assert {"train/kernel", "val/kernel"} <= scalars(run).keys()
    assert "val/psnr" not in scalars(run), "frames that the estimator does not change are not restored"
    before, after = load_network(last), load_network(run / "checkpoints" / "last.ckpt")
    torch.testing.assert_close(after.trunk.state_dict(), before.trunk.state_dict(), rtol=0, atol=0)
    assert not torch.equal(after.kernel_net.linear[1].weight, before.kernel_net.linear[1].weight)
    learnt, kept = load_network(weights).flow_net, after.flow_net
    torch.testing.assert_close(kept.state_dict(), learnt.state_dict())
    reused = BlindVSRTask(NetConfig(), kernel_weights=str(run / "checkpoints" / "last.ckpt")).net.kernel_net
    torch.testing.assert_close(reused.state_dict(), after.kernel_net.state_dict(), rtol=0, atol=0)


def test_kernels_from_nothing(footage: Path, tmp_path: Path) -> None:
    """The kernel objective; the estimator is normalised on the first batch and so blind to plain colour."""
    fit = fit_arguments(footage, tmp_path, "--model.objective=kernel", "--data.kind=realistic", "--model.lr=1e-9",
                        "--model.kernel_lr=null")
    assert main(fit) == 0
    run = tmp_path / "lightning_logs" / "version_0"
    assert len(scalars(run)["val/kernel"]) == 2
    learnt = load_network(run / "checkpoints" / "last.ckpt").kernel_net.features[0].weight
    assert learnt.sum((2, 3)).abs().max() < 1e-3 * learnt.abs().max()
    # what has been learnt is not normalised again
    assert main([*fit, f"--model.kernel_weights={run / 'checkpoints' / 'last.ckpt'}", "--data.seed=1"]) == 0
    kept = load_network(tmp_path / "lightning_logs" / "version_1" / "checkpoints" / "last.ckpt")
    torch.testing.assert_close(kept.kernel_net.features[0].weight, learnt, rtol=0, atol=1e-6)
    # one step of two batches starts where one step of one batch does
    assert main([*fit, "--trainer.accumulate_grad_batches=2"]) == 0
    same = load_network(tmp_path / "lightning_logs" / "version_2" / "checkpoints" / "last.ckpt")
    torch.testing.assert_close(same.kernel_net.features[0].weight, learnt, rtol=0, atol=1e-6)


def test_low_resolution_footage_alone(footage: Path, tmp_path: Path) -> None:
    assert main(fit_arguments(footage, tmp_path, "--data.kind=none", "--data.patch=32")) == 0
    run = tmp_path / "lightning_logs" / "version_0"
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    curves = scalars(run)
    assert "val/aux_psnr" in curves
    assert "val/psnr" not in curves, "there is no truth to compare with"


def test_test_prints_and_writes_what_it_measures(
    fitted: Path, test_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = fitted / "checkpoints" / "best.ckpt"
    # the configuration says another network: the checkpoint's own wins
    config = str(REPOSITORY / "configs" / "tiny.yaml")
    page, frames = tmp_path / "page.html", tmp_path / "frames.csv"
    test = ["test", "--config", config, f"--ckpt_path={checkpoint}", f"--data.test_root={test_set}",
            f"--report.html={page}", "--report.show=[left/00000003]"]
    assert main([*test, f"--report.per_frame={frames}"]) == 0
    printed = capsys.readouterr().out
    assert "mean of frames" in printed
    assert "mean of videos" in printed
    summary = json.loads(checkpoint.with_name("best-pair.json").read_text())
    assert summary["mean_of_frames"]["frames"] == 8
    with checkpoint.with_name("best-pair.csv").open() as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    assert float(rows["left"]["psnr"]) == summary["videos"]["left"]["psnr"]
    with frames.open() as file:
        values = [float(row["psnr"]) for row in csv.DictReader(file) if row["video"] == "left"]
    assert np.mean(values) == pytest.approx(summary["videos"]["left"]["psnr"])
    assert f"left, frame 00000003</h3>\n<figcaption>restored: {values[1]:.2f} dB" in page.read_text()
    low = map(read_image, sorted((test_set / "LR_blurdown_x4" / "left").iterdir()))
    restored = list(restore(load_network(checkpoint), low, cuts=False))
    np.testing.assert_array_equal(pictures(page.read_text())["restored"], restored[3])
    assert "replace it with --report.overwrite true" in run_fails(test, capsys)
    absent = [f"--report.html={tmp_path / 'other.html'}", "--report.show=[left/00000001]"]
    assert "--report.show=left/00000001: no such frame" in run_fails([*test, *absent], capsys)


def test_predict_writes_every_frame_and_score_agrees(fitted: Path, test_set: Path, tmp_path: Path) -> None:
    checkpoint = fitted / "checkpoints" / "best.ckpt"
    assert main(["predict", *OPTIONS, f"--ckpt_path={checkpoint}", f"--data.predict_root={test_set}",
                 f"--writer.output={tmp_path}"]) == 0
    names = [path.name for path in sorted((test_set / "LR_blurdown_x4" / "left").iterdir())]
    assert [path.name for path in sorted((tmp_path / "left").iterdir())] == names
    net = load_network(checkpoint)
    low = [read_image(path) for path in sorted((test_set / "LR_blurdown_x4" / "left").iterdir())]
    for name, frame in zip(names, restore(net, iter(low)), strict=True):
        np.testing.assert_array_equal(read_image(tmp_path / "left" / name), frame)
    assert main(["test", *OPTIONS, f"--ckpt_path={checkpoint}", f"--data.test_root={test_set}"]) == 0
    tested = json.loads(checkpoint.with_name("best-pair.json").read_text())
    scored = score_folders(tmp_path, test_set)
    assert scored["mean_of_frames"] == pytest.approx(tested["mean_of_frames"])
    assert scored["videos"]["left"] == pytest.approx(tested["videos"]["left"])


def test_start_from_exported_weights(test_set: Path, tmp_path: Path) -> None:
    weights = tmp_path / "net.safetensors"
    save_network(BlindVSR(NetConfig(num_features=6, extract_blocks=1, recon_blocks=1, flow_width=0.1)), weights)
    assert main(["test", *OPTIONS, f"--model.weights={weights}", f"--data.test_root={test_set}",
                 f"--trainer.default_root_dir={tmp_path}"]) == 0
    assert next(tmp_path.glob("**/pair.json")).is_file()
    name = ["--model.weights=clean", f"--trainer.default_root_dir={tmp_path / 'clean'}"]
    measures = ["--model.test_channels=y", "--model.test_temporal=true"]
    assert main(["test", *OPTIONS, *name, *measures, f"--data.test_root={test_set}"]) == 0
    summary = json.loads(next((tmp_path / "clean").glob("**/pair.json")).read_text())
    assert summary["mean_of_frames"]["psnr"] > 25, "the bundled model, by its name"
    assert summary["channels"] == "y"
    assert summary["mean_of_frames"]["tof"] > 0 and summary["mean_of_frames"]["warping_error"] > 0


def test_rates_of_the_flow_network(official_file: Path) -> None:
    def rates(**options: object) -> list[float]:
        return [group["lr"] for group in BlindVSRTask(**options).configure_optimizers()[0][0].param_groups]

    assert rates(flow_weights=str(official_file)) == [1e-4, 1e-4, 1e-6]
    assert rates(kernel_lr=1e-5)[1] == 1e-5
    assert rates() == [1e-4, 1e-4, 1e-4], "from nothing the flow network learns at the full rate"
    assert rates(objective="flow", flow_weights=str(official_file)) == [1e-4], "alone it is no drifting part"
    (optimizer,), (schedule,) = BlindVSRTask(flow_weights=str(official_file)).configure_optimizers()
    for _ in range(100):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr() == [5e-5, 5e-5, 5e-7]


@pytest.mark.parametrize(
    "name", ["gaussian", "realistic", "small", "tiny", "footage", "bundled/flow", "bundled/kernel", "bundled/still",
             "bundled/reconstruction"]
)
def test_shipped_configurations_parse(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(REPOSITORY / "configs" / f"{name}.yaml")
    with pytest.raises(SystemExit) as stopped:  # --print_config ends the program
        main(["fit", "--config", config, "--print_config"])
    assert stopped.value.code == 0
    assert f"runs/{name}" in capsys.readouterr().out
