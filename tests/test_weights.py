import json
import os
import pickle
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from blindvsr import InputError
from blindvsr.cli import main
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.weights import load_network, load_part, read_state_dict, save_network
from tests.conftest import run_fails

SMALL = NetConfig(num_features=8, extract_blocks=1, recon_blocks=2, flow_width=0.3)


def assert_same(first: BlindVSR, second: BlindVSR) -> None:
    assert first.config == second.config
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)


def test_official_layouts_are_one_network(official_state: dict[str, torch.Tensor], official_file: Path,
                                          tmp_path: Path) -> None:
    net = load_network(official_file)
    assert net.config == NetConfig()
    assert not net.training
    torch.testing.assert_close(net.fuse.weight, official_state["fusion_conv.0.weight"])
    torch.save({f"module.{key}": value for key, value in official_state.items()}, tmp_path / "parallel.pt")
    assert_same(load_network(tmp_path / "parallel.pt"), net)
    arrays = OrderedDict((key, value.numpy()) for key, value in official_state.items())
    (tmp_path / "jittor.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    assert_same(load_network(tmp_path / "jittor.pkl"), net)


def test_export_keeps_everything(official_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "net.safetensors"
    assert main(["export", "--checkpoint", str(official_file), "--out", str(out)]) == 0
    assert "18,900,215 parameters" in capsys.readouterr().out
    with safe_open(str(out), framework="numpy") as file:
        assert file.metadata()["format"] == "blindvsr/1"
        assert json.loads(file.metadata()["config"]) == asdict(NetConfig())
        assert file.get_tensor("fuse.weight").dtype == np.float32
    assert_same(load_network(out), load_network(official_file))


def test_half_size_export(tmp_path: Path) -> None:
    net = BlindVSR(SMALL)
    save_network(net, tmp_path / "net.safetensors", torch.float16)
    (tmp_path / "other").touch()
    assert (tmp_path / "net.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode, "the umask"
    loaded = load_network(tmp_path / "net.safetensors")
    assert loaded.config == SMALL
    assert loaded.fuse.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.fuse.weight, net.fuse.weight, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("prefix", ["module", "net"])
def test_flow_alone(official_state: dict[str, torch.Tensor], prefix: str, tmp_path: Path) -> None:
    """PWC-Net's own file, under its names of 2018 and of 2020."""
    start = "flow_net.moduleNetwork."
    flow = {key.removeprefix(start).replace("module", prefix): value
            for key, value in official_state.items() if key.startswith(start)}
    torch.save(flow, tmp_path / "network-default.pytorch")
    net = BlindVSR()
    load_part(net, "flow_net", tmp_path / "network-default.pytorch")
    torch.testing.assert_close(net.flow_net.extractor[0][0].weight,
                               official_state[start + "moduleExtractor.moduleOne.0.weight"])
    with pytest.raises(InputError, match="another network"):
        load_part(BlindVSR(SMALL), "flow_net", tmp_path / "network-default.pytorch")


def test_kernel_estimator_alone(official_file: Path, official_net: BlindVSR) -> None:
    net = BlindVSR(SMALL)
    load_part(net, "kernel_net", official_file)
    torch.testing.assert_close(net.kernel_net.state_dict(), official_net.kernel_net.state_dict(), rtol=0, atol=0)


class Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("name", ["hostile.pkl", "hostile.pt", "hostile.ckpt"])
def test_hostile_files_run_nothing(name: str, tmp_path: Path) -> None:
    witness = tmp_path / "was here"
    if name.endswith(".pkl"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": Payload(witness)}))
    else:
        torch.save({"state_dict": Payload(witness)}, tmp_path / name)
    with pytest.raises(InputError, match=name):
        load_network(tmp_path / name)
    assert not witness.exists()


def test_unusable_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole.safetensors"
    save_network(BlindVSR(SMALL), whole)
    for suffix in (".safetensors", ".pt", ".pkl"):
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole.read_bytes()[:5000])
        out = tmp_path / "x.safetensors"
        assert "cannot be read" in run_fails(["export", "--checkpoint", cut, "--out", out], capsys)
    assert "no such" in run_fails(["export", "--checkpoint", tmp_path / "none.pt", "--out", out], capsys)
    assert ".safetensors" in run_fails(["export", "--checkpoint", whole, "--out", tmp_path / "x.bin"], capsys)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="not a BlindVSR network"):
        load_network(tmp_path / "other.pt")
    state = {f"net.{key}": value for key, value in BlindVSR(SMALL).state_dict().items() if key != "fuse.bias"}
    torch.save({"state_dict": state, "hyper_parameters": {"network": asdict(SMALL)}}, tmp_path / "lacking.ckpt")
    with pytest.raises(InputError, match=r"missing fuse\.bias"):
        load_network(tmp_path / "lacking.ckpt")
    assert not (tmp_path / "x.safetensors").exists()


def test_reading_names(official_file: Path) -> None:
    assert read_state_dict(official_file).keys() == BlindVSR().state_dict().keys()
