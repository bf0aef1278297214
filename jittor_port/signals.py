"""SIGTERM and SIGHUP end the work as Ctrl-C does, with all cleared up; steps that must not be halved come first."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # of a system


class Stopped(BaseException):
    """Stopped by a signal, whose number it has; no error, and so nothing that `except Exception` takes for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        """What became of the work, in a word or two."""
        return {"SIGINT": "interrupted", "SIGTERM": "terminated"}.get(signal.Signals(self.number).name, "hung up")

    @property
    def code(self) -> int:
        """The exit code that says so."""
        return 128 + self.number


@contextmanager
def listening() -> Iterator[None]:
    """Within the block the signals raise `Stopped`, as after `listen`."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    listen()
    try:
        yield
    finally:
        restore(before)


def listen() -> None:
    """From now on the signals raise `Stopped`, but those that are ignored already, as by nohup.

    For what is imported late, and puts handlers of its own there. Only the first thread can listen.
    """
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def _leave() -> None:
    """What this process forks ends at once: a pool ends its workers so, and would wait for them."""
    for number in SIGNALS:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)


def restore(handlers: Mapping[int, Any]) -> None:
    """Puts handlers back that `signal.getsignal` gave."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if handler is not None:  # None: not one of Python's
                signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals wait until the block ends: for steps that take moments, and must not be left half done."""
    waiting: list[int] = []
    before = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    try:
        if threading.current_thread() is threading.main_thread():  # where handlers run
            for number in before:
                signal.signal(number, lambda number, _: waiting.append(number))
        yield
    finally:
        restore(before)
        for number in waiting[:1]:
            signal.raise_signal(number)
