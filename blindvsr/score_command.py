"""`blindvsr score`: the options, and what is printed and written."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from blindvsr import InputError
from blindvsr.outputs import OutputGuard

if TYPE_CHECKING:
    from blindvsr.metrics import Scores

EXAMPLES = """\
examples:
  blindvsr score --sr build/restored --gt build/vid4
  blindvsr score --sr build/restored --gt build/vid4 --all_frames --json build/scores.json
  blindvsr score --sr build/restored --gt build/vid4 --bicubic --channels y
  blindvsr score --sr results/BDx4 --gt Vid4/GT --lr Vid4/BDx4 --bicubic"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; imports nothing heavy, so that help is quick."""
    parser.add_argument("--sr", type=Path, metavar="DIR",
                        help="restored videos: <video>/<frame>.png, or the frames of one video; without it --bicubic "
                             "is scored alone")
    parser.add_argument("--gt", type=Path, required=True, metavar="DIR",
                        help="ground truth: the same, or a test set with HR/ or GT/. Frames pair by name. Of Vimeo-90K "
                             "(sequences/ and its list of test clips) frame 4 alone counts")
    parser.add_argument("--lr", type=Path, metavar="DIR",
                        help="low-resolution videos, for --bicubic (default: LR_blurdown_x4/, BIx4/ or BDx4/ of --gt)")
    parser.add_argument("--all_frames", action="store_true",
                        help="score every frame (default: all but the first two and the last two, as published)")
    parser.add_argument("--channels", choices=("rgb", "y"), default="rgb",
                        help="what PSNR and SSIM are measured on: red, green and blue, or the luma of BT.601, as most "
                             "papers do (default: %(default)s)")
    parser.add_argument("--bicubic", action="store_true",
                        help="score bicubic upsampling of the low-resolution videos too, aligned with the ground truth")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the table into this file, and as CSV beside it")
    parser.add_argument("--per_frame", type=Path, metavar="FILE.csv", help="write the values of every frame as CSV")
    parser.add_argument("--overwrite", action="store_true", help="replace what stands where the output goes")


def _check_outputs(arguments: argparse.Namespace) -> None:
    inputs = [folder for folder in (arguments.sr, arguments.gt, arguments.lr) if folder]
    guard = OutputGuard(inputs, arguments.overwrite)
    if arguments.json:
        for file in (arguments.json, arguments.json.with_suffix(".csv")):
            guard.check(file, name="--json")
    if arguments.per_frame:
        guard.check(arguments.per_frame, name="--per_frame")


def _bicubic(arguments: argparse.Namespace, videos: Sequence[str] | None) -> "dict[str, Scores]":
    """Scores the baseline for these videos, or all. It is aligned: LR pixel i lies on HR pixel 4 i, except in sets made
    by plain bicubic downsampling (BIx4), where it lies in the middle of its 4x4 pixels."""
    from blindvsr.degrade import bicubic_up
    from blindvsr.pairs import is_centred, low_folder, match_folders
    from blindvsr.scoring import score_pairs

    low = arguments.lr or low_folder(arguments.gt, f"gt={str(arguments.gt)!r}", "--lr")
    pairs = match_folders(low, arguments.gt, "lr", arguments.all_frames)
    if videos and len(videos) == len(pairs) == 1:  # bare folders need no common name
        pairs = dict(zip(videos, pairs.values(), strict=True))
    for name in videos or ():
        if name not in pairs:
            raise InputError(f"lr={str(low)!r}: no frames of video {name}, of which there are results")
    chosen = {name: pairs[name] for name in videos or pairs}
    return score_pairs(chosen, arguments.channels, partial(bicubic_up, centred=is_centred(low)))


def run(arguments: argparse.Namespace) -> int:
    """Prints the table, and writes what was asked for."""
    if not (arguments.sr or arguments.bicubic):
        raise InputError("--sr is missing: give the folder of restored videos, or --bicubic to score the baseline")
    _check_outputs(arguments)
    from blindvsr.pairs import match_folders
    from blindvsr.scoring import score_pairs, summarise, table, write_frames, write_summary

    pairs = match_folders(arguments.sr, arguments.gt, all_frames=arguments.all_frames) if arguments.sr else None
    baseline = _bicubic(arguments, list(pairs) if pairs else None) if arguments.bicubic else {}
    scores = score_pairs(pairs, arguments.channels) if pairs else baseline
    summary = summarise(scores, arguments.channels)
    if pairs and baseline:
        summary["bicubic"] = summarise(baseline)
    print(table(summary))
    if arguments.json:
        write_summary(summary, arguments.json)
    if arguments.per_frame:
        write_frames(scores, arguments.per_frame)
    return 0
