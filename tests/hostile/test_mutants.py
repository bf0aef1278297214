"""Damaged files of every kind against every reader: no traceback, no signal, none over 10 s or 6 GB of address space.

The long run, 10,000 of them: python -m pytest -m long tests/hostile
"""

import json
import pickle
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blindvsr.network import BlindVSR, NetConfig
from blindvsr.weights import save_network
from tests.clips import make_video, moving
from tests.conftest import REPOSITORY
from tests.hostile.reader import READERS

TINY = NetConfig(num_features=4, extract_blocks=1, recon_blocks=1, flow_width=0.02)
VIDEOS = {".mp4": ("libx264", "aac"), ".mkv": ("libx264", "pcm_s16le"), ".mov": ("mpeg4", "aac"),
          ".avi": ("mpeg4", "pcm_s16le")}
LONG = 10_000
QUICK = {".png": 40, ".tif": 40, ".avi": 3, ".mp4": 3, ".safetensors": 30, ".ckpt": 30, ".pkl": 30}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good file of each kind, `seed.<suffix>`."""
    folder = tmp_path_factory.mktemp("seeds")
    image, exif = Image.fromarray(moving(1, 32, 40)[0]), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a camera"
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        image.save(folder / f"seed{suffix}", exif=exif)
    for suffix, (codec, sound) in VIDEOS.items():
        make_video(folder / f"seed{suffix}", moving(5), codec=codec, sound=sound)
    net = BlindVSR(TINY)
    state = net.state_dict()
    save_network(net, folder / "seed.safetensors")
    save_network(net, folder / "small.safetensors")
    torch.save(state, folder / "seed.pt", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": state, "hyper_parameters": {"network": asdict(TINY)}}, folder / "seed.ckpt")
    arrays = {key: tensor.numpy().astype(np.float16) for key, tensor in state.items()}
    (folder / "seed.pkl").write_bytes(pickle.dumps(arrays, 2))
    (folder / "seed.yaml").write_bytes((REPOSITORY / "configs" / "tiny.yaml").read_bytes())
    return folder


def faults(seed: Path, first: int, count: int) -> list[str]:
    """What is wrong with how mutants of a file are read; processes that die are started again behind the mutant."""
    folder, found, stop = seed.parent / seed.suffix[1:], [], first + count
    folder.mkdir(exist_ok=True)
    while first < stop:
        command = [sys.executable, "-m", "tests.hostile.reader", seed, folder, str(first), str(stop)]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=REPOSITORY, check=False)
        lines = [line for line in run.stdout.splitlines() if line.startswith("[")]
        found += [f"{seed.suffix} {number}: {wrong}" for number, wrong in map(json.loads, lines)]
        if run.returncode == 0:
            break
        first = int((seed.parent / f"at{seed.suffix}").read_text()) + 1
        found.append(f"{seed.suffix} {first - 1}: exit {run.returncode} {run.stderr[-200:]}")
    return found


@pytest.mark.parametrize("suffix", QUICK)
def test_mutants(suffix: str, seeds: Path) -> None:
    assert not faults(seeds / f"seed{suffix}", 0, QUICK[suffix])


@pytest.mark.long
@pytest.mark.parametrize("suffix", READERS)
def test_many_mutants(suffix: str, seeds: Path) -> None:
    assert not faults(seeds / f"seed{suffix}", 1000, LONG // len(READERS))
