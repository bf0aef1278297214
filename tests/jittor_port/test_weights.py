"""The weights files: everything that is read here is read without Jittor, so nothing is skipped."""

import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from jittor_port import InputError
from jittor_port.weights import NetConfig, Weights, read_weights
from tests.conftest import SMALL


def check_is_official(path: Path, exported: Path) -> None:
    arrays, config = read_weights(path)
    expected, _ = read_weights(exported)
    assert config == NetConfig()
    assert set(arrays) == set(expected) and len(arrays) == 272
    assert all(np.array_equal(arrays[name], array) for name, array in expected.items())


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickle_of_arrays(official_state: dict[str, torch.Tensor], exported: Path, tmp_path: Path,
                          protocol: int) -> None:
    path = tmp_path / "legacy.pkl"
    arrays = {name: tensor.numpy() for name, tensor in official_state.items()}
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    check_is_official(path, exported)


def test_pickle_of_jittor_variables(official_state: dict[str, torch.Tensor], exported: Path, tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    class Var:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __reduce__(self) -> tuple[Any, ...]:
            return type(self), (self.array,)

    Var.__module__, Var.__qualname__ = "jittor_core", "Var"
    module = ModuleType("jittor_core")
    monkeypatch.setattr(module, "Var", Var, raising=False)
    monkeypatch.setitem(sys.modules, "jittor_core", module)
    path = tmp_path / "legacy.pkl"
    path.write_bytes(pickle.dumps({f"module.{name}": Var(tensor.numpy()) for name, tensor in official_state.items()}))
    check_is_official(path, exported)


def test_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps({"in_conv.0.weight": Payload()}))
    with pytest.raises(InputError, match="hostile.pkl.*system, which is not an array"):
        read_weights(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2]), pickle.dumps({"a": np.zeros(2)})])
def test_pickles_of_something_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="other.pkl"):
        read_weights(path)


def test_a_checkpoint_is_sent_to_export(official_file: Path) -> None:
    with pytest.raises(InputError, match="blindvsr export --checkpoint"):
        read_weights(official_file)


def test_header(small_file: Path) -> None:
    _, config = read_weights(small_file)
    assert vars(config) == vars(SMALL)


def test_every_misfit_is_told_at_once() -> None:
    weights = Weights({"a.x": np.zeros(3, np.float32), "b": np.zeros(1, np.float32)})
    weights.under("a.").take("x", (4,))
    weights.take("c", (1,))
    with pytest.raises(InputError, match=r"a\.x is \(3,\), not \(4,\), missing c, unexpected b"):
        weights.finish("file")
