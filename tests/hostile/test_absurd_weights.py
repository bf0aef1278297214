"""Well-formed weights files with absurd content: one line, at once, and no memory out of step with the file."""

import json
import pickle
import tracemalloc
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from blindvsr import InputError
from blindvsr.network import BlindVSR
from blindvsr.weights import load_network, load_part
from jittor_port import InputError as PortError
from jittor_port.weights import read_weights
from tests.conftest import SMALL, run_fails

STATE = BlindVSR(SMALL).state_dict()


def is_refused(path: Path) -> str:
    """What both packages say, in one line each."""
    tracemalloc.start()
    with pytest.raises(InputError) as ours:
        load_network(path)
    said = str(ours.value)
    if path.suffix in (".safetensors", ".pkl"):
        with pytest.raises(PortError) as theirs:
            read_weights(path)
        said += f" | {theirs.value}"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6 and len(said) < 900 and "Traceback" not in said
    return said


@pytest.mark.parametrize("change", [
    {"recon_blocks": 10**9}, {"recon_blocks": 1000}, {"num_features": 2**40}, {"num_features": 8.0},
    {"num_frames": 5.0}, {"recon_blocks": "2"}, {"recon_blocks": [2]}, {"flow_width": "0.1"}, {"flow_width": None},
    {"flow_width": 1e300}, {"scale": {"x": 4}}, {"unknown": 1}, {"num_features": -(10**30)},
])
def test_headers(change: dict[str, Any], tmp_path: Path) -> None:
    config = json.dumps({**asdict(SMALL), **change})
    save_file(STATE, tmp_path / "x.safetensors", {"format": "blindvsr/1", "config": config})
    assert next(iter(change)) in is_refused(tmp_path / "x.safetensors") or change == {"recon_blocks": 1000}


@pytest.mark.parametrize("config", ["[1, 2]", "null", "7", "{", '"x"', "[" * 100_000, "NaN", '{"a": ' * 50_000])
def test_headers_of_another_kind(config: str, tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "x.safetensors", {"format": "blindvsr/1", "config": config})
    if config != "null":
        is_refused(tmp_path / "x.safetensors")


@pytest.mark.parametrize("absurd", [
    {"extract.0.weight": torch.zeros(10**9, 0, 3, 3)}, {"extract.0.weight": torch.zeros(())},
    {"extract.0.weight": torch.zeros(0, 3, 3, 3)}, {"fuse.weight": torch.zeros(1)},
    {"kernel_net.linear.1.weight": torch.zeros(())},
    {f"trunk.{i}.x": torch.zeros(1) for i in range(2000)}, {"flow_net.extractor.5.0.weight": torch.zeros(99_999, 1)},
])
@pytest.mark.parametrize("kind", ["safetensors", "ckpt", "pkl"])
def test_shapes(absurd: dict[str, torch.Tensor], kind: str, tmp_path: Path) -> None:
    state, path = {**STATE, **absurd}, tmp_path / f"x.{kind}"
    if kind == "safetensors":
        save_file(state, path, {"format": "blindvsr/1", "config": json.dumps(asdict(SMALL))})
    elif kind == "pkl":
        path.write_bytes(pickle.dumps({key: tensor.numpy() for key, tensor in state.items()}))
    else:
        torch.save({"state_dict": state, "hyper_parameters": {"network": asdict(SMALL)}}, path)
    is_refused(path)


def test_names_are_said_shortly_and_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({**STATE, "x" * 100_000: torch.zeros(1), "\x1b[31mred\x07": torch.zeros(1)}, tmp_path / "x.pt")
    said = run_fails(["export", "--checkpoint", tmp_path / "x.pt", "--out", tmp_path / "y.safetensors"], capsys)
    assert len(said) < 500 and said.isprintable()


@pytest.mark.parametrize("absurd", [
    torch.zeros(1).expand(10**9), torch.zeros(1, dtype=torch.float16).expand(2**15, 2**15), torch.zeros(3).to_sparse(),
    torch.zeros(8, 3, 3, 3, device="meta"), torch.zeros(3, dtype=torch.complex64), torch.nn.Parameter(torch.zeros(3)),
    torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8), torch.nested.nested_tensor([torch.zeros(3)]),
], ids=["expanded", "expanded half", "sparse", "meta", "complex", "parameter", "quantised", "nested"])
def test_tensors(absurd: torch.Tensor, tmp_path: Path) -> None:
    torch.save({**STATE, "fuse.bias": absurd}, tmp_path / "x.pt")
    is_refused(tmp_path / "x.pt")
    with pytest.raises(InputError):
        load_part(BlindVSR(SMALL), "kernel_net", tmp_path / "x.pt")
        load_network(tmp_path / "x.pt")


def test_the_same_numbers_again_and_again(tmp_path: Path) -> None:
    """A file of 4 MB whose tensors would take 4 GB."""
    shared = torch.zeros(2**20)
    torch.save({**STATE, **{f"trunk.0.{i}": shared for i in range(1000)}}, tmp_path / "x.pt")
    assert "numbers in" in is_refused(tmp_path / "x.pt")
    array = np.zeros(2**18, np.float32)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({f"trunk.0.{i}": array for i in range(1000)}))
    assert "numbers in" in is_refused(tmp_path / "x.pkl")
