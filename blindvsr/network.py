"""BlindVSR: the whole network of Self-Blind-VSR (Bai and Pan, TPAMI 2024, section 3)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from blindvsr import InputError
from blindvsr.flow import PWCNet
from blindvsr.kernel import KernelEstimator
from blindvsr.ops import backwarp, conv3x3, coverage

SMALLEST = 16  # the least height and width of a frame to restore
COVERED = 0.999  # the share of a bilinear sample that must lie inside the frame
FIXED = {"num_frames": 5, "scale": 4, "kernel_size": 13}  # what the whole method is made for
# far beyond anything that was ever trained: what is larger is a mistake, or a file that means harm
LARGEST = {"num_features": 1024, "extract_blocks": 1000, "recon_blocks": 1000, "flow_width": 4}
MOST = 2**28  # parameters of all blocks


@dataclass(frozen=True)
class NetConfig:
    """The shape of the network; the defaults are the published one (18,900,215 parameters).

    Attributes:
        num_frames: frames of a window, whose middle one is restored; 5. Fixed, as scale and kernel_size are: training,
            test sets and protocol are defined for these values. A weights file tells them to other programs.
        num_features: channels of the reconstruction, 1 to 1024.
        extract_blocks: residual blocks that each frame goes through on its own, 1 to 1000.
        recon_blocks: residual blocks after the frames are fused, 1 to 1000.
        scale: factor of super-resolution; 4.
        kernel_size: side of the estimated blur kernel; 13.
        flow_width: channel multiplier of PWC-Net, above 0, 4 at most; no level has fewer than 2 channels.
    """

    num_frames: int = 5
    num_features: int = 128
    extract_blocks: int = 3
    recon_blocks: int = 20
    scale: int = 4
    kernel_size: int = 13
    flow_width: float = 1.0

    def __post_init__(self) -> None:
        for name, value in FIXED.items():
            if not isinstance(getattr(self, name), int) or getattr(self, name) != value:
                raise InputError(f"network.{name}={getattr(self, name)}: it is always {value}; leave it out")
        for name in ("num_features", "extract_blocks", "recon_blocks"):
            number = getattr(self, name)
            if not isinstance(number, int) or not 1 <= number <= LARGEST[name]:
                raise InputError(f"network.{name}={number!r:.60}: give a whole number from 1 to {LARGEST[name]}")
        if 18 * self.num_features**2 * (self.extract_blocks + self.recon_blocks) > MOST:
            raise InputError(f"network.num_features={self.num_features}: with so many blocks the network would have "
                             f"over {MOST:,} parameters; give fewer")
        width = self.flow_width
        if not isinstance(width, (int, float)) or not 0 < width <= LARGEST["flow_width"]:
            raise InputError(f"network.flow_width={width!r:.60}: give a number from 0 to {LARGEST['flow_width']}")


def _neighbours(frames: Tensor) -> Tensor:
    """All but the middle one of (B, T, ...). By slices: a list of indices would be copied to the device in every step,
    which CUDA graphs do not admit."""
    middle = frames.shape[1] // 2
    return torch.cat((frames[:, :middle], frames[:, middle + 1 :]), 1)


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        # in place: what convolutions return is theirs alone, and fresh memory costs as much as the sums
        return self.conv2(F.relu_(self.conv1(x))).add_(x)


class BlindVSR(nn.Module):
    """Restores the middle frame of a clip at four times its size, and estimates the clip's blur kernel.

    Attributes:
        recompute_trunk: keeps the activations of a few residual blocks alone and computes the others again for their
            gradients: less memory for a third more time in the trunk.
    """

    def __init__(self, config: NetConfig | None = None) -> None:
        super().__init__()
        self.recompute_trunk = False
        self.config = config = config or NetConfig()
        width = config.num_features
        self.kernel_net = KernelEstimator(num_frames=config.num_frames, kernel_size=config.kernel_size)
        self.flow_net = PWCNet(config.flow_width)
        self.extract = nn.Sequential(conv3x3(3, width), *(ResidualBlock(width) for _ in range(config.extract_blocks)))
        self.fuse = conv3x3(config.num_frames * width, width)
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(config.recon_blocks)))
        self.tail = nn.Sequential(  # linear: no activation anywhere
            conv3x3(width, 4 * width), nn.PixelShuffle(2), conv3x3(width, 4 * width), nn.PixelShuffle(2),
            conv3x3(width, width), conv3x3(width, 3),
        )

    def estimate_kernel(self, clip: Tensor) -> Tensor:
        """(B, 5, 3, H, W), RGB in [0, 1] -> (B, 1, 13, 13), each summing to 1."""
        return self.kernel_net(clip)

    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 3, H, W) twice -> (B, 2, H, W), pixels, (dx, dy): where `second` shows what `first` shows."""
        return self.flow_net(first, second)

    @staticmethod
    def align(features: Tensor, flow: Tensor) -> Tensor:
        """Warps features (N, C, H, W) by flow (N, 2, H, W); whatever comes from outside the frame is zero.

        The sampling repeats the border while the mask counts the outside as zero: official behaviour.
        """
        return backwarp(features, flow) * (coverage(flow) >= COVERED)

    def reconstruct(self, aligned: Tensor, centre: Tensor, tail: nn.Module | None = None) -> Tensor:
        """Aligned features (B, 5 C, H, W) and the centre frame (B, 3, H, W) -> restored frame (B, 3, 4H, 4W)."""
        base = F.interpolate(centre, scale_factor=self.config.scale, mode="bilinear", align_corners=False)
        features = self.fuse(aligned)
        if self.recompute_trunk and torch.is_grad_enabled():
            segments = math.isqrt(len(self.trunk))  # as many blocks in a segment as segments: the least memory
            features = checkpoint_sequential(self.trunk, segments, features, use_reentrant=False)
        else:
            features = self.trunk(features)
        return (tail or self.tail)(features) + base

    def forward(self, clip: Tensor, tail: nn.Module | None = None) -> Tensor:
        """Restores the middle frame.

        Args:
            clip: (B, 5, 3, H, W), RGB in [0, 1].
            tail: stands in for the network's own, collapsed where no gradient is needed.

        Returns:
            (B, 3, 4H, 4W), unclamped.

        Raises:
            InputError: for another number of frames.
        """
        batch, length, _, height, width = clip.shape
        if length != self.config.num_frames:
            raise InputError(f"the clip has {length} frames: this network takes {self.config.num_frames}")
        middle = length // 2
        features = self.extract(clip.flatten(0, 1)).unflatten(0, (batch, length))
        # every pyramid once, then all pairs (centre, neighbour) as one batch
        pyramids = [level.unflatten(0, (batch, length)) for level in self.flow_net.pyramid(clip.flatten(0, 1))]
        first = [level[:, middle : middle + 1].expand_as(level[:, 1:]).flatten(0, 1) for level in pyramids]
        second = [_neighbours(level).flatten(0, 1) for level in pyramids]
        flow = self.flow_net.between(first, second, (height, width))
        warped = self.align(_neighbours(features).flatten(0, 1), flow).unflatten(0, (batch, length - 1))
        aligned = torch.cat((warped[:, :middle], features[:, middle : middle + 1], warped[:, middle:]), 1)
        return self.reconstruct(aligned.flatten(1, 2), clip[:, middle], tail)
