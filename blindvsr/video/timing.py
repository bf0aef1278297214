"""When the frames of a video are shown: constant rates exactly, variable ones as they are."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

TICKS = 10_000  # least ticks a second where the time base is ours to choose


@dataclass(frozen=True)
class Timing:
    """Frame rate and time base of a video.

    Attributes:
        rate: frames per second; the mean where the rate varies.
        time_base: seconds per tick of the times that `ticks` gives.
        constant: every frame is shown 1 / rate after the one before.
        source_base: seconds per tick of the file's own timestamps.
        start: time of the first frame, in ticks of `source_base`.
        counted: the file's own timestamps say nothing: one frame after another.
    """

    rate: Fraction
    time_base: Fraction
    constant: bool = True
    source_base: Fraction = Fraction(1, 1000)
    start: int = 0
    counted: bool = False

    @property
    def frame_ticks(self) -> int:
        """Ticks from one frame to the next, rounded where the rate varies."""
        return max(1, round(1 / (self.rate * self.time_base)))

    def at(self, pts: int) -> int:
        """A file's timestamp in ticks of `time_base`."""
        if not self.constant:
            return pts  # time_base is source_base
        # timestamps in milliseconds are rounded: the count of frames is exact
        count = round((pts - self.start) * self.source_base * self.rate)
        return round(self.start * self.source_base / self.time_base) + count * self.frame_ticks

    def ticks(self, pts: int | None, last: int | None) -> int:
        """A frame's time in ticks of `time_base`, after `last`.

        Args:
            pts: as the file has it; None (damaged file, raw streams) is one frame after `last`.
            last: what this gave for the frame before, None at the first.
        """
        if pts is None or self.counted:
            return self.at(self.start) if last is None else last + self.frame_ticks
        return self.at(pts) if last is None else max(self.at(pts), last + 1)


def constant(rate: Fraction) -> Timing:
    """The timing of frames that come without any, as from a folder of images."""
    return Timing(rate, _fine_base(rate))


def counted(rate: Fraction) -> Timing:
    """The timing of raw streams, whose timestamps are a guess if there are any."""
    return Timing(rate, _fine_base(rate), counted=True)


def _fine_base(rate: Fraction) -> Fraction:
    """A time base of at least TICKS per second in which 1 / rate is a whole number."""
    factor = 1
    while rate.numerator * factor < TICKS:
        factor *= 2
    return Fraction(1, rate.numerator * factor)


def _candidates(stream: Any, mean: Fraction) -> list[Fraction]:
    """Rates that the file may mean, the likeliest first; containers in milliseconds only come close to 24000/1001."""
    rates: list[Fraction] = []
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate, mean):
        if rate:
            film = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
            near = [standard for standard in (Fraction(round(rate)), film) if abs(standard - rate) < rate / 5000]
            rates += [*near, Fraction(rate)]
    return rates


def find_timing(stream: Any, times: list[int]) -> Timing:
    """The timing of an av.VideoStream from all its timestamps, sorted."""
    base = Fraction(stream.time_base or Fraction(1, 1000))
    declared = Fraction(stream.average_rate or stream.guessed_rate or 25)
    if len(times) < 2:
        return Timing(declared, _fine_base(declared), True, base, times[0] if times else 0)
    start = times[0]
    mean = (len(times) - 1) / ((times[-1] - start) * base)
    for rate in _candidates(stream, mean):
        step = 1 / (rate * base)
        if all(abs(start + index * step - time) <= 1 for index, time in enumerate(times)):
            # whole steps: the file's own ticks say the rate exactly
            return Timing(rate, base if step.denominator == 1 else _fine_base(rate), True, base, start)
    return Timing(mean.limit_denominator(1_000_000), base, False, base, start)
