"""What happens to low-resolution footage after blur and decimation: noise of the sensor, and an encoder."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from blindvsr import InputError

PRESETS = ("ultrafast", "veryfast", "fast", "medium")
QUANTISERS = (2, 12)  # of MPEG-4 and MPEG-2
# of the encoded samples: H.264 and JPEG are what most people have
CODECS = {"libx264": 0.55, "libx265": 0.15, "mpeg4": 0.08, "mpeg2video": 0.07, "jpeg": 0.15}
SIGNAL_DEPENDENT = 0.5  # share of the noisy samples whose noise grows with the light
FIRST_ENCODED = 0.2  # share of the encoded samples that were JPEG frames before

Clip = NDArray[np.uint8]


@dataclass(frozen=True)
class Disturbance:
    """How training clips are disturbed. Nothing is, by default: the published training is clean.

    Attributes:
        noisy: share of the clips that get noise.
        noise: its largest standard deviation, levels of 255.
        encoded: share of the clips that an encoder goes over.
        crf: range of the constant rate factor of H.264 and H.265.
        jpeg: range of the quality of JPEG.
    """

    noisy: float = 0.0
    noise: float = 8.0
    encoded: float = 0.0
    crf: tuple[int, int] = (16, 34)
    jpeg: tuple[int, int] = (30, 95)

    def __post_init__(self) -> None:
        for name in ("noisy", "encoded"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"disturbance.{name}={getattr(self, name)}: it is a share, between 0 and 1")
        if self.noise < 0:
            raise InputError(f"disturbance.noise={self.noise}: a standard deviation is not negative")
        for name, (least, most) in {"crf": (0, 51), "jpeg": (1, 100)}.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise InputError(f"disturbance.{name}={[low, high]}: give two numbers that rise, {least} to {most}")

    def __bool__(self) -> bool:
        return self.noisy > 0 or self.encoded > 0


def with_noise(frames: NDArray[np.float32], level: float, signal_dependent: bool, rng: Generator) -> Clip:
    """Adds noise that is new in every frame.

    Args:
        frames: (N, H, W, 3), levels.
        level: standard deviation, levels; where `signal_dependent`, that of middle grey, and its variance is
            proportional to the light, as a sensor's shot noise is.

    Returns:
        uint8 (N, H, W, 3), rounded and clamped.
    """
    deviation = level * np.sqrt(np.maximum(frames, 0) / np.float32(127.5)) if signal_dependent else level
    noisy = frames + deviation * rng.standard_normal(frames.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def disturbed(frames: NDArray[np.float32], disturbance: Disturbance, rng: Generator) -> Clip:
    """Draws noise and an encoder for a clip, and applies them.

    Args:
        frames: low-resolution clip (N, H, W, 3), levels, not rounded.
        disturbance: shares and ranges.
        rng: decides everything.

    Returns:
        uint8 (N, H, W, 3).
    """
    level = rng.uniform(0, disturbance.noise) if rng.random() < disturbance.noisy else 0.0
    clip = with_noise(frames.clip(0, 255), level, bool(rng.random() < SIGNAL_DEPENDENT), rng)
    return _encoded(clip, disturbance, rng) if rng.random() < disturbance.encoded else clip


def _encoded(clip: Clip, disturbance: Disturbance, rng: Generator) -> Clip:
    from blindvsr.video.compression import CRF, compressed  # only who asks for encoders needs PyAV

    codec = str(rng.choice(list(CODECS), p=list(CODECS.values())))
    jpeg = int(rng.integers(disturbance.jpeg[0], disturbance.jpeg[1] + 1))
    if codec == "jpeg":
        return compressed(clip, "jpeg", jpeg)
    if rng.random() < FIRST_ENCODED:
        clip = compressed(clip, "jpeg", max(jpeg, 75))
    low, high = disturbance.crf if codec in CRF else QUANTISERS
    return compressed(clip, codec, int(rng.integers(low, high + 1)), str(rng.choice(PRESETS)))
