"""Memory that runs out: smaller tiles, which are said, or one line; and nothing is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from blindvsr.frames import read_image, write_image
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.weights import save_network
from tests.clips import moving
from tests.conftest import REPOSITORY

# restores a small image, and then the input as often as limits are given, MiB above what the process has by then
PROGRAM = """
import resource, sys
from pathlib import Path
from blindvsr.cli import main

main(["upscale", "small.png", "small4.png", "--weights", "net.safetensors"])
for name in sys.argv[1:]:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if name != "free":
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(name) * 2**20, resource.RLIM_INFINITY))
    print("limit", name, file=sys.stderr)
    try:
        main(["upscale", "in", name, "--weights", "net.safetensors", "--overwrite", "--tile", "320"])
    except SystemExit as stopped:
        print("exit", stopped.code, file=sys.stderr)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
"""
SMALLER = "out of memory: going on with tiles of "

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the address space is read in /proc")


def limited(place: Path, limits: list[int], crashes: bool = False) -> dict[int, str]:
    """Restores three frames under each of the limits; what is said under each. `crashes`: torch may, at the last."""
    torch.manual_seed(0)
    save_network(BlindVSR(NetConfig(extract_blocks=1, recon_blocks=1, flow_width=0.1)), place / "net.safetensors")
    write_image(place / "small.png", moving(1, 32, 32)[0])
    for folder in ("in", *map(str, limits)):
        (place / folder).mkdir()
        for number, frame in enumerate(moving(3, 180, 320)):
            write_image(place / folder / f"{number}.png", frame)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, limits)], cwd=place, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    if crashes and done.returncode == -signal.SIGSEGV:
        return {}
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    said = {int(part.split()[0]): part for part in done.stderr.split("limit ")[1:]}
    for limit, text in said.items():
        if "exit" in text:
            error, code = text.strip().splitlines()[-2:]
            assert error.startswith("blindvsr: error: ") and "memory" in error and code == "exit 1"
            # what stood there stands
            assert read_image(place / str(limit) / "0.png").shape == (180, 320, 3)
    assert not list(place.glob(".*"))
    return said


def test_too_little(tmp_path: Path) -> None:
    said = limited(tmp_path, [20, 5])
    assert all("exit 1" in text for text in said.values()) and len(said) == 2


def test_too_little_for_the_libraries(tmp_path: Path) -> None:
    write_image(tmp_path / "in.png", moving(1, 32, 32)[0])
    call = f"ulimit -v 1500000; '{sys.executable}' -m blindvsr upscale '{tmp_path}/in.png' '{tmp_path}/out.png'"
    done = subprocess.run(["sh", "-c", call], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("blindvsr: error: out of memory") and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.long
def test_smaller_tiles(tmp_path: Path) -> None:
    """Where whole frames do not fit any more, tiles do. With less still torch itself may crash: where memory ends
    within its transposed convolution, it goes on with what it has not got."""
    for limit in (1000, *range(360, 100, -30)):
        place = tmp_path / str(limit)
        place.mkdir()
        said = limited(place, [limit], crashes=limit < 1000).get(limit, "")
        print(limit, said)
        if limit == 1000:
            assert SMALLER not in said and "exit" not in said
        elif SMALLER in said and "exit" not in said:
            break
    else:
        pytest.fail("under no limit smaller tiles were of any use")
    for number in range(3):
        pair = (read_image(tmp_path / name / name / f"{number}.png").astype(int) for name in ("1000", str(limit)))
        assert np.abs(np.subtract(*pair)).max() <= 1
