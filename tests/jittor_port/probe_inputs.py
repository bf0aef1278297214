"""What probe.py and test_parity.py agree upon. Imports neither torch nor Jittor."""

import numpy as np

Frame = np.ndarray

LENGTHS = (1, 2, 3, 5, 7)  # of videos: shorter than the window's half, shorter than the window, longer
SIZE = (17, 23)
MEMORY_FRAMES = 200


def video(count: int, height: int, width: int) -> list[Frame]:
    """Noise, uint8 (height, width, 3)."""
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def shots() -> tuple[list[Frame], list[Frame]]:
    """Two shots of three frames, each of a picture of its own that moves by one pixel."""
    rng = np.random.default_rng(1)
    height, width = SIZE
    pictures = []
    for _ in range(2):
        rough = rng.integers(0, 256, (height // 4 + 2, width // 4 + 3, 3), dtype=np.uint8)
        pictures.append(rough.repeat(4, axis=0).repeat(4, axis=1))
    first, second = ([picture[:height, place : place + width] for place in range(3)] for picture in pictures)
    return first, second
