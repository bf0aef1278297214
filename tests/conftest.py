"""Fixtures: numbers computed by the official code, the weights they belong to, and small real files."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from blindvsr.network import BlindVSR
from blindvsr.weights import load_network

FIXTURES = Path(__file__).parent / "fixtures"

# gains that keep activations and flows of a random network in the range of a trained one; first match wins
GAINS = [
    (r"^flow_net\.moduleNetwork\.moduleExtractor\.module(One|Two)\.", 1.9),
    (r"^flow_net\.moduleNetwork\.moduleExtractor\.module(Thr|Fou)\.", 1.7),
    (r"^flow_net\.moduleNetwork\.moduleExtractor\.module(Fiv|Six)\.", 2.0),
    (r"^flow_net\.moduleNetwork\.module(Two|Thr|Fou|Fiv|Six)\.moduleSix\.0\.weight$", 0.04),
    (r"^flow_net\.moduleNetwork\.module(Two|Thr|Fou|Fiv)\.moduleUpflow\.weight$", 1.0),
    (r"^flow_net\.moduleNetwork\.module(Two|Thr|Fou|Fiv)\.moduleUpfeat\.weight$", 0.5),
    (r"^flow_net\.moduleNetwork\.moduleRefiner\.moduleMain\.12\.weight$", 0.1),
    (r"^flow_net\.", 1.4),
    (r"^(extra_feat|recons_net)\.\d+\.conv2\.weight$", 0.3),
    (r"^out_conv\.1\.weight$", 0.05),
    (r"^kernel_net\.fc_net\.", 0.5),
    (r"", 1.3),
]


def load_fixture(name: str) -> dict[str, np.ndarray]:
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def official_state() -> dict[str, torch.Tensor]:
    """The official state dict, under the official names, that the fixtures were computed with."""
    shapes = json.loads((FIXTURES / "state_dict_shapes.json").read_text())
    state = {}
    for index, key in enumerate(sorted(shapes)):
        values = np.random.default_rng([1234, index]).standard_normal(shapes[key])
        if values.ndim > 1:
            gain = next(gain for pattern, gain in GAINS if re.search(pattern, key))
            values *= gain / math.sqrt(math.prod(shapes[key][1:]))
        else:
            values *= 0.01
        state[key] = torch.from_numpy(values.astype(np.float32))
    return state


@pytest.fixture(scope="session")
def official_file(official_state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights in a file of the official layout."""
    path = tmp_path_factory.mktemp("weights") / "official.pt"
    torch.save(official_state, path)
    return path


@pytest.fixture
def official_net(official_file: Path) -> BlindVSR:
    return load_network(official_file)
