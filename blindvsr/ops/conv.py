"""The convolution that all parts of the network are made of."""

from torch import nn


def conv3x3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """3x3 with bias, padded so that at stride 1 the size stays."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation)
