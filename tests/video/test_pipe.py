"""Between commands: y4m from standard input and to standard output."""

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from blindvsr.network import BlindVSR
from blindvsr.stream import restore
from blindvsr.video.colour import Colour
from blindvsr.video.pipe import write_pipe
from blindvsr.video.reader import VideoReader
from blindvsr.video.timing import Timing
from blindvsr.weights import save_network
from tests.clips import moving
from tests.conftest import REPOSITORY, SMALL


def test_through_pipes(tmp_path: Path) -> None:
    frames = moving(4)
    source = tmp_path / "in.y4m"
    with av.open(str(source), "w", format="yuv4mpegpipe") as file:
        stream = file.add_stream("wrapped_avframe", rate=Fraction(24000, 1001))
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
    net = BlindVSR(SMALL).eval()
    save_network(net, tmp_path / "net.safetensors")
    call = [sys.executable, "-m", "blindvsr", "upscale", "-", "-", "--weights", str(tmp_path / "net.safetensors"),
            "--precision", "32", "--tile", "64"]
    with source.open("rb") as stdin:
        done = subprocess.run(call, stdin=stdin, capture_output=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    assert b"-: 4 frames, 32x24 -> 128x96" in done.stderr
    (tmp_path / "out.y4m").write_bytes(done.stdout)
    result = VideoReader(tmp_path / "out.y4m")
    assert (result.size, result.frames, result.timing.rate) == ((96, 128), 4, Fraction(24000, 1001))
    expected = restore(net, iter(VideoReader(source)), tile=64)
    for frame, other in zip(result, expected, strict=True):
        assert np.abs(frame.mean(2) - other.mean(2)).mean() < 4  # 4:2:0 keeps the brightness
    done = subprocess.run(call, input=b"no video", capture_output=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith("blindvsr: error: INPUT -: no y4m video comes")
    assert not done.stdout


def test_frames_come_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 10 a second: one that lasts 0.3 s comes three times, of two within 0.1 s one is left out."""
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stdout)
    greys = [np.full((16, 16, 3), 40 * number, np.uint8) for number in range(5)]
    timing = Timing(Fraction(10), Fraction(1, 1000), constant=False)
    with write_pipe((16, 16), timing, Colour(), Fraction(1)) as write:
        for frame, ticks in zip(greys, (0, 100, 400, 430, 500), strict=True):
            write(frame, ticks)
    (tmp_path / "out.y4m").write_bytes(stdout.buffer.getvalue())
    assert [round(frame.mean() / 40) for frame in VideoReader(tmp_path / "out.y4m")] == [0, 1, 1, 1, 2, 4]
