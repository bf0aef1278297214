"""Interlaced video, two fields of half the lines taken one after the other, to whole frames."""

import warnings
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.filter import Graph

# one frame of each, so that times stay; frames that are whole by their flags pass as they are
FILTER = ("bwdif", "mode=send_frame:parity=auto:deint=interlaced")


def deinterlaced(frames: Iterator[Any], path: Path, active: bool) -> Iterator[Any]:
    """Passes av.VideoFrames of one size on, deinterlaced from the first on that is flagged as interlaced.

    Args:
        frames: as decoded, of any pixel formats.
        path: their file, for the warning.
        active: deinterlace; otherwise only warn.
    """
    field_filter: _Filter | None = None
    warned = False
    for frame in frames:
        if frame.interlaced_frame and not warned:
            said = "deinterlaced; --deinterlace off leaves it so" if active else "restored as it is, with its combs"
            warnings.warn(f"{path}: interlaced video, {said}", stacklevel=2)
            warned = True
        if not (warned and active):
            yield frame
            continue
        if field_filter and field_filter.format != frame.format.name:
            yield from field_filter.rest()
            field_filter = None
        field_filter = field_filter or _Filter(frame)
        yield from field_filter.add(frame)
    if field_filter:
        yield from field_filter.rest()


class _Filter:
    """FFmpeg's filter for frames like the first; each comes out with the time it had."""

    def __init__(self, first: Any) -> None:
        self.format = first.format.name
        self._graph = Graph()
        chain = [
            self._graph.add_buffer(
                width=first.width, height=first.height, format=first.format, time_base=Fraction(1, 1000),
            ),
            self._graph.add(*FILTER),
            self._graph.add("buffersink"),
        ]
        for before, after in zip(chain, chain[1:]):
            before.link_to(after)
        self._graph.configure()
        self._times: deque[tuple[int | None, Fraction]] = deque()
        self._count = 0

    def add(self, frame: Any) -> Iterator[Any]:
        """Takes a frame in; gives those that are ready, the one before it usually."""
        self._times.append((frame.pts, frame.time_base))
        frame.pts, self._count = self._count, self._count + 1  # the filter wants times that rise evenly
        self._graph.push(frame)
        return self._ready()

    def rest(self) -> Iterator[Any]:
        """Gives the frames that were held back."""
        self._graph.push(None)
        return self._ready()

    def _ready(self) -> Iterator[Any]:
        while self._times:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            frame.pts, frame.time_base = self._times.popleft()
            yield frame
