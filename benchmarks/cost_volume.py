"""The cost volume's implementations against the definition, forward and backward, at the sizes of PWC-Net's levels.

    python benchmarks/cost_volume.py                       # on a GPU if there is one
    python benchmarks/cost_volume.py --batch 32 --height 192 --width 192 --device cpu

Implementations are timed in turns in one process, and the fastest round counts. `GB/s` is what must move (both inputs
and the volume once, for the gradients twice the inputs and the volume) over the time it took: never more than the
memory's bandwidth, and the nearer to it the better.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from blindvsr.flow import LEVELS, PYRAMID, RADIUS
from blindvsr.ops import _cost_volume_cupy
from blindvsr.ops.cost_volume import _by_rows, _by_shifts

Volume = Callable[[Tensor, Tensor, int], Tensor]
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DEFINITION = "by shifts"


def implementations(args: argparse.Namespace) -> dict[str, Volume]:
    """What can run here; says why the kernels cannot."""
    found: dict[str, Volume] = {DEFINITION: _by_shifts, "by rows": _by_rows}
    reason = _cost_volume_cupy.why_not(torch.device(args.device), TYPES[args.dtype], RADIUS)
    if reason is None:
        found["CuPy"] = _cost_volume_cupy.cost_volume
    else:
        print(f"the CUDA kernels are not timed: {reason}")
    return found


def seconds(work: Callable[[], object], device: str) -> float:
    if not device.startswith("cuda"):
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start_event.record()
    work()
    end_event.record()
    end_event.synchronize()
    return start_event.elapsed_time(end_event) / 1000


def fastest(works: dict[str, Callable[[], object]], args: argparse.Namespace) -> dict[str, float]:
    """Seconds of the fastest round of each, after one round to warm up."""
    best = dict.fromkeys(works, float("inf"))
    for round_number in range(args.rounds + 1):
        for name, work in works.items():
            taken = seconds(work, args.device)
            if round_number > 0:
                best[name] = min(best[name], taken)
    return best


def level(number: int, found: dict[str, Volume], args: argparse.Namespace) -> None:
    """Prints a line for each implementation and direction."""
    size = (args.batch, PYRAMID[number - 1], args.height >> number, args.width >> number)
    torch.manual_seed(0)
    first, second = torch.randn(2, *size, device=args.device, dtype=TYPES[args.dtype])
    volumes = {name: (lambda volume=volume: volume(first, second, RADIUS)) for name, volume in found.items()}
    forward = fastest(volumes, args)
    inputs = [first.requires_grad_(), second.requires_grad_()]
    roots = {name: work() for name, work in volumes.items()}
    weights = torch.randn_like(roots[DEFINITION])
    backward = fastest({
        name: lambda root=root: torch.autograd.grad(root, inputs, weights, retain_graph=True)
        for name, root in roots.items()
    }, args)
    moved = (2 * first.nbytes + weights.nbytes, 4 * first.nbytes + weights.nbytes)
    for direction, times, total in zip(("forward", "backward"), (forward, backward), moved, strict=True):
        for name, taken in times.items():
            print(f"{number:5}  {'x'.join(map(str, size)):17}{direction:10}{name:10}{taken * 1e3:10.3f}"
                  f"{times[DEFINITION] / taken:7.2f}x{total / taken / 1e9:9.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4, help="pairs of frames; a clip of five has four")
    parser.add_argument("--height", type=int, default=256, help="of the frames, a multiple of 64")
    parser.add_argument("--width", type=int, default=256, help="likewise")
    parser.add_argument("--dtype", choices=TYPES, default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.device.startswith("cuda"):
        torch.cuda.set_device(args.device)  # events are recorded there
    found = implementations(args)
    print(f"{args.device}, {args.dtype}\n{'level':7}{'size':17}{'':20}{'ms':>10}{'speed':>8}{'GB/s':>9}")
    for number in reversed(LEVELS):
        level(number, found, args)


if __name__ == "__main__":
    main()
