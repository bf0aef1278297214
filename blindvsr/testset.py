"""Makes test sets: HR frames, the LR frames they become, and the kernels in between."""

import os
import shutil
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray
from tqdm import tqdm

from blindvsr import InputError
from blindvsr.datasets import LR_FOLDER, TRAIN_FOLDERS, Video, check_frames, find_videos
from blindvsr.degrade import SCALE, TEST_SIGMA, crop_to_scale, degrade_frame, draw_kernel, gaussian_kernel
from blindvsr.files import replacing
from blindvsr.frames import image_size, read_image, write_image


def warn_of_crop(videos: Sequence[Video]) -> bool:
    """Warns, once for all, if videos have sides that are not multiples of 4; they will be cropped. True if any has."""
    sizes = {video.name: image_size(video.files[0]) for video in videos if video.files}
    odd = [f"{name} ({size[1]}x{size[0]})" for name, size in sizes.items() if size[0] % SCALE or size[1] % SCALE]
    if odd:
        warnings.warn(
            f"HR sizes that are not multiples of {SCALE} are cropped at the right and the bottom: {', '.join(odd)}",
            stacklevel=2,
        )
    return bool(odd)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _degrade_video(video: Video, kernel: NDArray[np.float64], out: Path, in_place: bool) -> None:
    """Writes the three folders of one video, or two `in_place`; they appear when all frames are done."""
    with (
        replacing(out / LR_FOLDER / video.name, folder=True) as low,
        replacing(out / "kernel" / video.name, folder=True) as kernels,
        nullcontext() if in_place else replacing(out / "HR" / video.name, folder=True) as high,
    ):
        for path in tqdm(video.files, video.name, unit="frame", leave=False):
            frame = read_image(path)
            whole = crop_to_scale(frame)
            write_image(low / f"{path.stem}.png", degrade_frame(whole, kernel))
            scipy.io.savemat(kernels / f"{path.stem}.mat", {"kernel": kernel})
            if high is None:
                continue
            if whole.shape == frame.shape:
                _link_or_copy(path, high / path.name)
            else:
                write_image(high / f"{path.stem}.png", whole)


def make_test_set(
    hr: Path, out: Path, kind: str, sigma: float = TEST_SIGMA, seed: int = 0, names: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Writes `out`/{HR,LR_blurdown_x4,kernel}/<video>/, one kernel per video, from HR videos in any known layout.

    HR frames are linked, or copied where links do not work; only sides that are no multiple of 4 are written anew.

    Args:
        hr: HR frames; nothing in it changes.
        out: the test set.
        kind: "gaussian" (the same kernel for all) or "realistic" (a random one per video).
        sigma: of the Gaussian, HR pixels.
        seed: of the realistic kernels; video i of the sorted list gets the same kernel whichever others are chosen.
        names: only these videos (REDS4 out of REDS, say); all when empty.
        overwrite: replace videos that `out` already has.

    Raises:
        InputError: for unusable input, unknown names, or results that exist already.
    """
    videos = find_videos(hr, "--hr", TRAIN_FOLDERS)
    kernels = {
        video.name: gaussian_kernel(sigma) if kind == "gaussian"
        else draw_kernel(kind, np.random.default_rng([seed, index]))
        for index, video in enumerate(videos)
    }
    for name in names:
        if name not in kernels:
            raise InputError(f"--videos {name}: no such video; --hr has {', '.join(kernels)}")
    videos = [video for video in videos if not names or video.name in names]
    for video in videos:
        if not video.files:
            raise InputError(f"--hr {video.source} is a video file; degrade takes frames: decode it to images first")
        if (out / LR_FOLDER / video.name).exists() and not overwrite:
            raise InputError(f"{out / LR_FOLDER / video.name} exists; choose another --out or pass --overwrite")
    check_frames(videos, "--hr", least=1)
    cropped = warn_of_crop(videos)
    in_place = any((out / "HR" / video.name).resolve() == video.source.resolve() for video in videos)
    if in_place and cropped:
        raise InputError(f"--out {out} would change the frames of --hr, which have to be cropped; choose another --out")
    for video in tqdm(videos, "degrading", unit="video"):
        _degrade_video(video, kernels[video.name], out, in_place)
