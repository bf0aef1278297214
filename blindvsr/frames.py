"""Folders of images as RGB uint8 frames: reading them safely, writing them whole."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from blindvsr import InputError
from blindvsr.outputs import LEFT_BY_SYSTEMS, cannot_write

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


def left_out(folder: Path) -> list[Path]:
    """The files of a folder that `image_files` passes over; hidden files and what file managers leave are none."""
    images = set(image_files(folder))
    return sorted((
        path for path in folder.iterdir()
        if path.is_file() and path not in images and not path.name.startswith(".") and path.name not in LEFT_BY_SYSTEMS
    ), key=natural_order)


def frame_names(files: Sequence[Path]) -> list[str]:
    """Names for what becomes of images: theirs without suffix, or numbers where two would have one (a.png, a.jpg)."""
    stems = [file.stem for file in files]
    return stems if len(set(stems)) == len(stems) else [f"{index:08d}" for index in range(len(stems))]


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header, as `read_image` would return it.

    Raises:
        InputError: if the file is no image.
    """
    with opened(path) as image:
        turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations that swap the sides
        return (image.width, image.height) if turned else (image.height, image.width)


def read_image(path: Path) -> Frame:
    """Reads an image as RGB uint8 (H, W, 3): alpha is dropped, grey repeated, 16 bits become 8, EXIF turns it.

    Raises:
        InputError: if the file is missing, not an image, or truncated.
    """
    with opened(path) as image:
        return to_rgb(ImageOps.exif_transpose(image))


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Opens an image; what fails in the block fails as reading does.

    Raises:
        InputError: if the file is missing, not an image, or truncated.
    """
    try:
        with _open(path) as image:
            yield image
    except (InputError, MemoryError):  # say better what is wrong
        raise
    except Exception as error:  # whatever a damaged header, EXIF or stream makes Pillow and OpenCV say
        reason = "truncated or damaged" if path.is_file() else "missing"
        raise InputError(f"{path} cannot be read as an image ({reason}); replace or remove it") from error


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError:  # TIFF of floats in colour, that OpenCV knows; it takes ages for broken PNG
        with path.open("rb") as file:
            if file.read(2) not in (b"II", b"MM"):
                raise
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None or pixels.dtype not in (np.float32, np.float64) or pixels.ndim != 3:
            raise
        return Image.fromarray(_from_floats(pixels[..., 2::-1]))


def to_rgb(image: Image.Image) -> Frame:
    """An image of any mode -> RGB uint8 (H, W, 3), as it stands."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip it at 255
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        return np.repeat(_from_floats(np.asarray(image))[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def _from_floats(values: NDArray[Any]) -> Frame:
    """Floats mean 0..1, some with highlights beyond; where they go further still they can only mean 0..255."""
    scale = 255 if np.nanmax(values, initial=0) <= 16 else 1
    return np.nan_to_num(values * scale).clip(0, 255).round().astype(np.uint8)


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


def write_image(path: Path, frame: Frame, tags: Mapping[str, bytes] | None = None) -> None:
    """Writes a frame as PNG, compressed lightly: speed matters more than a tenth of the size.

    Args:
        path: the file.
        frame: uint8, RGB (H, W, 3) or with alpha (H, W, 4).
        tags: of Pillow's PNG writer: `icc_profile` and `exif`.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        Image.fromarray(frame).save(path, format="PNG", compress_level=1, **(tags or {}))
    except OSError as error:
        raise cannot_write(path, error) from error
