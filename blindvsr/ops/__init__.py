"""Operators that know no network: cost volume, warping by a flow field in pixels, blurring with downsampling."""

from blindvsr.ops.blur import blur_down
from blindvsr.ops.cost_volume import cost_volume
from blindvsr.ops.warp import backwarp, coverage, positions, sample_seen

__all__ = ["backwarp", "blur_down", "cost_volume", "coverage", "positions", "sample_seen"]
