"""Jittor runs in processes of its own: its import flushes denormal numbers to zero for torch and numpy as well, and
torch and blindvsr are blocked there, because the port must do without them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blindvsr.cli import main
from blindvsr.network import BlindVSR
from blindvsr.weights import save_network
from jittor_port import InputError, environment
from tests.conftest import FIXTURES, REPOSITORY, moving_network

BLOCKED = """
import runpy, sys
sys.modules.update(torch=None, blindvsr=None)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="session")
def jittor() -> None:
    """Skips where Jittor cannot work, saying why; it is not imported."""
    try:
        environment.check()
    except InputError as error:
        pytest.skip(f"Jittor cannot run here: {error}")


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a module in a process without torch and blindvsr."""
    command = [sys.executable, "-c", BLOCKED, module, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


def infer(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run("jittor_port.infer", *arguments)


@pytest.fixture(scope="session")
def exported(official_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixtures' weights as `blindvsr export` writes them."""
    path = tmp_path_factory.mktemp("exported") / "official.safetensors"
    assert not main(["export", "--checkpoint", str(official_file), "--out", str(path)])
    return path


@pytest.fixture(scope="session")
def small_net() -> BlindVSR:
    return moving_network()


@pytest.fixture(scope="session")
def small_file(small_net: BlindVSR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    save_network(small_net, path)
    return path


@pytest.fixture(scope="session")
def probed(jittor: None, exported: Path, small_file: Path,
           tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What the port computes of everything that the tests look at, from one process."""
    out = tmp_path_factory.mktemp("probe") / "out.npz"
    result = run("tests.jittor_port.probe", FIXTURES, exported, small_file, out)
    assert result.returncode == 0, result.stderr[-3000:]
    with np.load(out) as arrays:
        return dict(arrays)
