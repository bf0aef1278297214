"""Outputs of other sizes than four times the input, of one image, and as GIF and WebM."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from blindvsr.frames import Frame, read_image, write_image
from blindvsr.network import BlindVSR
from blindvsr.stream import restore
from blindvsr.upscale.size import OutputSize, reduced
from blindvsr.video.reader import VideoReader
from tests.clips import make_video, moving
from tests.upscale.conftest import Upscale


def test_sizes() -> None:
    assert OutputSize().of((25, 33)) == (100, 132)
    assert OutputSize(scale=3).of((25, 33)) == (75, 99)
    assert OutputSize(scale=3).of((25, 33), even=True) == (76, 100)
    assert OutputSize(height=50).of((25, 33)) == (50, 66)


def test_nothing_aliases() -> None:
    """A pattern finer than the smaller frame has room for becomes grey instead of a coarser pattern."""
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    for size in ((48, 48), (72, 72), (32, 32)):
        smaller: Frame = reduced(stripes, size)
        assert smaller.shape == (*size, 3)
        assert np.ptp(smaller[4:-4, 4:-4].astype(int)) < 80  # of 255
    smooth = moving(1, 96, 96)[0]
    area = cv2.resize(smooth, (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced(smooth, (48, 48)).astype(int) - area)[2:-2, 2:-2].max() <= 6
    assert reduced(smooth, (96, 96)) is smooth


@pytest.mark.parametrize(("options", "size"), [(("--scale", 2), (48, 64)), (("--height", 70), (70, 94))])
def test_reduced_from_the_networks_frames(
    tmp_path: Path, upscale: Upscale, net: BlindVSR, folder: Path, options: tuple[object, ...], size: tuple[int, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert upscale(folder, tmp_path / "out.mp4", *options) == 0
    assert VideoReader(tmp_path / "out.mp4").size == size
    assert f"32x24 -> {size[1]}x{size[0]}, " in capsys.readouterr().out
    assert upscale(folder, tmp_path / "out", *options) == 0
    for name, frame in zip("abc", restore(net, moving(3)), strict=True):
        image = read_image(tmp_path / "out" / f"{name}.png")
        assert np.array_equal(image, reduced(frame, OutputSize(*([2] if size[0] == 48 else [4, 70])).of((24, 32))))


def test_one_image(tmp_path: Path, upscale: Upscale, net: BlindVSR) -> None:
    write_image(tmp_path / "photo.png", moving(1)[0])
    assert upscale(tmp_path / "photo.png", tmp_path / "large.png") == 0
    assert np.array_equal(read_image(tmp_path / "large.png"), next(restore(net, moving(1))))


def test_gif_and_webm(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(tmp_path / "in.mkv", moving(5), sound="libopus")
    for name in ("out.gif", "out.webm"):
        assert upscale(source, tmp_path / name) == 0
        result = VideoReader(tmp_path / name)
        assert (result.size, result.frames, result.timing.rate) == ((96, 128), 5, 25)
