"""`blindvsr upscale` from file to file, and what it says to inputs and outputs that cannot be."""

import argparse
import os
import re
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from blindvsr import InputError
from blindvsr.frames import write_image
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.pipeline import _warnings_beside_the_bar
from blindvsr.stream import restore
from blindvsr.upscale import add_arguments, run
from blindvsr.video import VideoReader
from blindvsr.weights import save_network
from tests.clips import bars_frame, bars_yuv, make_video, moving, packets, real_clip, shown_at, truncate

TINY = NetConfig(num_features=8, extract_blocks=1, recon_blocks=1, flow_width=0.125)
Upscale = Callable[..., int]


@pytest.fixture(scope="module")
def net() -> BlindVSR:
    torch.manual_seed(0)
    return BlindVSR(TINY).eval()


@pytest.fixture(scope="module")
def weights(net: BlindVSR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(net, path)
    return path


@pytest.fixture
def upscale(weights: Path) -> Upscale:
    """Runs the command with the tiny network; gives its exit code."""

    def call(*arguments: object, weights: Path = weights) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return run(parser.parse_args([*map(str, arguments), "--weights", str(weights), "--precision", "32"]))

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, not named by number."""
    path = tmp_path / "images"
    path.mkdir()
    for name, frame in zip(("a", "b", "c"), moving(3), strict=True):
        write_image(path / f"{name}.png", frame)
    return path


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv"])
def test_video_to_video(tmp_path: Path, upscale: Upscale, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_video(tmp_path / f"in{output[3:]}", moving(9), rate=Fraction(30000, 1001), sound="aac")
    assert upscale(source, tmp_path / output) == 0
    reader = VideoReader(tmp_path / output)
    assert (reader.size, reader.frames, reader.damage) == ((96, 128), 9, None)
    assert reader.timing.rate == Fraction(30000, 1001)
    assert packets(tmp_path / output, "audio") == packets(source, "audio")
    shown = capsys.readouterr()
    assert shown.out.count("\n") == 1
    for part in (output, "9 frames", "32x24 -> 128x96", "precision 32 on cpu", "cycle PSNR"):
        assert part in shown.out
    assert "9/9" in shown.err


def test_every_frame_is_the_networks(tmp_path: Path, upscale: Upscale, net: BlindVSR) -> None:
    source = make_video(tmp_path / "in.mp4", moving(7))
    assert upscale(source, tmp_path / "out", "--tile", 64) == 0
    expected = list(restore(net, VideoReader(source), tile=64))
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"{index:08d}.png" for index in range(7)]
    for file, frame in zip(files, expected, strict=True):
        assert np.array_equal(cv2.imread(str(file))[..., ::-1], frame)


def test_folder_to_folder_keeps_names(tmp_path: Path, upscale: Upscale, folder: Path, net: BlindVSR) -> None:
    """Fewer frames than a window: the ends are padded."""
    assert upscale(folder, tmp_path / "out") == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["a.png", "b.png", "c.png"]
    for file, frame in zip(files, restore(net, moving(3)), strict=True):
        assert np.array_equal(cv2.imread(str(file))[..., ::-1], frame)


def test_folder_to_video(tmp_path: Path, upscale: Upscale, folder: Path) -> None:
    assert upscale(folder, tmp_path / "out.mp4", "--fps", "24000/1001") == 0
    assert shown_at(tmp_path / "out.mp4") == [index * Fraction(1001, 24000) for index in range(3)]


def test_one_frame(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(tmp_path / "in.mp4", moving(1))
    assert upscale(source, tmp_path / "out.mkv") == 0
    assert len(list(VideoReader(tmp_path / "out.mkv"))) == 1


def test_variable_rate(tmp_path: Path, upscale: Upscale) -> None:
    times = [0, 40, 80, 200, 233]
    source = make_video(tmp_path / "in.mp4", moving(5), times=times, time_base=Fraction(1, 1000))
    assert upscale(source, tmp_path / "out.mp4") == 0
    assert shown_at(tmp_path / "out.mp4") == [Fraction(time, 1000) for time in times]


def test_gif_lasts_as_long(tmp_path: Path, upscale: Upscale) -> None:
    """Its last frame, too, which no next one ends."""
    pictures = [Image.fromarray(frame) for frame in moving(4)]
    pictures[0].save(tmp_path / "in.gif", save_all=True, append_images=pictures[1:], duration=[40, 100, 40, 500])
    assert upscale(tmp_path / "in.gif", tmp_path / "out.mp4") == 0
    with av.open(str(tmp_path / "out.mp4")) as file:
        stream = file.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(68, 100)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("standard", ["bt601", "bt709"])
def test_colours_do_not_shift(tmp_path: Path, upscale: Upscale, net: BlindVSR, standard: str, full: bool) -> None:
    """With a network that only interpolates, bars come out of the whole chain as they went in."""
    interpolating = BlindVSR(TINY)
    interpolating.load_state_dict(net.state_dict())
    torch.nn.init.zeros_(interpolating.tail[-1].weight)
    torch.nn.init.zeros_(interpolating.tail[-1].bias)
    save_network(interpolating, tmp_path / "interpolating.safetensors")
    tags = {"colorspace": {"bt601": 6, "bt709": 1}[standard], "color_range": 2 if full else 1}
    source = make_video(tmp_path / "in.mp4", [bars_frame(16, 256, standard, full)] * 2, tags=tags,
                        options={"crf": "0"})
    assert upscale(source, tmp_path / "out.mp4", "--crf", 0, weights=tmp_path / "interpolating.safetensors") == 0
    reader = VideoReader(tmp_path / "out.mp4")
    assert (reader.colour.matrix, reader.colour.range) == (tags["colorspace"], tags["color_range"])
    before, after = bars_in(source), bars_in(tmp_path / "out.mp4")
    assert np.abs(before - bars_yuv(standard, full)).max() <= 1  # they are the bars
    assert np.abs(after - before).max() <= 1


def bars_in(path: Path) -> np.ndarray:
    """(8, 3): the samples in the middle of each bar, as they are stored."""
    with av.open(str(path)) as file:
        frame = list(file.decode(video=0))[1]
        planes = frame.to_ndarray()
    luma, chroma = planes[: frame.height], planes[frame.height :].reshape(2, frame.height // 2, -1)
    step = frame.width // 8
    rows = [plane[len(plane) // 2, width // 2 :: width] for plane, width in
            ((luma, step), (chroma[0], step // 2), (chroma[1], step // 2))]
    return np.stack(rows, 1).astype(int)


def test_real_clip(tmp_path: Path, upscale: Upscale) -> None:
    """The first frames of a real low-resolution video, with its real rate."""
    source = VideoReader(real_clip("carphone_pristine.mp4"))
    (tmp_path / "in").mkdir()
    for (index, frame), _ in zip(enumerate(source), range(3), strict=False):
        write_image(tmp_path / "in" / f"{index}.png", frame)
    assert upscale(tmp_path / "in", tmp_path / "out.mp4", "--fps", source.timing.rate) == 0
    assert VideoReader(tmp_path / "out.mp4").size == (576, 704)


def test_saves_kernels(tmp_path: Path, upscale: Upscale, net: BlindVSR) -> None:
    frames = moving(14)
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(frames):
        write_image(tmp_path / "in" / f"{index:02d}.png", frame)
    assert upscale(tmp_path / "in", tmp_path / "out", "--save_kernel", tmp_path / "k.mat") == 0
    content = scipy.io.loadmat(tmp_path / "k.mat")
    assert content["kernel"].shape == (14, 13, 13)
    assert content["frame"].ravel().tolist() == list(range(14))
    clip = torch.from_numpy(np.stack([frames[i] for i in (2, 1, 0, 1, 2)])).permute(0, 3, 1, 2)[None] / 255
    with torch.no_grad():
        expected = net.estimate_kernel(clip)[0, 0].numpy()
    assert np.abs(content["kernel"][0] - expected).max() < 1e-6
    with Image.open(tmp_path / "k.png") as picture:
        assert picture.width > picture.height > 130


# -- what cannot be

def test_truncated_video_gives_what_can_be_decoded(
    tmp_path: Path, upscale: Upscale, capsys: pytest.CaptureFixture[str],
) -> None:
    source = make_video(tmp_path / "in.mp4", moving(40, 32, 48), container={"movflags": "faststart"})
    truncate(source, 0.6)
    assert upscale(source, tmp_path / "out.mp4") == 3
    frames = VideoReader(tmp_path / "out.mp4").frames
    assert 2 < frames < 40
    last = capsys.readouterr().err.splitlines()[-1]
    assert "is damaged" in last and f"restored {frames} of 40" in last


def test_converted_images_are_noted_once(
    tmp_path: Path, upscale: Upscale, capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(moving(4)):
        picture = Image.fromarray(frame).convert(("RGBA", "L")[index % 2])
        picture.save(tmp_path / "in" / f"{index}.png")
    assert upscale(tmp_path / "in", tmp_path / "out") == 0
    error = capsys.readouterr().err
    assert error.count("transparency is dropped (in 2 of 4 images)") == error.count("transparency") == 1
    assert error.count("grey becomes RGB (in 2 of 4 images)") == error.count("grey") == 1
    assert len(list((tmp_path / "out").iterdir())) == 4


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
        ((source, source, "--overwrite"), "is the input itself"),
        ((source, tmp_path / "link.mp4", "--overwrite"), "is the input itself"),
        ((folder, folder, "--overwrite"), "is the input itself"),
        ((folder / "a.png", folder, "--overwrite"), "lies in OUTPUT"),
        ((source, tmp_path / "other.mkv"), "exists: give --overwrite"),
        ((source, tmp_path / "mine", "--overwrite"), "holds more than PNG images .letter.txt"),
        ((source, tmp_path / "out.avi"), "written as .mp4 or .mkv"),
        ((source, tmp_path / "out.png"), "images to a folder"),
        ((source, tmp_path / "out.mp4", "--codec", "nonsense"), "--codec nonsense"),
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
            upscale(source, tmp_path / output, "--crf", 1)
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
        stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        # a shell's background jobs ignore Ctrl-C, and so do their children unless told otherwise
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    said = ""
    while not re.search(r" [1-9]\d*/800", said):  # under way
        piece = process.stderr.read(1)
        assert piece, said
        said += piece
    process.send_signal(signalled)
    assert process.stderr.read().endswith("blindvsr: interrupted\n")
    assert process.wait() == 130
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_without_bundled_model(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindvsr.upscale.BUNDLED", tmp_path / "missing.safetensors")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(InputError, match="--weights"):
        run(parser.parse_args([str(folder), str(tmp_path / "out")]))


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import argparse, sys\n"
        "from blindvsr.upscale import add_arguments\n"
        "add_arguments(argparse.ArgumentParser())\n"
        "print(sorted({'torch', 'av', 'cv2', 'numpy', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1],
    )
    assert done.stdout == "[]\n"


def test_warnings_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with _warnings_beside_the_bar():
        warnings.warn("out of memory: going on with tiles of 64 pixels", stacklevel=1)
    assert capsys.readouterr().err == "out of memory: going on with tiles of 64 pixels\n"
