"""Operators that know no network: the cost volume of PWC-Net and warping by a flow field in pixels."""

from blindvsr.ops.cost_volume import cost_volume
from blindvsr.ops.warp import backwarp, coverage, positions, sample

__all__ = ["backwarp", "cost_volume", "coverage", "positions", "sample"]
