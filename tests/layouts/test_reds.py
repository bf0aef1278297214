"""The test clips of REDS stay out of training, however the data set is given."""

import os
from pathlib import Path

import pytest

from blindvsr import InputError
from blindvsr.datasets import VAL_FOLDERS, find_videos
from blindvsr.frames import Frame
from blindvsr.lit.data import BlindVSRData
from tests.conftest import draw_video

PATCH = {"patch": 16, "num_workers": 0}
CLIPS = ("000", "001", "011", "014", "015", "020")


def used(root: Path | str, **options: str) -> list[str]:
    """Names of the videos that would be trained or validated on."""
    data = BlindVSRData(train_root=str(root), **options, **PATCH)
    return [video.name for video in data.train_videos + data.val_videos]


@pytest.fixture
def reds(bundled_frames: list[Frame], tmp_path: Path) -> Path:
    for name in CLIPS:
        draw_video(tmp_path / "train" / "train_sharp" / name, bundled_frames[:6], (50, 50))
    draw_video(tmp_path / "val" / "val_sharp" / "007", bundled_frames[:6], (50, 50))
    return tmp_path


def test_in_its_own_layout(reds: Path) -> None:
    for root in (reds, reds / "train", reds / "train" / "train_sharp"):
        with pytest.warns(UserWarning, match=r"000, 011, 015, 020 left out, REDS' test clips \(REDS4\)"):
            assert used(root, val_root=str(reds)) == ["001", "014", "007"]
    assert [video.name for video in find_videos(reds, "root", VAL_FOLDERS)] == ["007"]


@pytest.mark.filterwarnings("ignore:.*left out")
def test_by_another_name(reds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sharp = reds / "train" / "train_sharp"
    (reds / "link").symlink_to(sharp)
    (reds / "renamed").mkdir()
    for name, clip in {"a": "000", "b": "001", "c": "014"}.items():
        (reds / "renamed" / name).symlink_to(sharp / clip)
    assert used(reds / "link") == ["001", "014"]
    assert used(reds / "renamed") == ["b", "c"]
    monkeypatch.chdir(sharp)
    assert used(".") == ["001", "014"]
    monkeypatch.chdir(reds)
    os.rename(reds / "train" / "train_sharp", reds / "train" / "HR")  # the official code's layout
    assert used("train") == used("train/HR") == ["001", "014"]
    os.rename(reds / "train", reds / "footage")
    assert used("footage") == ["001", "014"]


def test_nothing_else_is_taken_for_reds(reds: Path, bundled_frames: list[Frame]) -> None:
    for name in ("000", "001"):
        draw_video(reds / "val" / "val_sharp" / name, bundled_frames[:6], (0, 0))
        (reds / "mine" / name).mkdir(parents=True)
        for path in (reds / "train" / "train_sharp" / name).iterdir():
            os.link(path, reds / "mine" / name / path.name.removeprefix("0000"))
    assert used(reds / "val" / "val_sharp") == ["000", "001", "007"]
    assert used(reds / "mine") == ["000", "001"], "frames of four digits"


def test_the_test_clips_alone(reds: Path) -> None:
    sharp = reds / "train" / "train_sharp"
    for name in ("001", "014"):
        os.rename(sharp / name, reds / name)
    for root in (sharp, sharp / "000"):
        with pytest.raises(InputError, match="REDS' test clips alone .*: give the whole training split"):
            used(root)
