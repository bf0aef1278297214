"""What the port repeats of blindvsr, because the two share no code, says the same. Jittor is not imported."""

import ast
import pickle
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image

from blindvsr import frames, weights
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.weights import load_network
from jittor_port import InputError
from jittor_port import frames as repeated_frames
from jittor_port import weights as repeated
from tests.conftest import REPOSITORY

# module of the port -> module of blindvsr -> the constants that both have
CONSTANTS = {
    "flow": {"flow": {"RADIUS", "COST_CHANNELS", "DENSE", "REFINER", "DILATIONS", "COARSEST", "FLOW_UNIT", "LEVELS",
                      "BACKWARD", "SLOPE"}},
    "frames": {"frames": {"IMAGE_SUFFIXES", "VIDEO_SUFFIXES"}, "datasets": {"LR_FOLDER"}, "network": {"SMALLEST"}},
    "infer": {"tiling": {"SMALLEST_TILE"}},
    "kernel": {"kernel": {"CHANNELS", "REDUCED", "HIDDEN"}},
    "network": {"network": {"SMALLEST", "COVERED"}, "tiling": {"OVERLAP"}},
    "report": {"metrics": {"CROP", "ENDS"}, "tail": {"SCALE"}},
    "tail": {"tail": {"SCALE", "PLACES"}},
    "weights": {"flow": {"PYRAMID"},
                "network": {"FIXED", "LARGEST", "MOST"}, "weights": {"FORMAT", "OFFICIAL_FLOW", "_NUMBER"}},
}


def constants(path: Path) -> dict[str, str]:
    """Name -> source of what a module defines in capitals."""
    statements = ast.parse(path.read_text()).body
    return {target.id: ast.unparse(statement.value) for statement in statements if isinstance(statement, ast.Assign)
            for target in statement.targets if isinstance(target, ast.Name) and target.id.isupper()}


@pytest.mark.parametrize("module", CONSTANTS)
def test_constants(module: str) -> None:
    ours = constants(REPOSITORY / "jittor_port" / f"{module}.py")
    for other, names in CONSTANTS[module].items():
        theirs = constants(REPOSITORY / "blindvsr" / f"{other}.py")
        assert {name: ours[name] for name in names} == {name: theirs[name] for name in names}
        assert names >= ours.keys() & theirs.keys() or other != module, "one more is repeated: add it above"


def test_configuration() -> None:
    ours, theirs = ([(field.name, field.default) for field in fields(kind)] for kind in (repeated.NetConfig, NetConfig))
    assert ours == theirs


@pytest.mark.parametrize("change", [
    {"num_frames": 7}, {"scale": 2}, {"kernel_size": 15}, {"num_features": 0}, {"extract_blocks": 1.5},
    {"recon_blocks": -1}, {"flow_width": 0}, {"flow_width": float("nan")}, {"flow_width": "1"},
    {"recon_blocks": 10**9}, {"num_features": 10**6}, {"flow_width": 1e6}, {"extract_blocks": [1]},
    {"num_features": 1024, "recon_blocks": 500}, {"scale": 4.0}, {"num_frames": "5"},
])
def test_refused_configurations(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"network.{next(iter(change))}="):
        repeated.NetConfig(**change)  # type: ignore[arg-type]


def test_renames(official_state: dict[str, torch.Tensor]) -> None:
    for table in ("RENAMES", "FLOW_RENAMES"):
        patterns = [[pattern for pattern, _ in getattr(module, table)] for module in (repeated, weights)]
        assert patterns[0] == patterns[1]
    for name in official_state:
        assert repeated._our_name(name) == weights._our_key(name) == repeated._our_name(f"module.{name}")


@pytest.mark.parametrize("width", [0.01, 0.1, 0.2, 0.3, 0.37, 0.5])
def test_shapes_read_off_the_arrays(width: float, tmp_path: Path) -> None:
    net = BlindVSR(NetConfig(num_features=3, extract_blocks=2, recon_blocks=1, flow_width=width))
    path = tmp_path / "bare.pkl"
    path.write_bytes(pickle.dumps({name: tensor.numpy() for name, tensor in net.state_dict().items()}, protocol=2))
    _, config = repeated.read_weights(path)
    assert vars(config) == vars(load_network(path).config)
    assert config.flow_width == width


def test_one_reader_of_pickles() -> None:
    ours, theirs = ((REPOSITORY / package / "pickled.py").read_text()
                    for package in ("jittor_port", "blindvsr/untrusted"))
    assert ours == theirs


@pytest.mark.parametrize("module", ["cuts.py", "signals.py"])
def test_modules_that_are_the_same(module: str) -> None:
    ours, theirs = ((REPOSITORY / package / module).read_text() for package in ("jittor_port", "blindvsr"))
    assert ours == theirs.replace("from blindvsr", "from jittor_port")


def test_frames_come_in_natural_order(tmp_path: Path) -> None:
    names = ["1.png", "2.png", "10.png", "a1b9.png", "a1b10.png", "frame 2.PNG", "frame 11.png"]
    for name in reversed(names):
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    assert [path.name for path in frames.image_files(tmp_path)] == names
    assert [path.name for path in repeated_frames.find_videos(tmp_path, "--input", "LR_blurdown_x4")[0].files] == names
