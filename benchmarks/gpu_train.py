"""Trains a bundled model on one GPU for a given time: objective, network and degradations as in configs/bundled/, with
everything that a step needs on the device:
    python benchmarks/gpu_train.py --data DIR --init FILE --out DIR --seconds 400

DIR holds HR/<clip>/<frame>.jpg and stills/<photograph>.jpg. gpu_ring.py keeps degraded clips on the device; a step
crops its batch out of them, replayed as one CUDA graph.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blindvsr  # noqa: F401  before torch: its threads then sleep while they wait
import torch
from gpu_ring import SIDE, Entries, Ring, read_footage
from torch import Tensor
from torch.utils.data import DataLoader

from blindvsr.degrade import SCALE
from blindvsr.disturbance import Disturbance
from blindvsr.losses import kernel_distance, self_supervised, supervised
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.weights import load_network, save_network

DISTURBANCE = Disturbance(noisy=0.25, noise=8.0, encoded=0.6, crf=(16, 32), jpeg=(35, 95))
SOFT = 0.3  # share of the clips that are softer than their pixels, unless all are clean
WARM_UP = 0.02  # of the time
DECAY = 0.999  # of the averaged weights
LARGEST_NORM = 1.0  # of the gradient
LARGE_FROM = 0.7  # share of the time after which patches are as large as an entry


def grown(net: BlindVSR, config: NetConfig) -> BlindVSR:
    """A larger network that does what `net` does: its new channels feed nothing yet, its new blocks change nothing.

    Args:
        net: at most as wide and as deep as `config`, with the same flow network.
        config: of the larger network.
    """
    for name in ("num_features", "extract_blocks", "recon_blocks"):
        if (least := getattr(net.config, name)) > getattr(config, name):
            raise SystemExit(f"--init has {name} {least}: give --{name} that or more")
    large = BlindVSR(config)
    state = large.state_dict()
    for name, value in state.items():  # new blocks change nothing
        if ".conv2." in name:
            value.zero_()
    for name, old in net.state_dict().items():
        new = state[name]
        if new.shape == old.shape:
            new.copy_(old)
        elif old.ndim == 1:
            new[: len(old)] = old
        else:
            frames = config.num_frames if name == "fuse.weight" else 1
            parts, old_parts = (weights.unflatten(1, (frames, -1)) for weights in (new, old))
            parts[: len(old), :, old_parts.shape[2] :] = 0
            parts[: len(old), :, : old_parts.shape[2]] = old_parts
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
        self.points: list[dict[str, float]] = []

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
        (stream := torch.cuda.Stream()).wait_stream(torch.cuda.current_stream())
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
            torch._foreach_copy_(list(net.parameters()), self.average)
        return net

    def save(self, folder: Path, seconds: float) -> None:
        """Writes the averaged weights, unless the loss is no number, and the curve."""
        loss, error, distance = self.curve.tolist()
        self.points.append({"seconds": seconds, "steps": self.steps, "loss": loss, "kernel": distance,
                            "psnr": -10 * math.log10(error + 1e-10), "entries": self.ring.count})
        print(json.dumps(self.points[-1]), flush=True)
        if math.isfinite(loss):
            save_network(self.averaged(), folder / "averaged.safetensors")
        (folder / "curve.json").write_text(json.dumps(self.points, indent=1))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with HR/ and stills/")
    parser.add_argument("--init", type=Path, required=True, help="weights to start from; grown to the network's size")
    parser.add_argument("--out", type=Path, required=True, help="gets the weights and curve.json")
    parser.add_argument("--seconds", type=float, default=400, help="of training (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="of training, instead of seconds")
    parser.add_argument("--fresh", action="store_true", help="only flow and kernel start from --init")
    parser.add_argument("--objective", choices=("supervised", "self_supervised"), default="supervised")
    parser.add_argument("--clean", action="store_true", help="sharp footage and blur alone, no noise and no encoder")
    parser.add_argument("--num_features", type=int, default=64, help="of the network (default: %(default)s)")
    parser.add_argument("--extract_blocks", type=int, default=1, help="of the network (default: %(default)s)")
    parser.add_argument("--recon_blocks", type=int, default=12, help="of the network (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="patches of a step (default: %(default)s)")
    parser.add_argument("--patch", type=int, default=64, help="side of a patch, LR pixels (default: %(default)s)")
    parser.add_argument("--flow_from", type=float, default=0.5,
                        help="share of the time after which the flow network learns too (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=8e-4, help="learning rate (default: %(default)s)")
    parser.add_argument("--flow_lr", type=float, default=5e-5, help="of the flow network (default: %(default)s)")
    parser.add_argument("--kernel_lr", type=float, default=5e-4, help="of the estimator (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=15, help="processes that make clips (default: %(default)s)")
    parser.add_argument("--ring", type=int, default=16384, help="clips held on the device (default: %(default)s)")
    parser.add_argument("--device", default="cuda", help="to train on (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything (default: %(default)s)")
    return parser.parse_args(given)


def filled_ring(options: argparse.Namespace, device: torch.device) -> Ring:
    """A ring whose processes have made four batches."""
    clips, stills = read_footage(options.data)
    degradations = (Disturbance(), 0.0) if options.clean else (DISTURBANCE, SOFT)
    loader = DataLoader(Entries(clips, stills, *degradations, options.seed), 4, num_workers=options.workers,
                        pin_memory=device.type == "cuda", prefetch_factor=4)
    ring = Ring(loader, options.ring, device)
    while ring.count < min(options.ring, 4 * options.batch):
        ring.refill(wait=True)
    print(f"{len(clips)} clips, {len(stills)} photographs, {ring.count} entries", flush=True)
    return ring


def first_network(options: argparse.Namespace) -> BlindVSR:
    """The network of --init, grown to the size that is asked for."""
    old = load_network(options.init)
    config = NetConfig(num_features=options.num_features, extract_blocks=options.extract_blocks,
                       recon_blocks=options.recon_blocks, flow_width=old.config.flow_width)
    if not options.fresh:
        return grown(old, config)
    net = BlindVSR(config)
    net.flow_net, net.kernel_net = old.flow_net, old.kernel_net
    return net


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    net = first_network(options).to(device).train().to(memory_format=torch.channels_last)
    ring = filled_ring(options, device)
    rates = {"network": options.lr, "kernel_net": options.kernel_lr, "flow_net": options.flow_lr}
    training = Training(net, ring, options.objective, rates)
    whole = SIDE // SCALE
    fewer = max(1, options.batch * options.patch**2 // whole**2)
    stages = [Stage(options.flow_from, options.batch, options.patch, False),
              Stage(LARGE_FROM, options.batch, options.patch, True), Stage(1.0, fewer, whole, True)]
    training.run([stage for stage in stages if stage.until > 0], lambda passed: training.save(options.out, passed),
                 options.seconds, options.steps)
    ring.close()


if __name__ == "__main__":
    main()
