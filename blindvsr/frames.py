"""Folders of images as RGB uint8 frames: reading them safely, writing them whole."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from blindvsr import InputError

Frame = NDArray[np.uint8]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".gif", ".m4v")


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """A key that sorts names as people count: 2.png before 10.png."""
    parts: list[str | int] = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
    return parts, path.name


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in the natural order of their names; hidden files are passed over."""
    images = (
        path for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    return sorted(images, key=natural_order)


def frame_names(files: Sequence[Path]) -> list[str]:
    """Names for what becomes of images: theirs without suffix, or numbers where two would have one (a.png, a.jpg)."""
    stems = [file.stem for file in files]
    return stems if len(set(stems)) == len(stems) else [f"{index:08d}" for index in range(len(stems))]


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header, as `read_image` would return it.

    Raises:
        InputError: if the file is no image.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations that swap the sides
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image; replace or remove it") from error


def read_image(path: Path) -> Frame:
    """Reads an image as RGB uint8 (H, W, 3): alpha is dropped, grey repeated, 16 bits become 8, EXIF turns it.

    Raises:
        InputError: if the file is missing, not an image, or truncated.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16-bit grey: Pillow would clip it at 255
                return np.repeat((np.asarray(upright) >> 8).astype(np.uint8)[..., None], 3, axis=2)
            return np.array(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "truncated or damaged" if path.is_file() else "missing"
        raise InputError(f"{path} cannot be read as an image ({reason}); replace or remove it") from error


def read_images(files: Iterable[Path]) -> Iterator[Frame]:
    """Reads images one after another.

    Raises:
        InputError: for an unreadable image, or one of another size than the first.
    """
    first: Frame | None = None
    for path in files:
        frame = read_image(path)
        first = frame if first is None else first
        check_size(path, frame.shape[:2], first.shape[:2])
        yield frame


def check_size(path: Path, size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises InputError unless `size` (H, W) of the frame at `path` is what its video started with."""
    if size != expected:
        raise InputError(
            f"{path} is {size[1]}x{size[0]}, but its video starts with {expected[1]}x{expected[0]}: "
            "all frames of a video need one size"
        )


def write_image(path: Path, frame: Frame) -> None:
    """Writes an RGB uint8 frame (H, W, 3) as PNG, compressed lightly: speed matters more than a tenth of the size.

    Raises:
        InputError: if it cannot be written.
    """
    encoded, data = cv2.imencode(".png", frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    try:
        if not encoded:
            raise OSError("encoding failed")
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
