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
from blindvsr.frames import image_size, write_image
from blindvsr.outputs import replacing


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _degrade_video(video: Video, kernel: NDArray[np.float64], out: Path, in_place: bool) -> bool:
    """Writes the three folders of one video, or two `in_place`; they appear when all frames are done.

    Returns:
        True if the frames had to be cropped to multiples of 4.
    """
    with (
        replacing(out / LR_FOLDER / video.name, folder=True) as low,
        replacing(out / "kernel" / video.name, folder=True) as kernels,
        nullcontext() if in_place else replacing(out / "HR" / video.name, folder=True) as high,
    ):
        total = len(video.files) or None
        for index, frame in enumerate(tqdm(video.read(), video.name, total, unit="frame", leave=False)):
            path = video.files[index] if video.files else None
            name = path.stem if path else f"{index:08d}"
            whole = crop_to_scale(frame)
            write_image(low / f"{name}.png", degrade_frame(whole, kernel))
            scipy.io.savemat(kernels / f"{name}.mat", {"kernel": kernel})
            if high and path and whole.shape == frame.shape:
                _link_or_copy(path, high / path.name)
            elif high:
                write_image(high / f"{name}.png", whole)
    return whole.shape != frame.shape


def make_test_set(
    hr: Path, out: Path, kind: str, sigma: float = TEST_SIGMA, seed: int = 0, names: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Writes `out`/{HR,LR_blurdown_x4,kernel}/<video>/, one kernel per video, from HR videos in any known layout.

    HR images are linked, or copied where links do not work; they are written anew only where sides are no multiple of
    4 (one warning tells) and where the source is a video file.

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
        if (out / LR_FOLDER / video.name).exists() and not overwrite:
            raise InputError(f"{out / LR_FOLDER / video.name} exists; choose another --out or pass --overwrite")
    check_frames(videos, "--hr", least=1)
    in_place = any((out / "HR" / video.name).resolve() == video.source.resolve() for video in videos)
    if in_place and any(side % SCALE for video in videos for side in image_size(video.files[0])):
        raise InputError(f"--out {out} would change the frames of --hr, which have to be cropped; choose another --out")
    cropped = [video.name for video in tqdm(videos, "degrading", unit="video")
               if _degrade_video(video, kernels[video.name], out, in_place)]
    if cropped:
        names = ", ".join(cropped)
        warnings.warn(f"cropped to multiples of {SCALE} at the right and the bottom: {names}", stacklevel=2)
