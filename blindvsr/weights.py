"""Reading every known checkpoint layout, and writing ours. Nothing here runs code from a file."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from blindvsr import InputError
from blindvsr.flow import PYRAMID, scaled_channels
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.replacing import replacing
from blindvsr.untrusted.pickled import Array, check_numbers, read_arrays
from blindvsr.untrusted.torchfile import Stored, read_torch

# name -> file of the models that come along, for clean and for encoded or noisy input: wherever weights are asked for,
# the name will do
_MODELS = Path(__file__).parent / "models"
BUNDLED = {name: path for name in ("clean", "footage") if (path := _MODELS / f"{name}.safetensors").is_file()}
FORMAT = "blindvsr/1"
# what trainers keep weights under: Lightning; BasicSR, whose average comes first; others
WRAPPERS = ("state_dict", "params_ema", "params", "model_state_dict", "model")
LIGHTNING_PREFIX = "net."  # the LightningModule holds the network under this name
StateDict = dict[str, Tensor]
Rename = tuple[str, str | Callable[[re.Match[str]], str]]

# The official names in ours: the first pattern that a key starts with replaces that start.
_NUMBER = {"One": 1, "Two": 2, "Thr": 3, "Fou": 4, "Fiv": 5, "Six": 6}
FLOW_RENAMES: list[Rename] = [
    (r"moduleExtractor\.module(\w+)\.", lambda m: f"extractor.{_NUMBER[m[1]] - 1}."),
    (r"module(\w+)\.moduleUpflow\.", lambda m: f"decoders.{6 - _NUMBER[m[1]]}.up_flow."),
    (r"module(\w+)\.moduleUpfeat\.", lambda m: f"decoders.{6 - _NUMBER[m[1]]}.up_features."),
    (r"module(\w+)\.moduleSix\.0\.", lambda m: f"decoders.{6 - _NUMBER[m[1]]}.predict."),
    (r"moduleRefiner\.moduleMain\.", "refiner."),
    (r"module(\w+)\.module(\w+)\.0\.", lambda m: f"decoders.{6 - _NUMBER[m[1]]}.dense.{_NUMBER[m[2]] - 1}."),
]
RENAMES: list[Rename] = [
    (r"in_conv\.0\.", "extract.0."),
    (r"extra_feat\.(\d+)\.", lambda m: f"extract.{int(m[1]) + 1}."),
    (r"fusion_conv\.0\.", "fuse."),
    (r"recons_net\.", "trunk."),
    (r"upsample_layers\.", "tail."),
    (r"out_conv\.(\d)\.", lambda m: f"tail.{int(m[1]) + 4}."),
    (r"kernel_net\.in_conv\.", "kernel_net.features.0."),
    (r"kernel_net\.body1\.(\d)\.body\.3\.conv_du\.(\d)\.",
     lambda m: f"kernel_net.features.{int(m[1]) + 1}.attention.{int(m[2]) + 1}."),
    (r"kernel_net\.body1\.(\d)\.body\.", lambda m: f"kernel_net.features.{int(m[1]) + 1}.convs."),
    (r"kernel_net\.body2\.(\d)\.body\.3\.conv_du\.(\d)\.",
     lambda m: f"kernel_net.kernel_map.{m[1]}.attention.{int(m[2]) + 1}."),
    (r"kernel_net\.body2\.(\d)\.body\.", r"kernel_net.kernel_map.\1.convs."),
    (r"kernel_net\.body2\.", "kernel_net.kernel_map."),
    (r"kernel_net\.fc_net\.", "kernel_net.linear."),
]
OFFICIAL_FLOW = "flow_net.moduleNetwork."


def _renamed(key: str, table: list[Rename]) -> str:
    for pattern, new in table:
        if re.match(pattern, key):
            return re.sub(pattern, new, key, count=1)
    return key


def _our_key(key: str) -> str:
    """Our name for a key of the official network, of PWC-Net alone (old or new layout), or of ours."""
    key = key.replace("_orig_mod.", "")  # torch.compile
    key = key.removeprefix("module.").removeprefix(LIGHTNING_PREFIX)  # DataParallel; Lightning
    if re.match(r"net[A-Z]", key):  # pytorch-pwc renamed its modules in 2020
        key = re.sub(r"\bnet([A-Z])", r"module\1", key)
    if key.startswith(("moduleExtractor.", "moduleRefiner.")) or re.match(r"module\w+\.module", key):
        return "flow_net." + _renamed(key, FLOW_RENAMES)
    if key.startswith(OFFICIAL_FLOW):
        return "flow_net." + _renamed(key.removeprefix(OFFICIAL_FLOW), FLOW_RENAMES)
    return _renamed(key, RENAMES)


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    with safe_open(str(path), framework="pt") as file:
        header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise InputError(f"not a blindvsr weights file, its header says format={header.get('format')!r:.60}")
        tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        return tensors, json.loads(header["config"])


def _unwrapped(content: Any) -> dict[Any, Any]:
    """The dictionary of the weights, out of those that trainers put around it."""
    while isinstance(content, dict):
        inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), None)
        if inner is None:
            return content
        content = inner
    raise ValueError(f"it holds a {type(content).__name__}, not tensors by name")


def _read_torch(path: Path) -> tuple[StateDict, Any]:
    content = read_torch(path)
    stored = {key: value for key, value in _unwrapped(content.value).items() if isinstance(value, Stored)}
    check_numbers((math.prod(value.size) for value in stored.values()), path.stat().st_size)
    parameters = content.value.get("hyper_parameters")  # Lightning's
    config = parameters.get("network") if isinstance(parameters, dict) else None
    return {key: content.tensor(value).float().contiguous() for key, value in stored.items()}, config


def _read_pickle(path: Path) -> tuple[StateDict, Any]:
    arrays = _unwrapped(read_arrays(path))
    values = {key: value.values for key, value in arrays.items()
              if isinstance(value, Array) and value.values is not None}
    check_numbers((array.size for array in values.values()), path.stat().st_size)
    return {key: torch.from_numpy(np.array(array, np.float32)) for key, array in values.items()}, None


def _read(path: str | Path) -> tuple[StateDict, NetConfig | None]:
    """The tensors of a file, as float32 under our names, and the configuration where the file carries one."""
    path = BUNDLED.get(str(path), Path(path))
    if not path.is_file():
        raise InputError(f"no such weights file: {path}; the bundled models are: {', '.join(BUNDLED) or 'none'}")
    reader = {".safetensors": _read_safetensors, ".pkl": _read_pickle}.get(path.suffix, _read_torch)
    try:
        content, config = reader(path)
        state = {_our_key(key): tensor for key, tensor in content.items() if isinstance(key, str)}
        if state:
            return state, NetConfig(**config) if config else None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # whatever a foreign, truncated or hostile file makes the readers say
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} cannot be read as weights: {reason}") from error
    raise InputError(f"{path} holds no weights: expected tensors by name")


def read_state_dict(path: str | Path) -> StateDict:
    """Reads the weights of a network under our names.

    Args:
        path: ours (.safetensors), a Lightning checkpoint (.ckpt), the official layout (.pt, with or without a
            DataParallel prefix), PWC-Net alone (network-default.pytorch), the older Jittor port's pickle of numpy
            arrays (.pkl, through an unpickler that admits nothing else), or the name of a bundled model.

    Returns:
        name -> float32 tensor.

    Raises:
        InputError: for a file that is missing, truncated, foreign or hostile; no code in it runs.
    """
    return _read(path)[0]


def _infer_config(state: StateDict, path: Path) -> NetConfig:
    """The shape of the network, read off the shapes of its tensors."""

    def blocks(name: str) -> int:
        return len({key.split(".")[1] for key in state if key.startswith(name + ".")})

    try:
        features = state["extract.0.weight"].shape[0]
        return NetConfig(
            num_frames=state["fuse.weight"].shape[1] // features,
            num_features=features,
            extract_blocks=blocks("extract") - 1,
            recon_blocks=blocks("trunk"),
            kernel_size=round(state["kernel_net.linear.1.weight"].shape[0] ** 0.5),
            flow_width=_flow_width(tuple(state[f"flow_net.extractor.{i}.0.weight"].shape[0] for i in range(6))),
        )
    except KeyError as error:
        raise InputError(f"{path} is not a BlindVSR network: it has no {error.args[0]}") from error
    except (InputError, LookupError, ArithmeticError) as error:  # absurd shapes
        raise InputError(f"{path} is not a BlindVSR network: {error}") from error


def _flow_width(channels: tuple[int, ...]) -> float:
    """The shortest decimal multiplier that gives PWC-Net's pyramid these channels; if none does, the nearest."""
    # each level admits the multipliers of an interval; 2 channels stand for anything less as well
    low = max((count - 0.5) / published if count > 2 else 0 for count, published in zip(channels, PYRAMID, strict=True))
    high = min((count + 0.5) / published for count, published in zip(channels, PYRAMID, strict=True))
    for digits in range(17):
        width = round((low + high) / 2, digits)
        if width > 0 and scaled_channels(PYRAMID, width) == channels:
            break
    return width


def check_state_dict(module: torch.nn.Module, state: StateDict, source: str | Path) -> None:
    """Compares names and shapes before anything is loaded.

    Raises:
        InputError: naming up to three tensors that are missing, unexpected or of another shape.
    """
    own = module.state_dict()
    wrong = [f"missing {key}" for key in own if key not in state]
    wrong += [f"unexpected {key:.80}" for key in state if key not in own]
    wrong += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in own.items() if key in state and state[key].shape != tensor.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(f"{source} is a checkpoint of another network: {', '.join(wrong[:3])}{more}")


def load_network(path: str | Path) -> BlindVSR:
    """Builds the network that a file describes and fills it, in evaluation mode.

    Args:
        path: any layout that `read_state_dict` knows, of a whole network.

    Raises:
        InputError: for an unusable file, naming up to three tensors that do not fit.
    """
    state, config = _read(path)
    with torch.device("meta"):  # without memory, before it is known that the file has what its header says
        net = BlindVSR(config or _infer_config(state, Path(path)))
    check_state_dict(net, state, path)
    net = net.to_empty(device="cpu")
    net.load_state_dict(state)
    return net.eval()


def load_part(net: BlindVSR, part: Literal["flow_net", "kernel_net"], path: str | Path) -> None:
    """Fills the flow network or the kernel estimator alone, from that part of a whole network; the flow network from
    PWC-Net's own file too.

    Raises:
        InputError: for an unusable file, or a part of another shape.
    """
    state = {key.removeprefix(f"{part}."): tensor for key, tensor in read_state_dict(path).items()
             if key.startswith(f"{part}.")}
    module = getattr(net, part)
    check_state_dict(module, state, path)
    module.load_state_dict(state)


def save_network(net: BlindVSR, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes a safetensors file with the configuration in its header, readable with numpy alone.

    Args:
        net: the network.
        path: target, ending in .safetensors; replaced only when the new file is whole.
        dtype: torch.float32, or torch.float16 for half the size.

    Raises:
        InputError: if the name has another ending or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: a weights file must end in .safetensors")
    state = {key: tensor.detach().cpu().to(dtype).contiguous() for key, tensor in net.state_dict().items()}
    with replacing(path) as temporary:  # by way of memory: the library's own errors of writing have no number
        temporary.write_bytes(save(state, {"format": FORMAT, "config": json.dumps(asdict(net.config))}))
