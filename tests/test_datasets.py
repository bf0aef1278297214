"""Layouts on disk, drawn small: the full sets are too large to ship."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blindvsr import InputError
from blindvsr.datasets import TRAIN_FOLDERS, VAL_FOLDERS, check_frames, decoded, find_videos, paired_videos
from blindvsr.frames import Frame, read_image
from blindvsr.lit.data import BlindVSRData
from tests.conftest import REPOSITORY, draw_video

PATCH = {"patch": 16, "num_workers": 0}


def names(root: Path) -> list[str]:
    return [video.name for video in find_videos(root, "root", TRAIN_FOLDERS)]


def test_our_layout_and_bare_folders(footage: Path, bundled_frames: list[Frame], tmp_path: Path) -> None:
    assert names(footage) == names(footage / "HR") == ["left", "right"]
    assert names(footage / "HR" / "left") == ["left"]
    draw_video(tmp_path / "clip", bundled_frames, (0, 0), suffix=".jpg")
    assert len(find_videos(tmp_path, "root")[0].files) == 8


@pytest.fixture
def reds(bundled_frames: list[Frame], tmp_path: Path) -> Path:
    for name in ("000", "001", "011", "014", "015", "020"):
        draw_video(tmp_path / "train" / "train_sharp" / name, bundled_frames[:6], (50, 50))
    draw_video(tmp_path / "val" / "val_sharp" / "007", bundled_frames[:6], (50, 50))
    return tmp_path


def test_reds_leaves_its_test_clips_out_of_training(reds: Path) -> None:
    for root in (reds, reds / "train", reds / "train" / "train_sharp"):
        data = BlindVSRData(train_root=str(root), val_root=str(reds), **PATCH)
        assert [video.name for video in data.train_videos] == ["001", "014"]
        assert [video.name for video in data.val_videos] == ["007"]
    assert [video.name for video in find_videos(reds, "root", VAL_FOLDERS)] == ["007"]


def test_vid4_and_spmcs(bundled_frames: list[Frame], tmp_path: Path) -> None:
    for clip in ("calendar", "walk"):
        draw_video(tmp_path / "Vid4" / clip, bundled_frames, (0, 0))
    for clip in ("car05_001", "hdclub_003_001"):
        draw_video(tmp_path / "SPMCS" / clip / "truth", bundled_frames, (0, 0))
        draw_video(tmp_path / "SPMCS" / clip / "input4", bundled_frames, (0, 0), (24, 32))
    assert names(tmp_path / "Vid4") == ["calendar", "walk"]
    spmcs = find_videos(tmp_path / "SPMCS", "root")
    assert [video.name for video in spmcs] == ["car05_001", "hdclub_003_001"]
    assert next(spmcs[0].read()).shape == (96, 128, 3)


def test_the_last_video_is_held_out(footage: Path, bundled_frames: list[Frame], tmp_path: Path) -> None:
    data = BlindVSRData(train_root=str(footage), **PATCH)
    assert ([v.name for v in data.train_videos], [v.name for v in data.val_videos]) == (["left"], ["right"])
    draw_video(tmp_path / "only", bundled_frames, (0, 0))
    data = BlindVSRData(train_root=str(tmp_path), frames_per_video=5, val_frames=5, **PATCH)
    assert data.val_start == 3  # the last five of its eight frames


def test_validation_warns_once_of_odd_sides(bundled_frames: list[Frame], tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw_video(tmp_path / name, bundled_frames, (0, 0), (66, 70))
    with pytest.warns(UserWarning, match=r"one \(70x66\), two") as caught:
        data = BlindVSRData(val_root=str(tmp_path), **PATCH)
    assert len(caught) == 1
    clip = next(iter(data.val_dataloader()))
    assert (clip.truth.shape, clip.low.shape) == ((8, 64, 68, 3), (8, 16, 17, 3))


def test_video_files_are_decoded_once(tmp_path: Path) -> None:
    video = find_videos(REPOSITORY / "demo", "root")[0]
    assert video.name == "bigbuckbunny"
    frames = decoded(video, tmp_path, 6)
    assert frames.shape == (6, 720, 1280, 3)
    np.testing.assert_array_equal(frames[0], next(video.read()))
    written = next(tmp_path.glob("*.npy")).stat().st_mtime_ns
    decoded(video, tmp_path, 6)
    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [written]


def fails(text: str, **roots: str) -> None:
    with pytest.raises(InputError, match=text):
        data = BlindVSRData(**roots, **PATCH)
        data.train_dataloader()


def test_unusable_folders(footage: Path, bundled_frames: list[Frame], tmp_path: Path) -> None:
    fails("no such folder", train_root=str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    fails(r"holds no video; looked for HR/<video>", train_root=str(tmp_path / "empty"))
    draw_video(tmp_path / "short" / "clip", bundled_frames[:4], (0, 0))
    fails("4 frames; a window takes 5", train_root=str(tmp_path / "short"))
    draw_video(tmp_path / "mixed" / "clip", bundled_frames, (0, 0))
    Image.fromarray(bundled_frames[0][:50, :60]).save(tmp_path / "mixed" / "clip" / "00000003.png")
    fails("00000003.png is 60x50, but its video starts with 128x96", train_root=str(tmp_path / "mixed"))
    fails("has no LR_blurdown_x4/ folder; make a test set with: blindvsr degrade", test_root=str(footage))
    fails("train_root is missing", val_root=str(footage))
    with pytest.raises(InputError, match="--data.patch 24 or less"):
        BlindVSRData(train_root=str(footage), patch=28, num_workers=0).train_dataloader()
    with pytest.raises(InputError, match="data.cache"):
        BlindVSRData(train_root=str(REPOSITORY / "demo"))


def test_halves_of_a_test_set_must_match(bundled_frames: list[Frame], tmp_path: Path) -> None:
    draw_video(tmp_path / "HR" / "clip", bundled_frames, (0, 0))
    draw_video(tmp_path / "LR_blurdown_x4" / "clip", bundled_frames[:7], (0, 0), (24, 32))
    with pytest.raises(InputError, match="8 frames in HR/ and 7 in LR_blurdown_x4/"):
        paired_videos(tmp_path, "data.test_root")
    draw_video(tmp_path / "LR_blurdown_x4" / "other", bundled_frames, (0, 0))
    with pytest.raises(InputError, match="video other is in"):
        paired_videos(tmp_path, "data.test_root")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_unreadable_and_truncated_images(bundled_frames: list[Frame], tmp_path: Path, suffix: str) -> None:
    draw_video(tmp_path / "clip", bundled_frames, (0, 0), suffix=suffix)
    image = tmp_path / "clip" / f"00000002{suffix}"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"00000002\{suffix} cannot be read as an image \(truncated"):
        read_image(image)
    image.write_bytes(b"no image at all")
    with pytest.raises(InputError, match="cannot be read as an image"):
        check_frames(find_videos(tmp_path, "root"), "root")


def test_other_pixel_formats(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    alpha = np.dstack((rgb, np.full((20, 30), 128, np.uint8)))
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 256 + 7).save(tmp_path / "grey16.png")
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), rgb)
    for name in ("grey.png", "grey16.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name), np.repeat(rgb[..., :1], 3, axis=2))
