import cv2
import numpy as np
import pytest

from blindvsr.frames import Frame
from blindvsr.lit.camera import camera_path, synthetic_clip

FRAMES, SIDE = 7, 96


@pytest.fixture
def photographs(bundled_frames: list[Frame]) -> tuple[np.ndarray, np.ndarray]:
    return bundled_frames[0], bundled_frames[-1]


def test_the_middle_frame_of_a_path_is_the_photograph_itself() -> None:
    for seed in range(20):
        path = camera_path(np.random.default_rng(seed), FRAMES, SIDE)
        assert np.allclose(path[FRAMES // 2], np.eye(3), atol=1e-12)
        steps = [np.hypot(*(m[:2] @ [SIDE / 2, SIDE / 2, 1] - SIDE / 2)) for m in path]
        assert max(steps) < 24 * 2 * (FRAMES // 2)


def test_frames_follow_the_path_to_a_fraction_of_a_pixel(photographs: tuple[np.ndarray, np.ndarray]) -> None:
    image = cv2.GaussianBlur(photographs[0], (0, 0), 1.5)
    rng = np.random.default_rng(5)
    matrix = camera_path(rng, FRAMES, SIDE)[FRAMES // 2 + 1]
    seen = cv2.warpPerspective(image, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    y, x = 40, 50
    place = matrix @ [x, y, 1]
    place = place[:2] / place[2]
    expected = cv2.getRectSubPix(image, (1, 1), (float(place[0]), float(place[1])))[0, 0]
    assert np.abs(seen[y, x].astype(float) - expected).max() < 4


def test_clips_move_and_follow_their_seed(photographs: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = photographs
    clips = [synthetic_clip(one, other, FRAMES, SIDE, np.random.default_rng(seed)) for seed in range(12)]
    again = synthetic_clip(one, other, FRAMES, SIDE, np.random.default_rng(0))
    assert np.array_equal(clips[0], again) and clips[0].shape == (FRAMES, SIDE, SIDE, 3)
    moved = [np.abs(clip[0].astype(int) - clip[-1]).mean() for clip in clips]
    assert np.median(moved) > 2
