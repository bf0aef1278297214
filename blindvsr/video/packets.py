"""What a video file holds, from its packets, without decoding them: its picture, its times, and what is missing."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from blindvsr import InputError
from blindvsr.video.metadata import open_input
from blindvsr.video.timing import Timing, find_timing

ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC: the cover of a song is no video


def open_video(path: Path) -> tuple[Any, Any]:
    """Opens a file for decoding.

    Returns:
        container (to be closed by the caller) and its first video stream.

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
    for stream in container.streams.video:
        if not getattr(stream, "disposition", 0) & ATTACHED_PICTURE:
            stream.thread_type = "SLICE"  # threads by frame lose good frames when a bad one follows
            return container, stream
    kinds = sorted({stream.type for stream in container.streams})
    container.close()
    raise InputError(f"{path} has no video stream ({'only: ' + ', '.join(kinds) if kinds else 'it is empty'})")


def scan(path: Path) -> tuple[Timing, int, int, str | None]:
    """Goes through the packets of a file without decoding them.

    Returns:
        the timing; when the last frame ends, in ticks of `source_base`; the number of frames; what is wrong with the
        file (cut off, unreadable from some place), or None.

    Raises:
        InputError: if it cannot be opened as a video.
    """
    times, packets, end, damage = set(), 0, 0, None
    container, stream = open_video(path)
    with container:
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                packets += 1
                if packet.is_corrupt:
                    damage = "cut off or damaged"
                if packet.pts is not None and not packet.is_discard:
                    times.add(packet.pts)
                    end = max(end, packet.pts + (packet.duration or 0))
        except (av.FFmpegError, OSError) as error:
            damage = f"cut off or damaged ({error})"
        timing = find_timing(stream, sorted(times))
        missing = _length(stream) - (end * timing.source_base if times else 0)
        if damage is None and missing > 1.5 / timing.rate and missing > Fraction(1, 20):
            damage = f"the last {float(missing):.2f} s are missing"
        # a file that is cut may say how much there was
        return timing, end, max(len(times) or packets, stream.frames if damage else 0), damage


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
