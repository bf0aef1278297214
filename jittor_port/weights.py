"""Weights files as numpy arrays under the names of blindvsr. Nothing here runs code from a file."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from jittor_port import InputError
from jittor_port.pickled import Array, check_numbers, read_arrays

Arrays = Mapping[str, NDArray[np.float32]]
Rename = tuple[str, str | Callable[[re.Match[str]], str]]

FORMAT = "blindvsr/1"
PYRAMID = (16, 32, 64, 96, 128, 196)  # channels of PWC-Net's levels 1..6, at 1/2 .. 1/64 of the size
FIXED = {"num_frames": 5, "scale": 4, "kernel_size": 13}  # what the whole method is made for
# far beyond anything that was ever trained: what is larger is a mistake, or a file that means harm
LARGEST = {"num_features": 1024, "extract_blocks": 1000, "recon_blocks": 1000, "flow_width": 4}
MOST = 2**28  # parameters of all blocks


@dataclass(frozen=True)
class NetConfig:
    """The shape of the network, as the header of a weights file gives it; the defaults are the published one.

    Attributes:
        num_frames: frames of a window, whose middle one is restored; 5.
        num_features: channels of the reconstruction, 1 to 1024.
        extract_blocks: residual blocks that each frame goes through on its own, 1 to 1000.
        recon_blocks: residual blocks after the frames are fused, 1 to 1000.
        scale: factor of super-resolution; 4.
        kernel_size: side of the estimated blur kernel; 13.
        flow_width: channel multiplier of PWC-Net, above 0, 4 at most; no level has fewer than 2 channels.
    """

    num_frames: int = 5
    num_features: int = 128
    extract_blocks: int = 3
    recon_blocks: int = 20
    scale: int = 4
    kernel_size: int = 13
    flow_width: float = 1.0

    def __post_init__(self) -> None:
        for name, value in FIXED.items():
            if not isinstance(getattr(self, name), int) or getattr(self, name) != value:
                raise InputError(f"network.{name}={getattr(self, name)!r:.60}: it is always {value}")
        for name in ("num_features", "extract_blocks", "recon_blocks"):
            number = getattr(self, name)
            if not isinstance(number, int) or not 1 <= number <= LARGEST[name]:
                raise InputError(f"network.{name}={number!r:.60}: it must be a whole number from 1 to {LARGEST[name]}")
        if 18 * self.num_features**2 * (self.extract_blocks + self.recon_blocks) > MOST:
            raise InputError(f"network.num_features={self.num_features}: with so many blocks the network would have "
                             f"over {MOST:,} parameters; give fewer")
        width = self.flow_width
        if not isinstance(width, (int, float)) or not 0 < width <= LARGEST["flow_width"]:
            raise InputError(f"network.flow_width={width!r:.60}: it must be above 0, {LARGEST['flow_width']} at most")


def scaled_channels(channels: tuple[int, ...], width: float) -> tuple[int, ...]:
    """Channel counts of the published PWC-Net, multiplied by `width`."""
    return tuple(max(2, round(width * count)) for count in channels)


class Weights:
    """Hands out the arrays of a file, each once, and remembers what does not fit.

    Args:
        arrays: by name.
    """

    def __init__(self, arrays: Arrays, prefix: str = "", parent: "Weights | None" = None) -> None:
        self._arrays = arrays
        self._prefix = prefix
        self._wrong: list[str] = parent._wrong if parent else []
        self._taken: set[str] = parent._taken if parent else set()

    def under(self, prefix: str) -> "Weights":
        """The arrays whose names begin with `prefix`, without it."""
        return Weights(self._arrays, self._prefix + prefix, self)

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The array `name`; zeros in its place, and an error from `finish`, if there is none of this shape."""
        name = self._prefix + name
        self._taken.add(name)
        array = self._arrays.get(name)
        if array is None:
            self._wrong.append(f"missing {name}")
        elif array.shape != shape:
            self._wrong.append(f"{name} is {array.shape}, not {shape}")
        else:
            return array
        return np.zeros(shape, np.float32)

    def finish(self, source: str | Path) -> None:
        """Checks that everything fitted and nothing is left.

        Raises:
            InputError: naming up to three arrays that are missing, unexpected or of another shape.
        """
        wrong = self._wrong + [f"unexpected {name:.80}" for name in self._arrays if name not in self._taken]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise InputError(f"--weights {source} belongs to another network: {', '.join(wrong[:3])}{more}; "
                             "export it again with: blindvsr export")


def read_weights(path: str | Path) -> tuple[Arrays, NetConfig]:
    """Reads a weights file.

    Args:
        path: what `blindvsr export` writes (.safetensors), or the older Jittor port's pickle of numpy arrays (.pkl).

    Returns:
        The float32 arrays by our names, and the network's shape: from the header, or read off the arrays.

    Raises:
        InputError: for a file that is missing, truncated, foreign or hostile; no code in it runs.
    """
    path = Path(path)
    reader = {".safetensors": _read_safetensors, ".pkl": _read_pickle}.get(path.suffix)
    if not path.is_file():
        raise InputError(f"--weights {path}: there is no such file")
    if reader is None:
        raise InputError(f"--weights {path} is neither .safetensors nor .pkl; convert it with: "
                         f"blindvsr export --checkpoint {path} --out {path.with_suffix('.safetensors')}")
    try:
        content, config = reader(path)
        arrays = {_our_name(name): np.asarray(array, np.float32) for name, array in content.items()}
        return arrays, _checked(NetConfig(**config), arrays) if config is not None else _infer_config(arrays)
    except InputError as error:
        raise InputError(f"--weights {path}: {error}") from error
    except Exception as error:  # whatever a foreign, truncated or hostile file makes the readers say
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"--weights {path} cannot be read as weights: {reason}; export it again") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    with safe_open(str(path), framework="numpy") as file:
        header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise InputError(f"not a file of blindvsr, its header says format={header.get('format')!r:.60}; "
                             "write one with: blindvsr export")
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header["config"])  # noqa: SIM118


def _read_pickle(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    content = read_arrays(path)
    if not isinstance(content, dict):
        raise InputError(f"a pickle of {type(content).__name__}, not of arrays by name")
    arrays = {name: value.values for name, value in content.items()
              if isinstance(name, str) and isinstance(value, Array) and value.values is not None}
    check_numbers((array.size for array in arrays.values()), path.stat().st_size)
    return arrays, None


def _infer_config(arrays: Arrays) -> NetConfig:
    """The shape of the network, read off the shapes of its arrays."""

    def blocks(name: str) -> int:
        return len({key.split(".")[1] for key in arrays if key.startswith(name + ".")})

    try:
        features = arrays["extract.0.weight"].shape[0]
        return NetConfig(
            num_frames=arrays["fuse.weight"].shape[1] // features,
            num_features=features,
            extract_blocks=blocks("extract") - 1,
            recon_blocks=blocks("trunk"),
            kernel_size=round(arrays["kernel_net.linear.1.weight"].shape[0] ** 0.5),
            flow_width=_flow_width(tuple(arrays[f"flow_net.extractor.{i}.0.weight"].shape[0] for i in range(6))),
        )
    except KeyError as error:
        raise InputError(f"not a whole network, it has no {error.args[0]}") from error


def _checked(config: NetConfig, arrays: Arrays) -> NetConfig:
    """A header's configuration; InputError, before anything is built, if the arrays have another."""
    found = _infer_config(arrays)
    for name in ("num_features", "extract_blocks", "recon_blocks"):
        if getattr(config, name) != getattr(found, name):
            raise InputError(f"belongs to another network: its header says {name}={getattr(config, name)}, and its "
                             f"arrays {getattr(found, name)}; export it again with: blindvsr export")
    return config


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


# The official names in ours: the first pattern that a name starts with replaces that start.
_NUMBER = {"One": 1, "Two": 2, "Thr": 3, "Fou": 4, "Fiv": 5, "Six": 6}
OFFICIAL_FLOW = "flow_net.moduleNetwork."
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


def _our_name(name: str) -> str:
    name = name.replace("_orig_mod.", "").removeprefix("module.")  # torch.compile, DataParallel
    prefix, table = ("flow_net.", FLOW_RENAMES) if name.startswith(OFFICIAL_FLOW) else ("", RENAMES)
    name = name.removeprefix(OFFICIAL_FLOW)
    for pattern, new in table:
        if re.match(pattern, name):
            return prefix + re.sub(pattern, new, name, count=1)
    return prefix + name
