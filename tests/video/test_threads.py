"""Threads with bounded queues."""

import time
from collections.abc import Iterator

import pytest

from blindvsr import InputError
from blindvsr.video.threads import read_ahead, write_behind


def test_reading_ahead_is_bounded_and_passes_errors_on() -> None:
    given = []

    def items() -> Iterator[int]:
        for number in range(100):
            given.append(number)
            yield number
        raise InputError("at the end")

    taken = read_ahead(items(), 3)
    assert [next(taken) for _ in range(10)] == list(range(10))
    time.sleep(0.05)
    assert len(given) <= 10 + 3 + 1
    with pytest.raises(InputError, match="at the end"):
        list(taken)


def test_writing_behind_passes_errors_on() -> None:
    def consume(number: int) -> None:
        if number == 2:
            raise InputError("no space")

    with pytest.raises(InputError, match="no space"):
        with write_behind(consume, 2) as hand_over:
            for number in range(1000):
                hand_over(number)
    taken: list[int] = []
    with write_behind(taken.append, 2) as hand_over:
        for number in range(20):
            hand_over(number)
    assert taken == list(range(20))
