"""Without --weights: the model for what comes in, and the summary says which and why."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blindvsr.upscale.choice import choose_model
from blindvsr.upscale.command import run
from blindvsr.upscale.options import add_arguments
from tests.clips import make_video, moving


def test_by_the_kind_of_input(tmp_path: Path) -> None:
    frame = moving(1)[0]
    for name, expected in (("a.png", "clean"), ("b.tif", "clean"), ("c.jpg", "footage")):
        Image.fromarray(frame).save(tmp_path / name)
        assert choose_model(tmp_path / name)[0] == expected
    assert choose_model(tmp_path) == ("footage", "JPEG images"), "one is enough"
    for codec, pix_fmt, expected in (("libx264", "yuv420p", "footage"), ("mpeg4", "yuv420p", "footage"),
                                     ("mjpeg", "yuvj420p", "footage"), ("ffv1", "yuv420p", "clean")):
        video = make_video(tmp_path / f"{codec}.mkv", moving(2), codec=codec, pix_fmt=pix_fmt)
        assert choose_model(video)[0] == expected, codec


def test_the_summary_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    Image.fromarray(np.ascontiguousarray(moving(1)[0][:16, :16])).save(tmp_path / "a.png")
    assert run(parser.parse_args([str(tmp_path / "a.png"), str(tmp_path / "out")])) == 0
    assert "weights clean (lossless images)" in capsys.readouterr().out
