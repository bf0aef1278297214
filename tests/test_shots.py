"""Two shots in one video come out as each does alone, frame by frame and bit for bit, whatever restores them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from blindvsr.cli import main
from blindvsr.frames import Frame, read_image, write_image
from blindvsr.network import BlindVSR
from blindvsr.stream import restore
from blindvsr.weights import save_network
from tests.conftest import REPOSITORY, moving_network


@pytest.fixture(scope="module")
def net() -> BlindVSR:
    return moving_network()


@pytest.fixture(scope="module")
def shots(bundled_frames: list[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Two clips of eight frames of 24x32."""
    left, right = ([np.ascontiguousarray(frame[y : y + 96 : 4, x : x + 128 : 4]) for frame in bundled_frames]
                   for y, x in ((120, 60), (160, 330)))
    return left, right


def restored(net: BlindVSR, *parts: list[Frame]) -> list[Frame]:
    """Each part on its own."""
    return [frame for part in parts for frame in restore(net, part)]


@pytest.mark.parametrize("lengths", [(4, 4), (1, 5), (5, 1), (2, 3), (1, 1), (3, 1, 2, 1, 1)])
def test_restore(net: BlindVSR, shots: tuple[list[Frame], list[Frame]], lengths: tuple[int, ...]) -> None:
    parts = [shots[number % 2][:length] for number, length in enumerate(lengths)]
    joined = [frame for part in parts for frame in part]
    apart = restored(net, *parts)
    np.testing.assert_array_equal(list(restore(net, joined)), apart)
    assert not np.array_equal(list(restore(net, joined, cuts=False)), apart)
    some = range(1, len(joined) - 1)
    assert np.array_equal(list(restore(net, joined, only=some)), apart[1:-1]) or not some


def test_no_more_is_read_ahead(net: BlindVSR, shots: tuple[list[Frame], list[Frame]]) -> None:
    frames, read = [*shots[0][:4], *shots[1][:4]], []

    def source() -> Iterator[Frame]:
        for frame in frames:
            read.append(frame)
            yield frame

    assert [len(read) for _ in restore(net, source())] == [3, 4, 5, 5, 7, 8, 8, 8]


def test_commands(
    net: BlindVSR, shots: tuple[list[Frame], list[Frame]], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    """upscale and predict, with the switch on and off; the kernels of upscale, averaged over each shot."""
    weights, folder = tmp_path / "net.safetensors", tmp_path / "clips" / "joined"
    save_network(net, weights)
    folder.mkdir(parents=True)
    joined = [*shots[0][:3], *shots[1][:4]]
    for number, frame in enumerate(joined):
        write_image(folder / f"{number}.png", frame)
    apart, astride = restored(net, shots[0][:3], shots[1][:4]), list(restore(net, joined, cuts=False))
    common = ["--weights", str(weights), "--precision", "32"]
    predict = ["predict", "--config", str(REPOSITORY / "configs" / "tiny.yaml"), f"--model.weights={weights}",
               f"--data.predict_root={folder.parent}", "--trainer.enable_progress_bar=false"]
    for switch, expected in (("auto", apart), ("off", astride)):
        out = tmp_path / switch
        assert not main(["upscale", str(folder), str(out), *common, "--cuts", switch,
                         "--save_kernel", str(out.with_suffix(".mat"))])
        assert ("2 shots, blur like" in capsys.readouterr().out) == (switch == "auto")
        assert not main([*predict, f"--model.cuts={switch}", f"--writer.output={tmp_path / 'predicted' / switch}"])
        for written in (out, tmp_path / "predicted" / switch / "joined"):
            np.testing.assert_array_equal([read_image(written / f"{number}.png") for number in range(7)], expected)
    content = scipy.io.loadmat(tmp_path / "auto.mat")
    assert content["shot_start"].ravel().tolist() == [0, 3] and content["shot"].ravel().tolist() == [0] * 3 + [1] * 4
    for mean, part in zip(content["shot_kernel"], (slice(0, 3), slice(3, 7)), strict=True):
        np.testing.assert_allclose(mean, content["kernel"][part].mean(0), atol=1e-7)
