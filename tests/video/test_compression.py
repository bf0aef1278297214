import numpy as np
import pytest

from blindvsr import InputError
from blindvsr.frames import Frame
from blindvsr.metrics import psnr
from blindvsr.video.compression import check_quality, compressed

CASES = [("libx264", 20, 32), ("libx265", 20, 32), ("mpeg4", 2, 12), ("mpeg2video", 2, 12), ("jpeg", 95, 40)]


@pytest.mark.parametrize("codec, better, worse", CASES)
def test_what_is_decoded_is_the_clip_but_for_the_quality(
    codec: str, better: int, worse: int, bundled_frames: list[Frame]
) -> None:
    clip = np.stack(bundled_frames[:8])[:, 10:81, 20:117]  # odd sides
    similar = []
    for quality in (better, worse):
        decoded = compressed(clip, codec, quality)
        assert decoded.shape == clip.shape and decoded.dtype == np.uint8
        similar.append(np.mean([psnr(a, b) for a, b in zip(decoded, clip, strict=True)]))
    assert similar[0] > similar[1] + 3 and similar[1] > 20


def test_the_same_clip_gives_the_same_bytes(bundled_frames: list[Frame]) -> None:
    clip = np.stack(bundled_frames[:6])[:, :64, :96]
    assert np.array_equal(compressed(clip, "libx264", 28), compressed(clip, "libx264", 28))


@pytest.mark.parametrize("codec, quality, word", [("prores", 1, "libx264"), ("libx264", 52, "51"), ("jpeg", 0, "100")])
def test_what_no_encoder_takes_is_refused(codec: str, quality: int, word: str) -> None:
    with pytest.raises(InputError, match=word):
        check_quality(codec, quality)
