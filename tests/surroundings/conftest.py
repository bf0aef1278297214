"""Small file systems, made for one test, and something to restore there."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import pytest

from blindvsr.frames import write_image

Disk = Callable[..., Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes a file system of its own, by the options of mount (size=64k, ro); only root may, and not everywhere."""
    made = []

    def make(options: str) -> Path:
        place = tmp_path / f"disk{len(made)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        made.append(place)
        return place

    try:
        yield make
    finally:
        for place in made:  # lazily: a container that failed may still hold its file
            subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos `a` and `b` of 3 frames that nothing compresses, 64x48."""
    root, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for index in range(3):
            write_image(root / name / f"{index:03}.png", rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return root


@contextmanager
def at_line(line: int, module: ModuleType, action: Callable[[], object]) -> Iterator[Callable[[], int]]:
    """Does something before that many lines of a module have been gone through by this thread; gives a function that
    counts them."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != module.__file__:
            return None
        lines += event == "line"
        if event == "line" and lines == line:
            action()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: lines
    finally:
        sys.settrace(before)
