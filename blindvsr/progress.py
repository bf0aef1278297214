"""How far the work is: a bar on a terminal, a line every few seconds in a log."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS = 5.0  # between the lines in a log
LINE = "{desc}: {n_fmt}/{total_fmt}{unit}s, {rate_noinv_fmt}, {remaining} left"


class _Lines:
    """A stream that tqdm may draw on: what it draws over itself on a terminal becomes one line each."""

    def write(self, text: str) -> None:
        for drawn in text.split("\r"):
            if drawn.strip():
                sys.stderr.write(f"{drawn.strip()}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(items: Iterable[T] | None = None, bar: str | None = None, line: str = LINE, **options: Any) -> "tqdm[T]":
    """A progress bar; one line every 5 s, without carriage returns, where the error stream is no terminal.

    Args:
        items: what is gone through; without them the caller says `update()`.
        bar: tqdm's `bar_format` on a terminal, its default if None.
        line: the same for a log.
        options: of tqdm: desc, total, unit, leave, disable.
    """
    if sys.stderr.isatty():
        return tqdm(items, bar_format=bar, **options)
    # tqdm measures its own pace otherwise, and falls silent where a run becomes slower
    return tqdm(items, file=_Lines(), bar_format=line, mininterval=SECONDS, miniters=1, **options)
