"""What there is to restore, a video file or a folder of images, as one and the same thing."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from PIL import Image

from blindvsr import InputError
from blindvsr.frames import IMAGE_SUFFIXES, Frame, check_size, frame_names, image_files, image_size, read_images
from blindvsr.video.colour import Colour
from blindvsr.video.reader import VideoReader
from blindvsr.video.timing import Timing, constant


class Source(Protocol):
    """What there is to restore.

    Attributes:
        path: the file or folder.
        size: (H, W) of the upright frames.
        frames: how many there should be; damage may leave fewer.
        timing: frame rate and time base, see `Timing`.
        end: when the last frame ends, in ticks of `timing.time_base`; None if one frame after it starts.
        colour: what the samples mean.
        pixel_aspect: width of a pixel by its height, upright.
        sound: the file whose sound belongs to the frames, or None.
        extras: the file whose subtitles, chapters, texts and so on belong to them, or None.
        notes: conversions to tell the user about, once.
        damage: what was wrong as far as it has been read, or None.
    """

    path: Path
    size: tuple[int, int]
    frames: int
    timing: Timing
    end: int | None
    colour: Colour
    pixel_aspect: Fraction
    sound: Path | None
    extras: Path | None
    notes: list[str]
    damage: str | None

    def timed(self) -> Iterator[tuple[int, Frame]]:
        """(time in ticks of `timing.time_base`, RGB uint8 (H, W, 3)); the times rise strictly."""

    def names(self) -> Iterator[str]:
        """Names for the frames as images, without suffix; as many as there are frames, at least."""


class ImageReader:
    """Images as a `Source`."""

    pixel_aspect = Fraction(1)
    damage: str | None = None  # an unreadable image is an error: the others are of no use without it
    end: int | None = None
    sound: Path | None = None
    extras: Path | None = None

    def __init__(self, path: Path, rate: Fraction) -> None:
        """Looks at the headers of all images.

        Args:
            path: a folder of images, or one image.
            rate: frames per second.

        Raises:
            InputError: if there are no images, one cannot be read, or their sizes differ.
        """
        self.path = path
        self._files = image_files(path) if path.is_dir() else [path]
        if not self._files:
            raise InputError(f"{path} holds no images ({' '.join(IMAGE_SUFFIXES)}): give a video or the folder of one")
        self.size = image_size(self._files[0])
        for file in self._files[1:]:
            check_size(file, image_size(file), self.size)
        self.frames = len(self._files)
        self.timing = constant(rate)
        self.colour = Colour()
        self.notes = self._conversions()

    def timed(self) -> Iterator[tuple[int, Frame]]:
        """(time in ticks of `timing.time_base`, RGB uint8 (H, W, 3))."""
        for index, frame in enumerate(read_images(self._files)):
            yield index * self.timing.frame_ticks, frame

    def names(self) -> Iterator[str]:
        """Those of the images, or numbers where two would have one."""
        return iter(frame_names(self._files))

    def _conversions(self) -> list[str]:
        found: Counter[str] = Counter()
        for file in self._files:
            with Image.open(file) as image:
                bands = image.getbands()
                if bands[-1] in "Aa" or "transparency" in image.info:
                    found["transparency is dropped"] += 1
                if image.mode != "P" and len(set(bands) - set("Aa")) == 1:
                    found["grey becomes RGB"] += 1
        return [f"{self.path}: {what} (in {number} of {self.frames} images)" for what, number in found.items()]


def open_source(path: Path, rate: Fraction, deinterlace: bool = True) -> Source:
    """Opens whatever is at `path`.

    Args:
        path: a video file, a folder of images, or an image.
        rate: frames per second of images; videos have their own.
        deinterlace: make whole frames of interlaced video.

    Raises:
        InputError: as `VideoReader` and `ImageReader`, and if there is nothing.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageReader(path, rate)
    return VideoReader(path, deinterlace)
