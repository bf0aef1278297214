"""What a file says about itself, and what else is in it, reaches the output or is named."""

import struct
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from blindvsr.video.metadata import open_input, texts
from blindvsr.video.reader import VideoReader
from blindvsr.video.writer import write_video
from tests.clips import make_video, moving, shown_at


def test_texts_of_old_cameras_are_read(tmp_path: Path) -> None:
    """Latin-1 in an AVI, which says nothing of encodings."""
    with av.open(str(make_video(tmp_path / "plain.mp4", moving(3), codec="mpeg4"))) as plain, \
            av.open(str(tmp_path / "v.avi"), "w") as out:
        out.metadata["title"] = "Zzzzzzz"
        stream = out.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    content = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "v.avi").write_bytes(content.replace(b"Zzzzzzz", "Zoé\N{EN DASH}Été".encode("cp1252")))
    assert len(list(VideoReader(tmp_path / "v.avi"))) == 3
    with open_input(tmp_path / "v.avi") as file:
        assert texts(file.metadata)["title"] == "Zoé\N{EN DASH}Été"


def make_film(path: Path) -> Path:
    """Ten frames with sound, a forced German subtitle, two chapters, a font, a cover, a title, a date and a place."""
    text = path.with_name("s.srt")
    text.write_text("1\n00:00:00,100 --> 00:00:00,300\nHello <i>you</i>\n\n2\n00:00:00,300 --> 00:00:00,380\nBye\n")
    video = make_video(path.with_name("plain.mkv"), moving(10), sound="aac")
    cover = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    with av.open(str(video)) as film, av.open(str(text)) as lines, av.open(str(path), "w") as out:
        out.metadata.update(title="My Film", foo="bar")
        out.metadata.update(creation_time="2020-01-02T03:04:05Z", location="+48.8577+002.295/")
        out.set_chapters([
            {"id": at, "start": at, "end": at + 200, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
            for at, title in [(0, "One"), (200, "Two")]
        ])
        copies: dict[Any, Any] = {
            stream: out.add_stream_from_template(stream) for file in (film, lines) for stream in file.streams
        }
        copies[film.streams.audio[0]].metadata.update(language="fre", title="Director")
        subtitle = copies[lines.streams[0]]
        subtitle.metadata.update(language="ger", title="Signs")
        subtitle.disposition = av.stream.Disposition.forced
        out.add_attachment("font.ttf", "font/ttf", bytes(range(256)))
        out.add_attachment("cover.png", "image/png", cover)
        for packet in [packet for file in (film, lines) for packet in file.demux() if packet.size]:
            packet.stream = copies[packet.stream]
            out.mux(packet)
    return path


def passed_through(source: Path, target: Path) -> list[str]:
    """Writes a video again, frame by frame; gives the warnings."""
    reader = VideoReader(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with write_video(target, reader.size, reader.timing, sound=reader.sound, extras=reader.extras) as writer:
            for ticks, frame in reader.timed():
                writer.write(frame, ticks)
    return [str(warning.message) for warning in caught]


def contents(path: Path) -> dict[str, Any]:
    """What a file holds beside its video and sound."""
    with av.open(str(path)) as file:
        said = {key.lower(): text for key, text in file.metadata.items()}
        subtitle, sound = file.streams.subtitles[0], file.streams.audio[0]
        found: dict[str, Any] = {key: said.get(key, "") for key in ("title", "creation_time", "location", "foo")}
        found["chapters"] = [
            (chapter["metadata"]["title"], chapter["start"] * chapter["time_base"]) for chapter in file.chapters()
        ]
        found["attached"] = [stream.data for stream in file.streams if stream.type == "attachment"]
        found["covers"] = [s.codec_context.name for s in file.streams.video if s.disposition & 0x400]
        found["tracks"] = [
            (s.metadata["language"], s.metadata.get("title", s.metadata.get("name"))) for s in (sound, subtitle)
        ]
        found["forced"] = bool(subtitle.disposition & av.stream.Disposition.forced)
        start = shown_at(path)[0]  # a container moves all by what the sound starts earlier
        found["lines"] = [(packet.pts * packet.time_base - start, line(bytes(packet)))
                          for packet in file.demux(subtitle) if line(bytes(packet))]
    return found


def line(packet: bytes) -> str:
    """The text of a subtitle, as in Matroska or, after two bytes for its length, in MP4 (where styles follow)."""
    if packet[:1] == b"\0":
        packet = packet[2 : 2 + struct.unpack(">H", packet[:2])[0]]
    return packet.decode().replace("<i>", "").replace("</i>", "")


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 17, reason="older PyAV writes neither subtitles nor fonts")
def test_what_else_is_in_the_file_comes_along(tmp_path: Path) -> None:
    film = make_film(tmp_path / "in.mkv")
    before = contents(film)
    assert len(before["lines"]) == 2 and before["attached"] and before["covers"] == ["png"]
    assert passed_through(film, tmp_path / "out.mkv") == []
    assert contents(tmp_path / "out.mkv") == before
    said = passed_through(film, tmp_path / "out.mp4")
    assert said == [f"{film}: left out, as .mp4 cannot hold it: attachment (font.ttf), foo"]
    after = contents(tmp_path / "out.mp4")
    assert after.pop("location").startswith("+48.8577+002.295")
    assert after == {key: part for key, part in before.items() if key != "location"} | {"attached": [], "foo": ""}
    assert passed_through(tmp_path / "out.mp4", tmp_path / "again.mkv") == []
    again = contents(tmp_path / "again.mkv")
    assert [again[key] for key in ("title", "chapters", "covers", "tracks", "forced", "lines")] == \
        [before[key] for key in ("title", "chapters", "covers", "tracks", "forced", "lines")]


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 18, reason="older PyAV writes no track of timecodes")
def test_timecode(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mov", moving(3))
    with av.open(str(plain)) as source, av.open(str(tmp_path / "in.mov"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.metadata["timecode"] = "01:00:00:00"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert passed_through(tmp_path / "in.mov", tmp_path / "out.mp4") == []
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].metadata["timecode"] == "01:00:00:00"
