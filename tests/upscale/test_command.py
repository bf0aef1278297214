"""What `blindvsr upscale` says to inputs and outputs that cannot be, and what it leaves behind when it ends early."""

import argparse
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blindvsr import InputError
from blindvsr.cli import main
from blindvsr.frames import write_image
from blindvsr.upscale.command import run
from blindvsr.upscale.options import add_arguments
from blindvsr.video.reader import VideoReader
from tests.clips import make_video, moving
from tests.conftest import REPOSITORY, heed_signals
from tests.upscale.conftest import Upscale


def refused(capsys: pytest.CaptureFixture[str], match: str, call: Callable[[], int]) -> None:
    """Expects an InputError of one line, before anything is restored."""
    with pytest.raises(InputError, match=match) as error:
        call()
    assert "\n" not in str(error.value)
    assert "frames/s" not in capsys.readouterr().err


def test_refused_inputs(tmp_path: Path, upscale: Upscale, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty").mkdir()
    small = make_video(tmp_path / "small.mp4", moving(2, 8, 8))
    for name, match in [
        ("text.mp4", "cannot be read as a video"), ("empty", "holds no images"), ("missing", "no such file"),
    ]:
        refused(capsys, match, lambda name=name: upscale(tmp_path / name, tmp_path / "out.mp4"))  # type: ignore[misc]
        assert not (tmp_path / "out.mp4").exists()
    refused(capsys, "16x16", lambda: upscale(small, tmp_path / "out.mp4"))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("variable", ["BLINDVSR_CONVOLUTION", "BLINDVSR_COST_VOLUME"])
def test_variables_that_are_no_choice(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, variable: str,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(variable, "ncnn")
    source = make_video(tmp_path / "in.mp4", moving(2))
    with pytest.raises(SystemExit):
        main(["upscale", str(source), str(tmp_path / "x.mp4"), "--weights", str(weights)])
    assert f"error: {variable}='ncnn': choose torch or" in capsys.readouterr().err


def test_images_of_two_sizes(
    tmp_path: Path, upscale: Upscale, folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    write_image(folder / "d.png", moving(1, 24, 40)[0])
    refused(capsys, "d.png is 40x24", lambda: upscale(folder, tmp_path / "out"))


def test_refused_outputs(
    tmp_path: Path, upscale: Upscale, folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    source = make_video(tmp_path / "in.mp4", moving(2))
    before = source.read_bytes()
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "other.mkv").write_bytes(b"someone's")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "k.mat").write_bytes(b"kernels")
    for arguments, match in [
        ((source, source, "--overwrite"), "is the input"),
        ((source, tmp_path / "link.mp4", "--overwrite"), "is the input"),
        ((folder, folder, "--overwrite"), "is the input"),
        ((folder / "a.png", folder, "--overwrite"), "holds the input"),
        ((source, tmp_path / "other.mkv"), "OUTPUT .* exists: choose another"),
        ((source, tmp_path / "mine", "--overwrite"), "holds more than .png files .letter.txt"),
        ((source, tmp_path / "out.avi"), ".mp4, .mkv, .mov, .webm, .gif"),
        ((source, tmp_path / "out", "--crf", 20), "--crf 20.0: OUTPUT .* is no video"),
        ((source, tmp_path / "out.mp4", "--crf", 99), "crf=99: .* between 0 and 51"),
        ((source, tmp_path / "out.mp4", "--codec", "mpeg4", "--crf", 20), "crf=20: mpeg4 has no constant rate factor"),
        ((source, tmp_path / "out.mp4", "--codec", "libvpx"), "codec=libvpx: .mp4 cannot hold"),
        ((source, tmp_path / "out.webm", "--codec", "libx264"), "codec=libx264: .webm cannot hold"),
        ((source, tmp_path / "out.png"), "out.png holds one image, and .* has 2"),
        ((source, tmp_path / "out.jpg"), "a folder for PNG images"),
        ((source, tmp_path / "out.mp4", "--height", 97), "height=97: the input has 24 rows, and the most is 96"),
        ((source, tmp_path / "out.mp4", "--codec", "nonsense"), "codec=nonsense"),
        ((source, tmp_path / "out.mp4", "--save_kernel", tmp_path / "k.npz"), "must end in .mat"),
        ((source, tmp_path / "out.mp4", "--save_kernel", tmp_path / "k.mat"), "k.mat exists"),
        ((source, tmp_path / "text.txt" / "out.mp4"), "cannot write"),
    ]:
        (tmp_path / "text.txt").write_text("a file where a folder should be")
        refused(capsys, match, lambda arguments=arguments: upscale(*arguments))  # type: ignore[misc]
    assert source.read_bytes() == before
    assert len(list(folder.iterdir())) == 3
    assert not any(path.name.startswith(".") or path.name == "out.mp4" for path in tmp_path.iterdir())


def test_overwrite(tmp_path: Path, upscale: Upscale, folder: Path) -> None:
    target = tmp_path / "out.mkv"
    target.write_bytes(b"old")
    assert upscale(folder, target, "--overwrite") == 0
    assert len(list(VideoReader(target))) == 3
    (tmp_path / "out").mkdir()
    write_image(tmp_path / "out" / "zzz.png", moving(1)[0])
    assert upscale(folder, tmp_path / "out", "--overwrite") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self/mem").exists(), reason="needs /proc")
def test_folder_that_cannot_be_written_to(tmp_path: Path, upscale: Upscale, folder: Path) -> None:
    if os.geteuid() == 0:  # root may write to every folder but those of the kernel
        target = Path("/proc/out.mp4")
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        target = tmp_path / "closed" / "out.mp4"
    with pytest.raises(InputError, match="cannot write"):
        upscale(folder, target)
    with pytest.raises(InputError, match="cannot write"):
        upscale(folder, tmp_path / "out.mp4", "--save_kernel", target.with_suffix(".mat"))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv", "out"])
def test_no_space(tmp_path: Path, upscale: Upscale, output: str) -> None:
    """A limit on the size of files makes writing fail as a full disk does: partly through, with an error number."""
    source = tmp_path / "in"
    source.mkdir()
    for index in range(12):
        noise = np.random.default_rng(index).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        write_image(source / f"{index}.png", noise)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(InputError, match=f"cannot write .*{output}.*: File too large") as error:
            upscale(source, tmp_path / output, *(["--crf", 1] if "." in output else []))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert ".part" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(("output", "signalled"), [("out.mp4", signal.SIGINT), ("out", signal.SIGTERM)])
def test_interrupted(tmp_path: Path, weights: Path, output: str, signalled: signal.Signals) -> None:
    source = make_video(tmp_path / "in.mp4", moving(8, 48, 64) * 100, options={"preset": "ultrafast"})
    process = subprocess.Popen(
        [sys.executable, "-m", "blindvsr", "upscale", source, tmp_path / output, "--weights", weights],
        stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, preexec_fn=heed_signals,
    )
    assert process.stderr is not None
    said = ""
    while not re.search(r"\b[1-9]\d*/800", said):  # under way
        piece = process.stderr.read(1)
        assert piece, said
        said += piece
    process.send_signal(signalled)
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[signalled]
    assert process.stderr.read().endswith(f"blindvsr: {word}\n")
    assert process.wait() == 128 + signalled
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_without_bundled_model(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindvsr.weights.BUNDLED", {})
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(InputError, match="--weights"):
        run(parser.parse_args([str(folder), str(tmp_path / "out")]))


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import argparse, sys\n"
        "from blindvsr.upscale.options import add_arguments\n"
        "add_arguments(argparse.ArgumentParser())\n"
        "print(sorted({'torch', 'av', 'cv2', 'numpy', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY,
    )
    assert done.stdout == "[]\n"
