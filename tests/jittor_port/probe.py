"""Runs in a process without torch: computes with the port what test_parity.py compares. No test itself."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jittor_port import environment

environment.check()
environment.prepare()

import jittor as jt  # noqa: E402  # reads what `prepare` sets

from jittor_port import ops  # noqa: E402
from jittor_port.convolution import Chain, Layer  # noqa: E402
from jittor_port.flow import INSIDE  # noqa: E402
from jittor_port.network import BlindVSR, load_network  # noqa: E402
from jittor_port.stream import Clock, Frame, restore, to_image  # noqa: E402
from tests.jittor_port.probe_inputs import LENGTHS, MEMORY_FRAMES, SIZE, shots, video  # noqa: E402

Arrays = dict[str, np.ndarray]


def named(frames: list[Frame]) -> Iterator[tuple[str, Frame]]:
    return ((str(number), frame) for number, frame in enumerate(frames))


def fixtures(net: BlindVSR, folder: Path) -> Arrays:
    out = {}
    for name in ("a1_infer", "a2_infer"):
        clip = np.load(folder / f"{name}.npz")["x"]
        window = [net.encode(frame) for frame in clip[0]]
        out[f"{name}.flows"] = net.flows(window).numpy()
        out[f"{name}.restored"] = net.middle(window).numpy()
        out[f"{name}.kernel"] = net.estimate_kernel(clip)
        if name == "a1_infer":
            out[f"{name}.tiled"] = net.middle(window, tile=20).numpy()
    return out


def operators(folder: Path) -> Arrays:
    cost, warp = np.load(folder / "f_costvolume.npz"), np.load(folder / "g_warp.npz")
    first, second = jt.array(cost["first"]), jt.array(cost["second"])
    image, flow = jt.array(warp["x"]), jt.array(warp["flow"])
    out = {"cost": ops.cost_volume(first, second), "cost_plain": ops.cost_volume_plain(first, second)}
    for name, function in (("", ops.warp), ("_plain", ops.warp_plain)):
        out[f"warp_border{name}"] = function(image, flow, threshold=0.999)
        out[f"warp_zeros{name}"] = function(image, flow, threshold=INSIDE, zeros=True)
    matrices = ops.bilinear_matrix(image.shape[2], 50), ops.pooling_matrix(image.shape[3], 13)
    out |= {"along": ops.along_both(image, *matrices), "along_plain": ops.along_both_plain(image, *matrices)}
    out |= {"resized": ops.resize(image, (50, 17)), "pooled": ops.adaptive_mean(image, 13)}
    part = flow[:, :, 2:, 3:]
    out["warp_part"] = ops.warp(image, part, threshold=0.999, origin=(2, 3))
    return {name: value.numpy() for name, value in out.items()}


def chains() -> Arrays:
    """One chain of everything, three ways; the last is what CUDA gets."""
    rng = np.random.default_rng(0)

    def layer(outputs: int, inputs: int, side: int = 3, **options: float) -> Layer:
        weight = rng.standard_normal((outputs, inputs, side, side)).astype(np.float32) / 4
        return Layer(weight, rng.standard_normal(outputs).astype(np.float32), **options)

    chain = Chain([layer(11, 5, stride=2, slope=0.1), layer(11, 11, slope=0.0), layer(11, 11, residual=True),
                   layer(4, 11, dilation=4), layer(3, 4, side=1), layer(2, 3, side=5, padding=1)])
    x = jt.array(rng.standard_normal((2, 5, 19, 26)).astype(np.float32))
    out = {"chain": chain(x).numpy(), "chain_blas": chain._by_blas(x).numpy()}
    return out | {"chain_jittor": chain._by_jittor(x).numpy()}


def streams(net: BlindVSR) -> Arrays:
    """Videos of several lengths, frames of two sizes, and both sides of the growth of memory."""
    out = {f"video{count}": np.stack([frame for _, frame in restore(net, named(video(count, *SIZE)), Clock())])
           for count in LENGTHS}
    first, second = shots()
    for name, cuts in (("shots", True), ("astride", False)):
        out[name] = np.stack([frame for _, frame in restore(net, named(first + second), Clock(), cuts=cuts)])
    window = [net.encode(to_image(frame)) for frame in video(5, *SIZE)]
    out["float"] = net.middle(window).numpy()
    sizes = [resident() for _ in restore(net, named(video(MEMORY_FRAMES, 32, 40)), Clock())]
    return out | {"memory": np.array(sizes)}


def resident() -> int:
    """Bytes of memory in use."""
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def main(folder: str, exported: str, small: str, out: str) -> None:
    arrays = fixtures(load_network(exported), Path(folder)) | operators(Path(folder)) | chains()
    np.savez(out, **arrays, **streams(load_network(small)))


if __name__ == "__main__":
    main(*sys.argv[1:])
