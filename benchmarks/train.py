"""The training step, its degradation and its loader against plain versions, as ratios.

    python benchmarks/train.py                              # full network: patch 160, batch 1; and configs/small.yaml
    python benchmarks/train.py --patch 80 --batch 4 --steps 5 --compile

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

import numpy as np
import torch
import torch.nn.functional as F
from restore import peak_resident
from torch import Tensor

from blindvsr.degrade import SCALE, blur_down, gaussian_kernel
from blindvsr.lit.data import BlindVSRData
from blindvsr.losses import Rollout, self_supervised, supervised, terms
from blindvsr.network import BlindVSR
from blindvsr.video.reader import read_video

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


def variant(name: str, args: argparse.Namespace) -> Step:
    """A training step that returns its loss: degradation, both passes, gradients, Adam."""
    torch.manual_seed(0)
    net = BlindVSR().to(args.device)
    frames, kernels = batch(args)
    plain = name == "plain"
    if not plain:
        net = net.to(memory_format=torch.channels_last)
    objective = plain_loss if plain else lambda net, clip: torch.stack(list(self_supervised(net, clip).values())).sum()
    if "supervised" in name:
        net.recompute_trunk = "recomputed" in name
        truth = (frames[:, 2].permute(0, 3, 1, 2).float() / 255).to(args.device)
        objective = lambda net, clip: torch.stack(  # noqa: E731
            list(supervised(net, clip, truth, kernels.to(args.device))[0].values())).sum()
    elif "compile" in name:
        objective = torch.compile(objective)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0)

    def step() -> Tensor:
        if plain:
            clip = degrade_plain(frames, kernels).to(args.device)
        else:
            clip = degrade_batched(frames.to(args.device), kernels.to(args.device))
        with torch.autocast(args.device, torch.bfloat16, enabled="bf16" in name):
            loss = objective(net, clip)
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


def batches_per_second(workers: int, batches: int) -> float:
    """What the loader of configs/small.yaml delivers: patch 80, batch 4, frames decoded into a cache."""
    with tempfile.TemporaryDirectory() as cache:
        data = BlindVSRData(str(DEMO), patch=80, batch_size=4, frames_per_video=20, batches_per_epoch=batches + 4,
                            num_workers=workers, cache=cache)
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
    steps = {name: variant(name, args) for name in names}
    losses = {name: float(step()) for name, step in steps.items()}
    times = fastest(steps, args.steps, args.device)
    memory = peaks([*names, "supervised", "supervised recomputed"])
    print(f"\ntraining step, patch {args.patch}, batch {args.batch}, on {args.device}")
    print("float32 and bf16 (bf16-mixed): batched degradation, collapsed tail, channels last")
    print(f"{'':24}{'samples/s':>10}{'ratio':>8}{'peak MiB':>10}{'ratio':>8}{'loss':>10}")
    for name in names:
        print(f"{name:24}{args.batch / times[name]:10.3f}{times['plain'] / times[name]:8.2f}{memory[name]:10.0f}"
              f"{memory[name] / memory['plain']:8.2f}{losses[name]:10.6f}")
    print(f"supervised objective: peak {memory['supervised']:.0f} MiB; with the trunk recomputed "
          f"{memory['supervised recomputed']:.0f} MiB")

    args.patch, args.batch = 80, 4
    small = fastest({"small": variant("float32", args)}, max(1, args.steps // 2), args.device)["small"]
    rate = batches_per_second(args.workers, 60)
    print(f"\nconfigs/small.yaml: the loader gives {rate:.1f} batches/s with {args.workers} workers, "
          f"{rate * small:.1f} times what the step takes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patch", type=int, default=160, help="LR pixels (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="timed rounds (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="of the loader (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too; it takes minutes")
    parser.add_argument("--peak_of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        print(peak(args.peak_of, args))
    else:
        report(args)


if __name__ == "__main__":
    main()
