"""What HDR video says of the display that it was made on, and of its brightness: from frames, and to encoders."""

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type as SideDataType


def mastering(frame: Any) -> tuple[str | None, str | None]:
    """Mastering display and content light of an av.VideoFrame, each as x265 takes it; None where it has none."""
    display = light = None
    for data in frame.side_data:
        if data.type == SideDataType.MASTERING_DISPLAY_METADATA:
            values = np.frombuffer(bytes(data), np.int32)
            pairs = [Fraction(int(number), int(below) or 1) for number, below in zip(values[:20:2], values[1:20:2])]
            if values[20] and values[21]:  # it has primaries, and luminance
                display = _display(pairs)
        elif data.type == SideDataType.CONTENT_LIGHT_LEVEL:
            light = "{},{}".format(*np.frombuffer(bytes(data), np.uint32)[:2])
    return display, light


def _display(pairs: list[Fraction]) -> str:
    red, green, blue, white = ([round(50_000 * part) for part in pairs[at : at + 2]] for at in (0, 2, 4, 6))
    least, most = (round(10_000 * part) for part in pairs[8:])
    points = "".join(f"{name}({x},{y})" for name, (x, y) in zip(("G", "B", "R", "WP"), (green, blue, red, white)))
    return f"{points}L({most},{least})"


def encoder_options(codec: str, display: str | None, light: str | None) -> str:
    """The options, for x264-params or x265-params, that keep what `mastering` found."""
    names = {"libx265": ("master-display", "max-cll"), "libx264": ("mastering-display", "cll")}.get(codec)
    if names is None:
        if display or light:
            warnings.warn(f"{codec} does not keep what the HDR video says of its display; libx265 does", stacklevel=2)
        return ""
    return ":".join(f"{name}={value}" for name, value in zip(names, (display, light)) if value)
