"""What must be true before `import jittor`: versions that work, a compiler, and convolutions that are fast.

Jittor reads its settings from environment variables while it is imported. Everything set here is a default: a
variable that the user has set stays as it is.
"""

import importlib.metadata
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from jittor_port import InputError

JITTOR = "1.3.11.0"  # older ones return uninitialised memory beside numpy 2; newer ones are not measured
PYTHONS = ((3, 10), (3, 12))  # the oldest for this package, the newest that Jittor compiles with
ONEDNN = "onednn-devel-cpu-gomp==2022.2.1"  # the last with the interface of version 2 and GNU OpenMP


@dataclass(frozen=True)
class OneDNN:
    """Where oneDNN is installed.

    Attributes:
        library: libdnnl.so.2.
        headers: the folder that holds dnnl.hpp.
    """

    library: Path
    headers: Path


def check() -> None:
    """Finds out whether Jittor can work here, without importing it.

    Raises:
        InputError: saying what is wrong and what to do: operating system, Python, numpy, Jittor, compiler, headers.
    """
    if platform.system() == "Windows":
        raise InputError("Jittor does not run offline on Windows itself: install and run this inside WSL (Ubuntu)")
    python = sys.version_info[:2]
    if not PYTHONS[0] <= python <= PYTHONS[1]:
        raise InputError(f"Python {python[0]}.{python[1]} is not one Jittor works with: use 3.10, 3.11 or 3.12")
    installed = _version("jittor")
    if installed is None:
        raise InputError("Jittor is not installed; in the repository: pip install -e '.[jittor]'")
    if installed != JITTOR:
        raise InputError(f"jittor {installed} is installed, and only {JITTOR} is known to be right: "
                         f"pip install jittor=={JITTOR} 'numpy<2'")
    numpy = _version("numpy") or "none"
    if numpy.split(".")[0] != "1":
        raise InputError(f"numpy {numpy} makes Jittor return uninitialised memory: pip install 'numpy>=1.26,<2'")
    compiler = os.environ.get("cc_path", "g++")
    if shutil.which(compiler) is None:
        raise InputError(f"Jittor compiles its kernels and there is no C++ compiler {compiler!r}: "
                         "apt-get install g++ (or set cc_path)")
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise InputError(f"Jittor needs Python's headers and {headers}/Python.h is missing: "
                         f"apt-get install python{python[0]}.{python[1]}-dev")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def prepare(cuda: bool = False) -> None:
    """Sets what Jittor needs, where the user has not.

    Args:
        cuda: keep Jittor's search for CUDA. Without it Jittor would find a compiler for CUDA on a machine that has
            no such device, and fail to load the runtime.
    """
    defaults = {
        "log_silent": "1",
        "gdb_path": "",  # a crash would start a debugger
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads make a busy machine eight times slower
        "FIX_TORCH_ERROR": "0",  # it would import torch where that is installed
        "use_mkl": "0",  # Jittor would download its oneDNN, and crash offline; `convolution` links the installed one
    }
    if not cuda:
        defaults["nvcc_path"] = ""
    config = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}-config"
    if config.is_file():  # a virtual environment has none, and Jittor looks there and in /usr only
        defaults["python_config_path"] = str(config)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def has_cuda_device() -> bool:
    """Whether the kernel offers an NVIDIA device (WSL offers it under another name)."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def is_compiled() -> bool:
    """Whether Jittor has compiled its core on an earlier run with this Python (not quite: another compiler may do)."""
    home = Path(os.environ.get("JITTOR_HOME", Path.home()))
    python = platform.python_version()
    return any((home / ".cache" / "jittor").glob(f"jt{JITTOR[:4]}*/*/py{python}*/**/jittor_core*.so"))


def describe(cuda: bool) -> dict[str, str]:
    """Device and versions, in words."""
    packages = {package: _version(package) or "none" for package in ("jittor", "numpy")}
    if cuda:
        convolutions = "cudnn"
    else:
        convolutions = f"oneDNN {_version('onednn-cpu-gomp')}" if find_onednn() else "numpy"
    return {"device": "cuda" if cuda else "cpu", "convolutions": convolutions,
            "python": platform.python_version()} | packages


def find_onednn() -> OneDNN | None:
    """oneDNN as the packages of the extra `jittor` install it, or None (no wheels exist but for x86-64 Linux)."""
    library = _installed_file("onednn-cpu-gomp", "libdnnl.so.2")
    header = _installed_file("onednn-devel-cpu-gomp", "dnnl.hpp")
    return OneDNN(library, header.parent) if library and header else None


def _installed_file(package: str, name: str) -> Path | None:
    """The outermost file called `name` that an installed package keeps."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())).resolve() for file in sorted(files, key=lambda file: len(file.parts))
             if file.name == name)
    return next((path for path in found if path.is_file()), None)
