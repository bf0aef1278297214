"""The weights that the fixtures were computed with: drawn anew, since 76 MB of random numbers need no file."""

import json
import math
import re
from pathlib import Path

import numpy as np
import torch

SHAPES = Path(__file__).parent / "fixtures" / "state_dict_shapes.json"

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


def official_weights() -> dict[str, torch.Tensor]:
    """The official state dict, under the official names."""
    shapes = json.loads(SHAPES.read_text())
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
