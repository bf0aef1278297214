"""Parts of gpu.py that ask how fast and how large: `restore`, the training step, the network on windows, compiled."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import numpy as np
import torch
from gpu_setting import Case, Row, Setting, clip, tf32, timed_network, video
from torch import Tensor

from blindvsr.degrade import SCALE, blur_down, gaussian_kernel
from blindvsr.losses import self_supervised, supervised
from blindvsr.ops.cost_volume import VARIABLE
from blindvsr.stream import restore_float, to_frame

BFLOAT16 = torch.bfloat16
NETWORKS = ("bundled", "published")
Work = Callable[[], object]


def restoring(setting: Setting) -> Iterator[Case]:
    """Frames a second, from frames in the host's memory to frames there, or left on the device."""
    sizes = [(32, 32), (64, 48)] if setting.rehearsal else [(320, 180), (960, 540), (1920, 1080)]
    for size, kind in itertools.product(sizes, NETWORKS[: 1 if setting.rehearsal else None]):
        for precision in ("32", "bf16"):
            yield f"{kind} {size[0]}x{size[1]} {precision}", partial(time_restore, kind, size, precision, True, setting)
    middle = sizes[1]
    yield (f"bundled {middle[0]}x{middle[1]} bf16, cost volume in torch",
           partial(with_torchs_volume, partial(time_restore, "bundled", middle, "bf16", True, setting)))
    for size, kind in itertools.product(sizes, () if setting.rehearsal else NETWORKS):
        yield f"{kind} {size[0]}x{size[1]} 32 without TF32", partial(time_restore, kind, size, "32", False, setting)


def with_torchs_volume(case: Callable[[], Row]) -> Row:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "torch"
    try:
        return case()
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def time_restore(kind: str, size: tuple[int, int], precision: str, rounded: bool, setting: Setting) -> Row:
    net = timed_network(kind, setting)
    setting.reset_peak()
    with tf32(rounded):
        pictures = restore_float(net, itertools.cycle(video(*size)), precision=precision)
        to_host = rate(lambda: to_frame(next(pictures)), setting)
        on_device = rate(lambda: next(pictures), setting)
    return {"ms": to_host, "group": f"{kind} {size}", "peak_mib": setting.peak(), "frames_a_second": 1e3 / to_host,
            "left_on_device": 1e3 / on_device}


def rate(frame: Work, setting: Setting) -> float:
    """Milliseconds a frame: the median of rounds of two, that the device may run behind within; the first warms up."""
    times: list[float] = []
    end = time.monotonic() + (0.0 if setting.rehearsal else min(0.6, setting.left() / 4))
    while len(times) < 2 or len(times) < 50 and time.monotonic() < end:
        setting.wait()
        start = time.perf_counter()
        frame(), frame()
        setting.wait()
        times.append((time.perf_counter() - start) / 2 * 1e3)
    return median(times[1:])


def training(setting: Setting) -> Iterator[Case]:
    """The whole step: degradation of frames that are on the device, objective, gradients, Adam."""
    published, bundled = ((1, 64), (2, 32)) if setting.rehearsal else ((8, 160), (64, 64))
    ways = (("float32", True, None), ("bf16", True, BFLOAT16), ("float32 without TF32", False, None))
    kinds = list(zip(NETWORKS, (bundled, published), strict=True))
    cases = list(itertools.product(ways, kinds))[: 3 if setting.rehearsal else None]
    for (name, rounded, dtype), (kind, shape) in cases:
        yield f"{kind}, {shape[0]} patches of {shape[1]}, {name}", partial(
            time_step, kind, *shape, rounded, dtype, setting)


def time_step(kind: str, batch: int, patch: int, rounded: bool, dtype: torch.dtype | None, setting: Setting) -> Row:
    setting.reset_peak()
    with tf32(rounded):
        step = training_step(kind, batch, patch, dtype, setting)
        losses = [float(step()) for _ in range(3)]
        milliseconds = setting.milliseconds(step, 1.5)
    return {"ms": milliseconds, "group": f"{kind} {patch}", "peak_mib": setting.peak(),
            "patches_a_second": batch * 1e3 / milliseconds, "ok": bool(np.isfinite(losses).all()), "loss": losses[-1]}


def training_step(
    kind: str, batch: int, patch: int, dtype: torch.dtype | None, setting: Setting
) -> Callable[[], Tensor]:
    """The published network with its self-supervised objective, or the bundled one with the supervised objective."""
    net = timed_network(kind, setting).train().to(memory_format=torch.channels_last)
    if kind == "bundled":
        net.flow_net.requires_grad_(False)
        net.kernel_net.requires_grad_(False)
    optimizer = torch.optim.Adam([parameter for parameter in net.parameters() if parameter.requires_grad], lr=1e-5)
    frames = (clip(SCALE * patch, SCALE * patch, batch, setting) * 255).round().byte()
    kernel = torch.from_numpy(np.pad(gaussian_kernel(1.2), 2)).float().to(setting.device).expand(batch, 1, -1, -1)

    def step() -> Tensor:
        high = frames.float() / 255
        low = blur_down(high, kernel)
        with setting.autocast(dtype):
            terms = supervised(net, low, high[:, 2], kernel)[0] if kind == "bundled" else self_supervised(net, low)
            loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def windows(setting: Setting) -> Iterator[Case]:
    """The plain network, window by window: what launching costs, and what layout, graphs and batches bring."""
    many = 2 if setting.rehearsal else 8
    for kind in NETWORKS[: 1 if setting.rehearsal else None]:
        for name, dtype, batch, change in (
            ("float32", None, 1, ""), ("bf16", BFLOAT16, 1, ""), ("bf16 channels last", BFLOAT16, 1, "layout"),
            ("bf16 CUDA graph", BFLOAT16, 1, "graph"), ("float32 CUDA graph", None, 1, "graph"),
            ("bf16 fastest algorithms", BFLOAT16, 1, "search"), ("bf16 several windows", BFLOAT16, many, ""),
        ):
            yield f"{kind} {name}", partial(time_window, kind, dtype, batch, change, setting)


def forward(
    net: Callable[[Tensor], Tensor], frames: Tensor, dtype: torch.dtype | None, setting: Setting
) -> Callable[[], Tensor]:
    def work() -> Tensor:
        with torch.no_grad(), setting.autocast(dtype):
            return net(frames)

    return work


def time_window(kind: str, dtype: torch.dtype | None, batch: int, change: str, setting: Setting) -> Row:
    net = timed_network(kind, setting)
    frames = clip(*((64, 48) if setting.rehearsal else (320, 180)), batch, setting)
    if change == "layout":
        net.to(memory_format=torch.channels_last)
    torch.backends.cudnn.benchmark = change == "search"
    setting.reset_peak()
    work = forward(net, frames, dtype, setting)
    row: Row = {}
    if change == "graph":
        if setting.device != "cuda":
            return {"skipped": "CUDA graphs are for CUDA devices"}
        expected = work()
        work, result = graphed(work)
        work()
        row["difference"] = float((result - expected).abs().max())
    milliseconds = setting.milliseconds(work, 0.5) / batch
    torch.backends.cudnn.benchmark = False
    return {"ms": milliseconds, "group": kind, "peak_mib": setting.peak(), "frames_a_second": 1e3 / milliseconds, **row}


def graphed(work: Callable[[], Tensor]) -> tuple[Work, Tensor]:
    """Replays what the work launches, into a tensor that stays."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


def compiled(setting: Setting) -> Iterator[Case]:
    """The plain network in bfloat16 through torch.compile, which takes up to minutes and so comes last."""
    for whole, kind in itertools.product((False, True), NETWORKS[: 1 if setting.rehearsal else None]):
        name = "whole" if whole else "residual blocks alone"
        yield f"{kind} {name}", partial(time_compiled, kind, whole, setting)


def time_compiled(kind: str, whole: bool, setting: Setting) -> Row:
    net = timed_network(kind, setting).to(memory_format=torch.channels_last)
    frames = clip(*((64, 48) if setting.rehearsal else (320, 180)), 1, setting)
    eager = forward(net, frames, BFLOAT16, setting)
    expected, before = eager(), setting.milliseconds(eager, 0.3)
    start = time.perf_counter()
    backend = "aot_eager" if setting.rehearsal else "inductor"  # inductor takes minutes on two processor cores
    if whole:
        work = forward(torch.compile(net, backend=backend), frames, BFLOAT16, setting)
    else:
        for block in net.trunk:
            block.compile(backend=backend)  # once for all of them
        work = eager
    result = work()
    setting.wait()
    seconds = time.perf_counter() - start
    row: Row = {"compile_seconds": seconds, "difference": float((result - expected).abs().max()), "eager_ms": before}
    setting.reset_peak()
    milliseconds = setting.milliseconds(work, 0.5)
    row |= {"ms": milliseconds, "times_as_fast": before / milliseconds, "peak_mib": setting.peak()}
    if setting.device == "cuda":
        row["graph_ms"] = setting.milliseconds(graphed(work)[0], 0.5)
    return row
