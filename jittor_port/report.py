"""The evaluation protocol, and the summary of a run as a table and as JSON."""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from skimage.metrics import structural_similarity

from jittor_port import InputError
from jittor_port.frames import Frame, Video


SCALE = 4
CROP = 4  # pixels left out along every border
ENDS = 2  # frames left out of the table at each end: they have no full window in the paper


def psnr(first: Frame, second: Frame) -> float:
    """20 log10(255 / sqrt(mse)) of two uint8 images (H, W, 3) without 4 pixels along every border."""
    difference = _cropped(first).astype(np.float64) - _cropped(second)
    error = np.mean(difference**2)
    return float("inf") if error == 0 else float(20 * np.log10(255 / np.sqrt(error)))


def ssim(first: Frame, second: Frame) -> float:
    """SSIM of the same images: Gaussian window of 11, sigma 1.5, valid region only, mean over channels."""
    return float(structural_similarity(_cropped(first), _cropped(second), gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False, data_range=255, channel_axis=2))


def _cropped(image: Frame) -> Frame:
    return image[CROP:-CROP, CROP:-CROP]


class Scorer:
    """Compares a video's results with its ground truth as they come."""

    def __init__(self, truth: Video) -> None:
        self._truth = truth
        self._frames = truth.frames()
        self._values: list[tuple[float, float]] = []

    def add(self, result: Frame) -> None:
        """Raises InputError if the ground truth has another size than the result, or has ended."""
        name, truth = next(self._frames, ("", None))
        if truth is None:
            raise InputError(f"--gt {self._truth.path} ends after {len(self._values)} frames, before the input does")
        truth = fitted(self._truth, name, truth, result.shape)
        self._values.append((psnr(result, truth), ssim(result, truth)))

    def values(self) -> tuple[list[float], list[float]]:
        """PSNR and SSIM of the frames that the table counts, all but the first and last two.

        Raises:
            InputError: if the ground truth goes on.
        """
        if next(self._frames, None) is not None:
            raise InputError(f"--gt {self._truth.path} has more than the input's {len(self._values)} frames")
        counted = self._values[ENDS:-ENDS]
        return [value for value, _ in counted], [value for _, value in counted]


def fitted(video: Video, name: str, truth: Frame, size: tuple[int, ...]) -> Frame:
    """Ground truth cut to the restored size: a side that is no multiple of 4 lost its last pixels by degradation.

    Raises:
        InputError: if the sizes differ by more than that.
    """
    height, width = truth.shape[:2]
    if not (0 <= height - size[0] < SCALE and 0 <= width - size[1] < SCALE):
        raise InputError(f"--gt {video.path}: frame {name} is {width}x{height}, but the result is {size[1]}x{size[0]}; "
                         "the ground truth must be 4 times the size of the input")
    return truth[: size[0], : size[1]]


def match(videos: list[Video], truths: list[Video]) -> dict[str, Video]:
    """The ground truth of each video, by its name; first frames are compared, so that mistakes show at once.

    Raises:
        InputError: if one has none, or one of another length or size, or fewer than five frames.
    """
    by_name = {truth.name: truth for truth in truths}
    if len(videos) == len(truths) == 1:  # two single folders belong together whatever they are called
        by_name = {videos[0].name: truths[0]}
    for video in videos:
        truth = by_name.get(video.name)
        if truth is None:
            raise InputError(f"--gt has no video {video.name!r}; it has {', '.join(sorted(by_name)[:5])}")
        if video.files and truth.files and video.length != truth.length:
            raise InputError(f"--gt {truth.path} has {truth.length} frames, but {video.path} has {video.length}")
        if video.files and video.length <= 2 * ENDS:
            raise InputError(f"--gt {truth.path}: {video.length} frames are too few for the protocol, which leaves out "
                             "the first and last two; leave --gt out")
        (_, image), (name, reference) = next(video.frames()), next(truth.frames())
        fitted(truth, name, reference, (SCALE * image.shape[0], SCALE * image.shape[1]))
    return by_name


@dataclass
class Summary:
    """What a run did.

    Attributes:
        facts: device, versions, weights, input.
        timing: by video, mean seconds of each step and the number of frames.
        scores: by video, PSNR and SSIM of every frame that counts.
    """

    facts: dict[str, Any]
    timing: dict[str, dict[str, float]] = field(default_factory=dict)
    scores: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The form of `blindvsr score`, with the facts and the timing added."""
        document: dict[str, Any] = {}
        scored = {name: values for name, values in self.scores.items() if values[0]}
        if scored:
            rows = {name: _means(*values) for name, values in scored.items()}
            psnrs, ssims = ([value for values in scored.values() for value in values[i]] for i in (0, 1))
            document = {
                "videos": rows,
                "mean_of_frames": _means(psnrs, ssims),
                "mean_of_videos": _means([row["psnr"] for row in rows.values()], [row["ssim"] for row in rows.values()])
                | {"frames": len(psnrs)},
            }
        frames = sum(int(row["frames"]) for row in self.timing.values())
        overall = {step: sum(row[step] * row["frames"] for row in self.timing.values()) / max(frames, 1)
                   for step in next(iter(self.timing.values()), {}) if step != "frames"}
        return document | {"timing": {"videos": self.timing, "mean": overall | {"frames": frames}}} | self.facts

    def table(self) -> str:
        """Lines for people: quality where there is ground truth, and seconds per frame."""
        document = self.as_json()
        lines = [f"{'video':<24}{'frames':>7}{'PSNR':>10}{'SSIM':>9}   seconds a frame: reading, network, writing"]
        for name, time in (*self.timing.items(), ("all frames", document["timing"]["mean"])):
            score = document.get("videos", {}).get(name) or (
                document.get("mean_of_frames") if name == "all frames" else None)
            quality = f"{score['psnr']:>10.3f}{score['ssim']:>9.4f}" if score else f"{'-':>10}{'-':>9}"
            lines.append(f"{name:<24}{time['frames']:>7}{quality}   "
                         f"{time['pre']:.3f} {time['network']:.3f} {time['post']:.3f}")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Writes the JSON, whole or not at all. JSON has no infinity: the PSNR of equal frames is null."""
        temporary = path.with_name(f".{path.name}.part-{os.getpid()}")
        temporary.write_text(json.dumps(_finite(self.as_json()), indent=2, allow_nan=False) + "\n")
        temporary.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _means(psnrs: list[float], ssims: list[float]) -> dict[str, float]:
    return {"psnr": float(np.mean(psnrs)), "ssim": float(np.mean(ssims)), "frames": len(psnrs)}
