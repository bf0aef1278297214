"""The blur-kernel estimator of Self-Blind-VSR (section 3.2 of the paper): five frames in, one 13x13 kernel out."""

import torch
from torch import Tensor, nn

from blindvsr.ops import conv3x3

CHANNELS = 64
REDUCED = 4  # channels inside the channel attention
HIDDEN = 1000
START_SIGMA = 1.2  # HR pixels: the middle of the range that is trained
START_WEIGHT = 0.1


class ChannelAttentionBlock(nn.Module):
    """Residual channel attention (RCAB): conv, ReLU, conv, weights per channel from their means, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv3x3(channels, channels), nn.ReLU(inplace=True), conv3x3(channels, channels))
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, REDUCED, 1), nn.ReLU(), nn.Conv2d(REDUCED, channels, 1), nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.convs(x)
        return x + y * self.attention(y)


class KernelEstimator(nn.Module):
    """Estimates the blur kernel that a clip went through.

    Args:
        num_frames: frames of a clip.
        kernel_size: side of the kernel, odd.
    """

    def __init__(self, *, num_frames: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.features = nn.Sequential(
            conv3x3(3 * num_frames, CHANNELS), ChannelAttentionBlock(CHANNELS), ChannelAttentionBlock(CHANNELS)
        )
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(kernel_size)
        # no activation between the last two convolutions, nor between the two linear layers: as published
        self.kernel_map = nn.Sequential(
            ChannelAttentionBlock(CHANNELS), ChannelAttentionBlock(CHANNELS), conv3x3(CHANNELS, 32), conv3x3(32, 1)
        )
        last = nn.Linear(HIDDEN, kernel_size**2)
        self.linear = nn.Sequential(nn.Linear(kernel_size**2, HIDDEN), last)
        # An untrained estimator answers with a Gaussian of sigma 1.2, whatever it sees. With a uniform kernel to begin
        # with, the objective would end in its trivial solution, a kernel of a single pixel, before the reconstruction
        # has learnt anything.
        offsets = torch.arange(kernel_size) - kernel_size // 2
        squares = offsets[:, None] ** 2 + offsets**2
        with torch.no_grad():
            last.weight.mul_(START_WEIGHT)
            last.bias.copy_(-squares.flatten() / (2 * START_SIGMA**2))

    def forward(self, clip: Tensor) -> Tensor:
        """(B, T, 3, H, W), RGB in [0, 1] -> (B, 1, k, k), not negative, each kernel sums to 1."""
        maps = self.kernel_map(self.pool(self.features(clip.flatten(1, 2))))
        weights = self.linear(maps.flatten(1)).softmax(dim=1)
        return weights.view(-1, 1, self.kernel_size, self.kernel_size)
