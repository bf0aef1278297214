"""`blindvsr upscale` from file to file: frames, times, colours, sound and kernels."""

import warnings
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
from blindvsr.network import BlindVSR
from blindvsr.stream import restore
from blindvsr.upscale.pipeline import _warnings_beside_the_bar
from blindvsr.video.reader import VideoReader
from blindvsr.weights import save_network
from tests.clips import bars_frame, bars_yuv, make_video, moving, packets, real_clip, shown_at, truncate
from tests.upscale.conftest import TINY, Upscale


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
    for part in (output, "9 frames", "32x24 -> 128x96", "precision 32 on cpu", "convolutions by ", "cycle PSNR"):
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
    assert upscale(tmp_path / "in", tmp_path / "out.mp4") == 0
    error = capsys.readouterr().err
    assert error.count("transparency is dropped (in 2 of 4 images)") == error.count("transparency") == 1
    assert error.count("grey becomes RGB (in 2 of 4 images)") == error.count("grey") == 1


@pytest.mark.parametrize("name", ["in", "in.mov", "in.webp"])
def test_transparency_is_restored_beside_the_colours(
    tmp_path: Path, upscale: Upscale, net: BlindVSR, name: str, capsys: pytest.CaptureFixture[str],
) -> None:
    frames, alphas = moving(3), [frame[..., 0] for frame in moving(6)[3:]]
    pictures = [Image.fromarray(np.dstack((frame, alpha))) for frame, alpha in zip(frames, alphas, strict=True)]
    if name == "in":
        (tmp_path / "in").mkdir()
        for index, picture in enumerate(pictures):
            picture.save(tmp_path / "in" / f"{index:08d}.png")
    elif name == "in.mov":
        clear = [av.VideoFrame.from_ndarray(np.asarray(picture), format="rgba") for picture in pictures]
        make_video(tmp_path / name, clear, codec="qtrle", pix_fmt="argb")
    else:
        options = {"save_all": True, "append_images": pictures[1:], "lossless": True, "exact": True}
        pictures[0].save(tmp_path / name, **options)
    assert upscale(tmp_path / name, tmp_path / "out", "--tile", 64) == 0
    colours = restore(net, frames, tile=64)
    opaque = restore(net, [alpha[..., None].repeat(3, 2) for alpha in alphas], tile=64)
    for index, (frame, alpha) in enumerate(zip(colours, opaque, strict=True)):
        with Image.open(tmp_path / "out" / f"{index:08d}.png") as written:
            assert np.array_equal(np.asarray(written), np.dstack((frame, alpha[..., 1])))
    assert "transparency" not in capsys.readouterr().err


def test_ten_bits(tmp_path: Path, upscale: Upscale) -> None:
    """More levels come out than 8 bits have."""
    ramp = np.full((36, 256), 512, np.uint16)
    ramp[:24] = 300 + np.arange(256) // 2
    frames = [av.VideoFrame.from_ndarray(ramp, format="yuv420p10le") for _ in range(2)]
    source = make_video(tmp_path / "in.mkv", frames, codec="ffv1", pix_fmt="yuv420p10le", tags={"colorspace": 1})
    assert upscale(source, tmp_path / "out.mp4", "--pix_fmt", "yuv420p10le", "--crf", 1) == 0
    with av.open(str(tmp_path / "out.mp4")) as file:
        picture = next(file.decode(video=0))
    assert picture.format.name == "yuv420p10le"
    row = picture.to_ndarray()[48, :1024].astype(int)
    assert len(set(row % 4)) == 4
    assert np.corrcoef(row, np.arange(1024))[0, 1] > 0.8
    with pytest.raises(InputError, match="--pix_fmt yuv420p10le: OUTPUT .* is no video"):
        upscale(source, tmp_path / "out", "--pix_fmt", "yuv420p10le")


def test_warnings_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with _warnings_beside_the_bar():
        warnings.warn("out of memory: going on with tiles of 64 pixels", stacklevel=1)
    assert capsys.readouterr().err == "out of memory: going on with tiles of 64 pixels\n"
