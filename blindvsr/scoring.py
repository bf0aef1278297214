"""Folders of results against folders of ground truth: scores per video, both totals, tables, JSON and CSV."""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from blindvsr import InputError
from blindvsr.datasets import Video, find_videos
from blindvsr.frames import Frame, read_image
from blindvsr.metrics import Scores, psnr, scored_frames, ssim
from blindvsr.outputs import replacing
from blindvsr.progress import progress

Summary = dict[str, Any]


def summarise(videos: Mapping[str, Scores]) -> Summary:
    """The table as a dictionary: per video, mean over all frames (the paper's total), mean over videos."""

    def means(psnrs: Iterable[float], ssims: Iterable[float], frames: int) -> dict[str, float]:
        return {"psnr": float(np.mean(list(psnrs))), "ssim": float(np.mean(list(ssims))), "frames": frames}

    videos = dict(sorted(videos.items()))  # sums must not depend on who finished first
    rows = {name: means(scores.psnr, scores.ssim, len(scores.psnr)) for name, scores in videos.items()}
    everything = list(videos.values())
    total = sum(len(scores.psnr) for scores in everything)
    return {
        "videos": rows,
        "mean_of_frames": means(
            (value for scores in everything for value in scores.psnr),
            (value for scores in everything for value in scores.ssim), total,
        ),
        "mean_of_videos": means((row["psnr"] for row in rows.values()), (row["ssim"] for row in rows.values()), total),
    }


def _rows(summary: Summary) -> list[tuple[str, float, float, int]]:
    named = {**summary["videos"], "mean of frames": summary["mean_of_frames"],
             "mean of videos": summary["mean_of_videos"]}
    return [(name, row["psnr"], row["ssim"], row["frames"]) for name, row in named.items()]


def table(summary: Summary) -> str:
    """The table as text."""
    width = max(len(name) for name, *_ in _rows(summary))
    lines = [f"{'video':<{width}}  {'PSNR':>7}  {'SSIM':>6}  {'frames':>6}"]
    lines += [f"{name:<{width}}  {p:7.3f}  {s:6.4f}  {n:6d}" for name, p, s, n in _rows(summary)]
    return "\n".join(lines)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_summary(summary: Summary, path: Path) -> None:
    """Writes the table as JSON, and as CSV beside it. JSON has no infinity: the PSNR of equal frames is null there."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_finite(summary), indent=2, allow_nan=False) + "\n")
    with replacing(path.with_suffix(".csv")) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("video", "psnr", "ssim", "frames"))
        writer.writerows(_rows(summary))


def crop_to(truth: Frame, restored: Frame, name: object) -> Frame:
    """Ground truth cut to the restored size: a side that is no multiple of 4 loses its last pixels by degradation.

    Raises:
        InputError: if the sizes differ by more than that.
    """
    height, width = restored.shape[:2]
    if not (0 <= truth.shape[0] - height < 4 and 0 <= truth.shape[1] - width < 4):
        raise InputError(
            f"{name}: restored {width}x{height} does not fit ground truth {truth.shape[1]}x{truth.shape[0]}"
        )
    return truth[:height, :width]


def _score_files(pair: tuple[Path, Path]) -> tuple[float, float]:
    restored, truth = read_image(pair[0]), read_image(pair[1])
    truth = crop_to(truth, restored, pair[0])
    return psnr(restored, truth), ssim(restored, truth)


def _pairs(restored: Video, truth: Video, all_frames: bool) -> list[tuple[Path, Path]]:
    if len(restored.files) != len(truth.files):
        raise InputError(
            f"video {restored.name}: {len(restored.files)} restored frames, but {len(truth.files)} of ground truth; "
            "every input frame must come back"
        )
    chosen = scored_frames(len(truth.files), all_frames)
    if not chosen:
        raise InputError(f"all_frames=False: video {truth.name} has {len(truth.files)} frames, and the first and last "
                         "two do not count; score all frames of it")
    return [(restored.files[i], truth.files[i]) for i in chosen]


def score_folders(sr: str | Path, gt: str | Path, all_frames: bool = False) -> Summary:
    """Scores any folder of results: `<video>/<frame>.png` on both sides, or images directly.

    Args:
        sr: results; every video of it needs its ground truth.
        gt: ground truth, in any layout that is known.
        all_frames: score the ends as well.

    Raises:
        InputError: for missing videos, other numbers of frames or other sizes.
    """
    results, truths = find_videos(sr, "sr"), find_videos(gt, "gt", ("HR",))
    if len(results) == len(truths) == 1:  # two bare folders of frames need no common name
        by_name = {results[0].name: truths[0]}
    else:
        by_name = {video.name: video for video in truths}
    jobs = []
    for video in results:
        if not video.files or video.name not in by_name:
            raise InputError(f"gt={str(gt)!r}: no frames of video {video.name}; it has {', '.join(sorted(by_name))}")
        jobs += [(video.name, pair) for pair in _pairs(video, by_name[video.name], all_frames)]
    scores: dict[str, Scores] = {video.name: Scores() for video in results}
    with ThreadPoolExecutor() as pool:
        values = pool.map(_score_files, (pair for _, pair in jobs))
        for (name, _), value in zip(progress(jobs, desc="scoring", unit=" frame"), values, strict=True):
            scores[name].psnr.append(value[0])
            scores[name].ssim.append(value[1])
    return summarise(scores)
