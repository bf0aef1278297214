import os
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.io

from blindvsr.cli import main
from blindvsr.degrade import degrade_frame, gaussian_kernel
from blindvsr.frames import Frame, read_image
from blindvsr.video.compression import decode
from tests.conftest import REPOSITORY, draw_video, run_fails


def degrade(hr: Path, out: Path, *options: str) -> None:
    assert main(["degrade", "--hr", str(hr), "--out", str(out), *options]) == 0


def test_gaussian_set(footage: Path, tmp_path: Path) -> None:
    degrade(footage, tmp_path, "--kind", "gaussian", "--sigma", "1.6")
    kernel = scipy.io.loadmat(tmp_path / "kernel" / "left" / "00000003.mat")["kernel"]
    np.testing.assert_array_equal(kernel, gaussian_kernel(1.6))
    hr = read_image(tmp_path / "HR" / "left" / "00000003.png")
    np.testing.assert_array_equal(hr, read_image(footage / "HR" / "left" / "00000003.png"))
    low = read_image(tmp_path / "LR_blurdown_x4" / "left" / "00000003.png")
    np.testing.assert_array_equal(low, degrade_frame(hr, kernel))
    assert len(list((tmp_path / "LR_blurdown_x4" / "right").iterdir())) == 8


def test_an_encoded_set_of_odd_size_fits_what_is_made_of_its_files(
    bundled_frames: list[Frame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Encoders pad odd sides, and a video of 92 rows would be restored to 368 where the truth has 364."""
    draw_video(tmp_path / "hr" / "clip", bundled_frames[:2], (0, 0), (92, 100))
    degrade(tmp_path / "hr", tmp_path / "set", "--kind", "gaussian", "--codec", "libx264")
    assert "cropped to multiples of 8" in capsys.readouterr().err
    with av.open(str(tmp_path / "set" / "encoded" / "clip.mkv")) as container:
        encoded = next(container.decode(video=0))
    truth = read_image(next((tmp_path / "set" / "HR" / "clip").iterdir()))
    assert truth.shape[:2] == (88, 96) == (4 * encoded.height, 4 * encoded.width)


def test_noise_is_seeded_and_an_encoder_leaves_its_file_beside_what_is_decoded_of_it(
    footage: Path, tmp_path: Path
) -> None:
    options = ("--kind", "gaussian", "--noise", "5", "--videos", "left")
    for run, codec in (("noisy", ()), ("again", ()), ("h264", ("--codec", "libx264", "--crf", "28")),
                       ("jpeg", ("--codec", "jpeg", "--quality", "60"))):
        degrade(footage, tmp_path / run, *options, *codec)
    low = {run: read_image(tmp_path / run / "LR_blurdown_x4" / "left" / "00000003.png").astype(float)
           for run in ("noisy", "again", "h264", "jpeg")}
    clean = degrade_frame(read_image(footage / "HR" / "left" / "00000003.png"), gaussian_kernel(1.2))
    assert (low["noisy"] - clean).std() == pytest.approx(5, rel=0.15)
    np.testing.assert_array_equal(low["noisy"], low["again"])
    np.testing.assert_array_equal(low["jpeg"], read_image(tmp_path / "jpeg" / "encoded" / "left" / "00000003.jpg"))
    frames = decode(str(tmp_path / "h264" / "encoded" / "left.mkv"), *low["h264"].shape[:2])
    np.testing.assert_array_equal(low["h264"], list(frames)[3])
    assert len(list((tmp_path / "h264" / "LR_blurdown_x4" / "left").iterdir())) == 8


def test_quality_and_noise_out_of_range(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["degrade", "--hr", str(footage), "--out", str(tmp_path / "out"), "--kind", "gaussian"]
    assert "between 1 and 31" in run_fails([*base, "--codec", "mpeg4", "--crf", "40"], capsys)
    assert "--noise -1" in run_fails([*base, "--noise", "-1"], capsys)
    assert "--preset soon" in run_fails([*base, "--codec", "libx264", "--preset", "soon"], capsys)
    assert "give --codec too" in run_fails([*base, "--crf", "30"], capsys)
    assert not (tmp_path / "out").exists()


def test_realistic_kernels_depend_on_the_seed_and_the_video_alone(footage: Path, tmp_path: Path) -> None:
    def kernel(run: str, video: str) -> np.ndarray:
        return scipy.io.loadmat(tmp_path / run / "kernel" / video / "00000000.mat")["kernel"]

    degrade(footage, tmp_path / "a", "--kind", "realistic", "--seed", "3")
    degrade(footage, tmp_path / "b", "--kind", "realistic", "--seed", "3", "--videos", "right")
    degrade(footage, tmp_path / "c", "--kind", "realistic", "--seed", "4", "--videos", "right")
    assert not np.array_equal(kernel("a", "left"), kernel("a", "right"))
    np.testing.assert_array_equal(kernel("a", "right"), kernel("b", "right"))
    assert not np.array_equal(kernel("a", "right"), kernel("c", "right"))
    assert not (tmp_path / "b" / "HR" / "left").exists()


def test_sides_that_are_no_multiple_of_four(
    bundled_frames: list[Frame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        draw_video(tmp_path / "hr" / name, bundled_frames, (0, 0), (50, 67), ".jpg")
    degrade(tmp_path / "hr", tmp_path / "out", "--kind", "gaussian")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "cropped to multiples of 4" in warnings[0]
    assert "one, two" in warnings[0]
    assert read_image(tmp_path / "out" / "HR" / "one" / "00000000.png").shape == (48, 64, 3)
    assert read_image(tmp_path / "out" / "LR_blurdown_x4" / "one" / "00000000.png").shape == (12, 16, 3)


def test_set_in_place_keeps_its_frames(bundled_frames: list[Frame], tmp_path: Path) -> None:
    draw_video(tmp_path / "HR" / "clip", bundled_frames, (0, 0))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "HR" / "clip").iterdir()}
    degrade(tmp_path / "HR", tmp_path, "--kind", "gaussian")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "HR" / "clip").iterdir()} == before
    assert len(os.listdir(tmp_path / "LR_blurdown_x4" / "clip")) == 8


def test_a_video_file_becomes_frames(tmp_path: Path) -> None:
    degrade(REPOSITORY / "demo" / "bigbuckbunny.mp4", tmp_path, "--kind", "gaussian")
    assert len(os.listdir(tmp_path / "HR" / "bigbuckbunny")) == 60
    assert read_image(tmp_path / "LR_blurdown_x4" / "bigbuckbunny" / "00000059.png").shape == (180, 320, 3)


def test_mistakes(
    footage: Path, bundled_frames: list[Frame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    degrade(footage, tmp_path / "set", "--kind", "gaussian")
    again = ["degrade", "--hr", footage, "--out", tmp_path / "set", "--kind", "gaussian"]
    assert "--overwrite" in run_fails(again, capsys)
    degrade(footage, tmp_path / "set", "--kind", "gaussian", "--overwrite")
    assert "no such video" in run_fails([*again, "--videos", "middle"], capsys)
    assert "--sigma -1.0: " in run_fails([*again, "--overwrite", "--sigma", "-1"], capsys)
    assert "no such folder" in run_fails(
        ["degrade", "--hr", tmp_path / "x", "--out", tmp_path / "y", "--kind", "gaussian"], capsys)
    draw_video(tmp_path / "broken" / "clip", bundled_frames, (0, 0))
    image = tmp_path / "broken" / "clip" / "00000006.png"
    image.write_bytes(image.read_bytes()[:2000])
    line = run_fails(["degrade", "--hr", tmp_path / "broken", "--out", tmp_path / "z", "--kind", "gaussian"], capsys)
    assert "00000006.png" in line
    assert not list((tmp_path / "z").glob("*/*")), "a video that failed leaves nothing behind"
