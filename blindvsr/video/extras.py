"""What else is in the file of a video, taken along: subtitles, covers, attachments, chapters, texts."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from blindvsr.video.clock import ClockedFile
from blindvsr.video.metadata import copy_texts, describe, texts
from blindvsr.video.packets import ATTACHED_PICTURE, open_video

WRITTEN_AS = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip", ".webm": "webvtt"}  # subtitles that are texts
TEXTUAL = ("subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text")


class Extras:
    """Copies what else is in one file into another, keeping step with the video there."""

    def __init__(self, source: ClockedFile, output: Any, video: Any, target: Path) -> None:
        """Declares the streams in `output`, and warns of what it cannot hold, in one line.

        Args:
            source: the file whose video it is, and its clock.
            output: av.container.OutputContainer that is not yet written to.
            video: its stream of restored frames.
            target: its final name.
        """
        self._input, main = open_video(source.path)
        self._source = source
        self._output = output
        self._suffix = target.suffix.lower()
        self._ways: dict[int, Callable[[Any], list[Any]]] = {}
        left = Counter({text: 1 for text in copy_texts(self._input, output, self._suffix)})
        for stream in self._input.streams:
            if stream is main:
                describe(stream, video)
                if ";" in video.metadata.get("timecode", "") and round(video.average_rate) % 30:
                    left["timecode"] += int(bool(video.metadata.pop("timecode")))  # it counts 30 or 60 a second
            elif stream.type != "audio" and not self._add(stream):
                left[kind(stream)] += 1
        chapters = self._input.chapters()
        if chapters and source.clock.span:
            warnings.warn(f"{source.path}: chapters are left out of an excerpt", stacklevel=2)
        elif chapters:
            output.set_chapters([{**chapter, "metadata": texts(chapter["metadata"])} for chapter in chapters])
        for known in ("data (bin_data)", "data"):  # MP4's own tracks of timecode and chapters
            left.pop(known, None)
        if left:
            warnings.warn(f"{source.path}: left out, as {target.suffix} cannot hold it: {listed(left)}", stacklevel=2)
        self._packets = self._read()
        self._next = next(self._packets, None)

    def copy(self, until: Fraction | None) -> None:
        """Copies all packets up to a time in seconds; all there are if None."""
        while self._next is not None and (until is None or self._next.dts * self._next.time_base <= until):
            for packet in self._ways[self._next.stream.index](self._next):
                self._output.mux(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Closes the file that is read."""
        self._input.close()

    def _add(self, stream: Any) -> bool:
        """Declares what becomes of a stream; whether there is a way."""
        cover = stream.type == "video" and stream.disposition & ATTACHED_PICTURE
        if stream.type == "attachment" or cover and self._suffix == ".mkv":
            return self._attach(stream)
        if not cover and stream.type != "subtitle":
            return False
        try:
            copy = self._output.add_stream_from_template(stream)
        except (ValueError, av.FFmpegError):  # not in this container
            return not cover and self._translate(stream)
        describe(stream, copy)

        def hand_on(packet: Any) -> list[Any]:
            packet.stream = copy
            return [packet]

        self._ways[stream.index] = hand_on
        return True

    def _attach(self, stream: Any) -> bool:
        if self._suffix != ".mkv":
            return False
        name, mime = "attachment", "application/octet-stream"
        if stream.type == "attachment":
            content = stream.data
        else:  # a picture, which comes as a packet
            container, _ = open_video(self._source.path)
            with container:
                content = next(bytes(packet) for packet in container.demux(stream.index) if packet.size)
            image = {"mjpeg": "jpeg"}.get(stream.codec_context.name, stream.codec_context.name)
            name, mime = f"cover.{image}", f"image/{image}"
        said = texts(stream.metadata)
        self._output.add_attachment(said.get("filename", name), said.get("mimetype", mime), content)
        return True

    def _translate(self, stream: Any) -> bool:
        """Subtitles that are texts become those of the container; colours and places of ASS may be lost there."""
        reader, name = stream.codec_context, WRITTEN_AS[self._suffix]
        if reader is None or reader.name not in TEXTUAL:
            return False
        reader.open(strict=False)
        copy = self._output.add_stream(name)
        copy.codec_context.subtitle_header = reader.subtitle_header
        copy.codec_context.time_base = copy.time_base = Fraction(1, 1000)
        describe(stream, copy)

        def translate(packet: Any) -> list[Any]:
            start, length = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
            try:
                subtitle = reader.decode2(packet)
                if subtitle is None:
                    return []
                subtitle.start_display_time, subtitle.end_display_time = 0, round(1000 * length)
                written = copy.codec_context.encode_subtitle(subtitle)
            except av.FFmpegError:
                return []  # a damaged line: the others are of use without it
            written.pts = written.dts = round(1000 * start)
            written.duration, written.time_base, written.stream = round(1000 * length), Fraction(1, 1000), copy
            return [written]

        self._ways[stream.index] = translate
        return True

    def _read(self) -> Iterator[Any]:
        streams = [stream for stream in self._input.streams if stream.index in self._ways]
        try:
            for packet in self._source.clock.mend(self._input.demux(streams)) if streams else ():
                if packet.stream.type == "video":  # a cover has no time
                    packet.pts = packet.dts = 0
                if packet.dts is not None and packet.size:
                    yield packet
        except av.FFmpegError:
            return  # a damaged file: what there is


def warn_of_all(source: Path) -> None:
    """Warns, in one line, of what pictures cannot hold of a video's file; that they have no sound needs no saying."""
    container, main = open_video(source)
    with container:
        left = Counter(kind(stream) for stream in container.streams if stream.type != "audio" and stream is not main)
        left["chapter"] = len(container.chapters())
    if left := +left:
        warnings.warn(f"{source}: left out, as images cannot hold it: {listed(left)}", stacklevel=2)


def kind(stream: Any) -> str:
    """What to call a stream that is left out."""
    name = stream.codec_context.name if stream.codec_context else getattr(stream, "name", None)
    what = "cover" if stream.type == "video" and stream.disposition & ATTACHED_PICTURE else stream.type
    return f"{what} ({name})" if name else what


def listed(found: Counter[str]) -> str:
    """Kinds with their numbers where there are several."""
    return ", ".join(f"{number} x {what}" if number > 1 else what for what, number in sorted(found.items()))
