"""What a terminal, a pipe or a closed stream can take of what a command says."""

import os
import sys

from blindvsr.container import is_out_of_memory


def prepare() -> None:
    """Streams that are closed swallow what is said, and letters that a terminal does not know are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller: >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8", errors="replace"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def close_output() -> None:
    """Writes out what waits for standard output; it is given up for good where that fails, since Python would try once
    more at its end, and say so in a traceback.

    Raises:
        OSError: if it cannot be written: the reader of a pipe has gone, a disk is full.
    """
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
        raise


def printable(text: str) -> str:
    """One line without the control characters that a file's name or content may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def reason(error: BaseException) -> str | None:
    """What to say of an error of the operating system, or of memory that has run out; None for other errors."""
    if isinstance(error, BrokenPipeError):
        return "nobody reads standard output any more"
    if is_out_of_memory(error):
        return "out of memory: give smaller frames, tiles, batches or networks"
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return None
