"""PWC-Net in its dense form (Sun et al., CVPR 2018), as Self-Blind-VSR uses it."""

import math
from itertools import accumulate
from typing import Any

import jittor as jt
import numpy as np
from numpy.typing import NDArray

from jittor_port.convolution import Chain, Layer
from jittor_port.ops import cost_volume, resize, warp
from jittor_port.weights import PYRAMID, Weights, scaled_channels

RADIUS = 4
COST_CHANNELS = (2 * RADIUS + 1) ** 2
DENSE = (128, 128, 96, 64, 32)  # channels that each decoder adds, convolution by convolution
REFINER = (128, 128, 128, 96, 64, 32)
DILATIONS = (1, 2, 4, 8, 16, 1)
SLOPE = 0.1  # of every leaky ReLU
COARSEST = 64  # frames are resized to multiples of this
FLOW_UNIT = 20.0  # the decoders' unit of flow: 20 pixels of the resized frames
LEVELS = (6, 5, 4, 3, 2)  # of the decoders, coarse to fine
BACKWARD = {2: 5.0, 3: 2.5, 4: 1.25, 5: 0.625}  # FLOW_UNIT / 2**level: decoder units to pixels of a level
INSIDE = float(np.nextafter(np.float32(0.999), np.float32(1)))  # official behaviour: coverage above 0.999, not at it

Pyramid = list[jt.Var]


def leaky(x: jt.Var) -> jt.Var:
    return jt.maximum(x, 0) + SLOPE * jt.minimum(x, 0)


def conv(weights: Weights, name: str, inputs: int, outputs: int, **options: Any) -> Layer:
    """A 3x3 layer from the tensors `name`.weight and `name`.bias; options as `Layer` has them."""
    return Layer(weights.take(f"{name}.weight", (outputs, inputs, 3, 3)), weights.take(f"{name}.bias", (outputs,)),
                 **options)


def transposed(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Layer:
    """A transposed convolution (kernel 4, stride 2, padding 1) as a 3x3 convolution that a pixel shuffle follows.

    Output pixel 2i sees inputs i - 1 and i through taps 3 and 1, output pixel 2i + 1 sees i and i + 1 through 2 and 0.

    Args:
        weight: (I, O, 4, 4), as the transposed convolution has it.
        bias: (O,).
    """
    taps = np.zeros((2, 3, 4), np.float32)  # phase, position in the 3x3 kernel, tap of the transposed kernel
    taps[0, 0, 3] = taps[0, 1, 1] = taps[1, 1, 2] = taps[1, 2, 0] = 1
    kernels = np.einsum("iokl,pyk,qxl->opqiyx", weight, taps, taps)
    return Layer(kernels.reshape(-1, *kernels.shape[3:]), np.repeat(bias, 4))


class Decoder:
    """Estimates the flow at one level of the pyramid from the flow and the features of the level above."""

    def __init__(self, weights: Weights, *, level: int, channels: int, dense: tuple[int, ...],
                 inputs_above: int | None) -> None:
        self.level = level
        self.inputs = COST_CHANNELS
        if inputs_above is not None:
            self.inputs += channels + 4  # the features of the first frame, the flow and the features from above
            self._ups = [
                Chain([transposed(weights.take(f"{name}.weight", (inputs, 2, 4, 4)),
                                  weights.take(f"{name}.bias", (2,)))])
                for name, inputs in (("up_flow", 2), ("up_features", inputs_above + sum(dense)))
            ]
        widths = list(accumulate(dense, initial=self.inputs))
        self._dense = [
            Chain([conv(weights, f"dense.{i}", width, added, slope=SLOPE)])
            for i, (width, added) in enumerate(zip(widths, dense, strict=False))
        ]
        self._predict = Chain([conv(weights, "predict", widths[-1], 2)])

    def __call__(self, first: jt.Var, second: jt.Var, above: tuple[jt.Var, jt.Var] | None) -> tuple[jt.Var, jt.Var]:
        if above is None:
            features = leaky(cost_volume(first, second, RADIUS))
        else:
            flow, up = (jt.nn.PixelShuffle(2)(chain(x)) for chain, x in zip(self._ups, above, strict=True))
            second = warp(second, flow * BACKWARD[self.level], threshold=INSIDE, zeros=True)
            cost = leaky(cost_volume(first, second, RADIUS))
            features = jt.concat([cost, first, flow, up], 1)
        for chain in self._dense:
            features = jt.concat([chain(features), features], 1)
        return self._predict(features), features


class PWCNet:
    """Optical flow between two frames of any size.

    Args:
        weights: of the flow network.
        width: multiplies every channel count of the published network; 1.0 is the network itself.
    """

    def __init__(self, weights: Weights, width: float = 1.0) -> None:
        pyramid, dense, refiner = (scaled_channels(part, width) for part in (PYRAMID, DENSE, REFINER))
        self.stages = [
            Chain([
                conv(weights, f"extractor.{i}.{2 * j}", outputs if j else inputs, outputs, stride=1 if j else 2,
                     slope=SLOPE) for j in range(3)
            ]) for i, (inputs, outputs) in enumerate(zip((3, *pyramid), pyramid, strict=False))
        ]
        self.decoders: list[Decoder] = []
        for i, level in enumerate(LEVELS):
            above = self.decoders[-1].inputs if self.decoders else None
            self.decoders.append(Decoder(weights.under(f"decoders.{i}."), level=level, channels=pyramid[level - 1],
                                         dense=dense, inputs_above=above))
        widths = (self.decoders[-1].inputs + sum(dense), *refiner, 2)
        self.refiner = Chain([
            conv(weights, f"refiner.{2 * i}", widths[i], widths[i + 1], dilation=dilation,
                 slope=SLOPE if i < len(refiner) else 1.0) for i, dilation in enumerate((*DILATIONS, 1))
        ])

    def pyramid(self, frames: jt.Var) -> Pyramid:
        """Features of the six levels, finest first.

        Args:
            frames: (N, 3, H, W), RGB in [0, 1]. They are resized, not padded, to multiples of 64 (official behaviour).
        """
        height, width = (math.ceil(side / COARSEST) * COARSEST for side in frames.shape[-2:])
        features = resize(frames, (height, width))
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        return levels

    def decode(self, first: Pyramid, second: Pyramid) -> jt.Var:
        """The network's own output: (N, 2, H64 / 4, W64 / 4), in units of 20 pixels of the resized frames."""
        above: tuple[jt.Var, jt.Var] | None = None
        for level, decoder in zip(LEVELS, self.decoders, strict=True):
            above = decoder(first[level - 1], second[level - 1], above)
        assert above is not None
        flow, features = above
        return flow + self.refiner(features)

    def between(self, first: Pyramid, second: Pyramid, size: tuple[int, int]) -> jt.Var:
        """Flow in pixels of frames of `size` (H, W), from the pyramids of the two frames: (N, 2, H, W)."""
        flow = self.decode(first, second)
        height, width = size
        scale = np.array([width / (4 * flow.shape[3]), height / (4 * flow.shape[2])], np.float32)
        return resize(flow, size) * jt.array((FLOW_UNIT * scale)[None, :, None, None])
