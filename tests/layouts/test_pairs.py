"""Frames and videos that belong together, in the layouts of test sets."""

import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blindvsr import InputError
from blindvsr.cli import main
from blindvsr.frames import Frame
from blindvsr.layouts.pairs import input_videos, match_folders, paired_videos
from tests.conftest import draw_video, run_fails


@pytest.fixture
def vid4(bundled_frames: list[Frame], tmp_path: Path) -> Path:
    """GT/ and BIx4/ as the toolboxes ship Vid4."""
    for clip in ("calendar", "walk"):
        draw_video(tmp_path / "Vid4" / "GT" / clip, bundled_frames, (0, 0))
        draw_video(tmp_path / "Vid4" / "BIx4" / clip, bundled_frames, (0, 0), (24, 32))
    return tmp_path / "Vid4"


def test_layout_of_the_toolboxes(vid4: Path) -> None:
    with pytest.warns(UserWarning, match="BIx4 is made by plain bicubic downsampling: .* lie 1.5 pixels off"):
        pairs = paired_videos(vid4)
    assert [high.name for high, _ in pairs] == ["calendar", "walk"]
    assert {low.source.parent.name for _, low in pairs} == {"BIx4"}
    shutil.copytree(vid4 / "BIx4", vid4 / "BDx4")
    with pytest.raises(InputError, match="has BIx4/ and BDx4/: choose with --data.test_lr") as error:
        paired_videos(vid4)
    advice = shlex.split(str(error.value).rsplit("or ", 1)[1])[0]
    assert {low.source.parent.name for _, low in paired_videos(vid4, None, advice)} == {"BDx4"}
    os.rename(vid4 / "GT", vid4 / "sharp")
    with pytest.raises(InputError, match="no HR/ or GT/ folder to score against, nor <clip>/truth/"):
        paired_videos(vid4, None, advice)
    assert len(paired_videos(None, vid4 / "sharp", vid4 / "BDx4")) == 2
    with pytest.raises(InputError, match="data.test_lr is missing: give both folders, or --data.test_root"):
        paired_videos(None, vid4 / "sharp")


def test_advice_works_as_it_is_typed(vid4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(vid4 / "BIx4")
    os.rename(vid4, vid4.with_name("Vid 4"))
    monkeypatch.chdir(vid4.parent)
    with pytest.raises(InputError, match="has no LR_blurdown_x4/, BIx4/ or BDx4/ folder") as error:
        paired_videos("Vid 4")
    command = re.search("blindvsr (degrade.*)", str(error.value))
    assert command and main(shlex.split(command[1])) == 0
    assert len(paired_videos("DIR")) == 2
    os.mkdir("empty")
    with pytest.raises(InputError, match="'empty' holds no video; looked for HR/<video>"):
        paired_videos("empty")


def test_inputs_of_a_test_set(vid4: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What predict restores of the toolboxes' layout, and of SPMCS, whose halves lie in every clip."""
    assert {video.source.parent.name for video in input_videos(vid4, "data.predict_root")} == {"BIx4"}
    shutil.copytree(vid4 / "BIx4", vid4 / "BDx4")
    line = run_fails(["predict", "--model.weights=clean", f"--data.predict_root={vid4}"], capsys)
    assert f"has BIx4/ and BDx4/: choose with --data.predict_root {vid4}/BIx4 or" in line
    spmcs = tmp_path / "SPMCS"
    for clip in ("car05_001", "hdclub_003"):
        shutil.copytree(vid4 / "GT" / "walk", spmcs / clip / "truth")
        shutil.copytree(vid4 / "BIx4" / "walk", spmcs / clip / "input4")
    assert {video.source.name for video in input_videos(spmcs, "data.predict_root")} == {"input4"}
    with pytest.warns(UserWarning, match="SPMCS is made by plain bicubic"):
        names = [(high.source.name, low.source.name) for high, low in paired_videos(spmcs)]
    assert names == [("truth", "input4")] * 2
    page = tmp_path / "page.html"
    assert main(["score", "--sr", str(spmcs), "--gt", str(spmcs), "--bicubic", "--html", str(page)]) == 0
    assert "bicubic, mean of frames" in capsys.readouterr().out
    assert 'data-kind="input"' in page.read_text() and "data-shift" not in page.read_text().partition("<script>")[0]
    for clip in spmcs.iterdir():
        shutil.rmtree(clip / "input4")
    with pytest.raises(InputError, match="BDx4/ folder, nor <clip>/input4/; give --data.test_lr"):
        paired_videos(spmcs)
    with pytest.raises(InputError, match="holds no video; looked for .*<video>/input4/<frame>.png"):
        input_videos(spmcs, "data.predict_root")


def test_halves_of_a_test_set_must_match(vid4: Path) -> None:
    os.rename(vid4 / "BIx4" / "walk" / "00000007.png", vid4 / "BIx4" / "walk" / "00000008.png")
    with pytest.raises(InputError, match=r"video walk: .*1 in \S*GT/walk alone, 00000007.png the first and 1 in "
                                         r"\S*BIx4/walk alone, 00000008.png the first"):
        paired_videos(vid4)
    os.rename(vid4 / "BIx4" / "walk", vid4 / "BIx4" / "fall")
    with pytest.raises(InputError, match=r"video walk is in \S*GT alone and video fall is in \S*BIx4 alone"):
        paired_videos(vid4)


def test_results_pair_by_name(vid4: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Equal numbers of frames, one of them shifted by one: the table would look plausible."""
    shutil.copytree(vid4 / "GT", tmp_path / "sr")
    for index in range(7, -1, -1):
        os.rename(tmp_path / "sr" / "walk" / f"{index:08d}.png", tmp_path / "sr" / "walk" / f"{index + 1:08d}.png")
    line = run_fails(["score", "--sr", tmp_path / "sr", "--gt", vid4], capsys)
    assert "00000008.png the first" in line and "00000000.png the first" in line
    shutil.rmtree(tmp_path / "sr" / "walk")
    with pytest.warns(UserWarning, match="lacks 1 of 2 videos of the ground truth: walk"):
        pairs = match_folders(tmp_path / "sr", vid4)
    assert [truth.name for _, truth in pairs["calendar"]] == [f"{index:08d}.png" for index in range(2, 6)]


@pytest.fixture
def vimeo(bundled_frames: list[Frame], tmp_path: Path) -> Path:
    """Septuplets as Vimeo-90K ships them, two of which the list of test clips names."""
    root = tmp_path / "vimeo_septuplet"
    for number, clip in enumerate(("00001/0001", "00001/0266", "00002/0004")):
        (root / "sequences" / clip).mkdir(parents=True)
        for index, frame in enumerate(bundled_frames[:7], 1):
            Image.fromarray(frame[number : number + 64, :64]).save(root / "sequences" / clip / f"im{index}.png")
    (root / "sep_testlist.txt").write_text("00001/0266\n00002/0004\n\n")
    (root / "sep_trainlist.txt").write_text("00001/0001\n")
    return root


def test_vimeo_septuplets(vimeo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from blindvsr.lit.data import BlindVSRData

    assert main(["degrade", "--hr", str(vimeo), "--out", str(tmp_path / "set"), "--kind", "gaussian"]) == 0
    pairs = paired_videos(tmp_path / "set")
    assert [high.name for high, _ in pairs] == ["00001/0266", "00002/0004"]
    trained = BlindVSRData(train_root=str(vimeo), frames_per_video=5, val_frames=2 + 3, patch=16, num_workers=0,
                           val_root=str(tmp_path / "set")).train_videos
    assert [video.name for video in trained] == ["00001/0001"]
    results = tmp_path / "sr"
    for name, level in {"00001/0266": 5, "00002/0004": 10}.items():
        (results / name).mkdir(parents=True)
        truth = np.asarray(Image.open(vimeo / "sequences" / name / "im4.png")).astype(int)
        worse = np.where(truth < 128, truth + level, truth - level)
        Image.fromarray(worse.astype(np.uint8)).save(results / name / "im4.png")
    for root in (vimeo, tmp_path / "set"):
        capsys.readouterr()
        assert main(["score", "--sr", str(results), "--gt", str(root), "--bicubic", "--lr",
                     str(tmp_path / "set" / "LR_blurdown_x4")]) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert [row[0] for row in rows[1:3]] == ["00001/0266", "00002/0004"]
        assert [row[-1] for row in rows[1:3]] == ["1", "1"], "frame 4 alone"
        assert [float(row[1]) for row in rows[1:3]] == pytest.approx([34.151, 28.131], abs=1e-3)
    (vimeo / "sep_testlist.txt").write_text("00009/0001\n")
    assert "names 00009/0001, but there is no folder" in run_fails(["score", "--sr", results, "--gt", vimeo], capsys)
