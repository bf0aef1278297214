"""Folders of images and video files as RGB uint8 frames, and frames as PNG images."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from jittor_port import InputError

Frame = NDArray[np.uint8]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".gif", ".m4v")
LR_FOLDER = "LR_blurdown_x4"  # of a data set
HR_FOLDER = "HR"
SMALLEST = 16  # the least height and width of a frame


@dataclass(frozen=True)
class Video:
    """Frames that belong together.

    Attributes:
        name: of the folder or of the file without its suffix.
        path: the folder or the file.
        files: the images in order, or nothing for a video file.
        length: number of frames; for a video file what its header claims, 0 if it claims nothing.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    length: int

    def frames(self) -> Iterator[tuple[str, Frame]]:
        """Name and pixels (H, W, 3) of every frame.

        Raises:
            InputError: for a frame that is unreadable, too small, or of another size than the first.
        """
        first: Frame | None = None
        for name, frame in _images(self.files) if self.files else _decoded(self.path):
            first = frame if first is None else first
            height, width = frame.shape[:2]
            if min(height, width) < SMALLEST:
                raise InputError(f"{self.path}: frame {name} is {width}x{height}, the least is {SMALLEST}x{SMALLEST}")
            if frame.shape != first.shape:
                raise InputError(f"{self.path}: frame {name} is {width}x{height} but the first is "
                                 f"{first.shape[1]}x{first.shape[0]}; all frames of a video need one size")
            yield name, frame
        if first is None:
            raise InputError(f"{self.path} has no frames that can be decoded")


def find_videos(path: Path, argument: str, folder: str) -> list[Video]:
    """The videos at a path: a file, a folder of images, a folder of such folders, or a data set.

    Args:
        path: where to look.
        argument: the option that gave the path, for errors.
        folder: the data set's subfolder to take, `LR_FOLDER` or `HR_FOLDER`.

    Raises:
        InputError: if there is nothing.
    """
    if path.is_file():
        return [_video_file(path, argument)]
    if not path.is_dir():
        raise InputError(f"{argument} {path}: there is no such file or folder")
    if (path / folder).is_dir():
        path = path / folder
    if files := _image_files(path):
        return [Video(path.resolve().name, path, files, len(files))]
    children = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    videos = [Video(child.name, child, files, len(files)) for child in children if (files := _image_files(child))]
    if not videos:
        raise InputError(f"{argument} {path} has no frames: looked for images ({', '.join(IMAGE_SUFFIXES)}) there, in "
                         f"its folders and in {folder}/")
    return videos


def _natural_order(path: Path) -> tuple[list[str | int], str]:
    """A key that sorts names as people count: 2.png before 10.png."""
    parts: list[str | int] = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
    return parts, path.name


def _image_files(folder: Path) -> tuple[Path, ...]:
    images = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES
              and not path.name.startswith(".") and path.is_file())
    return tuple(sorted(images, key=_natural_order))


def _video_file(path: Path, argument: str) -> Video:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"{argument} {path} is no video file: known are {', '.join(VIDEO_SUFFIXES)}, or give a folder")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise InputError(f"{argument} {path} cannot be opened as a video; it is damaged or not a video")
        return Video(path.stem, path, (), max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))))
    finally:
        capture.release()


def _images(files: tuple[Path, ...]) -> Iterator[tuple[str, Frame]]:
    stems = [path.stem for path in files]
    unique = len(set(stems)) == len(stems)  # a.png beside a.jpg: both would be written to a.png
    for number, path in enumerate(files):
        try:
            # 8 bits, grey repeated, alpha dropped, EXIF obeyed
            image = None if _is_cut(path) else cv2.imread(str(path), cv2.IMREAD_COLOR)
        except cv2.error:  # an impossible size
            image = None
        if image is None:
            raise InputError(f"{path} cannot be read as an image; replace or remove it")
        yield path.stem if unique else f"{number:08d}", np.ascontiguousarray(image[..., ::-1])


def _is_cut(path: Path) -> bool:
    """Whether a part of a PNG claims to reach beyond the file: OpenCV fills gigabytes with what is not there."""
    place, size = 8, path.stat().st_size
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return False
        while place < size:
            file.seek(place)
            place += 12 + int.from_bytes(file.read(4), "big")
    return place > size


def _decoded(path: Path) -> Iterator[tuple[str, Frame]]:
    capture = cv2.VideoCapture(str(path))
    try:
        number = 0
        while (read := capture.read())[0]:
            yield f"{number:08d}", np.ascontiguousarray(read[1][..., ::-1])
            number += 1
    finally:
        capture.release()


def write_image(path: Path, frame: Frame) -> None:
    """Writes RGB uint8 (H, W, 3) as PNG, compressed lightly: speed matters more than a tenth of the size.

    Raises:
        OSError: if it cannot be written.
    """
    encoded, data = cv2.imencode(".png", frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise OSError("a frame cannot be encoded as PNG")
    path.write_bytes(data.tobytes())
