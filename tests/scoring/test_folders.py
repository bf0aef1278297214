"""Folders of results against folders of ground truth."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.io import imread, imsave

from blindvsr.cli import main
from blindvsr.degrade import bicubic_up
from blindvsr.frames import Frame
from blindvsr.scoring.folders import score_folders
from tests.conftest import draw_video, run_fails


def test_score_and_its_files(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (footage / "HR").glob("*/*.png"):
        target = tmp_path / "sr" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        imsave(target, np.clip(imread(path).astype(int) + 5, 0, 255).astype(np.uint8), check_contrast=False)
    out = tmp_path / "table.json"
    assert main(["score", "--sr", str(tmp_path / "sr"), "--gt", str(footage), "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["videos"].keys() == {"left", "right"}
    assert written["mean_of_frames"]["frames"] == 8  # of twice eight frames, both ends are left out
    assert written["videos"]["left"]["psnr"] == pytest.approx(20 * np.log10(255 / 5), abs=0.2)
    assert "mean of videos" in capsys.readouterr().out
    assert len(out.with_suffix(".csv").read_text().splitlines()) == 5
    assert score_folders(tmp_path / "sr", footage, all_frames=True)["mean_of_frames"]["frames"] == 16


def test_score_refuses_what_does_not_match(
    footage: Path, tmp_path: Path, bundled_frames: list[Frame], capsys: pytest.CaptureFixture[str]
) -> None:
    draw_video(tmp_path / "fewer" / "left", bundled_frames[:6], (120, 60))
    assert "6 restored frames, but 8" in run_fails(["score", "--sr", tmp_path / "fewer", "--gt", footage], capsys)
    draw_video(tmp_path / "smaller" / "left", bundled_frames, (120, 60), (80, 100))
    assert "does not fit" in run_fails(["score", "--sr", tmp_path / "smaller", "--gt", footage], capsys)
    draw_video(tmp_path / "other" / "middle", bundled_frames, (120, 60))
    assert "no frames of video middle" in run_fails(["score", "--sr", tmp_path / "other", "--gt", footage], capsys)
    assert "no such folder" in run_fails(["score", "--sr", tmp_path / "absent", "--gt", footage], capsys)
    assert "--sr is missing" in run_fails(["score", "--gt", footage], capsys)
    assert "make a test set with" in run_fails(["score", "--gt", footage, "--bicubic"], capsys)


def test_bicubic_row_and_values_of_every_frame(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out, frames = tmp_path / "set", tmp_path / "table.json", tmp_path / "frames.csv"
    assert main(["degrade", "--hr", str(footage), "--out", str(root), "--kind", "gaussian"]) == 0
    for path in (root / "LR_blurdown_x4").glob("left/*.png"):
        target = tmp_path / "sr" / "left" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        imsave(target, bicubic_up(imread(path)), check_contrast=False)
    command = ["score", "--sr", str(tmp_path / "sr"), "--gt", str(root), "--bicubic", "--channels", "y"]
    assert main([*command, "--json", str(out), "--per_frame", str(frames)]) == 0
    printed = capsys.readouterr()
    assert "PSNR-Y" in printed.out
    assert "lacks 1 of 2 videos of the ground truth: right" in printed.err
    written = json.loads(out.read_text())
    assert written["channels"] == "y"
    assert written["bicubic"]["mean_of_frames"] == written["mean_of_frames"], "the results are bicubic themselves"
    assert written["mean_of_frames"]["psnr"] > score_folders(tmp_path / "sr", root)["mean_of_frames"]["psnr"]
    rows = [line.split(",") for line in frames.read_text().splitlines()]
    assert rows[0] == ["video", "frame", "psnr", "ssim"]
    assert [row[:2] for row in rows[1:]] == [["left", f"{index:08d}"] for index in range(2, 6)]
    assert np.mean([float(row[2]) for row in rows[1:]]) == pytest.approx(written["mean_of_frames"]["psnr"], abs=1e-9)
    assert "--overwrite" in run_fails([*command, "--per_frame", frames], capsys)
    assert main(["score", "--gt", str(root), "--bicubic"]) == 0
    assert "right" in capsys.readouterr().out


def test_bicubic_of_plain_downsampling_is_aligned_too(footage: Path, tmp_path: Path) -> None:
    """BIx4 puts a pixel into the middle of the sixteen that it stands for."""
    for path in (footage / "HR").glob("*/*.png"):
        for name, frame in {"GT": imread(path), "BIx4": cv2.resize(imread(path), (32, 24),
                                                                   interpolation=cv2.INTER_AREA)}.items():
            target = tmp_path / name / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            imsave(target, frame, check_contrast=False)
    decibels = []
    for low in ("BIx4", "shifted"):
        assert main(["score", "--gt", str(tmp_path / "GT"), "--lr", str(tmp_path / low), "--bicubic", "--json",
                     str(tmp_path / f"{low}.json")]) == 0
        decibels.append(json.loads((tmp_path / f"{low}.json").read_text())["mean_of_frames"]["psnr"])
        if low == "BIx4":
            (tmp_path / low).rename(tmp_path / "shifted")
    assert decibels[0] > decibels[1] + 1


def test_vid4_bicubic(data: Path, tmp_path: Path) -> None:
    """The protocol on real benchmark footage: aligned bicubic, and the plain resize that is 1.5 pixels off."""
    hr = data / "vid4" / "HR"
    assert main(["degrade", "--hr", str(hr), "--out", str(tmp_path), "--kind", "gaussian"]) == 0
    for path in sorted((tmp_path / "LR_blurdown_x4").glob("*/*.png")):
        low = imread(path)
        naive = cv2.resize(low, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        for kind, frame in {"aligned": bicubic_up(low), "naive": naive}.items():
            target = tmp_path / kind / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    for kind, (decibels, similarity) in {"aligned": (22.43, 0.625), "naive": (20.25, 0.523)}.items():
        mean = score_folders(tmp_path / kind, tmp_path / "HR")["mean_of_frames"]
        assert mean["frames"] == 155
        assert mean["psnr"] == pytest.approx(decibels, abs=0.005)
        assert mean["ssim"] == pytest.approx(similarity, abs=0.0005)
