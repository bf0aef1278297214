"""Interlaced video becomes whole frames, and frames of another size those of the first."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from blindvsr.video.reader import VideoReader
from tests.clips import make_video, moving

BOTTOM_FIRST = {"x264-params": "bff=1", "crf": "8"}  # tff goes by flags that PyAV does not give to frames


def interlaced(path: Path, interlace: bool = True) -> list[np.ndarray]:
    """Writes 10 interlaced frames of a moving edge; gives the 20 whole pictures that their fields are from."""
    whole = [np.full((64, 96, 3), 40, np.uint8) for _ in range(20)]
    for time, picture in enumerate(whole):
        picture[:, 8 + 3 * time : 32 + 3 * time] = 200
    frames = []
    for first, second in zip(whole[::2], whole[1::2]):
        frame = first.copy()
        frame[::2] = second[::2]
        frames.append(frame)
    make_video(path, frames, options=BOTTOM_FIRST if interlace else {"crf": "8"}, times=[3 * i for i in range(10)],
               time_base=Fraction(1, 75))
    return whole


def combs(frame: np.ndarray) -> float:
    """How much neighbouring lines differ."""
    return float(np.abs(np.diff(frame[..., 1].astype(int), axis=0)).mean())


def test_interlaced_video_is_made_whole(tmp_path: Path) -> None:
    whole = interlaced(tmp_path / "v.mp4")
    with pytest.warns(UserWarning, match="v.mp4: interlaced video, deinterlaced") as said:
        timed = list(VideoReader(tmp_path / "v.mp4").timed())
    assert len(said) == 1
    reader = VideoReader(tmp_path / "v.mp4", deinterlace=False)
    with pytest.warns(UserWarning, match="interlaced video, restored as it is"):
        raw = list(reader.timed())
    assert [ticks for ticks, _ in timed] == [ticks for ticks, _ in raw] and len(raw) == 10
    for (_, frame), (_, combed), truth in list(zip(timed, raw, whole[::2], strict=True))[1:-1]:
        assert combs(frame) < combs(combed) / 5
        assert np.abs(frame.astype(int) - truth).mean() < np.abs(combed.astype(int) - truth).mean() / 2


def test_whole_frames_stay(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    interlaced(tmp_path / "v.mp4", interlace=False)  # combs, but nothing that says so
    pairs = zip(VideoReader(tmp_path / "v.mp4"), VideoReader(tmp_path / "v.mp4", deinterlace=False), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert not recwarn.list


def test_a_change_of_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    """As a call that is recorded while the connection gets worse."""
    parts = [make_video(tmp_path / f"{width}.webm", moving(3, 48, width), codec="libvpx") for width in (64, 96)]
    with av.open(str(tmp_path / "v.webm"), "w") as out, av.open(str(parts[0])) as first, av.open(str(parts[1])) as last:
        stream = out.add_stream_from_template(first.streams.video[0])
        for index, file in enumerate((first, last)):
            for packet in [packet for packet in file.demux(video=0) if packet.size]:
                packet.pts, packet.dts = packet.pts + 120 * index, packet.dts + 120 * index
                packet.stream = stream
                out.mux(packet)
    reader = VideoReader(tmp_path / "v.webm")
    with pytest.warns(UserWarning, match="frames change to 96x48, and are scaled to the first size, 64x48") as said:
        frames = list(reader)
    assert len(said) == 1 and reader.damage is None
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 6
    wide = moving(3, 48, 96)[1]
    assert np.abs(frames[4].astype(int) - wide[:, np.linspace(0, 95, 64).round().astype(int)]).mean() < 25
