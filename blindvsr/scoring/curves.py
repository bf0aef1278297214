"""Curves over the frames of a video as SVG."""

from collections.abc import Sequence
from html import escape

import numpy as np

from blindvsr.metrics import Scores

WIDTH, HEIGHT = 460, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 10, 26, 22  # margins
MEASURES = {  # how they are called, and written
    "psnr": ("PSNR", ".3f"), "ssim": ("SSIM", ".4f"), "warping_error": ("warping error", ".6f"),
    "tof": ("tOF, pixels", ".4f"),
}


def curves(video: str, scores: Scores, baseline: Scores | None) -> list[str]:
    """One chart for every measure: an <svg> each.

    Args:
        video: its name.
        scores: of the restored frames.
        baseline: of bicubic upsampling, or None.
    """
    charts = []
    for measure in ("psnr", "ssim", *scores.temporal):
        series = {}
        for kind, of in (("restored", scores), ("bicubic", baseline)):
            values = (of.temporal.get(measure) or getattr(of, measure, None)) if of else None
            if values:
                series[kind] = values
        called, digits = MEASURES[measure]
        charts.append(_chart(f"{video}: {called}", digits, series, scores.names))
    return charts


def _chart(title: str, digits: str, series: dict[str, list[float]], names: Sequence[str]) -> str:
    values = np.array([value for line in series.values() for value in line if np.isfinite(value)] or [0.0])
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or max(abs(high) * 0.05, 1e-6)
    low, high = low - margin, high + margin
    count = max(len(names), 2)

    def x(index: int) -> float:
        return LEFT + index * (WIDTH - LEFT - RIGHT) / (count - 1)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
             f'<text class="name" x="{LEFT}" y="14">{escape(title)}</text>']
    for tick in np.linspace(low + margin, high - margin, 4):
        parts += [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>',
                  f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:{digits}}</text>']
    for index, anchor in ((0, "start"), (len(names) - 1, "end")):
        parts.append(f'<text x="{x(index):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{escape(names[index])}</text>')
    for row, (kind, line) in enumerate(series.items()):
        first = len(names) - len(line)  # temporal measures begin with the second frame
        points = [(x(first + index), y(value), names[first + index], value)
                  for index, value in enumerate(line) if np.isfinite(value)]
        parts.append(f'<polyline class="{kind}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b, *_ in points)}"/>')
        parts += [f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="2.2"><title>{kind}, {escape(name)}: '
                  f'{value:{digits}}</title></circle>' for a, b, name, value in points]
        at = WIDTH - RIGHT - 70 * (len(series) - row)
        parts += [f'<polyline class="{kind}" points="{at},10 {at + 16},10"/>',
                  f'<text x="{at + 20}" y="14">{kind}</text>']
    return "".join([*parts, "</svg>"])
