"""`blindvsr upscale --resume`: jobs killed in processes of their own go on, and end as unbroken ones."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from blindvsr import InputError
from blindvsr.network import BlindVSR
from blindvsr.upscale.journal import Journal
from blindvsr.video.writer import SEGMENT
from blindvsr.weights import save_network
from tests.clips import make_video, moving, packets, shown_at
from tests.conftest import heed_signals, run_fails
from tests.upscale.conftest import TINY, Upscale

LENGTH = SEGMENT + 25


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Longer than a segment, with sound."""
    return make_video(tmp_path_factory.mktemp("clip") / "in.mp4", moving(LENGTH), sound="aac")


def start(clip: Path, target: Path, weights: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "blindvsr", "upscale", str(clip), str(target), "--weights", str(weights),
               "--precision", "32", "--save_kernel", str(target.parent / "kernel.mat"), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            preexec_fn=heed_signals)


def kill_after(job: subprocess.Popen[bytes], target: Path, number: int = signal.SIGKILL) -> None:
    """Kills a job that has finished a segment."""
    file = target.with_name(f".{target.name}.unfinished") / "000000.npz"
    while not file.exists():
        assert job.poll() is None
        time.sleep(0.01)
    job.send_signal(number)
    job.wait()


def assert_same(one: Path, other: Path) -> None:
    """Frames, times, sound and kernels of two jobs."""
    if one.is_dir():
        assert [file.name for file in sorted(one.iterdir())] == [file.name for file in sorted(other.iterdir())]
        assert all(file.read_bytes() == (other / file.name).read_bytes() for file in one.iterdir())
    else:
        assert packets(one, "video") == packets(other, "video")
        assert packets(one, "audio") == packets(other, "audio")
        assert shown_at(one) == shown_at(other) and len(shown_at(one)) == LENGTH
    assert (one.parent / "kernel.mat").read_bytes()[128:] == (other.parent / "kernel.mat").read_bytes()[128:]


@pytest.fixture(scope="module")
def unbroken(clip: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a job makes that nothing interrupts."""
    target = tmp_path_factory.mktemp("unbroken") / "out.mkv"
    assert start(clip, target, weights).wait() == 0
    return target


def test_a_killed_job_goes_on(
    clip: Path, weights: Path, unbroken: Path, tmp_path: Path, upscale: Upscale, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.mkv"
    kill_after(start(clip, target, weights), target)
    left = tmp_path / ".out.mkv.unfinished"
    assert not target.exists() and left.is_dir()
    before = (left / "000000.npz").stat().st_mtime_ns

    same = ["--precision", "32", "--save_kernel", tmp_path / "kernel.mat", "--resume"]
    other = weights.with_name("other.safetensors")
    save_network(BlindVSR(TINY), other)
    error = run_fails(["upscale", clip, target, "--weights", other, *same], capsys)
    assert "--resume" in error and "weights was" in error
    assert "crf 20" in run_fails(["upscale", clip, target, "--weights", weights, "--crf", "20", *same], capsys)
    assert (left / "000000.npz").stat().st_mtime_ns == before

    assert upscale(clip, target, "--resume", "--save_kernel", tmp_path / "kernel.mat") == 0
    assert f"{LENGTH} frames ({SEGMENT} kept from before)" in capsys.readouterr().out
    assert_same(target, unbroken)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["kernel.mat", "kernel.png", "out.mkv"]


def test_without_resume_a_job_begins_anew_and_nothing_piles_up(
    clip: Path, weights: Path, tmp_path: Path, upscale: Upscale, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.mp4"
    kill_after(start(clip, target, weights), target)
    capsys.readouterr()
    assert upscale(clip, target) == 0
    assert f"{SEGMENT} frames of an interrupted job are removed" in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["out.mp4"]


def test_an_interrupted_job_keeps_what_it_has_where_it_shall_be_resumed(
    clip: Path, weights: Path, tmp_path: Path, upscale: Upscale
) -> None:
    images = tmp_path / "out"
    kill_after(start(clip, images, weights, "--resume"), images, signal.SIGHUP)
    left = tmp_path / ".out.unfinished"
    assert (left / "000000.npz").is_file()
    broken = sorted((left / "frames").iterdir())[SEGMENT // 2]
    broken.write_bytes(broken.read_bytes()[:-40])  # the disk was full, say
    assert upscale(clip, images, "--resume", "--save_kernel", tmp_path / "kernel.mat") == 0
    assert len(list(images.iterdir())) == LENGTH and not left.exists()


def test_a_journal_is_one_jobs_alone(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    with Journal(target, {"input": "a"}, True):
        with pytest.raises(InputError, match="another job is writing"):
            Journal(target, {"input": "a"}, True)
    foreign = tmp_path / ".other.mkv.unfinished"
    foreign.mkdir()
    (foreign / "thesis.doc").write_text("mine")
    with pytest.raises(InputError, match="move it away"):
        Journal(tmp_path / "other.mkv", {"input": "a"}, False)
    assert (foreign / "thesis.doc").read_text() == "mine"


def test_a_broken_segment_is_done_again(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt), Journal(target, {}, True) as journal:
        for value in range(3):
            journal.add({"value": np.array(value)})
        raise KeyboardInterrupt
    file = tmp_path / ".out.mkv.unfinished" / "000001.npz"
    file.write_bytes(file.read_bytes()[:100])
    with Journal(target, {}, True) as journal:
        assert [int(segment["value"]) for segment in journal] == [0]
        assert journal.frames == SEGMENT and not file.exists()


@pytest.mark.long
def test_twenty_kills(clip: Path, weights: Path, unbroken: Path, tmp_path: Path) -> None:
    """At random moments from the start of the process to its end."""
    begun = time.monotonic()
    assert start(clip, tmp_path / "first.mkv", weights).wait() == 0
    length, chance = time.monotonic() - begun, random.Random(0)
    for number in range(20):
        target = tmp_path / str(number) / "out.mkv"
        target.parent.mkdir()
        job = start(clip, target, weights, "--resume")
        time.sleep(chance.uniform(0, length))
        job.kill()
        job.wait()
        assert start(clip, target, weights, "--resume", "--overwrite").wait() == 0
        assert_same(target, unbroken)
        assert not list(target.parent.glob(".*"))
        with av.open(str(target)) as video:
            assert sum(1 for _ in video.decode(video=0)) == LENGTH
