"""Outputs that appear together: signals at any moment, and places that are taken or refused at the last one."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import ModuleType

import pytest

from blindvsr import InputError, replacing, testset
from blindvsr.cli import main
from blindvsr.scoring import folders
from blindvsr.signals import SIGNALS, Stopped, listening, restore
from jittor_port import outputs as jittor_outputs, signals as jittor_signals
from tests.conftest import heed_signals
from tests.surroundings.conftest import Disk, at_line


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heed_signals()
    yield
    restore(before)


def signalled(number: signal.Signals, line: int, module: ModuleType) -> AbstractContextManager[Callable[[], int]]:
    """Sends a signal to this process before that many lines of a module."""
    return at_line(line, module, lambda: os.kill(os.getpid(), number))


def write_both(root: Path) -> None:
    with listening(), replacing.replacing_together() as replace:
        replace(root / "file").write_text("new")
        (replace(root / "folder", folder=True) / "content").write_text("new")


def write_folder(root: Path) -> None:
    with jittor_signals.listening(), jittor_outputs.whole_folder(root / "folder") as place:
        (place / "content").write_text("new")


@pytest.mark.parametrize(("work", "module", "stop"), [
    (write_both, replacing, Stopped), (write_folder, jittor_outputs, jittor_signals.Stopped),
])
def test_a_signal_before_any_line(work: Callable[[Path], None], module: ModuleType, stop: type[BaseException],
                                  tmp_path: Path) -> None:
    """What stood there stands, or the new, of all; and nothing else."""
    seen, line, reached = set(), 0, True
    while reached:
        line += 1
        root = tmp_path / str(line)
        (root / "folder").mkdir(parents=True)
        for path in (root / "file", root / "folder" / "content"):
            path.write_text("old")
        with suppress(stop), signalled(signal.SIGTERM, line, module) as lines:
            work(root)
        reached = lines() >= line
        assert sorted(path.name for path in root.iterdir()) == ["file", "folder"], line
        assert [path.name for path in (root / "folder").iterdir()] == ["content"]
        found = [(root / "folder" / "content").read_text()]
        found += [(root / "file").read_text()] if work is write_both else []
        assert len(set(found)) == 1, line
        seen.update(found)
    assert line > 10 and seen == {"old", "new"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_tools(number: signal.Signals, noise: Path, weights: Path, tmp_path: Path,
               capsys: pytest.CaptureFixture[str]) -> None:
    """`upscale` is in tests/upscale: it is stopped in a process of its own, and goes on."""
    place = tmp_path / "net.safetensors"
    place.write_text("of yesterday")
    for module, line, command in (
        (testset, 60, ["degrade", "--hr", noise, "--out", tmp_path / "set", "--kind", "gaussian"]),
        (folders, 20, ["score", "--sr", noise, "--gt", noise, "--all_frames", "--json", tmp_path / "s.json"]),
        (replacing, 25, ["score", "--sr", noise, "--gt", noise, "--all_frames", "--json", tmp_path / "s.json"]),
        (replacing, 18, ["export", "--checkpoint", weights, "--out", place, "--overwrite"]),
    ):
        capsys.readouterr()
        before = signal.getsignal(number)
        with pytest.raises(SystemExit) as stopped, signalled(number, line, module) as lines:
            main([str(argument) for argument in command])
        assert lines() >= line and signal.getsignal(number) == before
        assert stopped.value.code == 128 + number
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == "blindvsr: " + {signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}[number]
        assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["net.safetensors"]
    assert place.read_text() == "of yesterday"


def test_a_place_that_is_taken_meanwhile_keeps_all_beside_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="b has appeared meanwhile") as told, \
            replacing.replacing_together() as replace:
        replace(tmp_path / "a").write_text("mine")
        replace(tmp_path / "b").write_text("mine")
        (tmp_path / "b").write_text("another's")
    assert not (tmp_path / "a").exists() and (tmp_path / "b").read_text() == "another's"
    kept = [path for path in tmp_path.iterdir() if path.read_text() == "mine"]
    assert len(kept) == 2 and all(str(path) in str(told.value) for path in kept)


def test_what_cannot_be_put_takes_the_others_back(tmp_path: Path, disk: Disk) -> None:
    """The second place is closed to writing when all is done: the first has what it had, or nothing."""
    closed = disk("size=1m")
    (tmp_path / "old").write_text("of yesterday")
    (tmp_path / "before").mkdir()
    with pytest.raises(InputError, match="cannot write .*last"), replacing.replacing_together() as replace:
        replace(tmp_path / "old").write_text("new")
        replace(tmp_path / "fresh").write_text("new")
        (replace(tmp_path / "before", folder=True) / "content").write_text("new")
        replace(closed / "last").write_text("new")
        os.system(f"mount -o remount,ro '{closed}'")
    assert sorted(path.name for path in tmp_path.iterdir() if "disk" not in path.name) == ["before", "old"]
    assert (tmp_path / "old").read_text() == "of yesterday" and not list((tmp_path / "before").iterdir())
