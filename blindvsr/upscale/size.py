"""How large the output is: four times the input, or less, reduced from that."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from blindvsr import InputError
from blindvsr.frames import Frame

SCALE = 4  # of the network


@dataclass(frozen=True)
class OutputSize:
    """What `--scale` and `--height` ask for, one of them at most; four times the input if neither does.

    Attributes:
        scale: 2, 3 or 4.
        height: rows of the output; its columns follow from the input's shape.
    """

    scale: int = SCALE
    height: int | None = None

    def of(self, size: tuple[int, int], even: bool = False) -> tuple[int, int]:
        """(H, W) of the output for an input of (H, W).

        Args:
            size: of the input.
            even: make both sides even, as encoders of video want them.

        Raises:
            InputError: if the output would be larger than four times the input.
        """
        height, width = (SCALE * side for side in size)
        wanted = self.height or self.scale * size[0]
        if wanted > height:
            raise InputError(f"height={wanted}: the input has {size[0]} rows, and the most is {height}, {SCALE} times "
                             "as many")
        columns = width * wanted / height
        unit = 2 if even else 1
        return unit * max(1, round(wanted / unit)), unit * max(1, round(columns / unit))


def reduced(frame: Frame, size: tuple[int, int]) -> Frame:
    """A frame (H, W, C) at a smaller size (H, W): bicubic, stretched with the reduction, so that nothing aliases."""
    if frame.shape[:2] == size:
        return frame
    picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()
    smaller = F.interpolate(picture, size=size, mode="bicubic", antialias=True, align_corners=False)
    most = np.iinfo(frame.dtype).max
    return smaller[0].permute(1, 2, 0).round().clamp(0, most).numpy().astype(frame.dtype)
