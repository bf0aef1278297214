"""Encoders: which one, at what quality, and whether it starts."""

import pytest
import torch

from blindvsr import InputError
from blindvsr.video.encoder import CRF, choose_encoder


def test_usual_ones() -> None:
    assert [choose_encoder(suffix).codec for suffix in (".mp4", ".mkv", ".mov", ".webm", ".gif")] == [
        "libx264", "libx264", "libx264", "libvpx-vp9", "gif",
    ]
    assert choose_encoder(".mp4").options["crf"] == "17"
    assert choose_encoder(".mp4", "libx265", 0).options["crf"] == "0"


@pytest.mark.parametrize(("suffix", "codec", "crf", "said"), [
    (".mp4", "libx264", 51.5, "crf=51.5: the constant rate factor of libx264 is between 0 and 51"),
    (".webm", None, 64, "crf=64: .* libvpx-vp9 is between 0 and 63"),
    (".mp4", None, float("nan"), "crf=nan"),
    (".mkv", "mpeg4", 1, "crf=1: mpeg4 has no constant rate factor; leave it out, or choose one of libx264"),
    (".gif", None, 17, "crf=17: gif has no constant rate factor"),
    (".gif", "libx264", None, "codec=libx264: it does not encode pal8"),
    (".mp4", "libvpx", None, "codec=libvpx: .mp4 cannot hold its video; choose .mkv"),
    (".mkv", "prores_ks", None, "codec=prores_ks: it does not encode yuv420p"),
])
def test_refused(suffix: str, codec: str | None, crf: float | None, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        choose_encoder(suffix, codec, crf)
    assert "\n" not in str(error.value)


def test_quality_without_crf_is_said() -> None:
    assert "quantiser is 2" in (choose_encoder(".mkv", "mpeg4").note or "")
    assert choose_encoder(".mkv", "ffv1").note is None
    assert set(CRF) >= {"libx264", "libx265", "libvpx-vp9"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="its driver is here")
def test_hardware_without_driver() -> None:
    with pytest.raises(InputError, match="codec=h264_nvenc: .*(driver|no such encoder).*libx264"):
        choose_encoder(".mkv", "h264_nvenc")
