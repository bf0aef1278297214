"""Vimeo-90K: septuplets `<group>/<clip>/im1.png` to `im7.png`; lists name the two splits, and frame 4 alone counts."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from blindvsr import InputError

Split = Literal["train", "test"]
MIDDLE = "im4"
LISTS = {  # as the data set and as the toolboxes ship them
    "train": ("sep_trainlist.txt", "meta_info_Vimeo90K_train_GT.txt"),
    "test": ("sep_testlist.txt", "meta_info_Vimeo90K_test_GT.txt"),
}


def is_septuplet(files: Sequence[Path]) -> bool:
    """True for the frames of a septuplet, or some of them: of results, frame 4 is enough."""
    return bool(files) and all(re.fullmatch("im[1-7]", file.stem) for file in files)


def listed_clips(base: Path, split: Split) -> list[Path] | None:
    """The folders that the list of a split names, or None if there is no list in `base` or beside it.

    Args:
        base: holds <group>/<clip>/.
        split: which of the lists.

    Raises:
        InputError: if a clip of the list is missing.
    """
    found = [file for folder in (base, base.resolve().parent) for name in LISTS[split]
             if (file := folder / name).is_file()]
    if not found:
        return None
    clips = [base / line.split()[0] for line in found[0].read_text(errors="replace").splitlines() if line.strip()]
    for clip in clips:
        if not clip.is_dir():
            raise InputError(f"{found[0]} names {clip.parent.name}/{clip.name}, but there is no folder {clip}: "
                             "add it, or remove the list to take the clips that are there")
    return clips
