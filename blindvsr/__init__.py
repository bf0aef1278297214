"""Blind video super-resolution that learns from low-resolution video alone (Bai and Pan, TPAMI 2024)."""

import importlib
from typing import TYPE_CHECKING, Any

from blindvsr.container import set_thread_defaults

if TYPE_CHECKING:
    from blindvsr.degrade import blur_down, gaussian_kernel, realistic_kernel
    from blindvsr.losses import self_supervised
    from blindvsr.metrics import psnr, ssim
    from blindvsr.network import BlindVSR, NetConfig
    from blindvsr.ops import backwarp
    from blindvsr.ops.cost_volume import cost_volume
    from blindvsr.stream import restore
    from blindvsr.weights import load_network, read_state_dict, save_network

__version__ = "0.1.0"
__all__ = [
    "BlindVSR", "InputError", "NetConfig", "backwarp", "blur_down", "cost_volume", "gaussian_kernel", "load_network",
    "psnr", "read_state_dict", "realistic_kernel", "restore", "save_network", "self_supervised", "ssim",
]
_PLACES = {
    "degrade": ("blur_down", "gaussian_kernel", "realistic_kernel"),
    "losses": ("self_supervised",),
    "metrics": ("psnr", "ssim"),
    "network": ("BlindVSR", "NetConfig"),
    "ops": ("backwarp", "cost_volume"),
    "stream": ("restore",),
    "weights": ("load_network", "read_state_dict", "save_network"),
}
set_thread_defaults()  # before torch is loaded, which reads it then


class InputError(ValueError):
    """A user's mistake: the message names what was given, its value and the remedy, in one line."""


def __getattr__(name: str) -> Any:
    """The names of `__all__`, each imported when it is first used: torch takes seconds to load."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"blindvsr.{module}"), name)
    raise AttributeError(f"module 'blindvsr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
