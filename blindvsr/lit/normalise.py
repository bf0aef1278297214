"""Where the flow network and the kernel estimator start when they learn alone and from nothing: at convolutions that
return zero mean and unit variance for a first batch (Mishkin and Matas, ICLR 2016)."""

import torch
from torch import Tensor, nn

from blindvsr.flow import PWCNet
from blindvsr.kernel import ChannelAttentionBlock, KernelEstimator

LEAST_DEVIATION = 1e-3  # one pixel, of one frame, deviates from nothing


def _normalised(conv: nn.Module, inputs: Tensor) -> Tensor:
    """Scales and shifts a convolution in place, and returns what it now makes of its inputs."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    deviation, mean = torch.std_mean(conv(inputs), (0, 2, 3), correction=0)
    deviation = torch.where(deviation > LEAST_DEVIATION, deviation, 1)
    conv.weight /= deviation[:, None, None, None]
    conv.bias -= mean
    conv.bias /= deviation
    return conv(inputs)


@torch.no_grad()
def normalise_flow(net: PWCNet, frames: Tensor) -> None:
    """Normalises the extractor of an untrained flow network. Otherwise every feature correlates with every other, and
    thousands of steps pass before the cost volume says anything.

    Args:
        net: changed in place.
        frames: (B, 3, H, W), RGB in [0, 1], sides multiples of 64.
    """
    for layer in (layer for stage in net.extractor for layer in stage.children()):
        frames = _normalised(layer, frames) if isinstance(layer, nn.Conv2d) else layer(frames)


@torch.no_grad()
def normalise_kernel(net: KernelEstimator, clip: Tensor) -> None:
    """Makes the first filters of an untrained estimator blind to plain colour, and normalises all convolutions.

    Blur shows in how much detail of each size is left. What the picture shows is far stronger, and unless it is kept
    out the estimator says the same kernel for everything.

    Args:
        net: changed in place.
        clip: (B, T, 3, H, W), RGB in [0, 1].
    """
    first = net.features[0]
    assert isinstance(first, nn.Conv2d)
    first.weight -= first.weight.mean((2, 3), keepdim=True)
    x = clip.flatten(1, 2)
    for layer in (*net.features, net.pool, *net.kernel_map):
        if isinstance(layer, ChannelAttentionBlock):
            _normalised(layer.convs[2], _normalised(layer.convs[0], x).relu())
            x = layer(x)
        else:
            x = _normalised(layer, x) if isinstance(layer, nn.Conv2d) else layer(x)
