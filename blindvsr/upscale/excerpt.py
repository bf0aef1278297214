"""A part of a video: what `--start` and `--end` leave of it."""

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice

from blindvsr import InputError
from blindvsr.frames import Frame
from blindvsr.video.clock import ClockedFile
from blindvsr.video.source import Source
from blindvsr.video.timing import Timing

ROUNDED = Fraction(1, 2000)  # seconds: whoever gives 0.033 means the frame at 1/30


class Excerpt:
    """The frames of a source from a time on and before another, as a `Source`; its times count from the first."""

    def __init__(self, source: Source, start: Fraction, end: Fraction | None) -> None:
        """Times are seconds from the beginning of the source.

        Raises:
            InputError: if nothing lies between them.
        """
        if end is not None and end <= start:
            raise InputError(f"end={float(end):g}: it must be later than the start, {float(start):g}")
        self.path, self.size, self.colour = source.path, source.size, source.colour
        self.pixel_aspect, self.timing, self.notes = source.pixel_aspect, source.timing, source.notes
        self._source = source
        self._what = f"{source.path} has no frames from second {float(start):g}"
        self._first = _ticks(source.timing, start)
        self._last = None if end is None else _ticks(source.timing, end)
        stop = source.frames * self.timing.frame_ticks
        last = stop if self._last is None else min(stop, self._last)
        self.frames = max(0, math.ceil((last - self._first) / self.timing.frame_ticks))
        ends = [time - self._first for time in (source.end, self._last) if time is not None]
        self.end = min(ends) if source.end is not None else None
        self.sound, self.extras = self._cut(source.sound), self._cut(source.extras)
        self._skipped = self._count = 0

    @property
    def damage(self) -> str | None:
        """As of the source."""
        return self._source.damage

    def timed(self) -> Iterator[tuple[int, Frame]]:
        """(time in ticks of `timing.time_base`, RGB uint8 (H, W, 3)); the times rise strictly.

        Raises:
            InputError: if there are no frames.
        """
        for ticks, frame in self._source.timed():
            if self._last is not None and ticks >= self._last:
                break
            if ticks < self._first:
                self._skipped += 1
                continue
            self._count += 1
            yield ticks - self._first, frame
        if not self._count:
            raise InputError(f"start={float(self._first * self.timing.time_base):g}: {self._what}")

    def names(self) -> Iterator[str]:
        """Those that the frames have in the whole; to be asked once a frame has been read."""
        yield from islice(self._source.names(), self._skipped, None)

    def tags(self) -> Iterator[dict[str, bytes]]:
        """Likewise."""
        yield from islice(self._source.tags(), self._skipped, None)

    def alphas(self) -> Iterator[Frame] | None:
        """Likewise: no more of them than frames have been read."""
        whole = self._source.alphas()
        return None if whole is None else self._kept(whole)

    def _kept(self, whole: Iterator[Frame]) -> Iterator[Frame]:
        for number, alpha in enumerate(whole, -self._skipped):
            if number >= self._count:
                return
            if number >= 0:
                yield alpha

    def _cut(self, file: ClockedFile | None) -> ClockedFile | None:
        """What goes with the picture, cut alike."""
        if file is None:
            return None
        start = self._first * self.timing.time_base
        length = None if self._last is None else (self._last - self._first) * self.timing.time_base
        return ClockedFile(file.path, replace(file.clock, start=file.clock.start + start, span=(Fraction(0), length)))


def _ticks(timing: Timing, seconds: Fraction) -> int:
    """The first frame at or after a time, where the rate is constant; otherwise the time itself."""
    step = timing.frame_ticks if timing.constant else 1
    return math.ceil((seconds - ROUNDED) / timing.time_base / step) * step if seconds > ROUNDED else 0
