"""Cuts: found where two shots meet, and not in flashes, fast pans, noise and real footage."""

from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from blindvsr.cuts import Shots
from blindvsr.frames import Frame, image_files, read_image
from blindvsr.video.reader import read_video
from tests.clips import real_clip
from tests.conftest import REPOSITORY


def starts(frames: list[Frame]) -> list[int]:
    """The frames that a new shot begins with, the first frame left out."""
    shots = Shots()
    numbers = [shots.number(frame) for frame in frames]
    return [place for place, (before, now) in enumerate(pairwise(numbers), 1) if now != before]


def smaller(frame: Frame, factor: int = 4) -> Frame:
    """As the network gets it."""
    return cv2.resize(frame, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


@pytest.fixture
def left(bundled_frames: list[Frame]) -> list[Frame]:
    return [smaller(frame[:, :320], 2) for frame in bundled_frames]


@pytest.fixture
def right(bundled_frames: list[Frame]) -> list[Frame]:
    return [smaller(frame[:, 320:], 2) for frame in bundled_frames]


def test_cuts_of_all_distances(left: list[Frame], right: list[Frame]) -> None:
    assert starts(left) == starts(right) == []
    assert starts([*left[:1], *right]) == [1]
    assert starts([*left, *right[:1]]) == [8]
    assert starts([*left[:3], *right[:1], *left[3:5], *right[1:]]) == [3, 4, 6]
    small = [frame[40:88, 50:114] for frame in [*left[:4], *right[:4]]]
    assert starts(small) == [4]


@pytest.mark.parametrize(("gain", "offset"), [(1.5, 0), (3, 0), (1, 80), (1, 150), (10, 200), (0.3, 0)])
def test_flashes_are_none(left: list[Frame], gain: float, offset: float) -> None:
    flash = (left[4].astype(float) * gain + offset).clip(0, 255).astype(np.uint8)
    assert starts([*left[:4], flash, *left[5:]]) == []
    assert starts([*left[:4], flash, flash, *left[6:]]) == []


def test_fades_are_none_and_black_is_one(left: list[Frame], right: list[Frame]) -> None:
    fade = [(frame * (1 - step / 7)).astype(np.uint8) for step, frame in enumerate(left)]
    assert starts(fade) == []
    black = np.zeros_like(left[0])
    assert starts([*left, black, black, *right]) == [8, 10]
    assert starts([black, *left]) == [], "no shot before it"


def test_pans_are_none(bundled_frames: list[Frame]) -> None:
    """Up to an eighth of the picture's width from frame to frame, with sudden starts and stops."""
    wide = smaller(bundled_frames[0], 2)
    for share in (0.03, 0.06, 0.09, 0.12):
        step = round(share * 160)
        places = [0, 0, *range(0, 160, step)]
        assert starts([wide[:, place : place + 160] for place in [*places, places[-1], *places[::-1]]]) == []


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (180, 320)])
def test_noise_is_none(size: tuple[int, int]) -> None:
    assert starts(list(np.random.default_rng(0).integers(0, 256, (6, *size, 3), dtype=np.uint8))) == []
    assert starts([np.full((*size, 3), level, np.uint8) for level in (0, 255, 90)]) == []


def test_real_footage(data: Path) -> None:
    """No false alarm in 472 frames, and the three cuts of a clip that has some."""
    for clip in sorted((data / "vid4" / "HR").iterdir()):
        assert starts([smaller(read_image(file)) for file in image_files(clip)[:20]]) == [], clip
    assert starts(list(read_video(real_clip("carphone_pristine.mp4")))) == []
    bikes = islice(read_video(real_clip("bikes.mp4")), 140)
    assert starts([smaller(frame) for frame in bikes]) == [30, 76, 137]
    assert starts([smaller(frame) for frame in read_video(REPOSITORY / "demo" / "bigbuckbunny.mp4")]) == []


def test_size_does_not_matter(left: list[Frame], right: list[Frame]) -> None:
    for shape in ((270, 480), (720, 1280), (48, 300)):
        assert starts([cv2.resize(frame, shape[::-1]) for frame in [*left[:2], *right[:2]]]) == [2]
