"""The training step, its degradation and its loader against plain versions, as ratios.

    python benchmarks/train.py                              # full network: patch 160, batch 1; and configs/small.yaml
    python benchmarks/train.py --patch 80 --batch 4 --steps 5 --compile
    python benchmarks/train.py --bundled                    # the bundled model's step: supervised, 4 patches of 64

Plain is what the official code does: every frame is blurred on its own on the CPU, the restoration of the whole patch
that the cycle term needs goes through the network's own tail, and tensors keep torch's default layout. All variants see
the same frames; they are timed in turns in one process, and the fastest round of each counts, so that other work on the
machine disturbs them alike. Memory is the peak above the model, in a process of its own for each.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import blindvsr  # noqa: F401  before torch: its threads then sleep while they wait
import numpy as np
import torch
import torch.nn.functional as F
from restore import peak_resident
from torch import Tensor

from blindvsr.degrade import SCALE, blur_down, gaussian_kernel
from blindvsr.lit.data import BlindVSRData
from blindvsr.losses import (
    CHARBONNIER, RING, STRUCTURE_WEIGHT, Rollout, kernel_distance, self_supervised, similarity, supervised, terms,
)
from blindvsr.network import BlindVSR
from blindvsr.video.reader import read_video
from blindvsr.weights import load_network

DEMO = Path(__file__).parents[1] / "demo" / "bigbuckbunny.mp4"
SIGMA = 1.2
Step = Callable[[], Tensor]


def batch(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Frames (B, 5, 4P, 4P, 3) uint8 of the demo's clip, and the kernels (B, 1, 13, 13) that will blur them."""
    clip = np.stack(list(itertools.islice(read_video(DEMO), 5)))
    side = SCALE * args.patch
    room = np.array(clip.shape[1:3]) - side + 1
    corners = np.random.default_rng(0).integers(0, room, (args.batch, 2))
    crops = [clip[:, top : top + side, left : left + side] for top, left in corners]
    kernel = np.pad(gaussian_kernel(SIGMA), 2)
    return torch.from_numpy(np.stack(crops)), torch.from_numpy(kernel).float().expand(args.batch, 1, 13, 13)


def degrade_plain(frames: Tensor, kernels: Tensor) -> Tensor:
    """Frame by frame on the CPU as the official loader does: padded twice, every pixel blurred, cropped, and one in
    sixteen kept."""
    clips, radius = [], kernels.shape[-1] // 2
    for clip, kernel in zip(frames, kernels, strict=True):
        low = []
        for frame in clip:
            padded = F.pad(frame.permute(2, 0, 1)[:, None].float() / 255, (radius,) * 4, mode="replicate")
            blurred = F.conv2d(F.pad(padded, (radius,) * 4, mode="replicate"), kernel[None])
            low.append(blurred[:, 0, radius:-radius:SCALE, radius:-radius:SCALE])
        clips.append(torch.stack(low))
    return torch.stack(clips)


def degrade_batched(frames: Tensor, kernels: Tensor) -> Tensor:
    """What `BlindVSRData` does on the training device."""
    return blur_down(frames.permute(0, 1, 4, 2, 3).float() / 255, kernels)


def plain_loss(net: BlindVSR, clip: Tensor) -> Tensor:
    """The self-supervised objective, word for word."""
    kernel = net.estimate_kernel(clip)
    restored_down = net(blur_down(clip, kernel))
    with torch.no_grad():
        restored = net(clip)
    passed = Rollout(clip[:, clip.shape[1] // 2], kernel, restored_down, restored, blur_down(restored, kernel))
    return torch.stack(list(terms(passed).values())).sum()


def plain_supervised(net: BlindVSR, clip: Tensor, truth: Tensor, kernel: Tensor) -> Tensor:
    """The supervised objective through the network's own tail."""
    restored = net(clip)
    inside = (..., slice(RING, -RING), slice(RING, -RING))
    distance = ((restored[inside] - truth[inside]).square() + CHARBONNIER**2).sqrt().mean()
    structure = STRUCTURE_WEIGHT * (1 - similarity(restored[inside], truth[inside]))
    return distance + structure + kernel_distance(net.estimate_kernel(clip), kernel)


def loss_of(name: str, net: BlindVSR, clip: Tensor, truth: Tensor, kernel: Tensor) -> Tensor:
    if "supervised" in name:
        if "plain" in name:
            return plain_supervised(net, clip, truth, kernel)
        return torch.stack(list(supervised(net, clip, truth, kernel)[0].values())).sum()
    if "plain" in name:
        return plain_loss(net, clip)
    return torch.stack(list(self_supervised(net, clip).values())).sum()


def variant(name: str, args: argparse.Namespace) -> Step:
    """A training step that returns its loss: degradation, both passes, gradients, Adam."""
    torch.manual_seed(0)
    net = (load_network("footage").train() if args.bundled else BlindVSR()).to(args.device)
    frames, kernels = batch(args)
    truth = (frames[:, 2].permute(0, 3, 1, 2).float() / 255).to(args.device)
    plain = "plain" in name
    if not plain:
        net = net.to(memory_format=torch.channels_last)
    net.recompute_trunk = "recomputed" in name
    objective = torch.compile(loss_of) if "compile" in name else loss_of
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0)

    def step() -> Tensor:
        if plain:
            clip = degrade_plain(frames, kernels).to(args.device)
        else:
            clip = degrade_batched(frames.to(args.device), kernels.to(args.device))
        with torch.autocast(args.device, torch.bfloat16, enabled="bf16" in name):
            loss = objective(name, net, clip, truth, kernels.to(args.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def synchronised(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def fastest(steps: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Seconds of each one's fastest call, called in turns; the first round warms up."""
    best = dict.fromkeys(steps, float("inf"))
    for number in range(rounds + 1):
        for name, step in steps.items():
            started = synchronised(device)
            step()
            if number:
                best[name] = min(best[name], synchronised(device) - started)
    return best


def peak(name: str, args: argparse.Namespace) -> float:
    """Peak memory of two steps above the loaded model, MiB, measured in this process."""
    step = variant(name, args)
    if args.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(), step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = peak_resident()
    step(), step()
    return (peak_resident() - before) / 2**20


def peaks(names: list[str]) -> dict[str, float]:
    """Of each variant, in a process of its own."""
    found = {}
    for name in names:
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--peak_of", name], check=True,
                              stdout=subprocess.PIPE, text=True)
        found[name] = float(done.stdout.split()[-1])
    return found


def batches_per_second(args: argparse.Namespace, batches: int) -> float:
    """What the loader delivers of the demo's clip, decoded into a cache."""
    with tempfile.TemporaryDirectory() as cache:
        data = BlindVSRData(str(DEMO), patch=args.patch, batch_size=args.batch, frames_per_video=20,
                            batches_per_epoch=batches + 4, num_workers=args.workers, cache=cache)
        loader = iter(data.train_dataloader())
        for _ in range(4):  # the workers start
            next(loader)
        started = time.perf_counter()
        for _ in range(batches):
            next(loader)
        return batches / (time.perf_counter() - started)


def report(args: argparse.Namespace) -> None:
    frames, kernels = batch(args)
    difference = (degrade_plain(frames, kernels) - degrade_batched(frames, kernels)).abs().max()
    times = fastest({"plain": lambda: degrade_plain(frames, kernels),
                     "batched": lambda: degrade_batched(frames, kernels)}, 5, "cpu")
    print(f"degradation of {args.batch} x 5 frames of {SCALE * args.patch}x{SCALE * args.patch} on the CPU: batched "
          f"{times['plain'] / times['batched']:.1f} times plain, largest difference {difference:.1e}")

    names = ["plain", "float32", "bf16", *(["float32 compile", "bf16 compile"] if args.compile else [])]
    steps(names, args)
    memory = peaks(["supervised", "supervised recomputed"])
    print(f"supervised objective: peak {memory['supervised']:.0f} MiB; with the trunk recomputed "
          f"{memory['supervised recomputed']:.0f} MiB")

    args.patch, args.batch = 80, 4
    small = fastest({"small": variant("float32", args)}, max(1, args.steps // 2), args.device)["small"]
    loader("configs/small.yaml", small, args)


def steps(names: list[str], args: argparse.Namespace) -> dict[str, float]:
    """Prints a table of training steps, with ratios to the first, and returns their seconds."""
    variants = {name: variant(name, args) for name in names}
    losses = {name: float(step()) for name, step in variants.items()}
    times = fastest(variants, args.steps, args.device)
    memory = peaks(names)
    print(f"\ntraining step, patch {args.patch}, batch {args.batch}, on {args.device}")
    print("all but the plain one: batched degradation, collapsed tail, channels last; bf16 is bf16-mixed")
    print(f"{'':24}{'steps/s':>10}{'ratio':>8}{'peak MiB':>10}{'ratio':>8}{'loss':>10}")
    for name in names:
        print(f"{name:24}{1 / times[name]:10.3f}{times[names[0]] / times[name]:8.2f}{memory[name]:10.0f}"
              f"{memory[name] / memory[names[0]]:8.2f}{losses[name]:10.6f}")
    return times


def loader(what: str, step: float, args: argparse.Namespace) -> None:
    """Prints whether the loader keeps up with steps of so many seconds."""
    rate = batches_per_second(args, 60)
    print(f"\n{what}: the loader gives {rate:.1f} batches/s with {args.workers} workers, "
          f"{rate * step:.1f} times what the step takes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundled", action="store_true",
                        help="the bundled model under its supervised objective, and its loader")
    parser.add_argument("--patch", type=int, help="LR pixels (default: 160, with --bundled 64)")
    parser.add_argument("--batch", type=int, help="patches of a step (default: 1, with --bundled 4)")
    parser.add_argument("--steps", type=int, default=3, help="timed rounds (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes of the loader (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too; it takes minutes")
    parser.add_argument("--peak_of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.patch, args.batch = args.patch or (64 if args.bundled else 160), args.batch or (4 if args.bundled else 1)
    if args.peak_of:
        print(peak(args.peak_of, args))
    elif args.bundled:
        times = steps(["plain supervised", "supervised", "supervised bf16"], args)
        loader("the bundled model", min(times.values()), args)
    else:
        report(args)


if __name__ == "__main__":
    main()
