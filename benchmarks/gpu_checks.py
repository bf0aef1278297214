"""Parts of gpu.py that ask whether results are right: the CUDA cost volume, with its speed, and the whole network."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_setting import REPOSITORY, Case, Row, Setting, network, psnr, tf32, video
from torch import Tensor

from blindvsr.flow import PYRAMID, RADIUS
from blindvsr.losses import self_supervised
from blindvsr.network import BlindVSR
from blindvsr.ops import _cost_volume_cupy
from blindvsr.ops.cost_volume import _by_rows, _by_shifts
from blindvsr.stream import restore_float
from blindvsr.weights import _our_key

Volume = Callable[[Tensor, Tensor, int], Tensor]
FLOAT, HALF, BFLOAT16 = torch.float32, torch.float16, torch.bfloat16
SIZES = [(1, 1, 1, 1), (2, 3, 5, 7), (1, 17, 33, 19), (2, 33, 16, 40), (8, 196, 3, 5), (4, 32, 64, 60)]
CLIP = (64, 48)
TOLERANCE = {FLOAT: 5e-6, HALF: 1e-3, BFLOAT16: 8e-3}  # of the largest value; of half types a unit in the last place
DEFINITION = "by shifts"
PAIRS = 4  # of frames, in a window of five


def cost_volume(setting: Setting) -> Iterator[Case]:
    """Right in every type, forward and backward; then fast, against the definition and against a copy of memory."""
    ceilings: Row = {}
    yield "ceilings", lambda: ceilings.update(machine(setting)) or ceilings
    device = torch.device(setting.device, 0) if setting.device == "cuda" else torch.device("cpu")
    reason = _cost_volume_cupy.why_not(device, FLOAT, RADIUS)
    found: dict[str, Volume] = {DEFINITION: _by_shifts, "by rows": _by_rows, "CuPy": _cost_volume_cupy.cost_volume}
    if reason:
        del found["CuPy"]
        yield "CuPy", lambda: {"skipped" if setting.rehearsal else "error": reason}
    for name, volume in reversed(found.items()):
        for dtype in TOLERANCE if name == "CuPy" else (FLOAT,):  # in half types torch rounds every product
            yield f"{name} {label(dtype)} against float64", partial(check_volume, volume, dtype, setting)
    height, width = (64, 128) if setting.rehearsal else (1088, 1920)
    levels = [(2, FLOAT), (2, BFLOAT16), (2, HALF), (3, FLOAT), (5, FLOAT)]
    for level, dtype in levels[: 2 if setting.rehearsal else None]:
        size = (PAIRS, PYRAMID[level - 1], height >> level, width >> level)
        for backward, name in itertools.product((False, True), found):
            if not (backward and name == "by rows"):  # made for inference
                yield (f"{name} level {level} {label(dtype)} {'backward' if backward else 'forward'}",
                       partial(time_volume, found[name], size, dtype, backward, ceilings, setting))


def label(dtype: torch.dtype | None) -> str:
    return str(dtype or FLOAT).removeprefix("torch.")


def machine(setting: Setting) -> Row:
    """The device by name, and what it can do at most: copying memory, multiplying matrices."""
    if setting.rehearsal:
        name, elements, side = "cpu", 2**20, 64
    else:
        name, elements, side = torch.cuda.get_device_name(), 2**30, 8192
    source = torch.randn(elements, device=setting.device)
    target = torch.empty_like(source)
    copying = setting.milliseconds(partial(target.copy_, source), 0.3, queued=True)
    matrix = source[: side * side].view(side, side).bfloat16()
    product = setting.milliseconds(lambda: matrix @ matrix, 0.3)
    return {"device": name, "copy_gb_s": 2 * source.nbytes / copying / 1e6, "bf16_tflop_s": 2 * side**3 / product / 1e9}


def pair(size: tuple[int, ...], dtype: torch.dtype, device: str) -> list[Tensor]:
    return [torch.randn(size, device=device).to(dtype).requires_grad_() for _ in range(2)]


def check_volume(volume: Volume, dtype: torch.dtype, setting: Setting) -> Row:
    """The largest error of values and of gradients, relative to the largest value, against the definition."""
    errors: dict[str, list[float]] = {"values": [], "to_first": [], "to_second": []}
    for size in SIZES[: 4 if setting.rehearsal else None]:
        operands = pair(size, dtype, setting.device)
        result = volume(*operands, RADIUS)
        exact = [operand.detach().double().requires_grad_() for operand in operands]
        expected = _by_shifts(*exact, RADIUS)
        weights = torch.randn_like(result)
        results = (result, *torch.autograd.grad(result, operands, weights))
        truths = (expected, *torch.autograd.grad(expected, exact, weights.double()))
        for name, got, truth in zip(errors, results, truths, strict=True):
            errors[name].append(float(((got.double() - truth).abs().max() / truth.abs().max()).detach()))
    worst = {name: float(np.max(values)) for name, values in errors.items()}  # NaN stays NaN
    return {"ok": all(value <= TOLERANCE[dtype] for value in worst.values()), **worst}


def time_volume(
    volume: Volume, size: tuple[int, ...], dtype: torch.dtype, backward: bool, ceilings: Row, setting: Setting
) -> Row:
    """`gb_s` is what must move, every tensor once, over the time."""
    operands = pair(size, dtype, setting.device)
    if backward:
        root = volume(*operands, RADIUS)
        weights = torch.randn_like(root)
        milliseconds = setting.milliseconds(
            lambda: torch.autograd.grad(root, operands, weights, retain_graph=True), 0.3, queued=True)
    else:
        operands = [operand.detach() for operand in operands]
        milliseconds = setting.milliseconds(lambda: volume(*operands, RADIUS), 0.3, queued=True)
    window = (2 * RADIUS + 1) ** 2
    moved = (4 if backward else 2) * operands[0].nbytes + operands[0].nbytes // size[1] * window
    row = {"ms": milliseconds, "group": f"{size} {dtype} {backward}", "gb_s": moved / milliseconds / 1e6}
    return row | {"share_of_copy": row["gb_s"] / ceilings["copy_gb_s"]} if ceilings else row


def stored(name: str) -> dict[str, np.ndarray]:
    with np.load(REPOSITORY / "tests" / "fixtures" / f"{name}.npz") as arrays:
        return dict(arrays)


def parity(setting: Setting) -> Iterator[Case]:
    """The official code's numbers, stored; then `restore` here against the CPU."""
    net = network("published", setting.device)
    fixtures: tuple[str, ...] = ("a1_infer", "a2_infer")
    ways: list[tuple[str, bool, torch.dtype | None]] = [
        ("float32", False, None), ("bfloat16", False, BFLOAT16), ("TF32", True, None), ("float16", False, HALF)]
    if setting.rehearsal:  # many processors take minutes in half types
        fixtures, ways = fixtures[:1], ways[:1]
    for fixture, (name, rounded, dtype) in itertools.product(fixtures, ways):
        yield f"official {fixture}, {name}", partial(check_network, net, fixture, rounded, dtype, setting)
    for kind in ("bundled",) if setting.rehearsal else ("bundled", "published"):
        reference = list(restore_float(network(kind, "cpu"), video(*CLIP)))
        for precision in ("32", "bf16") if setting.rehearsal else ("32", "bf16", "16"):
            yield f"restore {kind} {precision} against the CPU", partial(
                check_restore, network(kind, setting.device), reference, precision)
    yield "official objective and gradients, float32", partial(check_objective, net, setting)


@torch.inference_mode()
def check_network(net: BlindVSR, fixture: str, rounded: bool, dtype: torch.dtype | None, setting: Setting) -> Row:
    """Largest errors of the restored frame, the flow (pixels) and the kernel."""
    truth = {key: torch.from_numpy(value).to(setting.device) for key, value in stored(fixture).items()}
    frames = truth["x"]
    with tf32(rounded), setting.autocast(dtype):
        restored = net(frames)[..., ::2, 1::2].float()
        kernel = net.estimate_kernel(frames).float()
        flow = torch.cat([net.flow(frames[:, 2], frames[:, i]) for i in (0, 1, 3, 4)]).float()
    error = float((restored - truth["recons"]).abs().max())
    decibels = psnr(restored, truth["recons"])
    exact = dtype is None and not rounded
    return {"ok": error <= 1e-4 if exact else decibels >= 40, "frame_error": error, "psnr": decibels,
            "flow_error": float((flow - truth["flows_0134"]).abs().max()),
            "kernel_error": float((kernel - truth["est_kernel"]).abs().max())}


def check_objective(net: BlindVSR, setting: Setting) -> Row:
    """The loss and the norm of every parameter's gradient, relative to the official ones."""
    official: dict[str, Any] = stored("c_train")
    frames = torch.from_numpy(stored("b_val")["x"]).to(setting.device)
    with tf32(False):
        loss = torch.stack(list(self_supervised(net, frames).values())).sum()
        loss.backward()
    total = dict(zip(official["loss_names"].tolist(), official["loss_values"].tolist(), strict=True))["total"]
    parameters = dict(net.named_parameters())
    norms = [float(parameters[_our_key(name)].grad.norm()) for name in official["param_names"].tolist()]
    ratios = np.array(norms) / official["grad_norm"]
    worst = float(np.abs(ratios - 1).max())
    return {"ok": worst <= 1e-2, "loss_error": abs(loss.item() / total - 1), "gradient_error": worst}


def check_restore(net: BlindVSR, reference: list[Tensor], precision: str) -> Row:
    with tf32(False):
        restored = [picture.cpu() for picture in restore_float(net, video(*CLIP), precision=precision)]
    decibels = min(itertools.starmap(psnr, zip(restored, reference, strict=True)))
    return {"ok": decibels >= (90 if precision == "32" else 45), "psnr": decibels}
