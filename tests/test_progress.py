"""Progress: a bar on a terminal, lines in a log, in every command."""

import io
import sys
import time
from pathlib import Path

import pytest

import blindvsr.progress
import jittor_port.progress
from blindvsr.cli import main
from blindvsr.frames import write_image
from tests.clips import moving


@pytest.mark.parametrize("module", [blindvsr.progress, jittor_port.progress])
def test_lines_without_a_terminal(module: object, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.1)
    for _ in module.progress(range(20), desc="videos", unit=" video"):  # type: ignore[attr-defined]
        time.sleep(0.02)
    said = capsys.readouterr().err
    assert "\r" not in said
    lines = said.splitlines()
    assert 3 <= len(lines) <= 7
    assert lines[0].startswith("videos: 0/20 videos")
    assert lines[-1].startswith("videos: 20/20 videos")


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    list(blindvsr.progress.progress(range(3)))
    assert "\r" in terminal.getvalue()


def test_score_and_degrade_draw_nothing_over_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for index, frame in enumerate(moving(2)):
        write_image(folder / f"{index}.png", frame)
    out = tmp_path / "out"
    assert main(["degrade", "--hr", str(folder), "--out", str(out), "--kind", "gaussian"]) == 0
    assert main(["score", "--sr", str(folder), "--gt", str(folder), "--all_frames"]) == 0
    said = capsys.readouterr()
    assert "\r" not in said.err + said.out
    assert "1/1 videos" in said.err and "2/2 frames" in said.err
