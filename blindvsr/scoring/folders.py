"""Restored frames against ground truth: scores per video, both totals, tables, JSON and CSV."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from blindvsr import InputError
from blindvsr.frames import Frame, read_image
from blindvsr.metrics import Channels, Scores, psnr, ssim
from blindvsr.replacing import replacing, replacing_together
from blindvsr.layouts.pairs import match_folders
from blindvsr.progress import progress

Summary = dict[str, Any]
Pairs = Mapping[str, list[tuple[Path, Path]]]  # of every video, the frames and their ground truth


def summarise(videos: Mapping[str, Scores], channels: Channels = "rgb") -> Summary:
    """The table as a dictionary: per video, mean over all frames (the paper's total), mean over videos.

    Args:
        videos: scores by the name of the video.
        channels: what they were measured on; said in the dictionary unless it is rgb.
    """
    videos = dict(sorted(videos.items()))  # sums must not depend on who finished first
    rows = {name: {"psnr": _mean(scores.psnr), "ssim": _mean(scores.ssim), "frames": len(scores.psnr),
                   **{measure: _mean(values) for measure, values in scores.temporal.items()}}
            for name, scores in videos.items()}
    everything, frames = list(videos.values()), sum(len(scores.psnr) for scores in videos.values())
    measures = everything[0].temporal.keys() if everything else ()
    return {
        "videos": rows,
        "mean_of_frames": {
            "psnr": _mean(value for scores in everything for value in scores.psnr),
            "ssim": _mean(value for scores in everything for value in scores.ssim), "frames": frames,
            **{measure: _mean(value for scores in everything for value in scores.temporal[measure])
               for measure in measures},
        },
        "mean_of_videos": {
            "psnr": _mean(row["psnr"] for row in rows.values()), "ssim": _mean(row["ssim"] for row in rows.values()),
            "frames": frames, **{measure: _mean(row[measure] for row in rows.values()) for measure in measures},
        },
        **({"channels": channels} if channels != "rgb" else {}),
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def named_rows(summary: Summary) -> dict[str, dict[str, Any]]:
    """The rows of the table by their names; with the bicubic baseline, where there is one, as the last."""
    rows = {**summary["videos"], "mean of frames": summary["mean_of_frames"],
            "mean of videos": summary["mean_of_videos"]}
    if "bicubic" in summary:
        rows["bicubic, mean of frames"] = summary["bicubic"]["mean_of_frames"]
    return rows


def table(summary: Summary) -> str:
    """The table as text."""
    rows = named_rows(summary)
    width, on = max(map(len, rows)), "-Y" if summary.get("channels") == "y" else ""
    extra = [name for name in summary["mean_of_frames"] if name not in ("psnr", "ssim", "frames")]
    lines = [f"{'video':<{width}}  {'PSNR' + on:>7}  {'SSIM' + on:>6}  {'frames':>6}"
             + "".join(f"  {name.replace('_', ' ')}" for name in extra)]
    for name, row in rows.items():
        lines.append(f"{name:<{width}}  {row['psnr']:7.3f}  {row['ssim']:6.4f}  {row['frames']:6d}" + "".join(
            f"  {f'{row[measure]:.6f}' if measure in row else '':>{len(measure)}}" for measure in extra))
    return "\n".join(lines)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_summary(summary: Summary, path: Path) -> None:
    """Writes the table as JSON, and as CSV beside it, or neither. JSON has no infinity: the PSNR of equal frames is
    null there."""
    measures = list(summary["mean_of_frames"])
    with replacing_together() as replace:
        replace(path).write_text(json.dumps(_finite(summary), indent=2, allow_nan=False) + "\n")
        with replace(path.with_suffix(".csv")).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("video", *measures))
            writer.writerows((name, *(row.get(measure) for measure in measures))
                             for name, row in named_rows(summary).items())


def write_frames(videos: Mapping[str, Scores], path: Path) -> None:
    """Writes the values of every scored frame as CSV; of temporal measures the first frame of a video has none."""
    measures = list(next(iter(videos.values())).temporal)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("video", "frame", "psnr", "ssim", *measures))
        for name, scores in videos.items():
            further = [[None, *scores.temporal[measure]] for measure in measures]
            writer.writerows(zip([name] * len(scores.names), scores.names, scores.psnr, scores.ssim, *further,
                                 strict=True))


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


def score_pairs(
    pairs: Pairs, channels: Channels = "rgb", enlarge: Callable[[Frame], Frame] | None = None, temporal: bool = False
) -> dict[str, Scores]:
    """Scores frames, each read from its file.

    Args:
        pairs: the frames of every video, each with its ground truth.
        channels: rgb, or y for the luma alone.
        enlarge: makes the frames as large as the ground truth; None for those that are.
        temporal: measure temporal consistency too, see `blindvsr.scoring.temporal`.

    Raises:
        InputError: for unreadable images, sizes that do not fit, or too few frames for `temporal`.
    """
    def read(pair: tuple[Path, Path]) -> tuple[Frame, Frame]:
        restored = read_image(pair[0])
        restored = enlarge(restored) if enlarge else restored
        return restored, crop_to(read_image(pair[1]), restored, pair[0])

    def score(pair: tuple[Path, Path]) -> tuple[float, float]:
        restored, truth = read(pair)
        return psnr(restored, truth, channels=channels), ssim(restored, truth, channels=channels)

    jobs = [(video, pair) for video, files in pairs.items() for pair in files]
    scores = {video: Scores(names=[truth.stem for _, truth in files]) for video, files in pairs.items()}
    with ThreadPoolExecutor() as pool:
        values = pool.map(score, (pair for _, pair in jobs))
        for (video, _), value in zip(progress(jobs, desc="scoring", unit=" frame"), values, strict=True):
            scores[video].psnr.append(value[0])
            scores[video].ssim.append(value[1])
    if temporal:
        from blindvsr.scoring.temporal import consistency  # torch takes a while to load

        for video, files in pairs.items():
            frames = progress(files, desc=f"flow of {video}", unit=" frame")
            scores[video].temporal = consistency(map(read, frames), video)
    return scores


def score_folders(sr: str | Path, gt: str | Path, all_frames: bool = False, channels: Channels = "rgb") -> Summary:
    """Scores any folder of results: `<video>/<frame>.png` on both sides, or images directly.

    Args:
        sr: results; every video of it needs its ground truth, and every frame the one of its name.
        gt: ground truth, in any layout that is known.
        all_frames: score the ends as well.
        channels: rgb, or y for the luma alone.

    Raises:
        InputError: for missing videos, other names of frames or other sizes.
    """
    return summarise(score_pairs(match_folders(sr, gt, all_frames=all_frames), channels), channels)
