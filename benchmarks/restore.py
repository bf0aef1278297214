"""Seconds per frame and peak memory of `restore` against the plain windowed network, as ratios.

    python benchmarks/restore.py                            # full network, random weights, 180x144
    python benchmarks/restore.py --precisions 32 --weights model.safetensors --threads 1
    python benchmarks/restore.py --precisions 32 --onnx build/net.onnx      # through onnxruntime too

The plain network computes every window of five frames on its own, in float32: what the official inference does.
onnxruntime does the same work with the exported graph, whose tail is collapsed, with as many threads as torch. All
variants see the same frames. They are timed in turns in one process, a frame each, and the fastest round counts, so
that other work on the machine disturbs them alike. Memory is measured in a process of its own for each.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import blindvsr  # noqa: F401  before torch: its threads then sleep while they wait
import numpy as np
import torch
from torch import Tensor

from blindvsr.export import save_onnx, session
from blindvsr.frames import Frame
from blindvsr.network import BlindVSR
from blindvsr.stream import restore_float, to_frame
from blindvsr.weights import load_network

PLAIN = "plain"
ONNX = "onnxruntime"


def label(precision: str) -> str:
    return f"restore {precision}"


def frames(count: int, height: int, width: int) -> list[Frame]:
    """A smooth pattern that moves by two pixels a frame, with a little noise."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((height // 4 + 1, width // 4 + count + 1, 3))
    picture = np.kron(noise, np.ones((4, 4, 1))) * 40 + 128
    grain = random.standard_normal((count, height, width, 3))
    moving = [picture[:height, 2 * t : 2 * t + width] + grain[t] for t in range(count)]
    return list(np.stack(moving).clip(0, 255).astype(np.uint8))


def network(args: argparse.Namespace) -> BlindVSR:
    torch.manual_seed(0)
    net = load_network(args.weights) if args.weights else BlindVSR()
    return net.eval().to(args.device)


def plain(net: BlindVSR, video: list[Frame]) -> Iterator[Tensor]:
    """The plain network, from the first full window on."""
    device = next(net.parameters()).device
    length = net.config.num_frames
    for start in range(len(video) - length + 1):
        clip = torch.from_numpy(np.stack(video[start : start + length])).to(device)
        with torch.inference_mode():
            yield net(clip.permute(0, 3, 1, 2)[None] / 255)[0]


def through_onnxruntime(video: list[Frame], path: Path) -> Iterator[Tensor]:
    """The exported network on the CPU, window by window like the plain one."""
    graph = session(path)
    length = graph.get_inputs()[0].shape[1]
    for start in range(len(video) - length + 1):
        clip = np.stack(video[start : start + length]).transpose(0, 3, 1, 2)[None].astype(np.float32, order="C") / 255
        yield torch.from_numpy(graph.run(["restored"], {"clip": clip})[0][0])


def restored(net: BlindVSR, video: list[Frame], args: argparse.Namespace, precision: str) -> Iterator[Tensor]:
    """The same frames from `restore`; each costs one new frame of input and one of output."""
    pictures = restore_float(net, video, args.tile, precision)
    for _ in range(net.config.num_frames // 2):
        next(pictures)
    return pictures


def variants(net: BlindVSR, args: argparse.Namespace, rounds: int) -> dict[str, Iterator[Tensor]]:
    video = frames(rounds + net.config.num_frames - 1, args.height, args.width)
    outputs = {PLAIN: plain(net, video)}
    if args.onnx:
        outputs[ONNX] = through_onnxruntime(video, args.onnx)
    return outputs | {label(p): restored(net, video, args, p) for p in args.precisions}


def seconds_per_frame(net: BlindVSR, args: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """Of each variant the seconds of its fastest frame, and its largest difference from the plain network."""
    rounds = args.frames + 1  # the first warms up
    outputs = variants(net, args, rounds)
    fastest, difference = dict.fromkeys(outputs, float("inf")), dict.fromkeys(outputs, 0.0)
    for number in range(rounds):
        expected = None
        for name, pictures in outputs.items():
            start = time.perf_counter()
            picture = next(pictures)
            to_frame(picture)  # on an accelerator this waits for the result
            if number > 0:
                fastest[name] = min(fastest[name], time.perf_counter() - start)
            expected = picture if expected is None else expected
            difference[name] = max(difference[name], (picture.to(expected.device) - expected).abs().max().item())
    return fastest, difference


def peak_memory(name: str, args: argparse.Namespace) -> int:
    """Bytes at the peak of this process (on CUDA: of its tensors) after two frames of one variant."""
    args.precisions = [precision for precision in args.precisions if name == label(precision)]
    for picture in variants(network(args), args, rounds=2)[name]:
        to_frame(picture)
    return torch.cuda.max_memory_allocated() if args.device.startswith("cuda") else peak_resident()


def peak_resident() -> int:
    """Bytes at the peak of this process."""
    try:  # getrusage on Linux would count the peak of the parent too
        status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def network_table(args: argparse.Namespace) -> None:
    """Prints one line per variant of the network alone, from frames in memory to frames in memory."""
    net = network(args)
    if args.onnx and not args.onnx.exists():
        save_onnx(net, args.onnx)
    fastest, difference = seconds_per_frame(net, args)
    print(f"{args.width}x{args.height}, {torch.get_num_threads()} threads, {args.device}, tile {args.tile}")
    print(f"{'':16}{'s/frame':>10}{'speed':>8}{'peak MiB':>10}{'memory':>8}{'difference':>12}")
    memory = {}
    for name, seconds in fastest.items():
        child = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
        memory[name] = int(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
        print(
            f"{name:16}{seconds:10.3f}{fastest[PLAIN] / seconds:7.2f}x{memory[name] / 2**20:10.0f}"
            f"{memory[name] / memory[PLAIN]:7.2f}x{difference[name]:12.1e}",
            flush=True,
        )


def tile_argument(text: str) -> int | str:
    return text if text == "auto" else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=144)
    parser.add_argument("--width", type=int, default=180)
    parser.add_argument("--frames", type=int, default=3, help="rounds of the timing, after one to warm up")
    parser.add_argument("--precisions", nargs="+", default=["32", "bf16"], help="precisions of restore")
    parser.add_argument("--tile", type=tile_argument,
                        help="side of the tiles in pixels, or auto (default: whole frames)")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--weights", help="any checkpoint that blindvsr reads (default: random weights)")
    parser.add_argument("--onnx", type=Path, metavar="FILE",
                        help="time the exported network too, on the CPU; the file is made if missing")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-of", metavar="VARIANT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.memory_of:
        print(peak_memory(args.memory_of, args))
        return
    network_table(args)
    # the measurement from file to file follows here


if __name__ == "__main__":
    main()
