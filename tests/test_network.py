"""Every value that NetConfig accepts works, and is found again in a file that does not tell it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blindvsr import InputError
from blindvsr.losses import self_supervised
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.stream import restore
from blindvsr.weights import load_network
from tests.conftest import REPOSITORY, run_fails

LEAST = {"num_features": 1, "extract_blocks": 1, "recon_blocks": 1, "flow_width": 0.001}
LITTLE = {"num_features": 4, "extract_blocks": 1, "recon_blocks": 1, "flow_width": 0.1}
WIDTHS = (0.001, 0.01, 0.05, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0, 1.25)


@pytest.mark.parametrize("changes", [
    LEAST, LITTLE, {**LITTLE, "num_features": 7}, {**LITTLE, "extract_blocks": 4}, {**LITTLE, "recon_blocks": 5},
    {**LITTLE, "flow_width": 0.37}, {**LITTLE, "num_frames": 5, "scale": 4, "kernel_size": 13},
])
def test_every_field_works(changes: dict[str, Any]) -> None:
    """Training, the trunk's activations computed anew, and restoring in tiles of every precision that a CPU has."""
    torch.manual_seed(0)
    net = BlindVSR(NetConfig(**changes))
    net.recompute_trunk = True
    losses = self_supervised(net, torch.rand(2, 5, 3, 16, 20))
    torch.stack(list(losses.values())).sum().backward()
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 20, 40, 3), dtype=np.uint8))
    for precision in ("32", "bf16"):
        restored = list(restore(net.eval(), frames, tile=32, precision=precision))
        assert [frame.shape for frame in restored] == [(80, 160, 3)] * 3


@pytest.mark.parametrize(("field", "value"), [
    ("num_frames", 3), ("num_frames", 7), ("scale", 2), ("kernel_size", 9), ("kernel_size", 15), ("num_features", 0),
    ("num_features", 8.5), ("extract_blocks", 0), ("recon_blocks", -1), ("flow_width", 0), ("flow_width", float("nan")),
    ("flow_width", float("inf")),
])
def test_everything_else_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^network\.{field}={value}"):
        NetConfig(**{field: value})  # type: ignore[arg-type]


def test_the_command_refuses_in_one_line(footage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["fit", "--config", str(REPOSITORY / "configs" / "tiny.yaml"), f"--data.train_root={footage}"]
    assert "num_frames=7: it is always 5" in run_fails([*tiny, "--model.network.num_frames=7"], capsys)


@pytest.mark.parametrize("width", WIDTHS)
def test_shapes_are_read_off_the_tensors(width: float, tmp_path: Path) -> None:
    """A bare state dict, as of another program: no header, no hyper-parameters."""
    net = BlindVSR(NetConfig(num_features=3, extract_blocks=2, recon_blocks=1, flow_width=width))
    torch.save(net.state_dict(), tmp_path / "bare.pt")
    loaded = load_network(tmp_path / "bare.pt")
    if round(width, 2) == width:  # of the multipliers that give the same shapes, the shortest
        assert loaded.config.flow_width == width
    assert (loaded.config.num_features, loaded.config.extract_blocks, loaded.config.recon_blocks) == (3, 2, 1)
    for (name, mine), theirs in zip(net.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name


def test_files_of_before_still_load(tmp_path: Path) -> None:
    """Checkpoints and exported files name all seven fields."""
    config = {"num_frames": 5, "num_features": 4, "extract_blocks": 1, "recon_blocks": 1, "scale": 4, "kernel_size": 13,
              "flow_width": 0.1}
    state = {f"net.{name}": tensor for name, tensor in BlindVSR(NetConfig(**LITTLE)).state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"network": config}}, tmp_path / "old.ckpt")
    assert vars(load_network(tmp_path / "old.ckpt").config) == config
