"""Trains the bundled model on one GPU for a given time: the same objective, network and degradations as
configs/bundled/, with everything that a step needs on the device.

    python benchmarks/gpu_train.py --data DIR --init FILE --out DIR --seconds 400

DIR holds HR/<clip>/<frame>.jpg and stills/<photograph>.jpg. Worker processes make degraded clips and a ring of them
lies in the device's memory; each step crops its batch out of that ring, and is replayed as one CUDA graph.
"""

import argparse
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from blindvsr.degrade import SCALE, blur_down, draw_kernel
from blindvsr.disturbance import Disturbance, disturbed
from blindvsr.lit.camera import synthetic_clip
from blindvsr.lit.footage import DRAWS, LEAST_TEXTURE, texture
from blindvsr.losses import kernel_distance, self_supervised, supervised
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.weights import load_network, save_network

WINDOW, CENTRES = 5, 3  # frames of a window, and windows of an entry
FRAMES = WINDOW + CENTRES - 1
ENCODED_FRAMES = 9  # more than are kept: the place in the group of pictures varies
SIDE = 352  # HR pixels of an entry: its windows' crops are drawn from it
DISTURBANCE = Disturbance(noisy=0.2, noise=8.0, encoded=0.42, crf=(16, 32), jpeg=(35, 95))
STILLS = 0.5  # share of the clips that are made of photographs
WARM_UP = 0.02  # of the time
DECAY = 0.999  # of the averaged weights
LARGEST_NORM = 1.0  # of the gradient

Clip = NDArray[np.uint8]


class Entries(IterableDataset[dict[str, Tensor]]):
    """Degraded clips without end: {"low": uint8 (7, 88, 88, 3), "high": uint8 (3, 352, 352, 3), "kernel": (1, 13, 13)}.

    `high` are the true frames 2 to 4 of the seven.
    """

    def __init__(self, clips: list[Clip], stills: list[Clip], disturbance: Disturbance, seed: int) -> None:
        self.clips, self.stills, self.disturbance, self.seed = clips, stills, disturbance, seed

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
        kernel = torch.from_numpy(draw_kernel("mixed", rng)).float()
        frames = torch.from_numpy(high).permute(0, 3, 1, 2)[None].float()
        low = blur_down(frames, kernel[None, None])[0].permute(0, 2, 3, 1).clamp(0, 255).numpy()
        low = disturbed(low, self.disturbance, rng)
        start = int(rng.integers(ENCODED_FRAMES - FRAMES + 1))
        first = start + WINDOW // 2
        return {"low": torch.from_numpy(low[start : start + FRAMES].copy()),
                "high": torch.from_numpy(high[first : first + CENTRES].copy()), "kernel": kernel[None]}

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


def _read(path: Path) -> Clip:
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.asarray(image[..., ::-1], np.uint8)


def read_footage(root: Path) -> tuple[list[Clip], list[Clip]]:
    """Clips (N, H, W, 3) and photographs (H, W, 3) under a folder; what is too small for an entry is left out."""
    folders = sorted(path for path in (root / "HR").glob("*") if path.is_dir())
    with ThreadPoolExecutor(8) as pool:
        clips = [np.stack(list(pool.map(_read, sorted(folder.iterdir())))) for folder in folders]
        stills = list(pool.map(_read, sorted((root / "stills").glob("*"))))
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


def grown(net: BlindVSR, config: NetConfig) -> BlindVSR:
    """A larger network that does what `net` does: its new channels feed nothing yet, its new blocks change nothing.

    Args:
        net: at most as wide and as deep as `config`, with the same flow network.
        config: of the larger network.
    """
    large = BlindVSR(config)
    old_width, width = net.config.num_features, config.num_features
    state = large.state_dict()
    for name, value in state.items():  # new blocks change nothing
        if name.endswith(".conv2.weight") or name.endswith(".conv2.bias"):
            value.zero_()
    for name, old in net.state_dict().items():
        new = state[name]
        if new.shape == old.shape:
            new.copy_(old)
        elif old.ndim == 1:
            new[: len(old)] = old
        else:
            frames = config.num_frames if name == "fuse.weight" else 1
            parts = new.unflatten(1, (frames, -1))
            old_parts = old.unflatten(1, (frames, -1))
            parts[: old.shape[0], :, old_parts.shape[2] :] = 0
            parts[: old.shape[0], :, : old_parts.shape[2]] = old_parts
    assert old_width <= width
    large.load_state_dict(state)
    return large


@dataclass
class Stage:
    """A part of the training: until that share of the time, batches of that many patches of that side."""

    until: float
    batch: int
    patch: int
    flow: bool  # whether the flow network learns too


class Training:
    """One network, its optimizer and its averaged weights."""

    def __init__(self, net: BlindVSR, ring: Ring, objective: str, rates: dict[str, float]) -> None:
        self.net, self.ring, self.objective, self.rates = net, ring, objective, rates
        self.device = next(net.parameters()).device
        groups: dict[str, list[Tensor]] = {"network": [], "kernel_net": [], "flow_net": []}
        for name, parameter in net.named_parameters():
            groups[name.split(".")[0] if name.split(".")[0] in groups else "network"].append(parameter)
        capturable = self.device.type == "cuda"
        self.optimizer = torch.optim.Adam(
            [{"params": parameters, "lr": torch.zeros((), device=self.device) if capturable else 0.0, "name": name}
             for name, parameters in groups.items()],
            betas=(0.9, 0.99), capturable=capturable, fused=capturable or None)
        self.parameters = list(net.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.curve = torch.zeros(3, device=self.device)  # running means: loss, squared error, kernel distance
        self.steps = 0

    def set_rate(self, progress: float) -> None:
        factor = min(1.0, progress / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0)))
        for group in self.optimizer.param_groups:
            rate = self.rates[group["name"]] * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def step(self, batch: int, patch: int) -> None:
        self.optimizer.zero_grad()
        clip, truth, kernel = self.ring.draw(batch, patch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            error = kernel.new_zeros(())
            if self.objective == "supervised":
                self.net.kernel_net.requires_grad_(False)  # its own term below, in float32
                losses, restored = supervised(self.net, clip, truth, kernel)
                self.net.kernel_net.requires_grad_(True)
                error = (restored.detach().float() - truth)[..., 4:-4, 4:-4].square().mean()
            else:
                losses = self_supervised(self.net, clip)
        distance = kernel_distance(self.net.estimate_kernel(clip), kernel)
        if self.objective == "supervised":
            losses["kernel"] = 0.05 * distance
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], LARGEST_NORM, foreach=True)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - DECAY)
            self.curve.lerp_(torch.stack((loss.detach(), error, distance.detach())), 0.01)

    def run(self, stages: list[Stage], saved: Callable[[float], None], seconds: float, steps: int | None,
            every: float = 60) -> None:
        """Trains for so many seconds, or for so many steps; every stage for its share."""
        began = last = time.perf_counter()
        progress = 0.0
        for stage in stages:
            self.net.flow_net.requires_grad_(stage.flow)
            self.set_rate(max(1e-3, progress))
            replay = self._captured(stage)
            while progress < stage.until:
                self.ring.refill()
                self.set_rate(progress)
                replay()
                self.steps += 1
                if self.steps % 32 == 0 and self.device.type == "cuda":
                    torch.cuda.synchronize()  # so that the clock is that of the device
                now = time.perf_counter()
                progress = self.steps / steps if steps else (now - began) / seconds
                if now - last > every:
                    saved(now - began)
                    last = now
        saved(time.perf_counter() - began)

    def _captured(self, stage: Stage) -> Callable[[], Any]:
        if self.device.type != "cuda":
            return lambda: self.step(stage.batch, stage.patch)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step(stage.batch, stage.patch)
        torch.cuda.current_stream().wait_stream(stream)
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # another thread pins memory
                self.step(stage.batch, stage.patch)
            return graph.replay
        except Exception as error:  # slower, but it trains
            print("no CUDA graph:", repr(error), flush=True)
            torch.cuda.synchronize()
            return lambda: self.step(stage.batch, stage.patch)

    def averaged(self) -> BlindVSR:
        net = BlindVSR(self.net.config)
        with torch.no_grad():
            for parameter, value in zip(net.parameters(), self.average, strict=True):
                parameter.copy_(value)
        return net


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with HR/ and stills/")
    parser.add_argument("--init", type=Path, required=True, help="weights to start from; grown to the network's size")
    parser.add_argument("--out", type=Path, required=True, help="gets the weights and curve.json")
    parser.add_argument("--seconds", type=float, default=400, help="of training (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="of training, instead of seconds")
    parser.add_argument("--fresh", action="store_true", help="only flow and kernel start from --init")
    parser.add_argument("--objective", choices=("supervised", "self_supervised"), default="supervised")
    parser.add_argument("--clean", action="store_true", help="blur alone, no noise and no encoder")
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--extract_blocks", type=int, default=1)
    parser.add_argument("--recon_blocks", type=int, default=12)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--flow_from", type=float, default=0.5, help="share of the time with the flow network frozen")
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--flow_lr", type=float, default=5e-5)
    parser.add_argument("--kernel_lr", type=float, default=5e-4)
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--ring", type=int, default=16384)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    began = time.perf_counter()
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    clips, stills = read_footage(options.data)
    print(f"{len(clips)} clips, {len(stills)} photographs, {time.perf_counter() - began:.1f} s", flush=True)
    disturbance = Disturbance() if options.clean else DISTURBANCE
    loader = DataLoader(Entries(clips, stills, disturbance, options.seed), 4, num_workers=options.workers,
                        pin_memory=device.type == "cuda", prefetch_factor=4)
    ring = Ring(loader, options.ring, device)
    old = load_network(options.init)
    config = NetConfig(num_features=options.features, extract_blocks=options.extract_blocks,
                       recon_blocks=options.recon_blocks, flow_width=old.config.flow_width)
    if options.fresh:
        start = BlindVSR(old.config)
        start.flow_net, start.kernel_net = old.flow_net, old.kernel_net
        old = start
    net = grown(old, config).to(device).train().to(memory_format=torch.channels_last)
    while ring.count < min(options.ring, 4 * options.batch):
        ring.refill(wait=True)
    print(f"{ring.count} entries, {time.perf_counter() - began:.1f} s", flush=True)
    training = Training(net, ring, options.objective,
                        {"network": options.lr, "kernel_net": options.kernel_lr, "flow_net": options.flow_lr})
    curve: list[dict[str, float]] = []

    def saved(seconds: float) -> None:
        loss, error, distance = training.curve.tolist()
        curve.append({"seconds": seconds, "steps": training.steps, "loss": loss,
                      "psnr": -10 * math.log10(error + 1e-10), "kernel": distance, "entries": ring.count})
        print(json.dumps(curve[-1]), flush=True)
        if math.isfinite(loss):
            save_network(training.averaged(), options.out / "averaged.safetensors")
        (options.out / "curve.json").write_text(json.dumps(curve, indent=1))

    small = max(1, options.batch * options.patch**2 // (SIDE // SCALE) ** 2)
    stages = [Stage(options.flow_from, options.batch, options.patch, False),
              Stage(0.7, options.batch, options.patch, True), Stage(1.0, small, SIDE // SCALE, True)]
    training.run([stage for stage in stages if stage.until > 0], saved, options.seconds, options.steps)
    ring.close()
    if device.type == "cuda":
        print(f"peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)


if __name__ == "__main__":
    main()
