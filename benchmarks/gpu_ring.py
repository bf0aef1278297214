"""Degraded clips in the memory of a training device: read and made by processes, kept in a ring, cropped there."""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from blindvsr.datasets import WINDOW
from blindvsr.degrade import SCALE, blurred, draw_kernel
from blindvsr.disturbance import Disturbance, disturbed
from blindvsr.frames import read_image
from blindvsr.lit.camera import synthetic_clip
from blindvsr.lit.footage import DRAWS, LEAST_TEXTURE, softened, texture

CENTRES = 3  # windows of an entry
FRAMES = WINDOW + CENTRES - 1
ENCODED_FRAMES = 9  # more than are kept: the place in the group of pictures varies
SIDE = 352  # HR pixels of an entry: its windows' crops are drawn from it
STILLS = 0.5  # share of the clips that are made of photographs

Clip = NDArray[np.uint8]


class Entries(IterableDataset[dict[str, Tensor]]):
    """Degraded clips without end: {"low": uint8 (7, 88, 88, 3), "high": uint8 (3, 352, 352, 3), "kernel": (1, 13, 13)}.

    `high` are the true frames 2 to 4 of the seven.
    """

    def __init__(self, clips: list[Clip], stills: list[Clip], disturbance: Disturbance, soft: float,
                 seed: int) -> None:
        self.clips, self.stills, self.disturbance, self.soft, self.seed = clips, stills, disturbance, soft, seed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        number = worker
        while True:
            yield self.entry(np.random.default_rng((self.seed, number)))
            number += workers

    def entry(self, rng: np.random.Generator) -> dict[str, Tensor]:
        for _ in range(DRAWS):
            high = self._still(rng) if not self.clips or rng.random() < STILLS else self._clip(rng)
            if texture(high[len(high) // 2]) > LEAST_TEXTURE:
                break
        if rng.random() < self.soft:
            high = softened(high, rng)
        kernel = draw_kernel("mixed", rng)
        low = disturbed(blurred(high, kernel), self.disturbance, rng)
        start = int(rng.integers(ENCODED_FRAMES - FRAMES + 1))
        first = start + WINDOW // 2
        return {"low": torch.from_numpy(low[start : start + FRAMES].copy()),
                "high": torch.from_numpy(high[first : first + CENTRES].copy()),
                "kernel": torch.from_numpy(kernel[None]).float()}

    def _still(self, rng: np.random.Generator) -> Clip:
        one, other = (self.stills[i] for i in rng.integers(len(self.stills), size=2))
        return _turned(synthetic_clip(one, other, ENCODED_FRAMES, SIDE, rng), rng)

    def _clip(self, rng: np.random.Generator) -> Clip:
        clip = self.clips[rng.integers(len(self.clips))]
        largest = min(1.5, clip.shape[1] / SIDE, clip.shape[2] / SIDE)
        side = round(SIDE * rng.uniform(1, largest)) if rng.random() < 0.3 else SIDE
        start, top, left = (int(rng.integers(whole - part + 1)) for whole, part in
                            zip(clip.shape[:3], (ENCODED_FRAMES, side, side), strict=True))
        part = clip[start : start + ENCODED_FRAMES, top : top + side, left : left + side]
        if side > SIDE:
            part = np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in part])
        return _turned(part[:: 1 if rng.random() < 0.5 else -1], rng)


def _turned(clip: Clip, rng: np.random.Generator) -> Clip:
    if rng.random() < 0.5:
        clip = clip[:, :, ::-1]
    return np.ascontiguousarray(np.rot90(clip, int(rng.integers(4)), axes=(1, 2)))


def read_footage(root: Path) -> tuple[list[Clip], list[Clip]]:
    """Clips (N, H, W, 3) and photographs (H, W, 3) under a folder; what is too small for an entry is left out."""
    folders = sorted(path for path in (root / "HR").glob("*") if path.is_dir())
    with ThreadPoolExecutor(8) as pool:
        clips = [np.stack(list(pool.map(read_image, sorted(folder.iterdir())))) for folder in folders]
        stills = list(pool.map(read_image, sorted((root / "stills").glob("*"))))
    clips = [clip for clip in clips if min(clip.shape[1:3]) >= SIDE and len(clip) >= ENCODED_FRAMES]
    return clips, [still for still in stills if min(still.shape[:2]) >= SIDE]


class Ring:
    """The latest entries, in the device's memory; a thread waits for the loader, `refill` copies what has come."""

    def __init__(self, loader: DataLoader[dict[str, Tensor]], size: int, device: torch.device) -> None:
        low = SIDE // SCALE
        self.low = torch.zeros(size, FRAMES, low, low, 3, dtype=torch.uint8, device=device)
        self.high = torch.zeros(size, CENTRES, SIDE, SIDE, 3, dtype=torch.uint8, device=device)
        self.kernel = torch.zeros(size, 1, 13, 13, device=device)
        self.filled = torch.zeros((), device=device)  # read by the captured steps
        self.size, self.count = size, 0
        self.incoming: queue.Queue[dict[str, Tensor]] = queue.Queue(64)
        self.ended = False
        self.receiver = threading.Thread(target=self._receive, args=(loader,), daemon=True)
        self.receiver.start()

    def _receive(self, loader: DataLoader[dict[str, Tensor]]) -> None:
        for batch in loader:
            while not self.ended:
                try:
                    self.incoming.put(batch, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if self.ended:
                return

    def close(self) -> None:
        """Lets the loader end its processes: left to the interpreter's end, they outlive it and hold its memory."""
        self.ended = True
        self.receiver.join(30)

    def refill(self, wait: bool = False, most: int = 4) -> None:
        for _ in range(most):
            try:
                batch = self.incoming.get(wait, 60 if wait else None)
            except queue.Empty:
                return
            places = torch.arange(self.count, self.count + len(batch["low"])) % self.size
            first, last = int(places[0]), int(places[-1])
            if last < first:  # wraps: a short batch is dropped rather than split
                self.count += len(places)
                continue
            for name in ("low", "high", "kernel"):
                getattr(self, name)[first : last + 1].copy_(batch[name], non_blocking=True)
            self.count += len(places)
            self.filled.fill_(min(self.count, self.size))

    def draw(self, count: int, patch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random crops: clips (B, 5, 3, P, P) and truths (B, 3, 4P, 4P) in [0, 1], kernels (B, 1, 13, 13)."""
        device, low = self.low.device, SIDE // SCALE
        entry = (torch.rand(count, device=device) * self.filled).long()
        centre = (torch.rand(count, device=device) * CENTRES).long()
        top, left = ((torch.rand(2, count, device=device) * (low - patch + 1)).long())
        pixels = torch.arange(patch, device=device)
        rows, columns = top[:, None] + pixels, left[:, None] + pixels
        times = centre[:, None] + torch.arange(WINDOW, device=device)
        clip = self.low[entry[:, None, None, None], times[:, :, None, None], rows[:, None, :, None],
                        columns[:, None, None, :]]
        pixels = torch.arange(SCALE * patch, device=device)
        rows, columns = SCALE * top[:, None] + pixels, SCALE * left[:, None] + pixels
        truth = self.high[entry[:, None, None], centre[:, None, None], rows[:, :, None], columns[:, None, :]]
        return (clip.permute(0, 1, 4, 2, 3).float() / 255, truth.permute(0, 3, 1, 2).float() / 255, self.kernel[entry])
