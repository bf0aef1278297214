"""REDS4, the four clips of REDS' training split that are everybody's test set: training must not see them."""

import re
from collections.abc import Callable, Sequence

from blindvsr import InputError
from blindvsr.datasets import Video

REDS4 = ("000", "011", "015", "020")
_TRAIN_SPLIT = re.compile(r"train_(sharp|blur|orig)")  # and train_sharp_bicubic, train_blur_comp, ... of the data set
_VALIDATION = re.compile(r"val(idation)?([_-].*)?")


def without_reds4(videos: Sequence[Video], name: str, say: Callable[[str], None]) -> list[Video]:
    """Leaves the clips of REDS4 out of footage to train on, and says so.

    They are known by where the clips really lie, links followed (`train_sharp/000`), and, where a copy of the training
    split has another name (`train/HR/000`, say), by what REDS looks like: every clip is called by three digits and
    every frame by eight.

    Args:
        videos: footage to train on.
        name: the option and its value, for messages.
        say: is called with a line about what was left out.

    Raises:
        InputError: if nothing else is left.
    """
    copied = _looks_like_reds(videos)
    out = [video for video in videos if video.source.resolve().name in REDS4 and (copied or _in_train_split(video))]
    if not out:
        return list(videos)
    names = ", ".join(video.name for video in out)
    if len(out) == len(videos):
        raise InputError(f"{name} holds REDS' test clips alone ({names}), which training leaves out: give the whole "
                         "training split; if it is other footage, rename its folders")
    say(f"{name}: {names} left out, REDS' test clips (REDS4); if it is other footage, rename its folders")
    return [video for video in videos if video not in out]


def _in_train_split(video: Video) -> bool:
    return _TRAIN_SPLIT.match(video.source.resolve().parent.name) is not None


def _looks_like_reds(videos: Sequence[Video]) -> bool:
    """True for at least two clips like 000/00000000.png that are not known for the validation split, whose clips have
    the same names."""
    sources = [video.source.resolve() for video in videos]
    return len(videos) > 1 and all(
        re.fullmatch(r"\d{3}", source.name) and video.files
        and all(re.fullmatch(r"\d{8}", file.stem) for file in video.files)
        and not any(_VALIDATION.fullmatch(part) for part in source.parts[-3:-1])
        for video, source in zip(videos, sources, strict=True)
    )
