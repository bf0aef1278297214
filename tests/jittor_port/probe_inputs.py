"""What probe.py and test_parity.py agree upon. Imports neither torch nor Jittor."""

import numpy as np

Frame = np.ndarray

LENGTHS = (1, 2, 3, 5, 7)  # of videos: shorter than the window's half, shorter than the window, longer
SIZE = (17, 23)
MEMORY_FRAMES = 200


def video(count: int, height: int, width: int) -> list[Frame]:
    """Noise, uint8 (height, width, 3)."""
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))
