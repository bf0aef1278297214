"""What there is to restore, a video file or a folder of images, as one and the same thing."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from blindvsr import InputError
from blindvsr.frames import IMAGE_SUFFIXES, Frame
from blindvsr.video.clock import ClockedFile
from blindvsr.video.colour import Colour
from blindvsr.video.images import ImageReader
from blindvsr.video.pipe import PIPE, PipeReader
from blindvsr.video.reader import VideoReader
from blindvsr.video.timing import Timing

IMAGE_RATE = Fraction(25)  # frames per second of images, which do not say


class Source(Protocol):
    """What there is to restore.

    Attributes:
        path: the file or folder.
        size: (H, W) of the upright frames.
        frames: how many there should be, 0 if nobody knows; damage may leave fewer.
        timing: frame rate and time base, see `Timing`.
        end: when the last frame ends, in ticks of `timing.time_base`; None if one frame after it starts.
        colour: what the samples mean.
        pixel_aspect: width of a pixel by its height, upright.
        sound: the file whose sound belongs to the frames, with their clock, or None.
        extras: likewise, the file whose subtitles, chapters, texts and so on belong to them.
        notes: conversions to tell the user about, once.
    """

    path: Path
    size: tuple[int, int]
    frames: int
    timing: Timing
    end: int | None
    colour: Colour
    pixel_aspect: Fraction
    sound: ClockedFile | None
    extras: ClockedFile | None
    notes: list[str]

    @property
    def damage(self) -> str | None:
        """What was wrong as far as it has been read, or None."""

    def timed(self) -> Iterator[tuple[int, Frame]]:
        """(time in ticks of `timing.time_base`, RGB uint8 (H, W, 3)); the times rise strictly."""

    def names(self) -> Iterator[str]:
        """Names for the frames as images, without suffix; as many as there are frames, at least."""

    def tags(self) -> Iterator[dict[str, bytes]]:
        """What the frames carry as images beside their pixels; as many as there are frames, at least."""

    def alphas(self) -> Iterator[Frame] | None:
        """What of the frames is opaque, as grey frames (H, W, 3); None if all is, or the output cannot hold it."""


def open_source(
    path: Path, rate: Fraction | None = None, deinterlace: bool = True, for_video: bool = False, deep: bool = False,
) -> Source:
    """Opens whatever is at `path`.

    Args:
        path: a video file, a folder of images, an image, or - for y4m from standard input.
        rate: frames per second of images (25 if None) and raw streams (what they say, if None); other videos have
            their own.
        deinterlace: make whole frames of interlaced video.
        for_video: the output holds neither transparency nor colour profiles, as PNG does: images with a profile are
            converted to sRGB.
        deep: give frames of videos with 16 bits.

    Raises:
        InputError: as `VideoReader` and `ImageReader`, and if there is nothing.
    """
    if str(path) == PIPE:
        return PipeReader(deinterlace)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageReader(path, rate or IMAGE_RATE, for_video)
    return VideoReader(path, rate, deinterlace, with_alpha=not for_video, deep=deep)
