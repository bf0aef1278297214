"""What the parts of gpu.py share: where they run and until when, their clock, their networks and frames."""

import copy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from restore import frames as moving_frames
from torch import Tensor

from blindvsr.frames import Frame
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.weights import load_network

REPOSITORY = Path(__file__).parents[1]
sys.path.append(str(REPOSITORY))  # for the weights of the fixtures
from tests.official import official_weights  # noqa: E402

BUNDLED = REPOSITORY / "blindvsr" / "models" / "clean.safetensors"
LITTLE = NetConfig(num_features=8, extract_blocks=1, recon_blocks=2, flow_width=0.1)
QUEUE = 5_000_000  # cycles, some milliseconds

Row = dict[str, Any]
Case = tuple[str, Callable[[], Row]]


@dataclass(frozen=True)
class Setting:
    """Where a part runs and how long.

    Attributes:
        device: "cuda" or "cpu"; on the latter sizes are small: it rehearses.
        deadline: when the part is stopped, of `time.monotonic`.
        out: folder for what the part leaves behind.
        data: folder of footage to train on, if there is one.
    """

    device: str
    deadline: float
    out: Path
    data: Path | None = None

    @property
    def rehearsal(self) -> bool:
        return self.device == "cpu"

    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, work: Callable[[], object], seconds: float = 1.0, queued: bool = False) -> float:
        """Median time of a call after two to warm up, by the device's own clock.

        Args:
            work: what to time.
            seconds: for how long to repeat it, three times at least.
            queued: keeps the device busy until the call is queued, so that the time to launch does not count.
        """
        rounds = 1 if self.rehearsal else 3
        for _ in range(min(rounds, 2)):
            work()
        times: list[float] = []
        end = time.monotonic() + (0.0 if self.rehearsal else min(seconds, self.left() / 4))
        while len(times) < rounds or len(times) < 50 and time.monotonic() < end:
            times.append(self._once(work, queued))
        return median(times)

    def _once(self, work: Callable[[], object], queued: bool) -> float:
        if self.device == "cpu":
            start = time.perf_counter()
            work()
            return (time.perf_counter() - start) * 1e3
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        if queued:
            torch.cuda._sleep(QUEUE)
        first.record()
        work()
        last.record()
        last.synchronize()
        return first.elapsed_time(last)

    def reset_peak(self) -> None:
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float | None:
        """MiB of tensors at most since `reset_peak`; on a CPU nobody counts."""
        return torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else None

    def autocast(self, dtype: torch.dtype | None) -> torch.autocast:
        return torch.autocast(self.device, dtype, enabled=dtype is not None)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether convolutions and products of float32 may be rounded to TF32; torch's default is convolutions alone."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def network(name: str, device: str) -> BlindVSR:
    """A new copy of the network "published", with the weights of the fixtures, or "bundled"."""
    return copy.deepcopy(_loaded(name)).to(device)


def timed_network(name: str, setting: Setting) -> BlindVSR:
    """The same; a little one takes its place in a rehearsal."""
    return BlindVSR(LITTLE).eval() if setting.rehearsal else network(name, setting.device)


@cache
def _loaded(name: str) -> BlindVSR:
    if name == "bundled":
        return load_network(BUNDLED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "official.pt"
        torch.save(official_weights(), path)
        return load_network(path)


@cache
def video(width: int, height: int, count: int = 4) -> list[Frame]:
    """Frames of a moving pattern."""
    return moving_frames(count, height, width)


def clip(width: int, height: int, batch: int, setting: Setting) -> Tensor:
    """(B, 5, 3, H, W), RGB in [0, 1], on the device."""
    frames = torch.from_numpy(np.stack(video(width, height, 5))).to(setting.device)
    return (frames.permute(0, 3, 1, 2).float() / 255).expand(batch, -1, -1, -1, -1).contiguous()


def psnr(first: Tensor, second: Tensor) -> float:
    """dB, of tensors in about [0, 1]."""
    error = (first.double() - second.double()).square().mean()
    return float(-10 * torch.log10(error.clamp(min=1e-20)))
