"""Images of every kind as frames: profiles, EXIF, floats, animations, and files that are no images."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from blindvsr.frames import read_image, write_image
from blindvsr.video.images import ImageReader
from tests.clips import moving

RATE = Fraction(25)


def wide_gamut() -> bytes:
    """A profile of RGB whose red and green are each other's: nobody can take it for sRGB."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {bytes(content[at : at + 4]): at for at in range(132, 132 + 12 * content[131], 12)}
    places = [slice(entries[name] + 4, entries[name] + 12) for name in (b"rXYZ", b"gXYZ")]
    content[places[0]], content[places[1]] = content[places[1]], content[places[0]]
    return bytes(content).replace("sRGB".encode("utf-16-be"), "Wide".encode("utf-16-be"))


def test_profile_and_exif_go_into_png(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 6, "2020:01:02 03:04:05"  # orientation, date
    exif.get_ifd(0x8769).update({0xA002: 64, 0x9003: "2020:01:02 03:04:05"})
    profile = wide_gamut()  # it says when it was made
    Image.fromarray(moving(1)[0]).save(tmp_path / "a.jpg", icc_profile=profile, exif=exif, quality=95)
    reader = ImageReader(tmp_path / "a.jpg", RATE)
    (_, frame), = reader.timed()
    assert reader.size == frame.shape[:2] == (32, 24) and reader.notes == []
    write_image(tmp_path / "b.png", frame, next(reader.tags()))
    with Image.open(tmp_path / "b.png") as written:
        assert written.info["icc_profile"] == profile
        again = written.getexif()
        assert (again.get(0x0112, 1), again[0x0132]) == (1, "2020:01:02 03:04:05")
        assert dict(again.get_ifd(0x8769)) == {0x9003: "2020:01:02 03:04:05"}
    assert np.array_equal(read_image(tmp_path / "b.png"), frame)


def test_profile_is_applied_for_a_video(tmp_path: Path) -> None:
    frame = np.zeros((24, 32, 3), np.uint8)
    frame[..., 0] = 250
    Image.fromarray(frame).save(tmp_path / "a.png", icc_profile=wide_gamut())
    reader = ImageReader(tmp_path / "a.png", RATE, for_video=True)
    assert [note.partition(": ")[2] for note in reader.notes] == [
        "the colours are converted to sRGB by the colour profile (in 1 of 1 images)"]
    (_, converted), = reader.timed()
    assert np.abs(converted[5, 5].astype(int) - (0, 250, 0)).max() <= 3
    assert next(reader.tags()) == {}


def test_profiles_that_do_not_fit_are_named(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(moving(1)[0][..., 0]).save(tmp_path / "a.png", icc_profile=lab)
    reader = ImageReader(tmp_path / "a.png", RATE)
    assert any("profile does not fit" in note for note in reader.notes)
    assert len(list(reader.timed())) == 1 and next(reader.tags()) == {}


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("scale", [1, 255])
def test_floats(tmp_path: Path, colour: bool, scale: int) -> None:
    frame = moving(1)[0] if colour else moving(1)[0][..., :1].repeat(3, 2)
    values = (frame / 255 * scale).astype(np.float32)
    cv2.imwrite(str(tmp_path / "a.tif"), values[..., ::-1] if colour else values[..., 0],
                [cv2.IMWRITE_TIFF_COMPRESSION, 1])  # none: OpenCV's choice for floats is lossy
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - frame).max() <= 1
    reader = ImageReader(tmp_path / "a.tif", RATE)
    assert reader.size == (24, 32) and len(list(reader.timed())) == 1


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tif"])
@pytest.mark.parametrize("durations", [[100, 100, 100, 100], [40, 100, 40, 500]])
def test_all_pictures_of_a_file(tmp_path: Path, name: str, durations: list[int]) -> None:
    frames = moving(4)
    pictures = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if name == "a.webp" else {}
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=durations, **options)
    reader = ImageReader(tmp_path / name, RATE)
    timed = list(reader.timed())
    assert reader.frames == len(timed) == 4
    assert all(np.array_equal(frame, expected) for (_, frame), expected in zip(timed, frames, strict=True))
    assert len(set(reader.names())) == 4
    shown = [ticks * reader.timing.time_base for ticks, _ in timed]
    if name == "a.tif":
        assert shown == [index / RATE for index in range(4)]
    else:
        assert shown == [Fraction(sum(durations[:index]), 1000) for index in range(4)]
        assert reader.end is None or reader.end * reader.timing.time_base == Fraction(sum(durations), 1000)


def test_what_a_folder_holds_beside_images_is_named(tmp_path: Path) -> None:
    for index, frame in enumerate(moving(2)):
        write_image(tmp_path / f"{index}.png", frame)
    for name in ("2.jp2", "3.avif", ".hidden", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"")
    reader = ImageReader(tmp_path, RATE)
    assert len(reader.notes) == 1 and reader.notes[0].endswith(": 2.jp2, 3.avif")
    pictures = [Image.fromarray(frame) for frame in moving(3)]
    pictures[0].save(tmp_path / "9.webp", save_all=True, append_images=pictures[1:])
    notes = ImageReader(tmp_path, RATE).notes
    assert any("only the first picture of many is taken (in 1 of 3" in note for note in notes)


def test_pages_of_other_sizes_are_named(tmp_path: Path) -> None:
    """As the thumbnails in a TIFF."""
    pages = [Image.fromarray(frame) for frame in (*moving(2), moving(1, 8, 8)[0])]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    reader = ImageReader(tmp_path / "a.tif", RATE)
    assert reader.frames == len(list(reader.timed())) == 2
    assert any("1 of 3 pictures, which have another size" in note for note in reader.notes)


@pytest.mark.parametrize(("name", "dtype", "grey", "expected"), [
    ("a.png", np.uint16, False, ["16 bits per sample become 8"]),
    ("a.tif", np.uint16, False, ["16 bits per sample become 8"]),
    ("a.png", np.uint16, True, ["grey becomes RGB", "16 bits per sample become 8"]),
    ("a.tif", np.float32, True, ["grey becomes RGB", "floating-point samples become 8 bits"]),
    ("a.tif", np.float32, False, ["floating-point samples become 8 bits"]),
    ("a.png", np.uint8, False, []), ("a.tif", np.uint8, False, []), ("a.bmp", np.uint8, False, []),
])
def test_deep_samples_are_named(tmp_path: Path, name: str, dtype: type, grey: bool, expected: list[str]) -> None:
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    pixels = (moving(1)[0][..., ::-1] * np.float64(scale)).round().astype(dtype)
    assert cv2.imwrite(str(tmp_path / name), pixels[..., 0] if grey else pixels)
    reader = ImageReader(tmp_path / name, RATE)
    assert [note.split(": ")[1] for note in reader.notes] == [f"{what} (in 1 of 1 images)" for what in expected]
