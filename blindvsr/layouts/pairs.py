"""What belongs together in two folders: the videos of one name, and in them the frames of one name."""

import shlex
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from blindvsr import InputError
from blindvsr.datasets import HR_FOLDERS, HR_INNER, LR_FOLDERS, LR_INNER, Video, check_frames, find_videos
from blindvsr.frames import frame_names
from blindvsr.metrics import scored_frames
from blindvsr.ops.blur import SCALE
from blindvsr.layouts.vimeo import MIDDLE, is_septuplet

CENTRE = (SCALE - 1) / 2


def pair_frames(first: Video, second: Video, kinds: tuple[str, str]) -> list[tuple[Path, Path]]:
    """The frames of two videos by name, in their natural order.

    Args:
        first: frames as images.
        second: frames as images.
        kinds: what to call the frames of the two in messages.

    Raises:
        InputError: if a frame stands on one side only, naming the first such frame of each side.
    """
    for video in (first, second):
        if video.source.is_file():
            raise InputError(f"{video.source} is a video file; frames pair by name: give a folder of images")
    names = [dict(zip(frame_names(video.files), video.files, strict=True)) for video in (first, second)]
    if names[0].keys() == names[1].keys():
        return [(path, names[1][name]) for name, path in names[0].items()]
    alone = [[path for name, path in mine.items() if name not in other]
             for mine, other in ((names[0], names[1]), (names[1], names[0]))]
    found = " and ".join(f"{len(paths)} in {paths[0].parent} alone, {paths[0].name} the first"
                         for paths in alone if paths)
    raise InputError(
        f"video {first.name}: {len(names[0])} {kinds[0]} frames, but {len(names[1])} of {kinds[1]}, which pair by "
        f"name: {found}; add, remove or rename frames"
    )


def scored_range(video: Video, all_frames: bool = False) -> range:
    """Indices of the frames of a whole video that count: see `metrics.scored_frames`; of a septuplet frame 4 alone.

    Raises:
        InputError: if there is none.
    """
    if is_septuplet(video.files):
        middle = [file.stem for file in video.files].index(MIDDLE)
        return range(middle, middle + 1)
    chosen = scored_frames(len(video.files), all_frames)
    if not chosen:
        raise InputError(f"video {video.name} has {len(video.files)} frames, and the first and last two do not count: "
                         "give longer ones, or score the restored frames by blindvsr score --all_frames")
    return chosen


def match_folders(
    first: str | Path, gt: str | Path, argument: str = "sr", all_frames: bool = False
) -> dict[str, list[tuple[Path, Path]]]:
    """The frames to score of every video of a folder, each with its ground truth.

    Args:
        first: results, or the low-resolution frames they were made of.
        gt: ground truth, in any layout that is known.
        argument: the option that `first` came from, for messages.
        all_frames: take the ends as well.

    Raises:
        InputError: for videos without ground truth, or frames of other names.
    """
    results = find_videos(first, argument, inner=LR_INNER if argument == "lr" else HR_INNER)
    truths = find_videos(gt, "gt", (*HR_FOLDERS, "sequences"))
    if len(results) == len(truths) == 1:  # two bare folders of frames need no common name
        by_name = {results[0].name: truths[0]}
    else:
        by_name = {video.name: video for video in truths}
    pairs = {}
    for video in results:
        truth = by_name.pop(video.name, None)
        if not truth:
            names = ", ".join(sorted(truth.name for truth in truths)[:9])
            raise InputError(f"gt={str(gt)!r}: no frames of video {video.name}, the first in {first} without ground "
                             f"truth; it has {names}")
        if is_septuplet(truth.files):
            video, truth = _middle(video), _middle(truth)
        both = pair_frames(video, truth, ("restored" if argument == "sr" else "low-resolution", "ground truth"))
        pairs[video.name] = [both[index] for index in scored_range(truth, all_frames)]
    if by_name:
        names = ", ".join(sorted(by_name)[:3]) + (", ..." if len(by_name) > 3 else "")
        warnings.warn(f"{first} lacks {len(by_name)} of {len(truths)} videos of the ground truth: {names}",
                      stacklevel=2)
    return pairs


def _middle(video: Video) -> Video:
    return replace(video, files=tuple(file for file in video.files if file.stem == MIDDLE))


def paired_videos(
    root: str | Path | None, hr: str | Path | None = None, lr: str | Path | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> list[tuple[Video, Video]]:
    """(HR, LR) of every video of a test set, `<root>/{HR,LR_blurdown_x4}/<video>/<frame>.png` for one.

    Args:
        root: holds HR/ or GT/, and LR_blurdown_x4/, BIx4/ or BDx4/; or <clip>/truth/ and <clip>/input4/ (SPMCS).
        hr: another folder of high-resolution videos.
        lr: another folder of low-resolution videos, or one of several in the root.
        say: is called with a line about low-resolution pixels that lie elsewhere than the network takes them to.

    Raises:
        InputError: if a half is missing, a video stands in one half only, or frames have other names.
    """
    high, low = _halves(root, hr, lr)
    truths = {video.name: video for video in find_videos(high, "data.test_hr")}
    inputs = {video.name: video for video in find_videos(low, "data.test_lr", inner=LR_INNER)}
    alone = [f"video {names[0]} is in {folder} alone"
             for folder, names in ((high, sorted(truths.keys() - inputs.keys())),
                                   (low, sorted(inputs.keys() - truths.keys()))) if names]
    if alone:
        raise InputError(f"{' and '.join(alone)}: the two need the same videos; remove it, or make the set again with "
                         "blindvsr degrade")
    for name, video in truths.items():
        pair_frames(video, inputs[name], ("high-resolution", "low resolution"))
    check_frames([*truths.values(), *inputs.values()], "data.test_root")
    if is_centred(next(iter(inputs.values())).source):
        say(f"{low} is made by plain bicubic downsampling: restored frames lie {CENTRE} pixels off the truth, as the "
            "network takes LR pixel i to lie on HR pixel 4 i, and scores count that; BDx4 has no such shift")
    return [(truths[name], inputs[name]) for name in sorted(truths)]


def _halves(root: str | Path | None, hr: str | Path | None, lr: str | Path | None) -> tuple[Path, Path]:
    """The two halves of a test set, see `paired_videos`."""
    if root is None and not (hr and lr):
        raise InputError(f"data.test_{'lr' if hr else 'hr'} is missing: give both folders, or --data.test_root alone")
    named, base = f"data.test_root={str(root)!r}", Path(root or ".")
    if not base.is_dir():
        raise InputError(f"{named}: no such folder")
    low = Path(lr) if lr else low_folder(base, named, "--data.test_lr")
    high = Path(hr) if hr else next((base / name for name in HR_FOLDERS if (base / name).is_dir()), None)
    if not high and any(base.glob(f"*/{HR_INNER}")):
        high = base
    if not high:
        raise InputError(f"{named} has no {'/ or '.join(HR_FOLDERS)}/ folder to score against, nor <clip>/{HR_INNER}/; "
                         "give --data.test_hr DIR, or use predict without it")
    return high, low


def is_centred(source: Path) -> bool:
    """True for the frames of a low-resolution video whose pixels lie in the middle of the 4x4 that they stand for, as
    those that the toolboxes and SPMCS make by bicubic downsampling."""
    return not {"BIx4", LR_INNER}.isdisjoint(source.resolve().parts[-3:])


def input_videos(root: str | Path, argument: str) -> list[Video]:
    """Low-resolution videos to restore: the low-resolution half of a test set, or anything that `find_videos` knows.

    Args:
        root: the folder, or a video file.
        argument: the option that it came from, for messages.

    Raises:
        InputError: if there is none, or a test set has more than one such half.
    """
    if any((Path(root) / name).is_dir() for name in LR_FOLDERS):
        root = low_folder(Path(root), f"{argument}={str(root)!r}", f"--{argument}")
    return find_videos(root, argument, inner=LR_INNER)


def low_folder(root: Path, named: str, option: str) -> Path:
    """The low-resolution half of a test set.

    Args:
        root: the test set.
        named: the option that it came from and its value, for messages.
        option: names another folder.

    Raises:
        InputError: if there is none, or more than one.
    """
    found = [root / name for name in LR_FOLDERS if (root / name).is_dir()]
    if not found and any(root.glob(f"*/{LR_INNER}")):
        return root
    if not found:
        find_videos(root, named.split("=")[0], HR_FOLDERS)  # where there is no video, other advice is needed
        source = next((root / name for name in HR_FOLDERS if (root / name).is_dir()), root)
        raise InputError(f"{named} has no {'/, '.join(LR_FOLDERS[:-1])}/ or {LR_FOLDERS[-1]}/ folder, nor "
                         f"<clip>/{LR_INNER}/; give {option} DIR, or make a test set with: blindvsr degrade --hr "
                         f"{shlex.quote(str(source))} --out DIR --kind gaussian")
    if len(found) > 1:
        raise InputError(f"{named} has {found[0].name}/ and {found[1].name}/: choose with {option} "
                         f"{shlex.quote(str(found[0]))} or {shlex.quote(str(found[1]))}")
    return found[0]
