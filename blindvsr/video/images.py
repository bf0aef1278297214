"""Images as a video: a folder of them, or one file, which may hold many (animated WebP and PNG, TIFF of many pages)."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

from blindvsr import InputError
from blindvsr.frames import IMAGE_SUFFIXES, Frame, check_size, frame_names, image_files, left_out, opened, to_rgb
from blindvsr.video.clock import ClockedFile
from blindvsr.video.colour import Colour
from blindvsr.video.timing import Timing, constant

SIZE_TAGS = (0xA002, 0xA003)  # EXIF's width and height: four times as many now
BROWSERS_CHOICE = Fraction(100)  # milliseconds that a picture without a duration is shown
DEEP = re.compile(r";16[BLN]")  # in the name that Pillow gives to how 16 bits are packed into a file
LISTED = 3  # names of files in one line


class ImageReader:
    """Images as a `blindvsr.video.source.Source`."""

    pixel_aspect = Fraction(1)
    damage: str | None = None  # an unreadable image is an error: the others are of no use without it
    sound: ClockedFile | None = None
    extras: ClockedFile | None = None

    def __init__(self, path: Path, rate: Fraction, for_video: bool = False) -> None:
        """Looks at the headers of all images.

        Args:
            path: a folder of images, or one image.
            rate: frames per second, where the file does not say.
            for_video: convert colours with a profile of their own to sRGB, and drop transparency; otherwise `tags` has
                the profiles, and `alphas` what is opaque.

        Raises:
            InputError: if there are no images, one cannot be read, or their sizes differ.
        """
        self.path = path
        self._for_video = for_video
        self._files = image_files(path) if path.is_dir() else [path]
        if not self._files:
            raise InputError(f"{path} holds no images ({' '.join(IMAGE_SUFFIXES)}): give a video or the folder of one")
        self._pages = [0]
        self.size = (0, 0)
        self.notes: list[str] = []
        self._clear = False  # some of them are transparent
        self._look()
        self.frames = len(self._files) * len(self._pages)
        self.timing, self._times, self.end = _times(self.frames, self._durations, rate)
        self.colour = Colour()

    def timed(self) -> Iterator[tuple[int, Frame]]:
        """(time in ticks of `timing.time_base`, RGB uint8 (H, W, 3))."""
        yield from zip(self._times, (to_rgb(self._coloured(image)) for image in self._pictures()))

    def names(self) -> Iterator[str]:
        """Those of the images, or numbers where two would have one."""
        return iter(frame_names(self._files if len(self._pages) == 1 else self._files * len(self._pages)))

    def tags(self) -> Iterator[dict[str, bytes]]:
        """What the frames carry beside their pixels, for `blindvsr.frames.write_image`."""
        for image in self._pictures():
            found = {}
            if (profile := image.info.get("icc_profile")) and not self._foreign(image):
                found["icc_profile"] = profile
            exif = image.getexif()
            for tag in SIZE_TAGS:
                exif.get_ifd(0x8769).pop(tag, None)
            if len(exif):
                found["exif"] = exif.tobytes()
            yield found

    def alphas(self) -> Iterator[Frame] | None:
        """What of the images is opaque, as grey frames (H, W, 3); None if all is, or for a video."""
        if not self._clear or self._for_video:
            return None
        return (to_rgb(image.convert("RGBA").getchannel("A")) for image in self._pictures())

    def _pictures(self) -> Iterator[Image.Image]:
        """The images, upright; each until the next is asked for."""
        for file in self._files:
            with opened(file) as image:
                for page in self._pages:
                    image.seek(page)
                    upright = ImageOps.exif_transpose(image)
                    check_size(file, (upright.height, upright.width), self.size)
                    yield upright

    def _foreign(self, image: Image.Image) -> bool:
        """Whether an image's profile is to be applied: it does not go with RGB, or none is wanted."""
        return self._for_video or not image.mode.startswith(("RGB", "P"))

    def _coloured(self, image: Image.Image) -> Image.Image:
        profile = _profile(image) if self._foreign(image) else None
        if profile is None or _is_srgb(profile):
            return image
        solid = image.convert("RGB" if image.mode.startswith(("RGB", "P")) else image.mode.rstrip("Aa"))
        converted = ImageCms.profileToProfile(solid, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert converted is not None  # it is where the image is not changed in place
        return converted

    def _look(self) -> None:
        """Notes sizes, durations and what will be said, from the headers."""
        found: Counter[str] = Counter()
        self._durations: list[float] = []
        for file in self._files:
            with opened(file) as image:
                packing = str(getattr(image, "tile", ""))  # gone once EXIF is asked for, which loads a PNG
                turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations that swap the sides
                size = (image.width, image.height) if turned else (image.height, image.width)
                self.size = size if file is self._files[0] else self.size
                check_size(file, size, self.size)
                pages = getattr(image, "n_frames", 1)
                if pages > 1 and not self.path.is_dir():
                    self._look_through(image, pages)
                elif pages > 1:
                    found["only the first picture of many is taken"] += 1
                found.update(self._conversions(image, packing))
        total = len(self._files)
        self.notes += [f"{self.path}: {what} (in {count} of {total} images)" for what, count in found.items()]
        if others := left_out(self.path) if self.path.is_dir() else []:
            names = ", ".join(file.name for file in others[:LISTED])
            names += f" and {len(others) - LISTED} more" if len(others) > LISTED else ""
            self.notes.append(f"{self.path}: left out, as the names are not those of images "
                              f"({' '.join(IMAGE_SUFFIXES)}): {names}")

    def _look_through(self, image: Image.Image, pages: int) -> None:
        size = image.size
        self._pages = []
        for page in range(pages):
            image.seek(page)
            if image.size == size:
                image.load()  # WebP says the duration with the pixels
                self._pages.append(page)
                self._durations.append(image.info.get("duration", 0))
        if others := pages - len(self._pages):
            self.notes.append(f"{self.path}: left out: {others} of {pages} pictures, which have another size")
        image.seek(0)

    def _conversions(self, image: Image.Image, packing: str) -> Iterator[str]:
        bands = image.getbands()
        if bands[-1] in "Aa" or "transparency" in image.info:
            self._clear = True
            if self._for_video:
                yield "transparency is dropped"
        if image.mode != "P" and len(set(bands) - set("Aa")) == 1:
            yield "grey becomes RGB"
        if image.mode == "F" or image.format is None:  # without one: in colour, see `blindvsr.frames`
            yield "floating-point samples become 8 bits"
        elif image.mode.startswith("I") or DEEP.search(packing):
            yield "16 bits per sample become 8"
        if image.info.get("icc_profile") and self._foreign(image):
            profile = _profile(image)
            if profile is None:
                yield "the colour profile does not fit the colours, and is dropped"
            elif not _is_srgb(profile):
                yield "the colours are converted to sRGB by the colour profile"


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The colour profile of an image, None where there is none that fits its colours."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        space = profile.profile.xcolor_space.strip()
    except (KeyError, OSError, ValueError):
        return None
    return profile if space == {"L": "GRAY", "LA": "GRAY", "CMYK": "CMYK"}.get(image.mode, "RGB") else None


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    return "srgb" in ImageCms.getProfileDescription(profile).lower()


def _times(frames: int, durations: list[float], rate: Fraction) -> tuple[Timing, list[int], int | None]:
    """Timing, times and end (see `Source`) of frames shown for so many milliseconds; at `rate` where none says so."""
    if not any(durations):
        timing = constant(rate)
        return timing, [index * timing.frame_ticks for index in range(frames)], None
    shown = [Fraction(duration).limit_denominator(1000) if duration > 0 else BROWSERS_CHOICE for duration in durations]
    if len(set(shown)) == 1:
        return _times(frames, [], 1000 / shown[0])
    ends = list(accumulate(max(1, round(duration)) for duration in shown))
    timing = Timing(Fraction(1000 * frames, ends[-1]), Fraction(1, 1000), constant=False)
    return timing, [0, *ends[:-1]], ends[-1]
