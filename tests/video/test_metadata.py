"""What a file says about itself, and what else is in it, reaches the output or is named."""

from pathlib import Path

import av

from blindvsr.video.metadata import open_input, texts
from blindvsr.video.reader import VideoReader
from tests.clips import make_video, moving


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
