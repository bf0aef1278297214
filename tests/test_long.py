"""Long runs stay flat: memory and open files of commands that work for half an hour (`pytest -m long -s`)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from blindvsr.network import BlindVSR
from blindvsr.weights import save_network
from tests.conftest import SMALL
from tests.lit.test_commands import fit_arguments

pytestmark = pytest.mark.long
FRAMES = 10_000
MINUTES = float(os.environ.get("BLINDVSR_LONG_MINUTES", 30))
WARM_UP = 180.0  # seconds: measured, after 120 nothing rises any more
GROWTH = 8 * 2**20  # bytes: what is measured of a run that keeps nothing wavers by 1 MiB


def processes(root: int) -> Iterator[int]:
    """A process and those that it started."""
    yield root
    for children in Path(f"/proc/{root}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from processes(int(child))


def measure(root: int) -> tuple[int, int]:
    """Bytes and open files of a process and those that it started.

    What it maps of files is left out, since the system takes that back as it likes; what is swapped out counts.
    """
    memory = files = 0
    for process in processes(root):
        status = Path(f"/proc/{process}/status").read_text()
        memory += 1024 * sum(int(status.split(f"{kind}:")[1].split()[0]) for kind in ("RssAnon", "RssShmem", "VmSwap"))
        files += len(os.listdir(f"/proc/{process}/fd"))
    return memory, files


def watched(command: list[str], folder: Path) -> np.ndarray:
    """Runs a command; (seconds, bytes, open files) once a second, recorded beside the output."""
    begun, points = time.monotonic(), []
    running = subprocess.Popen([sys.executable, "-m", "blindvsr", *command], stderr=subprocess.DEVNULL)
    try:
        while running.poll() is None:
            try:
                points.append((time.monotonic() - begun, *measure(running.pid)))
            except (OSError, IndexError):  # a process ended while it was looked at
                pass
            time.sleep(1)
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
    assert running.returncode == 0
    np.savetxt(folder / "points.csv", points, "%.0f", ",")
    return np.array(points)


def assert_flat(points: np.ndarray, warm_up: float, steps: int) -> None:
    """After so many seconds memory grows by under GROWTH, and no files are left open.

    Until then the allocator, the loader's process and whatever writes checkpoints and curves take what they keep.

    Args:
        points: of `watched`.
        warm_up: seconds.
        steps: of the whole run: what is kept of each would show as bytes a step.
    """
    settled = points[points[:, 0] >= warm_up]
    assert len(settled) > 50, f"{points[-1, 0]:.0f} s are too few to measure anything after {warm_up:.0f} s"
    seconds, memory, files = settled.T
    slope = np.polynomial.Polynomial.fit(seconds, memory, 1).convert().coef[1]
    growth = slope * (seconds[-1] - seconds[0])
    print(f"\n{points[-1, 0]:.0f} s, {steps} steps: {memory.mean() / 2**20:.0f} MiB after {warm_up:.0f} s, from then "
          f"on {growth / 2**20:+.1f} MiB ({slope * points[-1, 0] / steps:+.0f} bytes a step), {files.min():.0f} to "
          f"{files.max():.0f} open files")
    assert growth < GROWTH
    fifth = len(files) // 5
    assert np.median(files[-fifth:]) <= np.median(files[:fifth])


def test_upscale(tmp_path: Path) -> None:
    save_network(BlindVSR(SMALL), tmp_path / "net.safetensors")
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        for t in range(FRAMES):
            top, left = t % 32, 2 * t % 48
            picture = np.ascontiguousarray(noise[top : top + 32, left : left + 48])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    points = watched(["upscale", str(tmp_path / "in.mp4"), str(tmp_path / "out.mkv"), "--weights",
                      str(tmp_path / "net.safetensors"), "--device", "cpu"], tmp_path)
    assert_flat(points, points[-1, 0] / 3, FRAMES)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


def test_fit(footage: Path, tmp_path: Path) -> None:
    """A small network: many thousand steps, and some hundred epochs with validation and checkpoints."""
    days, rest = divmod(int(MINUTES * 60), 86400)
    points = watched([
        *fit_arguments(footage, tmp_path), "--data.num_workers=1", "--data.batches_per_epoch=50",
        "--trainer.log_every_n_steps=10", "--trainer.accelerator=cpu", "--trainer.max_epochs=-1",
        f"--trainer.max_time={days:02}:{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}",
    ], tmp_path)
    assert points[-1, 0] > 0.9 * 60 * MINUTES
    (last,) = tmp_path.glob("**/last.ckpt")
    points = points[points[:, 0] < 60 * MINUTES]  # after that the loader's process ends
    assert_flat(points, WARM_UP, torch.load(last, weights_only=True)["global_step"])
