"""Ten bits from end to end, and what HDR video says of itself."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideDataType

from blindvsr.ops import to_deep_frame, to_tensor
from blindvsr.video.reader import VideoReader
from blindvsr.video.writer import write_video
from tests.clips import make_video

SHOWN = 6  # frames: of fewer libx265 says anything for when they are decoded, and PyAV passes it on
DISPLAY, LIGHT = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)", "1000,400"
HDR10 = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}


def ramp(full: bool) -> av.VideoFrame:
    """All 10-bit levels of luma from 64 on, or all there are, and some colour."""
    levels = np.linspace(0 if full else 64, 1023 if full else 940, 1024).round().astype(np.uint16)
    planes = np.full((48, 1024), 512, np.uint16)
    planes[:32] = levels
    planes[32:40] = 540
    frame = av.VideoFrame(1024, 32, "yuv420p10le")
    for plane, rows in zip(frame.planes, (planes[:32], planes[32:40], planes[40:]), strict=True):
        plane.update(rows.tobytes())
    return frame


def film(path: Path, full: bool = False, hdr: bool = True) -> Path:
    params = "log-level=error:lossless=1"
    if hdr:
        params += f":hdr10=1:master-display={DISPLAY}:max-cll={LIGHT}"
    tags = {**HDR10, "color_range": 2 if full else 1}
    return make_video(path, [ramp(full)] * SHOWN, codec="libx265", pix_fmt="yuv420p10le", tags=tags,
                      options={"x265-params": params})


def samples(path: Path) -> np.ndarray:
    """Luma of the first frame."""
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        return np.frombuffer(frame.planes[0], np.uint16).reshape(frame.height, -1)[:, : frame.width].astype(int)


@pytest.mark.parametrize("full", [False, True])
def test_all_levels_of_ten_bits_come_through(tmp_path: Path, full: bool) -> None:
    reader = VideoReader(film(tmp_path / "in.mkv", full), deep=True)
    (_, frame), *_ = reader.timed()
    assert frame.dtype == np.uint16 and reader.notes == []
    again = to_deep_frame(to_tensor(frame))
    assert np.abs(again.astype(int) - frame).max() <= 1
    with write_video(tmp_path / "out.mkv", reader.size, reader.timing, colour=reader.colour, codec="libx265", crf=0,
                     pixels="yuv420p10le") as writer:
        writer.write(again, 0)
    before, after = samples(tmp_path / "in.mkv"), samples(tmp_path / "out.mkv")
    inner = np.s_[2:30, 40:-40]  # strong colour is clipped next to black and white
    assert np.abs(after[inner] - before[inner]).max() <= 3
    assert np.abs(after[inner] - before[inner]).mean() < 1


@pytest.mark.parametrize("codec", ["libx265", "libx264"])
def test_hdr10_is_kept(tmp_path: Path, codec: str) -> None:
    reader = VideoReader(film(tmp_path / "in.mp4"), deep=True)
    assert (reader.colour.display, reader.colour.light) == (DISPLAY, LIGHT)
    with write_video(tmp_path / "out.mp4", reader.size, reader.timing, colour=reader.colour, codec=codec,
                     pixels="yuv420p10le") as writer:
        for ticks, frame in reader.timed():
            writer.write(frame, ticks)
    with av.open(str(tmp_path / "in.mp4")) as before, av.open(str(tmp_path / "out.mp4")) as after:
        first, last = (next(file.decode(video=0)) for file in (before, after))
        kinds = SideDataType.MASTERING_DISPLAY_METADATA, SideDataType.CONTENT_LIGHT_LEVEL
        said = [{data.type: bytes(data) for data in frame.side_data if data.type in kinds} for frame in (first, last)]
        assert len(said[0]) == 2 and said[0] == said[1]
        context = after.streams.video[0].codec_context
        assert (context.pix_fmt, context.color_trc, context.color_primaries) == ("yuv420p10le", 16, 9)
