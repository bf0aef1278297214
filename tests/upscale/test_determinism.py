"""The same job writes the same bytes."""

from pathlib import Path

from tests.clips import make_video, moving
from tests.upscale.conftest import Upscale


def test_twice(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(tmp_path / "in.mp4", moving(6), sound="aac")
    for name in ("out.mp4", "out.mkv", "frames"):
        written = []
        for time in ("first", "second"):
            output = tmp_path / time / name
            assert upscale(source, output) == 0
            written.append([path.read_bytes() for path in (sorted(output.iterdir()) if output.is_dir() else [output])])
        assert written[0] == written[1], name
