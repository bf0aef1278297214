"""What a video file holds, from its packets, without decoding them: its picture, its times, and what is missing."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from blindvsr import InputError
from blindvsr.video.clock import Clock, ClockFinder
from blindvsr.video.metadata import open_input
from blindvsr.video.timing import Timing, counted, find_timing

ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC: the cover of a song is no video
NO_TIMES = 0x80  # AVFMT_NOTIMESTAMPS: raw streams, .h264, .hevc, .m2v, .mjpeg
REORDERED = 64  # packets among which the frame that is shown first is


def open_video(path: Path) -> tuple[Any, Any]:
    """Opens a file for decoding.

    Returns:
        container (to be closed by the caller) and its video stream.

    Raises:
        InputError: if it is missing, no video, damaged beyond opening, or has sound alone.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file" if not path.exists() else f"{path} is not a file")
    try:
        container = open_input(path)
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{path} cannot be read as a video ({error.strerror or error}); "
                         "it is no video file, or damaged beyond its first bytes") from error
    stream = _film(container)
    if stream is not None:
        stream.thread_type = "SLICE"  # threads by frame lose good frames when a bad one follows
        return container, stream
    kinds = sorted({stream.type for stream in container.streams})
    unknown = any(stream.codec_context is None for stream in container.streams.video)
    container.close()
    if unknown:
        raise InputError(f"{path}: FFmpeg as installed here knows no decoder for its video")
    raise InputError(f"{path} has no video stream ({'only: ' + ', '.join(kinds) if kinds else 'it is empty'})")


def _film(container: Any) -> Any:
    """The video stream that players show, None if there is none."""
    known = [stream for stream in container.streams.video if stream.codec_context is not None]
    films = [stream for stream in known if not stream.disposition & ATTACHED_PICTURE]
    # some downloaders write the cover as a video of one frame, and do not mark it
    films = [stream for stream in films if stream.frames != 1] or films
    best = container.streams.best("video")
    return best if best in films else next(iter(films), None)


@dataclass(frozen=True)
class Scan:
    """What the packets of a file say.

    Attributes:
        timing: of the picture, with mended times.
        end: when the last frame ends, in ticks of `timing.time_base`; None if the file has no times.
        frames: how many there should be; damage may leave fewer.
        damage: what is wrong with the file (cut off, unreadable from some place), or None.
        clock: how the times are mended.
    """

    timing: Timing
    end: int | None
    frames: int
    damage: str | None
    clock: Clock


def scan(path: Path, rate: Fraction | None = None) -> Scan:
    """Goes through the packets of a file without decoding them.

    Args:
        path: the file.
        rate: frames per second of a raw stream, in place of what it says itself.

    Raises:
        InputError: if it cannot be opened as a video, or a rate is given for a file that has times of its own.
    """
    container, stream = open_video(path)
    with container:
        raw = bool(int(container.format.flags) & NO_TIMES)
        if rate and not raw:
            raise InputError(f"--fps {rate}: {path} has times of its own; leave the option out, it is for images and "
                             "raw streams")
        finder = ClockFinder(container, stream)
        pictures: list[_Picture] = []
        damage = None
        try:
            for packet in container.demux():
                finder.add(packet)
                if packet.stream_index == stream.index:
                    pictures.append(_Picture.of(packet))
        except (av.FFmpegError, OSError) as error:
            damage = f"cut off or damaged ({error})"
        clock = finder.clock(_starts(container, stream, pictures))
        times, end = _mended(pictures, clock)
        if not clock.jumps(stream.index) and 0 < stream.frames <= len(times):
            # all are there: MP4 only has times of decoding to say how long one lasts, wrong for the last of B-frames
            end = max(end, round((_length(stream) + clock.offset(stream.index, 0)) / Fraction(stream.time_base)))
        if raw and (rate or not times):
            timing = counted(rate or Fraction(stream.guessed_rate or 25))
        else:
            timing = find_timing(stream, times)
        damage = damage or _damage(pictures, stream, clock, end, timing.rate)
        frames = len(times) + sum(picture.time is None and picture.stored for picture in pictures)
        # a file that is cut may say how much there was
        frames = max(frames, stream.frames if damage else 0)
        return Scan(timing, timing.at(end) if times and not timing.counted else None, frames, damage, clock)


@dataclass
class _Picture:
    """A packet of the picture without its content; `stored` says whether there is a frame to show in it."""

    stream_index: int
    time_base: Fraction
    pts: int | None
    dts: int | None
    duration: int
    stored: bool
    corrupt: bool

    @classmethod
    def of(cls, packet: Any) -> "_Picture":
        # Theora repeats a frame with an empty packet; the last packet of all is one without time, and none
        stored = packet.size > 0 and not packet.is_discard
        return cls(packet.stream_index, packet.time_base, packet.pts, packet.dts, packet.duration or 0, stored,
                   packet.is_corrupt)

    @property
    def time(self) -> int | None:
        return self.dts if self.pts is None else self.pts


def _starts(container: Any, stream: Any, pictures: list[_Picture]) -> dict[int, Fraction]:
    """When each stream starts, in seconds as the file has it; sound after what its decoder only needs to begin."""
    starts = {
        sound.index: sound.start_time * Fraction(sound.time_base)
        for sound in container.streams.audio if sound.start_time is not None
    }
    # frames may be shown before the first one of the file: they follow it closely there
    first = [picture.time for picture in pictures[:REORDERED] if picture.stored and picture.time is not None]
    return starts | ({stream.index: min(first) * Fraction(stream.time_base)} if first else {})


def _mended(pictures: list[_Picture], clock: Clock) -> tuple[list[int], int]:
    """The mended times of the frames, rising, and when the last one ends, in ticks of the stream."""
    times, end = set(), 0
    for picture in clock.mend(pictures):
        if picture.time is not None:
            if picture.stored:
                times.add(picture.time)
            end = max(end, picture.time + picture.duration)
    return sorted(times), end


def _damage(pictures: list[_Picture], stream: Any, clock: Clock, end: int, rate: Fraction) -> str | None:
    """What is wrong with a file that could be read to its end; `end` and the rest as in `_mended`."""
    # where recordings were joined, the packet counters do not fit, and nothing is missing
    if any(picture.corrupt and not clock.is_joint(stream.index, number) for number, picture in enumerate(pictures)):
        return "cut off or damaged"
    length = _length(stream)
    missing = length + clock.offset(stream.index, 0) - end * Fraction(stream.time_base)
    if length and not clock.jumps(stream.index) and missing > 1.5 / rate and missing > Fraction(1, 20):
        return f"the last {float(missing):.2f} s are missing"
    return None


def _length(stream: Any) -> Fraction:
    """Seconds at which the stream should end, 0 where the file does not say."""
    if stream.duration:
        return (stream.duration + (stream.start_time or 0)) * Fraction(stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska's, per stream: the container's may be the sound's
    try:
        hours, minutes, seconds = tag.split(":")
        return Fraction(int(hours) * 3600 + int(minutes) * 60) + Fraction(seconds)
    except ValueError:
        return Fraction(0)
