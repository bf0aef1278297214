"""Makes test sets: HR frames, the LR frames they become, and the kernels in between."""

import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from blindvsr import InputError
from blindvsr.datasets import LR_FOLDER, TRAIN_FOLDERS, Video, check_frames, check_names, find_videos, input_places
from blindvsr.degrade import SCALE, TEST_SIGMA, blurred, crop_to_scale, degrade_frame, draw_kernel, gaussian_kernel
from blindvsr.disturbance import with_noise
from blindvsr.frames import IMAGE_SUFFIXES, Frame, frame_names, image_size, read_image, write_image
from blindvsr.outputs import OutputGuard, cannot_write
from blindvsr.replacing import replacing_together
from blindvsr.progress import progress

ENCODED_FOLDER = "encoded"


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


@dataclass(frozen=True)
class Recipe:
    """How the videos of a test set are degraded.

    Attributes:
        kind: "gaussian" (the same kernel for all), "realistic" or "mixed" (a random one per video).
        sigma: of the Gaussian, HR pixels.
        seed: of random kernels and noise; video i of the sorted list gets the same whichever others are chosen.
        noise: standard deviation of Gaussian noise, levels of 255.
        codec: an encoder of `video.compression` that goes over the LR frames, or None.
        quality: of the encoder: constant rate factor, quantiser, or JPEG's quality.
        preset: of H.264 and H.265.
    """

    kind: str
    sigma: float = TEST_SIGMA
    seed: int = 0
    noise: float = 0
    codec: str | None = None
    quality: int = 23
    preset: str = "medium"

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 255:
            raise InputError(f"noise={self.noise}: give a standard deviation between 0 and 255 levels")
        if self.codec is not None:
            from blindvsr.video.compression import check_quality

            check_quality(self.codec, self.quality, self.preset)

    @property
    def multiple(self) -> int:
        """What the truth is cropped to multiples of: video encoders take LR frames of even sides alone."""
        return SCALE if self.codec in (None, "jpeg") else 2 * SCALE

    def kernel(self, index: int) -> NDArray[np.float64]:
        """The kernel of video number `index`."""
        if self.kind == "gaussian":
            return gaussian_kernel(self.sigma)
        return draw_kernel(self.kind, np.random.default_rng([self.seed, index]))


def _degrade_video(video: Video, index: int, recipe: Recipe, out: Path, in_place: bool) -> bool:
    """Writes the three folders of one video, or two `in_place`; they appear together, when all frames are done.

    Returns:
        True if the frames had to be cropped.
    """
    kernel, names, cropped = recipe.kernel(index), frame_names(video.files), False
    rng = np.random.default_rng([recipe.seed, index, 1])
    with replacing_together() as replace:
        low, kernels = (replace(out / folder / video.name, folder=True) for folder in (LR_FOLDER, "kernel"))
        high = None if in_place else replace(out / "HR" / video.name, folder=True)
        total = len(video.files) or None
        frames = progress(video.read(), desc=video.name, total=total, unit=" frame", leave=False)
        for number, frame in enumerate(frames):
            path = video.files[number] if video.files else None
            if not path:
                names.append(f"{number:08d}")
            whole = crop_to_scale(frame, recipe.multiple)
            cropped |= whole.shape != frame.shape
            name = names[number]
            write_image(low / f"{name}.png", _low(whole, kernel, recipe.noise, rng))
            _write_kernel(kernels / f"{name}.mat", kernel)
            if high and path and whole.shape == frame.shape:
                _link_or_copy(path, high / f"{name}{path.suffix}")
            elif high:
                write_image(high / f"{name}.png", whole)
        if recipe.codec == "jpeg":
            _encode_frames(low, names, recipe, replace(out / ENCODED_FOLDER / video.name, folder=True))
        elif recipe.codec:
            _encode_video(low, names, recipe, replace(out / ENCODED_FOLDER / f"{video.name}.mkv"))
    return cropped


def _write_kernel(path: Path, kernel: NDArray[np.float64]) -> None:
    try:
        scipy.io.savemat(path, {"kernel": kernel})
    except OSError as error:
        raise cannot_write(path, error) from error


def _low(frame: Frame, kernel: NDArray[np.float64], noise: float, rng: np.random.Generator) -> Frame:
    if not noise:
        return degrade_frame(frame, kernel)
    return with_noise(blurred(frame[None], kernel), noise, False, rng)[0]


def _encode_frames(low: Path, names: Sequence[str], recipe: Recipe, out: Path) -> None:
    """Keeps the frames of a folder as JPEG, `out`/<frame>.jpg, and replaces them by what is decoded of that."""
    from blindvsr.video.compression import jpeg

    for path in (low / f"{frame}.png" for frame in names):
        file = out / f"{path.stem}.jpg"
        file.write_bytes(jpeg(read_image(path), recipe.quality))
        write_image(path, read_image(file))


def _encode_video(low: Path, names: Sequence[str], recipe: Recipe, out: Path) -> None:
    """Keeps the frames of a folder as a video encoder writes them, `out`, and puts what is decoded of it there."""
    from blindvsr.video.compression import decode, encode

    assert recipe.codec is not None
    paths = [low / f"{frame}.png" for frame in names]
    height, width = image_size(paths[0])
    encode(map(read_image, paths), str(out), recipe.codec, recipe.quality, recipe.preset)
    for path, frame in zip(paths, decode(str(out), height, width), strict=True):
        write_image(path, frame)


def _check_outputs(name: str, out: Path, codec: str | None, in_place: bool, guard: OutputGuard) -> None:
    guard.check(out / LR_FOLDER / name, (".png",))
    guard.check(out / "kernel" / name, (".mat",))
    if not in_place:
        guard.check(out / "HR" / name, IMAGE_SUFFIXES)
    if codec == "jpeg":
        guard.check(out / ENCODED_FOLDER / name, (".jpg",))
    elif codec:
        guard.check(out / ENCODED_FOLDER / f"{name}.mkv")


def make_test_set(hr: Path, out: Path, recipe: Recipe, names: Sequence[str] = (), overwrite: bool = False) -> None:
    """Writes `out`/{HR,LR_blurdown_x4,kernel}/<video>/, one kernel per video, from HR videos in any known layout.

    HR images are linked, or copied where links do not work; they are written anew only where sides are no multiple of
    4, or of 8 for a video encoder (one warning tells), and where the source is a video file. Where an encoder goes over
    the LR frames, its files are in `out`/encoded/, and LR_blurdown_x4/ holds what is decoded of them.

    Args:
        hr: HR frames; nothing in it changes.
        out: the test set.
        recipe: how they are degraded.
        names: only these videos (REDS4 out of REDS, say); all when empty.
        overwrite: replace videos that `out` already has.

    Raises:
        InputError: for unusable input, unknown names, or an output that `OutputGuard` refuses.
    """
    videos = find_videos(hr, "hr", TRAIN_FOLDERS)
    check_names(videos, f"hr={str(hr)!r}")
    places = {video.name: index for index, video in enumerate(videos)}
    for name in names:
        if name not in places:
            raise InputError(f"videos={name}: no such video; there are {', '.join(places)}")
    guard = OutputGuard(input_places(videos), overwrite)
    videos = [video for video in videos if not names or video.name in names]
    check_frames(videos, "hr", least=1)
    in_place = any((out / "HR" / video.name).resolve() == video.source.resolve() for video in videos)
    for video in videos:
        _check_outputs(video.name, out, recipe.codec, in_place, guard)
    if in_place and any(side % recipe.multiple for video in videos for side in image_size(video.files[0])):
        raise InputError(f"out={out}: the frames that lie there have to be cropped, and would change; choose another")
    cropped = [video.name for video in progress(videos, desc="degrading", unit=" video")
               if _degrade_video(video, places[video.name], recipe, out, in_place)]
    if cropped:
        names = ", ".join(cropped)
        warnings.warn(f"cropped to multiples of {recipe.multiple} at the right and the bottom: {names}", stacklevel=2)
