"""The clock of a file: times that start anywhere, jump, go back or wrap become seconds from the start of the file.

Recordings count from the start of the broadcast, MPEG-TS starts again after 26.5 hours, and where recordings or the
cells of a DVD were joined, so were their clocks. All streams get one correction: sound and picture stay in step.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

TIMES_MAY_JUMP = 0x200  # AVFMT_TS_DISCONT: MPEG-TS, MPEG-PS, Ogg
JUMP = Fraction(10)  # seconds ahead that make a jump where times may: FFmpeg's dts_delta_threshold
BROKEN = Fraction(108_000)  # and where they may not: FFmpeg's dts_error_threshold
BACK = Fraction(1, 10)  # seconds that FFmpeg lets a stream go back
CLEAR = Fraction(1, 2)  # seconds within which the clock of the last packet needs no comparing with the one before it


@dataclass(frozen=True)
class Clock:
    """How the times of a file are mended.

    Attributes:
        start: the first time, in seconds, that becomes 0.
        shifts: by the index of a stream: (number of its packet, seconds to add from there on), rising, the first at 0.
        decoded: the index of a picture of which the file does not say when frames are shown, but when they are decoded:
            that of AVI, of which FFmpeg's guess is wrong where the orders differ (H.264 with B-frames).
        span: of an excerpt, the first second that belongs to it, and the first that no longer does (None: all do);
            packets outside are left out.
    """

    start: Fraction = Fraction(0)
    shifts: dict[int, list[tuple[int, Fraction]]] = field(default_factory=dict)
    decoded: int | None = None
    span: tuple[Fraction, Fraction | None] | None = None

    def offset(self, stream: int, number: int) -> Fraction:
        """Seconds to add to the times of a stream's packet, counted from 0."""
        for first, seconds in reversed(self.shifts.get(stream, [])):
            if first <= number:
                return seconds - self.start
        return -self.start

    def mend(self, packets: Iterable[Any]) -> Iterator[Any]:
        """The packets of a file from its beginning, of some streams or all, with mended times."""
        numbers: Counter[int] = Counter()
        waits: Counter[int] = Counter()  # from decoding to showing
        for packet in packets:
            stream, number = packet.stream_index, numbers[packet.stream_index]
            numbers[stream] += 1
            ticks = round(self.offset(stream, number) / packet.time_base) if packet.time_base else 0
            if packet.pts is not None and packet.dts is not None:
                wait = packet.pts - packet.dts
                if self.is_joint(stream, number) and not 0 <= wait * packet.time_base < JUMP:
                    packet.pts = packet.dts + waits[stream]  # one time from before the jump, one from after it
                else:
                    waits[stream] = wait
            if packet.pts is not None:
                packet.pts += ticks
            if packet.dts is not None:
                packet.dts += ticks
                packet.pts = None if stream == self.decoded else packet.pts
            if self.span is None or self._belongs(packet):
                yield packet

    def _belongs(self, packet: Any) -> bool:
        ticks = packet.dts if packet.pts is None else packet.pts
        assert self.span is not None
        first, end = self.span
        return ticks is None or ticks * packet.time_base >= first and (end is None or ticks * packet.time_base < end)

    def jumps(self, stream: int) -> bool:
        """Whether a stream has more than one clock."""
        return len(self.shifts.get(stream, [])) > 1

    def is_joint(self, stream: int, number: int) -> bool:
        """Whether a stream's clock jumps right after a packet, or one packet later: parsers look one ahead."""
        return any(first - 2 <= number < first for first, _ in self.shifts.get(stream, [])[1:])


@dataclass(frozen=True)
class ClockedFile:
    """A file that goes with a picture (its sound, its subtitles), and the clock that all of it shares."""

    path: Path
    clock: Clock = Clock()


class ClockFinder:
    """Finds the `Clock` of a file from all its packets, in the file's order.

    A clock that jumps is set to where the stream whose packet shows it should go on; it is set again, by a little, when
    the first packet of the picture follows, so that the picture goes on evenly. Packets of the other streams that were
    still on the way then have the clock from before: each packet takes the one of the last two that fits it.
    """

    def __init__(self, container: Any, picture: Any) -> None:
        """Starts at the beginning of an av.container.InputContainer; `picture` is its av.VideoStream."""
        self._may_jump = bool(int(container.format.flags) & TIMES_MAY_JUMP)
        self._decoded = picture.index if container.format.name == "avi" else None
        self._picture = picture.index
        self._frame = 1 / Fraction(picture.guessed_rate or 25)
        self._offsets = [Fraction(0)]  # of all clocks so far
        self._recent = [0]  # the last of them, and the one before
        self._used: dict[int, list[tuple[int, int]]] = {}  # stream -> (number of packet, clock)
        self._numbers: Counter[int] = Counter()
        self._last: dict[int, Fraction] = {}
        self._next: dict[int, Fraction] = {}

    def add(self, packet: Any) -> None:
        """Takes the next packet, of whatever stream; the picture and the sound tell the clock."""
        stream, number = packet.stream_index, self._numbers[packet.stream_index]
        self._numbers[stream] += 1
        if packet.pts is None and packet.dts is None:
            return
        used = self._used.setdefault(stream, [])
        tells = stream == self._picture or packet.stream.type == "audio"
        if packet.dts is None or not tells:  # in an order or with pauses that say nothing of the clock
            if not used or not tells and used[-1][1] != self._recent[0]:
                used.append((number if used else 0, self._recent[0]))
            return
        time = packet.dts * packet.time_base
        clock = self._clock(stream, time)
        if not used or used[-1][1] != clock:
            if stream == self._picture and stream in self._next:
                self._settle(clock, self._next[stream] - time - self._offsets[clock])
            used.append((number if used else 0, clock))
        self._recent = [clock, *(other for other in self._recent if other != clock)][:2]
        self._last[stream] = time + self._offsets[clock]
        duration = (packet.duration or 0) * packet.time_base
        self._next[stream] = self._last[stream] + (duration or (self._frame if stream == self._picture else 0))

    def clock(self, starts: dict[int, Fraction]) -> Clock:
        """The clock, when all packets were taken.

        Args:
            starts: by the index of a stream, the time of what it shows or plays first, in seconds, as the file has it.
        """
        shifts = {
            stream: [(number, self._offsets[clock]) for number, clock in used] for stream, used in self._used.items()
        }
        begins = [start + shifts[stream][0][1] for stream, start in starts.items() if stream in shifts]
        return Clock(min(begins, default=Fraction(0)), shifts, self._decoded)

    def _clock(self, stream: int, time: Fraction) -> int:
        """The clock that a packet's time belongs to, a new one if none fits."""
        if not self._next:
            return 0
        latest = max(self._next.values())
        expected = self._next.get(stream, latest)
        fitting = [clock for clock in self._recent if self._fits(stream, time + self._offsets[clock], latest)]
        if fitting and abs(time + self._offsets[fitting[0]] - expected) <= CLEAR:
            return fitting[0]
        if fitting:
            return min(fitting, key=lambda clock: abs(time + self._offsets[clock] - expected))
        self._offsets.append(expected - time)
        return len(self._offsets) - 1

    def _fits(self, stream: int, time: Fraction, latest: Fraction) -> bool:
        if stream not in self._last:
            return not self._may_jump or abs(time - latest) <= JUMP
        return self._last[stream] - BACK <= time <= latest + (JUMP if self._may_jump else BROKEN)

    def _settle(self, clock: int, seconds: Fraction) -> None:
        """Sets a clock that another stream began by a little, before the picture uses it for the first time."""
        if clock == 0 or abs(seconds) > 1 or any(used[1] == clock for used in self._used[self._picture]):
            return
        self._offsets[clock] += seconds
        for stream, used in self._used.items():
            if used[-1][1] == clock:
                self._last[stream] += seconds
                self._next[stream] += seconds
