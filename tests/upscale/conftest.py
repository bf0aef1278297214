"""The command with a tiny network, and something to restore."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from blindvsr.frames import write_image
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.upscale.command import run
from blindvsr.upscale.options import add_arguments
from blindvsr.weights import save_network
from tests.clips import moving

TINY = NetConfig(num_features=8, extract_blocks=1, recon_blocks=1, flow_width=0.125)
Upscale = Callable[..., int]


@pytest.fixture(scope="module")
def net() -> BlindVSR:
    torch.manual_seed(0)
    return BlindVSR(TINY).eval()


@pytest.fixture(scope="module")
def weights(net: BlindVSR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(net, path)
    return path


@pytest.fixture
def upscale(weights: Path) -> Upscale:
    """Runs the command with the tiny network; gives its exit code."""

    def call(*arguments: object, weights: Path = weights) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return run(parser.parse_args([*map(str, arguments), "--weights", str(weights), "--precision", "32"]))

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, not named by number."""
    path = tmp_path / "images"
    path.mkdir()
    for name, frame in zip(("a", "b", "c"), moving(3), strict=True):
        write_image(path / f"{name}.png", frame)
    return path
