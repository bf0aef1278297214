"""The network's linear tail as one 5x5 convolution: the same output, a fortieth of the work.

After the trunk come four convolutions and two pixel shuffles with no activation anywhere, an affine map. Each low-
resolution pixel becomes 4x4 pixels that depend on the 5x5 pixels around it, the same way everywhere but in the
outermost ring: there the convolutions in between see their own zero padding. So nine convolutions (four corners, four
edges, the interior) and one shuffle give exactly what the tail gives, everywhere.
"""

import jittor as jt
import numpy as np
from numpy.typing import NDArray

from jittor_port.convolution import Chain, Layer

SCALE = 4
PLACES = 3  # per axis: first pixel, those between, last pixel
EDGE = 4  # pixels that a restored pixel of the outermost ring depends on, across the edge

Array = NDArray[np.float64]


class CollapsedTail:
    """Stands in for the tail of a network.

    Args:
        weights: of the tail's four convolutions, (O, I, 3, 3), in their order.
        biases: of the same, (O,).
    """

    def __init__(self, weights: list[NDArray[np.float32]], biases: list[NDArray[np.float32]]) -> None:
        kernels, constants = collapse(weights, biases)
        self._chains = [
            [Chain([Layer(kernels[i, j], constants[i, j], padding=1)]) for j in range(PLACES)] for i in range(PLACES)
        ]

    def __call__(self, features: jt.Var) -> jt.Var:
        """(B, C, H, W), H and W at least 4 -> (B, 3, 4H, 4W), what the tail would return."""
        # padded by one pixel, a 5x5 convolution of all begins at the second row and ends at the last but one
        rows = []
        for i, strip in enumerate((features[:, :, :EDGE], features, features[:, :, -EDGE:])):
            blocks = []
            for j, block in enumerate((strip[:, :, :, :EDGE], strip, strip[:, :, :, -EDGE:])):
                out = self._chains[i][j](block)
                out = (out[:, :, :1], out, out[:, :, -1:])[i]
                blocks.append((out[:, :, :, :1], out, out[:, :, :, -1:])[j])
            rows.append(jt.concat(blocks, 3))
        return jt.nn.PixelShuffle(SCALE)(jt.concat(rows, 2))


def collapse(weights: list[NDArray[np.float32]],
             biases: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Composes the four convolutions and two shuffles of the tail, in float64.

    Returns:
        (3, 3, 48, C, 5, 5), by place (row, column): what a pixel becomes, in the order of a pixel shuffle. The field of
        the first row's pixels begins one row above them, that of the middle ones two rows, that of the last ones three;
        columns likewise. And the constants, (3, 3, 48).
    """
    side = SCALE * PLACES
    count = 3 * side**2
    # A 3x3 image holds all nine places. One row per output value: its weights on whatever comes before, channels last,
    # from the last convolution back to the first. Crops at the image's edge are the tail's zero padding; only the first
    # convolution may look beyond the image, for that is the one row more around it.
    rows = np.eye(count).reshape(count, 3, side, side).transpose(0, 2, 3, 1)
    constants = np.zeros(count)
    for i in (3, 2, 1, 0):
        constants += rows.sum((1, 2)) @ biases[i].astype(np.float64)
        rows = _before_convolution(rows, weights[i].astype(np.float64))
        if i > 0:
            rows = rows[:, 1:-1, 1:-1]
        if i in (2, 1):
            rows = _before_shuffle(rows)
    return _by_place(rows.transpose(0, 3, 1, 2)), _by_place(constants)


def _before_convolution(rows: Array, weight: Array) -> Array:
    """Weights on a 3x3 convolution's output (R, h, w, O) -> weights on its input (R, h + 2, w + 2, I)."""
    count, height, width = rows.shape[:3]
    outputs, inputs = weight.shape[:2]
    flat = np.ascontiguousarray(rows).reshape(-1, outputs)  # for BLAS, as is the copy of the weights
    out = np.zeros((count, height + 2, width + 2, inputs))
    for y in range(3):
        for x in range(3):
            product = flat @ np.ascontiguousarray(weight[:, :, y, x])
            out[:, y : y + height, x : x + width] += product.reshape(count, height, width, inputs)
    return out


def _before_shuffle(rows: Array) -> Array:
    """Weights on the output of a pixel shuffle by 2, (R, 2h, 2w, C) -> weights on its input, (R, h, w, 4C)."""
    count, height, width, channels = rows.shape
    rows = rows.reshape(count, height // 2, 2, width // 2, 2, channels)
    return rows.transpose(0, 1, 3, 5, 2, 4).reshape(count, height // 2, width // 2, 4 * channels)


def _by_place(values: Array) -> NDArray[np.float32]:
    """(3 * 12 * 12, ...), one per value of a restored 3x3 image -> (3, 3, 48, ...), in the order of a pixel shuffle."""
    rest = values.shape[1:]
    values = values.reshape(3, PLACES, SCALE, PLACES, SCALE, *rest)  # colour, row, y, column, x
    values = np.moveaxis(values, (1, 3), (0, 1))
    return values.reshape(PLACES, PLACES, -1, *rest).astype(np.float32)
