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

from blindvsr.network import BlindVSR
from blindvsr.weights import save_network
from tests.conftest import REPOSITORY, SMALL

pytestmark = pytest.mark.long
FRAMES = 10_000
MINUTES = float(os.environ.get("BLINDVSR_LONG_MINUTES", 30))


def processes(root: int) -> Iterator[int]:
    """A process and those that it started."""
    yield root
    for children in Path(f"/proc/{root}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from processes(int(child))


def measure(root: int) -> tuple[int, int]:
    """Resident bytes and open files of a process and those that it started."""
    memory = files = 0
    for process in processes(root):
        status = Path(f"/proc/{process}/status").read_text()
        memory += int(status.split("VmRSS:")[1].split()[0]) * 1024
        files += len(os.listdir(f"/proc/{process}/fd"))
    return memory, files


def watched(command: list[str], folder: Path) -> np.ndarray:
    """Runs a command; (seconds, resident bytes, open files) once a second, recorded beside the output."""
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


def assert_flat(points: np.ndarray) -> None:
    """Over the second half of the run memory grows by under 5 % and no files are left open."""
    half = points[len(points) // 2 :]
    seconds, memory, files = half.T
    slope = np.polynomial.Polynomial.fit(seconds, memory, 1).convert().coef[1]
    growth, held = slope * (seconds[-1] - seconds[0]), memory.mean()
    print(f"\n{points[-1, 0]:.0f} s: {held / 2**20:.0f} MiB, {growth / held:+.2%} over the second half, "
          f"{files.min():.0f} to {files.max():.0f} open files")
    assert growth < 0.05 * held
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
    assert_flat(points)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


def test_fit(footage: Path, tmp_path: Path) -> None:
    days, rest = divmod(int(MINUTES * 60), 86400)
    points = watched([
        "fit", "--config", str(REPOSITORY / "configs" / "tiny.yaml"), "--data.train_root", str(footage),
        "--data.patch", "16", "--data.num_workers", "1", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "-1",
        f"--trainer.max_time={days:02}:{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}",
        "--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false",
    ], tmp_path)
    assert points[-1, 0] > 0.9 * 60 * MINUTES
    assert_flat(points)
