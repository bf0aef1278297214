"""How close the estimated kernels are to the true ones, beside the best single kernel that one could guess for all.

    python benchmarks/kernels.py --hr Vid4
    python benchmarks/kernels.py --hr Vid4 --weights model.safetensors --sigmas 0.6 1.2 1.8

Every video is blurred with a Gaussian of each sigma, downsampled and rounded; the kernel is estimated from windows of
five frames. The distance is the sum of absolute differences of two kernels, between 0 and 2.
"""

import argparse
from pathlib import Path

import blindvsr  # noqa: F401  before torch: its threads then sleep while they wait
import numpy as np
import torch
from numpy.typing import NDArray

from blindvsr.datasets import TRAIN_FOLDERS, find_videos
from blindvsr.degrade import KERNEL_SIZE, SIGMAS, crop_to_scale, degrade_frame, gaussian_kernel
from blindvsr.frames import Frame
from blindvsr.network import BlindVSR
from blindvsr.weights import load_network

Kernel = NDArray[np.float64]


def padded(kernel: Kernel) -> Kernel:
    return np.pad(kernel, (KERNEL_SIZE - len(kernel)) // 2)


def distance(first: Kernel, second: Kernel) -> float:
    return float(np.abs(first - second).sum())


@torch.inference_mode()
def estimates(net: BlindVSR, video: list[Frame], sigma: float, step: int) -> list[Kernel]:
    """Of every `step`-th window."""
    low = np.stack([degrade_frame(frame, gaussian_kernel(sigma)) for frame in video])
    clip = torch.from_numpy(low).permute(0, 3, 1, 2).float() / 255
    return [net.estimate_kernel(clip[None, start : start + 5])[0, 0].double().numpy()
            for start in range(0, len(clip) - 4, step)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hr", type=Path, required=True, help="HR videos, in any layout that `degrade` knows")
    parser.add_argument("--weights", default="clean", help="a bundled model by name, or a file (default: %(default)s)")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.6, 1.2, 1.8], help="HR pixels")
    parser.add_argument("--step", type=int, default=5, help="frames between windows (default: %(default)s)")
    args = parser.parse_args()
    net = load_network(args.weights)
    true = {sigma: padded(gaussian_kernel(sigma)) for sigma in args.sigmas}
    videos = find_videos(args.hr, "--hr", TRAIN_FOLDERS)
    rows: dict[str, dict[float, float]] = {}
    for video in videos:
        content = [crop_to_scale(frame) for frame in video.read()]
        rows[video.name] = {
            sigma: float(np.mean([distance(found, kernel) for found in estimates(net, content, sigma, args.step)]))
            for sigma, kernel in true.items()
        }
    rows["all videos"] = {sigma: float(np.mean([row[sigma] for row in rows.values()])) for sigma in true}
    guesses = {f"always {sigma}": padded(gaussian_kernel(sigma)) for sigma in SIGMAS}
    guesses["always the median"] = np.median(list(true.values()), axis=0)  # of all guesses the one of least mean
    fixed = {name: {sigma: distance(guess, kernel) for sigma, kernel in true.items()}
             for name, guess in guesses.items()}
    for name in sorted(fixed, key=lambda name: sum(fixed[name].values()))[:3]:
        rows[name] = fixed[name]
    print(f"{'L1 distance':18}" + "".join(f"{f'sigma {sigma}':>12}" for sigma in true) + f"{'mean':>12}")
    for name, row in rows.items():
        print(f"{name:18}" + "".join(f"{value:12.3f}" for value in (*row.values(), np.mean(list(row.values())))))


if __name__ == "__main__":
    main()
