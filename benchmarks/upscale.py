"""From file to file: how much of `blindvsr upscale` is not the network.

    python benchmarks/upscale.py clip.mp4 --frames 16

Everything in one process on the same frames: the network alone on decoded frames, decoding alone, the kernel and cycle
PSNR alone, encoding alone, and the whole command's work, where they overlap. Only the ratios carry over to other
machines; on a busy machine those of processor time, all threads together, are the more reliable ones.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import blindvsr  # noqa: F401  before torch: its threads then sleep while they wait
import torch

from blindvsr.frames import Frame
from blindvsr.network import BlindVSR
from blindvsr.ops import to_tensor
from blindvsr.restorer import resolve_precision
from blindvsr.stream import restore, windows
from blindvsr.upscale.destination import Destination
from blindvsr.upscale.kernel_track import KernelTrack
from blindvsr.upscale.pipeline import SAMPLED, upscale
from blindvsr.video.reader import VideoReader
from blindvsr.video.writer import write_video
from blindvsr.weights import load_network


Cost = tuple[float, float]  # seconds by the clock and of all processors


def cost(work: Callable[[], object]) -> Cost:
    """What a piece of work takes."""
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def cut(source: VideoReader, target: Path, frames: int) -> VideoReader:
    """The beginning of a video, as a file of its own."""
    with write_video(target, source.size, source.timing, colour=source.colour) as writer:
        for ticks, frame in islice(source.timed(), frames):
            writer.write(frame, ticks)
    return VideoReader(target)


def encode(target: Path, source: VideoReader, frames: list[Frame]) -> None:
    """Writes restored frames."""
    with write_video(target, (4 * source.size[0], 4 * source.size[1]), source.timing, colour=source.colour) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame, index * source.timing.frame_ticks)


def trust(net: BlindVSR, frames: list[Frame], restored: list[Frame]) -> None:
    """Kernels and cycle PSNR, as often as without --save_kernel."""
    track = KernelTrack(net, SAMPLED)
    device = next(net.parameters()).device
    pictures = (to_tensor(frame, device)[None] for frame in frames)
    for window, frame in zip(windows(pictures, net.config.num_frames // 2), restored, strict=True):
        track.add(window, to_tensor(frame, device))


def measure(net: BlindVSR, clip: VideoReader, folder: Path, tile: int | str | None, precision: str) -> dict[str, Cost]:
    """Each stage alone, and the whole."""
    frames: list[Frame] = []
    restored: list[Frame] = []
    list(restore(net, iter(list(islice(clip, 3))), tile, precision))  # warm: memory, threads, CUDA
    result = {
        "decode": cost(lambda: frames.extend(clip)),
        "network": cost(lambda: restored.extend(restore(net, iter(frames), tile, precision))),
        "kernel and cycle": cost(lambda: trust(net, frames, restored)),
        "encode": cost(lambda: encode(folder / "encoded.mp4", clip, restored)),
    }
    restored.clear()
    result["file to file"] = cost(
        lambda: upscale(net, Destination(clip, folder / "out.mp4"), tile=tile, precision=precision))
    return result


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="video file")
    parser.add_argument("--frames", type=int, default=16, help="how many to use (default %(default)s)")
    parser.add_argument("--weights", type=Path, help="default: random weights of the full-size network")
    parser.add_argument("--tile", type=int, help="default: whole frames")
    parser.add_argument("--precision", default="auto", choices=("auto", "32", "bf16", "16"))
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = resolve_precision(args.precision, device)
    net = (load_network(args.weights) if args.weights else BlindVSR().eval()).to(device)
    with tempfile.TemporaryDirectory() as folder:
        clip = cut(VideoReader(args.input), Path(folder) / "clip.mp4", args.frames)
        result = measure(net, clip, Path(folder), args.tile, precision)
    height, width = clip.size
    print(f"{width}x{height}, {clip.frames} frames, precision {precision} on {device.type}, "
          f"{torch.get_num_threads()} threads")
    print(f"{'':>18}  s a frame     ratio   processor s     ratio")
    network = result["network"]
    for name, (clock, processor) in result.items():
        print(f"{name:>18} {clock / clip.frames:10.4f} {clock / network[0]:9.4f} "
              f"{processor / clip.frames:13.4f} {processor / network[1]:9.4f}")
    shares = [100 * (1 - alone / whole) for alone, whole in zip(network, result["file to file"], strict=True)]
    print(f"outside the network: {shares[0]:.1f} % of the time from file to file, {shares[1]:.1f} % of processor time")


if __name__ == "__main__":
    main()
