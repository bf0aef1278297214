"""Places that cannot be written to, names as long as they may be, and links that go in circles."""

from pathlib import Path

import pytest

from blindvsr.cli import main
from tests.clips import make_video, moving
from tests.conftest import run_fails
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
