"""The sound of a video: copied from one file into another, in step with the picture."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from blindvsr import InputError
from blindvsr.video.clock import ClockedFile
from blindvsr.video.metadata import describe, open_input


class Sound:
    """Copies the sound streams of one file into another, keeping step with the video there."""

    def __init__(self, source: ClockedFile, output: Any, target: Path) -> None:
        """Declares the streams in `output` (an av.OutputContainer).

        Raises:
            InputError: if the container of `target` cannot hold them.
        """
        self._input: Any = open_input(source.path)
        self._streams: dict[int, Any] = {}
        for stream in self._input.streams.audio:
            try:
                if hasattr(output, "add_stream_from_template"):
                    copy = output.add_stream_from_template(stream)
                else:  # before PyAV 14
                    copy = output.add_stream(template=stream)
            except ValueError as error:
                self._input.close()
                remedy = "a folder of images" if target.suffix == ".mkv" else ".mkv"
                raise InputError(
                    f"{target.suffix} cannot hold the sound of {source.path} ({stream.codec_context.name}): choose "
                    f"{remedy}"
                ) from error
            describe(stream, copy)
            self._streams[stream.index] = copy
        self._output = output
        self._clock = source.clock
        self._packets = self._read(list(self._input.streams.audio))
        self._next = next(self._packets, None)

    def copy(self, until: Fraction | None) -> None:
        """Copies all packets up to a time in seconds; all there are if None."""
        while self._next is not None and (until is None or self._next.dts * self._next.time_base <= until):
            self._next.stream = self._streams[self._next.stream.index]
            self._output.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Closes the file that is read."""
        self._input.close()

    def _read(self, streams: list[Any]) -> Iterator[Any]:
        try:
            for packet in self._clock.mend(self._input.demux(streams)) if streams else ():
                if packet.dts is not None and packet.size:
                    yield packet
        except av.FFmpegError:
            return  # a damaged file: what there is
