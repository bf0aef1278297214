"""What files say about themselves: opening them whatever the encoding of their texts, and handing the texts on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av


def open_input(path: Path) -> Any:
    """An av.container.InputContainer, to be closed by the caller, whose texts need not be UTF-8: see `texts`.

    Raises:
        av.FFmpegError, OSError: if the file cannot be opened.
    """
    # "12:30.mp4" would be the video 30.mp4 by the protocol 12 without the prefix
    return av.open(f"file:{path}", metadata_errors="surrogateescape")


def texts(metadata: Mapping[str, str]) -> dict[str, str]:
    """Names and texts of a container or stream opened with `open_input`, readable.

    AVI and MP3 say nothing of the encoding of their texts: old cameras wrote that of Windows (Latin-1 and a few signs).
    """
    return {key: _readable(value) for key, value in metadata.items() if key.isascii()}


def _readable(text: str) -> str:
    try:
        text.encode()
        return text
    except UnicodeEncodeError:  # bytes that are not UTF-8, kept as lone surrogates
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
