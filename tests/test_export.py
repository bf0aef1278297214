import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch
from torch import nn

from blindvsr import InputError, export
from blindvsr.cli import main
from blindvsr.export import TOLERANCE, save_onnx, session
from blindvsr.network import BlindVSR
from blindvsr.weights import load_network, save_network
from tests.conftest import SMALL, moving_network, run_fails


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.safetensors and what the command makes of it: tracing takes most of this file's time."""
    folder = tmp_path_factory.mktemp("onnx")
    save_network(moving_network(), folder / "net.safetensors")
    assert main(["export", "--checkpoint", str(folder / "net.safetensors"), "--out", str(folder / "net.onnx")]) == 0
    return folder


@pytest.mark.parametrize("shape", [(1, 48, 64), (2, 100, 150), (1, 16, 200)])
def test_graph_agrees_with_torch(exported: Path, shape: tuple[int, int, int]) -> None:
    """At other sizes than the export itself looks at."""
    net = load_network(exported / "net.safetensors")
    batch, height, width = shape
    clip = torch.rand(batch, 5, 3, height, width, generator=torch.Generator().manual_seed(1))
    restored, kernel = session(exported / "net.onnx").run(["restored", "kernel"], {"clip": clip.numpy()})
    with torch.inference_mode():
        assert net.flow(clip[:, 2], clip[:, 0]).abs().max() > 0.5  # there is something to warp
        torch.testing.assert_close(torch.from_numpy(restored), net(clip), rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(torch.from_numpy(kernel), net.estimate_kernel(clip), rtol=0, atol=1e-6)


def test_file_describes_itself(exported: Path) -> None:
    model = onnx.load(exported / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import if opset.domain == ""] == [("", 20)]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["format"] == "blindvsr-onnx/1"
    assert json.loads(metadata["config"]) == asdict(SMALL)
    assert "kernel: float32 (batch, 1, 13, 13)" in model.doc_string
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "clip": ["batch", 5, 3, "height", "width"],
        "restored": ["batch", 3, "4*height", "4*width"],
        "kernel": ["batch", 1, 13, 13],
    }
    assert not list(exported.glob("*.data"))


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "net.safetensors"
    save_network(BlindVSR(SMALL), weights)
    before = weights.read_bytes()
    start = ["export", "--checkpoint", weights, "--out"]
    assert ".safetensors or .onnx" in run_fails([*start, tmp_path / "net.bin"], capsys)
    assert ".onnx for --format onnx" in run_fails([*start, weights, "--format", "onnx"], capsys)
    wrong = run_fails([*start, tmp_path / "net.onnx", "--format", "safetensors"], capsys)
    assert ".safetensors for --format safetensors" in wrong
    assert "leave --dtype out" in run_fails([*start, tmp_path / "net.onnx", "--dtype", "float16"], capsys)
    missing = ["export", "--checkpoint", tmp_path / "none.pt", "--out", tmp_path / "net.onnx"]
    assert "no such" in run_fails(missing, capsys)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install -e '.[onnx]'" in run_fails([*start, tmp_path / "net.onnx"], capsys)
    assert weights.read_bytes() == before
    assert list(tmp_path.iterdir()) == [weights]


def test_a_graph_that_differs_is_not_kept(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = SimpleNamespace(model=None, save=lambda path: shutil.copy(exported / "net.onnx", path))
    monkeypatch.setattr(export, "_trace", lambda net: program)
    monkeypatch.setattr(export, "_describe", lambda model, net: None)
    net = moving_network()
    assert save_onnx(net, tmp_path / "net.onnx") <= TOLERANCE
    before = (tmp_path / "net.onnx").stat().st_mtime_ns
    for bias in (1e-3, float("nan")):
        with torch.no_grad():
            net.tail[-1].bias += bias
        with pytest.raises(InputError, match="differ by"):
            save_onnx(net, tmp_path / "net.onnx")
    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize(("height", "width"), [(16, 45), (13, 52), (5, 131)])
def test_pooling_is_adaptive_average_pooling(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width)
    torch.testing.assert_close(export._AveragePool(13)(x), nn.AdaptiveAvgPool2d(13)(x))
