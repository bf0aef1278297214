"""What files say about themselves: opening them whatever the encoding of their texts, and handing the texts on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

# what the writing program says of its own work, in MP4, Matroska (a track's statistics) and AVI
WRITERS_OWN = ("encoder", "major_brand", "minor_version", "compatible_brands", "vendor_id", "rotate", "duration", "bps",
               "number_of_", "_statistics", "software", "handler_name")
# the texts that FFmpeg writes into MP4 and MOV
HELD_BY_MP4 = (
    "title", "artist", "album_artist", "album", "composer", "date", "comment", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "location",
    "creation_time", "timecode", "make", "model",
)


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


def copy_texts(source: Any, output: Any, suffix: str) -> list[str]:
    """Copies what a container says of itself as a whole.

    Args:
        source: av.container.InputContainer.
        output: av.container.OutputContainer that is not yet written to.
        suffix: of the file that it becomes.

    Returns:
        names of the texts that this kind of file cannot hold.
    """
    said = {key: text for key, text in texts(source.metadata).items() if _lasts(key)}
    # MP4 gives some twice, with a language and without
    said = {key: text for key, text in said.items() if "-" not in key or key.partition("-")[0] not in said}
    held = said
    if suffix not in (".mkv", ".webm"):
        said = {key.lower(): text for key, text in said.items()}  # Matroska writes most in capitals
        place = said.pop("com.apple.quicktime.location.iso6709", None)
        if place:
            said.setdefault("location", place)
        held = {key: text for key, text in said.items() if key in HELD_BY_MP4}
    output.metadata.update(held)
    return sorted(said.keys() - held.keys())


def describe(stream: Any, copy: Any) -> None:
    """Gives a stream the title, language, timecode and flags (default, forced, ...) of the one that it comes from."""
    said = {key: text for key, text in texts(stream.metadata).items() if _lasts(key)}
    if "name" in said:  # MP4's word for a title
        said.setdefault("title", said.pop("name"))
    copy.metadata.update(said)
    copy.disposition = stream.disposition


def _lasts(key: str) -> bool:
    """Whether what a text says still holds after restoring."""
    return not key.lower().startswith(WRITERS_OWN)
