"""The blur-kernel estimator of Self-Blind-VSR (section 3.2 of the paper): five frames in, one 13x13 kernel out."""

import jittor as jt

from jittor_port.convolution import Chain, Layer
from jittor_port.ops import adaptive_mean
from jittor_port.weights import Weights

CHANNELS = 64
REDUCED = 4  # channels inside the channel attention
HIDDEN = 1000


def _conv(weights: Weights, name: str, inputs: int, outputs: int, side: int = 3, slope: float = 1.0) -> Layer:
    return Layer(weights.take(f"{name}.weight", (outputs, inputs, side, side)),
                 weights.take(f"{name}.bias", (outputs,)), slope=slope)


def _linear(weights: Weights, name: str, inputs: int, outputs: int) -> Layer:
    """A linear layer is a convolution of one pixel."""
    return Layer(weights.take(f"{name}.weight", (outputs, inputs)).reshape(outputs, inputs, 1, 1),
                 weights.take(f"{name}.bias", (outputs,)))


class ChannelAttentionBlock:
    """Residual channel attention (RCAB): conv, ReLU, conv, weights per channel from their means, plus the input."""

    def __init__(self, weights: Weights) -> None:
        self._convs = Chain([_conv(weights, "convs.0", CHANNELS, CHANNELS, slope=0.0),
                             _conv(weights, "convs.2", CHANNELS, CHANNELS)])
        self._attention = Chain([_conv(weights, "attention.1", CHANNELS, REDUCED, side=1, slope=0.0),
                                 _conv(weights, "attention.3", REDUCED, CHANNELS, side=1)])

    def __call__(self, x: jt.Var) -> jt.Var:
        y = self._convs(x)
        return x + y * jt.sigmoid(self._attention(y.mean([2, 3], keepdims=True)))


class KernelEstimator:
    """Estimates the blur kernel that a clip went through.

    Args:
        weights: of the estimator.
        num_frames: frames of a clip.
        kernel_size: side of the kernel, odd.
    """

    def __init__(self, weights: Weights, *, num_frames: int, kernel_size: int) -> None:
        self._size = kernel_size
        self._first = Chain([_conv(weights, "features.0", 3 * num_frames, CHANNELS)])
        self._before = [ChannelAttentionBlock(weights.under(f"features.{i}.")) for i in (1, 2)]
        self._after = [ChannelAttentionBlock(weights.under(f"kernel_map.{i}.")) for i in (0, 1)]
        # no activation between the last two convolutions, nor between the two linear layers: as published
        self._map = Chain([_conv(weights, "kernel_map.2", CHANNELS, 32), _conv(weights, "kernel_map.3", 32, 1)])
        self._linear = Chain([_linear(weights, "linear.0", kernel_size**2, HIDDEN),
                              _linear(weights, "linear.1", HIDDEN, kernel_size**2)])

    def __call__(self, clip: jt.Var) -> jt.Var:
        """(B, T, 3, H, W), RGB in [0, 1] -> (B, 1, k, k), not negative, each kernel sums to 1."""
        batch, _, _, height, width = clip.shape
        features = self._first(clip.reshape(batch, -1, height, width))
        for block in self._before:
            features = block(features)
        features = adaptive_mean(features, self._size)
        for block in self._after:
            features = block(features)
        logits = self._linear(self._map(features).reshape(batch, -1, 1, 1)).reshape(batch, -1)
        return jt.nn.softmax(logits, dim=1).reshape(batch, 1, self._size, self._size)
