"""Operators that know no network: cost volume, warping by a flow field in pixels, blurring with downsampling, and
frames as tensors."""

from blindvsr.ops.blur import blur_down
from blindvsr.ops.conv import conv3x3
from blindvsr.ops.cost_volume import cost_volume
from blindvsr.ops.pixels import to_deep_frame, to_frame, to_tensor
from blindvsr.ops.warp import backwarp, coverage, positions, sample_seen

__all__ = [
    "backwarp", "blur_down", "conv3x3", "cost_volume", "coverage", "positions", "sample_seen", "to_deep_frame",
    "to_frame", "to_tensor",
]
