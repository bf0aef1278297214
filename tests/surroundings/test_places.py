"""Places that cannot be written to, names as long as they may be, links that go in circles, and input that vanishes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from blindvsr.cli import main
from blindvsr.frames import write_image
from tests.clips import make_video, moving
from tests.conftest import REPOSITORY, run_fails
from tests.surroundings.conftest import Disk


def test_read_only(disk: Disk, noise: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = disk("ro")
    for command in (
        ["upscale", noise / "a", place / "out.mp4", "--weights", weights],
        ["upscale", noise / "a", place / "out", "--weights", weights, "--resume"],
        ["degrade", "--hr", noise, "--out", place / "set", "--kind", "gaussian"],
        ["export", "--checkpoint", weights, "--out", place / "net.safetensors"],
        ["score", "--sr", noise, "--gt", noise, "--all_frames", "--json", place / "s.json"],
    ):
        said = run_fails([*command], capsys)
        assert f"{place}" in said
        assert "cannot write" in said
        assert "choose another" in said


def test_long_names_and_circular_links(tmp_path: Path, weights: Path) -> None:
    name = 83 * "長"  # 249 bytes of the 255 that a name may have
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    (folder / "again").symlink_to(tmp_path / "in")
    make_video(folder / f"{name}.mp4", moving(2, 16, 16))
    for output in (tmp_path / "out", tmp_path / name):
        assert main(["upscale", str(tmp_path / "in"), str(output), "--weights", str(weights)]) == 0
        assert [path.name for path in output.rglob("*.mp4")] == [f"{name}.mp4"]
        assert not list(output.rglob(".*"))


def test_frames_that_vanish_while_others_are_restored(weights: Path, tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    (tmp_path / "in").mkdir()
    for number in range(200):
        write_image(tmp_path / "in" / f"{number:03}.png", picture)
    command = [sys.executable, "-m", "blindvsr", "upscale", "in", "out", "--weights", str(weights)]
    running = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                               stderr=subprocess.PIPE, text=True)
    while running.poll() is None and len(list(tmp_path.rglob("[0-9]*.png"))) == 200:
        time.sleep(0.02)
    (tmp_path / "in" / "199.png").unlink()
    _, said = running.communicate()
    assert running.returncode == 1, said
    assert said.strip().splitlines()[-1] == (
        "blindvsr: error: in/199.png cannot be read as an image (missing); replace or remove it")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
