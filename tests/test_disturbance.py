import numpy as np
import pytest

from blindvsr import InputError
from blindvsr.disturbance import Disturbance, disturbed, with_noise
from blindvsr.frames import Frame


@pytest.fixture
def clip(bundled_frames: list[Frame]) -> np.ndarray:
    return np.stack(bundled_frames[:6])[:, :64, :80].astype(np.float32)


def test_nothing_is_disturbed_by_default(clip: np.ndarray) -> None:
    assert not Disturbance()
    assert np.array_equal(disturbed(clip, Disturbance(), np.random.default_rng(0)), clip.astype(np.uint8))


def test_noise_has_the_level_that_was_asked_for_and_is_new_in_every_frame() -> None:
    grey = np.full((4, 64, 64, 3), 127.5, np.float32)
    noisy = with_noise(grey, 5, False, np.random.default_rng(0)).astype(float)
    assert noisy.std() == pytest.approx(5, rel=0.03)
    assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.05


def test_signal_dependent_noise_grows_with_the_light() -> None:
    dark, bright = (np.full((2, 64, 64, 3), level, np.float32) for level in (32, 128))
    deviations = [with_noise(frames, 6, True, np.random.default_rng(0)).astype(float).std()
                  for frames in (dark, bright)]
    assert deviations[1] / deviations[0] == pytest.approx(2, rel=0.1)  # variance in proportion to the light


def test_the_same_seed_gives_the_same_clip_and_another_seed_another(clip: np.ndarray) -> None:
    always = Disturbance(noisy=1, encoded=1)
    first, again, other = (disturbed(clip, always, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("values", [{"noisy": 1.5}, {"noise": -1}, {"crf": (30, 20)}, {"jpeg": (0, 90)}])
def test_what_is_out_of_range_is_named(values: dict) -> None:
    with pytest.raises(InputError, match=f"disturbance.{next(iter(values))}"):
        Disturbance(**values)
