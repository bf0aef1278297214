"""Layouts on disk, drawn small: the full sets are too large to ship."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blindvsr import InputError
from blindvsr.datasets import TRAIN_FOLDERS, check_frames, decoded, find_videos, hold_out
from blindvsr.frames import Frame, read_image
from blindvsr.lit.data import BlindVSRData
from tests.clips import make_video, moving
from tests.conftest import REPOSITORY, draw_video

PATCH = {"patch": 16, "num_workers": 0}


def names(root: Path) -> list[str]:
    return [video.name for video in find_videos(root, "root", TRAIN_FOLDERS)]


def test_our_layout_and_bare_folders(footage: Path, bundled_frames: list[Frame], tmp_path: Path) -> None:
    assert names(footage) == names(footage / "HR") == ["left", "right"]
    assert names(footage / "HR" / "left") == ["left"]
    draw_video(tmp_path / "clip", bundled_frames, (0, 0), suffix=".jpg")
    assert len(find_videos(tmp_path, "root")[0].files) == 8


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
    draw_video(tmp_path / "only", [*bundled_frames, *bundled_frames], (0, 0))
    data = BlindVSRData(train_root=str(tmp_path), frames_per_video=8, val_frames=5, **PATCH)
    train, val = data.train_videos[0].files, data.val_videos[0].files
    assert [int(path.stem) for path in (*train, *val)] == [*range(13)]
    with pytest.raises(InputError, match="has 16 frames: 12 to validate on and 5 to train on are the least"):
        BlindVSRData(train_root=str(tmp_path), frames_per_video=8, val_frames=12, **PATCH)


@pytest.fixture
def video_file(tmp_path: Path) -> Path:
    """Sixteen frames that differ, 96x128."""
    return make_video(tmp_path / "clip.mkv", moving(16, 96, 128), codec="ffv1", pix_fmt="yuv444p")


@pytest.mark.parametrize("moving_pairs", [False, True])
def test_a_video_file_is_not_validated_on_its_training_frames(
    video_file: Path, tmp_path: Path, moving_pairs: bool
) -> None:
    data = BlindVSRData(
        train_root=str(video_file), cache=str(tmp_path / "cache"), frames_per_video=10, val_frames=6, batch_size=1,
        moving_pairs=moving_pairs, patch=16, num_workers=0,
    )
    train, val = ([frame.tobytes() for frame in video.read()] for video in (data.train_videos[0], data.val_videos[0]))
    assert (len(train), len(val)) == (10, 6)
    assert not set(train) & set(val)
    used = data.train_dataloader().dataset.footage
    assert {used.frame(0, number).tobytes() for number in range(10)} == set(train)
    if moving_pairs:
        held = data.val_dataloader().dataset.pairs.footage
        assert {held.frame(0, number).tobytes() for number in range(6)} == set(val)
    else:
        assert [frame.tobytes() for frame in next(iter(data.val_dataloader())).truth] == val


def test_of_several_video_files_the_last_is_held_out(video_file: Path, tmp_path: Path) -> None:
    shutil.copyfile(video_file, tmp_path / "other.mkv")
    videos = find_videos(tmp_path, "root")
    train, val = hold_out(videos, 7, 5)
    assert [(video.name, len(list(video.read()))) for video in (*train, *val)] == [("clip", 7), ("other", 5)]


def test_validation_on_training_footage_is_said(footage: Path) -> None:
    with pytest.warns(UserWarning, match="footage that is trained on: left, right"):
        BlindVSRData(train_root=str(footage), val_root=str(footage), **PATCH)


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


def test_frames_that_were_written_anew_are_decoded_anew(bundled_frames: list[Frame], tmp_path: Path) -> None:
    draw_video(tmp_path / "clip", bundled_frames, (0, 0))
    times = (tmp_path / "clip").stat()
    before = decoded(find_videos(tmp_path / "clip", "root")[0], tmp_path / "cache", 8).mean()
    for path in (tmp_path / "clip").iterdir():
        Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(path)
    os.utime(tmp_path / "clip", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert before > 1
    assert decoded(find_videos(tmp_path / "clip", "root")[0], tmp_path / "cache", 8).max() == 0


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
    fails("train_root is missing", val_root=str(footage))
    with pytest.raises(InputError, match="--data.patch 24 or less"):
        BlindVSRData(train_root=str(footage), patch=28, num_workers=0).train_dataloader()
    draw_video(tmp_path / "tiny" / "clip", [*bundled_frames, *bundled_frames], (0, 0), (60, 60))
    fails(r"tiny/clip is 60x60; leave it out", train_root=str(tmp_path / "tiny"))
    with pytest.raises(InputError, match="data.cache"):
        BlindVSRData(train_root=str(REPOSITORY / "demo"))


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
