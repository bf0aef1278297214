"""The parts of a network as they run fastest without gradients: precision, layout and convolutions for their device."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from blindvsr.flow import SLOPE, Dense, PWCNet
from blindvsr.network import ResidualBlock
from blindvsr.ops.winograd import WinogradConv


def prepared(part: nn.Module, dtype: torch.dtype, winograd: bool) -> nn.Module:
    """A copy of a part in some precision, with channels last: 1.2 times faster on the CPU, and what tensor cores want.

    Args:
        winograd: replaces the 3x3 and 5x5 convolutions by those of `blindvsr.ops.winograd`, in float32.
    """
    twin = copy.deepcopy(part).to(dtype=dtype).to(memory_format=torch.channels_last)
    return _by_winograd(twin) if winograd else twin


def prepared_flow(net: PWCNet, dtype: torch.dtype, winograd: bool) -> PWCNet:
    """The same of the flow network, in which only some convolutions take another precision: see `blindvsr.flow`."""
    return cast(PWCNet, prepared(net, dtype, True)) if winograd else net.prepared(dtype)


def _by_winograd(part: nn.Module) -> nn.Module:
    """The part itself, or what stands in for it, with the convolutions replaced that `WinogradConv` suits."""
    if isinstance(part, nn.Conv2d) and WinogradConv.suits(part):
        return WinogradConv(part)
    if isinstance(part, Dense):
        return _WinogradDense(part)
    blocks = [child for child in part.children() if isinstance(child, ResidualBlock)]
    if blocks:  # in these networks they come last
        return nn.Sequential(*map(_by_winograd, list(part.children())[: -len(blocks)]), _WinogradBlocks(blocks))
    for name, child in part.named_children():
        setattr(part, name, _by_winograd(child))
    return part


class _WinogradBlocks(nn.Module):
    """Residual blocks in two buffers: at large sizes fresh memory for each would cost a good part of their time."""

    def __init__(self, blocks: list[ResidualBlock]) -> None:
        super().__init__()
        self.first = nn.ModuleList(WinogradConv(block.conv1, slope=0) for block in blocks)
        self.second = nn.ModuleList(WinogradConv(block.conv2) for block in blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), channels last, which is overwritten with the result."""
        between = torch.empty_like(x)
        for first, second in zip(self.first, self.second, strict=True):
            # each pixel of x is added, and only then overwritten
            second(first(x, out=between), add=x, out=x)
        return x


class _WinogradDense(nn.Module):
    """A decoder's dense convolutions, which write what they find side by side, and copy nothing that came before."""

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        convs = [conv for conv in dense if isinstance(conv, nn.Conv2d)]
        self.convs = nn.ModuleList(WinogradConv(conv, SLOPE) for conv in convs)
        self.outputs = [conv.out_channels for conv in convs]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, all C, H, W), channels last."""
        start = sum(self.outputs)
        found = torch.empty((len(x), start + x.shape[1], *x.shape[2:]), memory_format=torch.channels_last)
        found[:, start:] = x
        for conv, outputs in zip(self.convs, self.outputs, strict=True):
            conv(found[:, start:], out=found[:, start - outputs : start])
            start -= outputs
        return found
