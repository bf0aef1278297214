"""The sound of a video: every track checked, then copied or encoded anew, in step with the picture."""

import io
import warnings
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av

from blindvsr.video.clock import ClockedFile
from blindvsr.video.metadata import describe, open_input
from blindvsr.video.sound_encoder import EncodedTrack

LOOKED_AT = 32  # packets of a track that are tried; a recording may start with a damaged one
LOOKED_FOR = 5000  # packets of the file among which they are


class LeftOut(Exception):
    """Why a track is left out."""


class Track(Protocol):
    """What becomes of a sound track."""

    def packets(self, packet: Any) -> list[Any]:
        """What to write for a packet of the input, or at its end for None."""


class CopiedTrack:
    """Hands packets on as they are."""

    def __init__(self, stream: Any, output: Any) -> None:
        """Declares the track in `output`.

        Raises:
            ValueError, av.FFmpegError: if the container cannot hold it.
        """
        self._copy = output.add_stream_from_template(stream)
        describe(stream, self._copy)
        self._end: Fraction | None = None

    def packets(self, packet: Any) -> list[Any]:
        """The packet; nothing for one that overlaps those before it, where recordings were joined."""
        if packet is None:
            return []
        start, length = packet.dts * packet.time_base, (packet.duration or 0) * packet.time_base
        if self._end is not None and start < self._end - length / 2:
            return []
        self._end = start + length
        packet.stream = self._copy
        return [packet]


class Sound:
    """Takes the sound tracks of one file into another, keeping step with the video there.

    Attributes:
        damage: what could not be taken because it is damaged, or None.
    """

    def __init__(self, source: ClockedFile, output: Any, target: Path, encode: bool = False) -> None:
        """Checks all tracks and declares them in `output` (an av.OutputContainer); says what becomes of them otherwise.

        Args:
            source: the file whose sound it is, and its clock.
            output: not yet written to.
            target: its final name.
            encode: encode all tracks anew; False copies those that the container can hold.
        """
        self._input: Any = open_input(source.path)
        self._source = source
        self._output = output
        self._suffix = target.suffix.lower()
        self._lost: Counter[int] = Counter()  # damaged packets by stream
        self._silent: list[str] = []  # tracks of which nothing can be played
        self._tracks: dict[int, Track] = {}
        for number, stream in enumerate(self._input.streams.audio, 1):
            what = f"{source.path}: sound track {number} ({name_of(stream)})"
            try:
                self._tracks[stream.index] = self._track(stream, what, encode)
            except LeftOut as reason:
                warnings.warn(f"{what} is left out: {reason}", stacklevel=2)
        self._packets = self._read()
        self._next = next(self._packets, None)

    @property
    def damage(self) -> str | None:
        """What is missing, None if nothing is."""
        lost = sum(self._lost.values())
        parts = [*self._silent, *([f"{lost} packet{'s' if lost > 1 else ''} of sound left out"] if lost else [])]
        return ", ".join(parts) or None

    def copy(self, until: Fraction | None) -> None:
        """Writes all packets up to a time in seconds; all there are if None."""
        while self._next is not None and (until is None or self._next.dts * self._next.time_base <= until):
            self._write(self._next.stream.index, self._next)
            self._next = next(self._packets, None)
        if until is None:
            for index in self._tracks:
                self._write(index, None)

    def close(self) -> None:
        """Closes the file that is read."""
        self._input.close()

    def _track(self, stream: Any, what: str, encode: bool) -> Track:
        """What becomes of a track; says so if it is encoded anew without being asked for.

        Raises:
            LeftOut: if nothing does.
        """
        shifts = self._source.clock.shifts
        if shifts and stream.index not in shifts:
            raise LeftOut("it is empty")
        sample = self._sample(stream)
        # without a decoder here, others may have one: it can be copied, if the container knows it
        if stream.codec_context is not None and sample is None:
            self._silent.append("a sound track cannot be decoded")
            raise LeftOut("nothing of it can be decoded")
        copied = self._can_copy(stream)
        if copied and not encode:
            return CopiedTrack(stream, self._output)
        if sample is None:
            raise LeftOut("FFmpeg as installed here knows no decoder for it")
        try:
            track = EncodedTrack(stream, sample, self._output, "libopus" if self._suffix == ".webm" else "aac")
        except (ValueError, av.FFmpegError) as error:
            raise LeftOut(f"{self._suffix} cannot hold it") from error
        if not encode:
            remedy = "; .mkv can" if self._suffix != ".mkv" and self._can_copy(stream, "matroska") else ""
            warnings.warn(f"{what} is encoded anew as {track.name}: {self._suffix} cannot hold it as it is{remedy}",
                          stacklevel=2)
        return track

    def _first(self, stream: Any) -> Iterator[Any]:
        """The first packets of a track."""
        with open_input(self._source.path) as container:
            found = 0
            try:
                for number, packet in enumerate(self._source.clock.mend(container.demux())):
                    if packet.stream_index == stream.index and packet.size:
                        yield packet
                        found += 1
                    if found == LOOKED_AT or number == LOOKED_FOR and found:
                        return
            except av.FFmpegError:
                return

    def _sample(self, stream: Any) -> Any:
        """A decoded frame of a track, None if there is none."""
        if stream.codec_context is None:
            return None
        for packet in self._first(stream):
            try:
                for frame in packet.decode():
                    return frame
            except av.FFmpegError:
                continue
        return None

    def _can_copy(self, stream: Any, container: str | None = None) -> bool:
        """Tries it: some combinations only fail when the first packet, or the end of the file, is written."""
        try:
            with av.open(io.BytesIO(), "w", format=container or self._output.format.name) as trial:
                copy = trial.add_stream_from_template(stream)
                written = tried = 0
                for packet in self._first(stream):
                    packet.stream = copy
                    tried += 1
                    try:
                        trial.mux(packet)
                        written += 1
                    except av.FFmpegError:
                        continue  # a damaged one
                return written > 0 or not tried
        except (ValueError, AttributeError, av.FFmpegError):
            return False

    def _write(self, index: int, packet: Any) -> None:
        try:
            written = self._tracks[index].packets(packet)
        except av.FFmpegError:  # cannot be decoded
            self._lost[index] += 1
            return
        for result in written:
            try:
                self._output.mux(result)
            except av.FFmpegError as error:
                if isinstance(error, OSError):
                    raise  # the disk is full
                self._lost[index] += 1  # the others are of use without it

    def _read(self) -> Iterator[Any]:
        streams = [stream for stream in self._input.streams.audio if stream.index in self._tracks]
        try:
            for packet in self._source.clock.mend(self._input.demux(streams)) if streams else ():
                if packet.dts is not None and packet.size:
                    yield packet
        except av.FFmpegError:
            return  # a damaged file: what there is


def name_of(stream: Any) -> str:
    """What to call the codec of a track."""
    return stream.codec_context.name if stream.codec_context is not None else "unknown codec"
