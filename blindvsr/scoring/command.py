"""`blindvsr score`: the options, and what is printed and written."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from blindvsr import InputError
from blindvsr.outputs import OutputGuard

if TYPE_CHECKING:
    from blindvsr.scoring.folders import Pairs

EXAMPLES = """\
examples:
  blindvsr score --sr build/restored --gt build/vid4
  blindvsr score --sr build/restored --gt build/vid4 --all_frames --json build/scores.json
  blindvsr score --sr build/restored --gt build/vid4 --bicubic --channels y
  blindvsr score --sr results/BDx4 --gt Vid4/GT --lr Vid4/BDx4 --bicubic
  blindvsr score --sr build/restored --gt build/vid4 --html build/scores.html --show calendar/00000020"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; imports nothing heavy, so that help is quick."""
    parser.add_argument("--sr", type=Path, metavar="DIR",
                        help="restored videos: <video>/<frame>.png, or the frames of one video; without it --bicubic "
                             "is scored alone")
    parser.add_argument("--gt", type=Path, required=True, metavar="DIR",
                        help="ground truth: the same, or a test set with HR/ or GT/. Frames pair by name. Of Vimeo-90K "
                             "(sequences/ and its list of test clips) frame 4 alone counts")
    parser.add_argument("--lr", type=Path, metavar="DIR",
                        help="low-resolution videos, for --bicubic and --html (default: LR_blurdown_x4/, BIx4/, "
                             "BDx4/ or <clip>/input4/ of --gt)")
    parser.add_argument("--all_frames", action="store_true",
                        help="score every frame (default: all but the first two and the last two, as published)")
    parser.add_argument("--channels", choices=("rgb", "y"), default="rgb",
                        help="what PSNR and SSIM are measured on: red, green and blue, or the luma of BT.601, as most "
                             "papers do (default: %(default)s)")
    parser.add_argument("--bicubic", action="store_true",
                        help="score bicubic upsampling of the low-resolution videos too, aligned with the ground truth")
    parser.add_argument("--temporal", action="store_true",
                        help="measure temporal consistency too: the warping error, with the flow of OpenCV's DIS, "
                             "and tOF; the lower, the better")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the table into this file, and as CSV beside it")
    parser.add_argument("--per_frame", type=Path, metavar="FILE.csv", help="write the values of every frame as CSV")
    parser.add_argument("--html", type=Path, metavar="FILE",
                        help="write one page with the table, curves over the frames, and a slider between input, "
                             "bicubic, restored and truth; it holds its pictures and needs no other file")
    parser.add_argument("--show", nargs="+", default=(), metavar="VIDEO/FRAME",
                        help="frames for the slider, calendar/00000020 say (default: the worst one of each video, of "
                             "eight videos at most)")
    parser.add_argument("--overwrite", action="store_true", help="replace what stands where the output goes")


def _check_outputs(arguments: argparse.Namespace) -> None:
    inputs = [folder for folder in (arguments.sr, arguments.gt, arguments.lr) if folder]
    guard = OutputGuard(inputs, arguments.overwrite)
    if arguments.json:
        for file in (arguments.json, arguments.json.with_suffix(".csv")):
            guard.check(file, name="--json")
    for name in ("per_frame", "html"):
        if getattr(arguments, name):
            guard.check(getattr(arguments, name), name=f"--{name}")


def _low_pairs(arguments: argparse.Namespace, results: "Pairs | None") -> "tuple[Pairs | None, bool]":
    """The low-resolution frames of the videos that are scored, or None where nobody asked for them; and whether their
    pixels lie in the middle of the 4x4 that they stand for, see `pairs.is_centred`."""
    from blindvsr.datasets import LR_FOLDERS, LR_INNER
    from blindvsr.layouts.pairs import is_centred, low_folder, match_folders

    there = arguments.lr or any(any(arguments.gt.glob(name)) for name in (*LR_FOLDERS, f"*/{LR_INNER}"))
    if not (arguments.bicubic or arguments.html and there):
        return None, False
    low = arguments.lr or low_folder(arguments.gt, f"gt={str(arguments.gt)!r}", "--lr")
    pairs = match_folders(low, arguments.gt, "lr", arguments.all_frames)
    names = list(results or pairs)
    if len(names) == len(pairs) == 1:  # bare folders need no common name
        pairs = dict(zip(names, pairs.values(), strict=True))
    for name in names:
        if name not in pairs:
            raise InputError(f"lr={str(low)!r}: no frames of video {name}, of which there are results")
    return {name: pairs[name] for name in names}, is_centred(pairs[names[0]][0][0].parent)


def run(arguments: argparse.Namespace) -> int:
    """Prints the table, and writes what was asked for."""
    if not (arguments.sr or arguments.bicubic and not arguments.html):
        raise InputError("--sr is missing: give the folder of restored videos, or --bicubic to score the baseline")
    if arguments.show and not arguments.html:
        raise InputError(f"--show {arguments.show[0]}: pictures are on the page of --html alone; give it too")
    _check_outputs(arguments)
    from blindvsr.degrade import bicubic_up
    from blindvsr.frames import read_image
    from blindvsr.layouts.pairs import match_folders
    from blindvsr.scoring.report import chosen_frames, picture_of, write_report
    from blindvsr.scoring.folders import score_pairs, summarise, table, write_frames, write_summary

    pairs = match_folders(arguments.sr, arguments.gt, all_frames=arguments.all_frames) if arguments.sr else None
    low, centred = _low_pairs(arguments, pairs)
    options = {"channels": arguments.channels, "temporal": arguments.temporal}
    baseline = score_pairs(low, enlarge=partial(bicubic_up, centred=centred), **options) if low else {}
    scores = score_pairs(pairs, **options) if pairs else baseline
    summary = summarise(scores, arguments.channels)
    if pairs and baseline:
        summary["bicubic"] = summarise(baseline)
    print(table(summary))
    if arguments.json:
        write_summary(summary, arguments.json)
    if arguments.per_frame:
        write_frames(scores, arguments.per_frame)
    if arguments.html:
        assert pairs is not None
        pictures = []
        for video, index in chosen_frames(scores, arguments.show):
            restored, truth = pairs[video][index]
            small = low[video][index][0] if low else None
            pictures.append(picture_of(video, read_image(restored), truth, small, centred))
        write_report(arguments.html, summary, scores, baseline, pictures, f"Scores of {arguments.sr.resolve().name}")
    return 0
