"""The network as an ONNX graph of open size, compared with torch before it is kept."""

import copy
import importlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blindvsr import InputError, __version__
from blindvsr.network import BlindVSR
from blindvsr.replacing import replacing
from blindvsr.tail import collapse

FORMAT = "blindvsr-onnx/1"
OPSET = 20  # the first whose GridSample is today's; runtimes know it since 2024
OUTPUTS = ("restored", "kernel")
TOLERANCE = 1e-4  # between the graph and torch, of pictures in [0, 1]
LARGEST = 2**31  # bytes: an ONNX file is one protobuf message
# Traced with 2 clips of 80x144: tracing takes a side of 1 for a constant, and these have none at any level of the flow.
EXAMPLE = (2, 80, 144)
# Clips, height, width to compare at: neither side a multiple of 16; the first has sides of 1, the second has not.
SIZES = ((1, 45, 62), (2, 70, 141))
DESCRIPTION = """\
Self-Blind-VSR: restores the middle frame of a clip at four times its size, and estimates the blur kernel of the clip.
clip: float32 (batch, {frames}, 3, height, width), RGB in [0, 1]; height and width 16 at least. The ends of a video are
padded by reflection.
restored: float32 (batch, 3, 4 height, 4 width), RGB, not clamped to [0, 1].
kernel: float32 (batch, 1, {side}, {side}), not negative, sums to 1."""


class _AveragePool(nn.Module):
    """Adaptive average pooling as two matrix products: ONNX has none whose input size is open."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, size, size)."""
        return self._means(x.shape[-2], x) @ x @ self._means(x.shape[-1], x).T

    def _means(self, length: int, x: Tensor) -> Tensor:
        """(size, length): row i is the mean from floor(i length / size) to ceil((i + 1) length / size)."""
        places = torch.arange(length, device=x.device)
        number = torch.arange(self.size, device=x.device)[:, None]
        start, stop = number * length // self.size, ((number + 1) * length + self.size - 1) // self.size
        return ((places >= start) & (places < stop)).to(x.dtype) / (stop - start)


class _Exported(nn.Module):
    """A copy of a network that gives both outputs, with what ONNX cannot express replaced by equal operations."""

    def __init__(self, net: BlindVSR) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).cpu().float().eval()
        self.net.kernel_net.pool = _AveragePool(net.config.kernel_size)
        self.tail = collapse(self.net.tail)  # exact, and a fortieth of the work
        self.net.tail = nn.Sequential()

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(clip, self.tail), self.net.estimate_kernel(clip)


def save_onnx(net: BlindVSR, path: str | Path) -> float:
    """Writes the network as one ONNX file in float32, for clips of any number and size.

    The input is `clip`, (B, 5, 3, H, W), RGB in [0, 1], H and W 16 at least; the outputs are `restored`,
    (B, 3, 4H, 4W), unclamped, and `kernel`, (B, 1, 13, 13), summing to 1. The metadata holds `format`, `version` and,
    as JSON, the `config` of the network. The graph runs through onnxruntime before the file gets its name.

    Args:
        net: the network; it is left as it is.
        path: target, ending in .onnx; replaced only when the new file is whole and agrees with torch.

    Returns:
        The largest difference between onnxruntime and torch, over two sizes and both outputs.

    Raises:
        InputError: for another ending, a missing package, a network above 2 GB, or outputs that differ by over 1e-4.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path}: an ONNX file must end in .onnx")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _package(package)
    if 4 * sum(parameter.numel() for parameter in net.parameters()) >= LARGEST:
        raise InputError(f"{path}: this network is above 2 GB, the most that one ONNX file can hold")
    with replacing(path) as temporary:
        with _quiet():
            program = _trace(net)
        _describe(program.model, net)
        program.save(temporary)
        difference = compare(net, temporary)
        if not difference <= TOLERANCE:  # so that nan fails too
            raise InputError(
                f"{path}: not written, because onnxruntime and torch differ by {difference:.1e}, over {TOLERANCE}"
            )
    return difference


def session(path: str | Path, threads: int | None = None) -> Any:
    """An onnxruntime session on the CPU with as many threads as torch has, unless told otherwise.

    Raises:
        InputError: if onnxruntime is missing.
    """
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compare(net: BlindVSR, path: str | Path) -> float:
    """The largest difference between a file's outputs and the network's, for noise of two sizes."""
    net = copy.deepcopy(net).cpu().float().eval()
    graph, noise = session(path), torch.Generator().manual_seed(0)
    differences = []
    for batch, height, width in SIZES:
        clip = torch.rand(batch, net.config.num_frames, 3, height, width, generator=noise)
        with torch.inference_mode():
            expected = (net(clip), net.estimate_kernel(clip))
        for ours, theirs in zip(expected, graph.run(OUTPUTS, {"clip": clip.numpy()}), strict=True):
            differences.append((ours - torch.from_numpy(theirs)).abs().max())
    return torch.stack(differences).max().item()  # torch's maximum keeps nan


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"ONNX needs {name} ({error}); in the repository: pip install -e '.[onnx]'") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's messages and warnings about its own work; errors still come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _trace(net: BlindVSR) -> Any:
    batch, height, width = EXAMPLE
    clip = torch.zeros(batch, net.config.num_frames, 3, height, width)
    with torch.no_grad():
        return torch.onnx.export(
            _Exported(net), (clip,), input_names=["clip"], output_names=list(OUTPUTS), opset_version=OPSET,
            dynamic_shapes={"clip": {0: "batch", 3: "height", 4: "width"}}, dynamo=True, verbose=False,
        )


def _describe(model: Any, net: BlindVSR) -> None:
    model.producer_name, model.producer_version = "blindvsr", __version__
    model.doc_string = DESCRIPTION.format(frames=net.config.num_frames, side=net.config.kernel_size)
    restored = model.graph.outputs[0].shape
    restored[2], restored[3] = "4*height", "4*width"  # the exporter's own expressions say the same at greater length
    model.metadata_props.update(format=FORMAT, version=__version__, config=json.dumps(asdict(net.config)))
