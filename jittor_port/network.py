"""The whole network of Self-Blind-VSR (Bai and Pan, TPAMI 2024), built from a weights file."""

from dataclasses import dataclass
from pathlib import Path

import jittor as jt
import numpy as np
from numpy.typing import NDArray

from jittor_port.convolution import Chain, Layer
from jittor_port.flow import Pyramid, PWCNet, conv
from jittor_port.kernel import KernelEstimator
from jittor_port.ops import resize, warp
from jittor_port.tail import SCALE, CollapsedTail
from jittor_port.weights import Arrays, NetConfig, Weights, read_weights


SMALLEST = 16  # the least height and width of a frame
COVERED = 0.999  # features that are sampled with less of them inside the frame count as zero
OVERLAP = 24  # pixels computed beyond a tile, and thrown away


@dataclass
class Encoded:
    """What is computed from one frame alone.

    Attributes:
        frame: (1, 3, H, W), RGB in [0, 1].
        pyramid: of the flow network.
        features: (1, C, H, W) of the reconstruction.
    """

    frame: jt.Var
    pyramid: Pyramid
    features: jt.Var


def _blocks(weights: Weights, name: str, numbers: range, channels: int) -> list[Layer]:
    """Residual blocks: conv, ReLU, conv, plus the input."""
    layers = []
    for i in numbers:
        layers += [conv(weights, f"{name}.{i}.conv1", channels, channels, slope=0.0),
                   conv(weights, f"{name}.{i}.conv2", channels, channels, residual=True)]
    return layers


class BlindVSR:
    """Restores the middle frame of a clip at four times its size, and estimates the clip's blur kernel.

    Args:
        arrays: the weights by name.
        config: the shape of the network.
        source: what to call the weights in an error.

    Raises:
        InputError: naming up to three arrays that do not fit.
    """

    def __init__(self, arrays: Arrays, config: NetConfig, source: str | Path = "weights") -> None:
        self.config = config
        weights, width = Weights(arrays), config.num_features
        self.flow_net = PWCNet(weights.under("flow_net."), config.flow_width)
        self.kernel_net = KernelEstimator(weights.under("kernel_net."), num_frames=config.num_frames,
                                          kernel_size=config.kernel_size)
        extract = _blocks(weights, "extract", range(1, config.extract_blocks + 1), width)
        self.extract = Chain([conv(weights, "extract.0", 3, width), *extract])
        self.trunk = Chain([conv(weights, "fuse", config.num_frames * width, width),
                            *_blocks(weights, "trunk", range(config.recon_blocks), width)])
        shapes = {"tail.0": (width, 4 * width), "tail.2": (width, 4 * width), "tail.4": (width, width),
                  "tail.5": (width, 3)}
        tail = [conv(weights, name, *shape) for name, shape in shapes.items()]
        weights.finish(source)
        self.tail = CollapsedTail([layer.weight for layer in tail], [layer.bias for layer in tail])

    def estimate_kernel(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, 5, 3, H, W), RGB in [0, 1] -> (B, 1, 13, 13), each summing to 1."""
        return self.kernel_net(jt.array(clip)).numpy()

    def encode(self, frame: NDArray[np.float32]) -> Encoded:
        """Everything that a frame gives whatever its neighbours are: (3, H, W), RGB in [0, 1]."""
        image = jt.array(np.ascontiguousarray(frame[None], np.float32))
        return Encoded(image, self.flow_net.pyramid(image), self.extract(image))

    def flows(self, window: list[Encoded]) -> jt.Var:
        """Flow from the middle frame of the window to each of the others: (4, 2, H, W), pixels, (dx, dy)."""
        middle = len(window) // 2
        others = window[:middle] + window[middle + 1 :]
        first = [jt.concat([level] * len(others), 0) for level in window[middle].pyramid]
        second = [jt.concat(list(levels), 0) for levels in zip(*(other.pyramid for other in others), strict=True)]
        height, width = window[middle].frame.shape[-2:]
        return self.flow_net.between(first, second, (height, width))

    def middle(self, window: list[Encoded], tile: int | None = None) -> jt.Var:
        """Restores the middle frame of a window.

        Args:
            window: as many frames as the network takes.
            tile: side of the parts, in low-resolution pixels, that the frame is reconstructed in; None takes it whole.
                The flow is that of the whole frame. What a part lacks is what lies more than 24 pixels outside it.

        Returns:
            (1, 3, 4H, 4W), unclamped.
        """
        flows, centre = self.flows(window), window[len(window) // 2].frame
        base = resize(centre, (SCALE * centre.shape[2], SCALE * centre.shape[3]))
        if tile is None:
            return self._reconstruct(window, flows, (slice(None), slice(None))) + base
        height, width = centre.shape[-2:]
        strips = []
        for top in range(0, height, tile):
            parts = [self._part(window, flows, top, left, tile) for left in range(0, width, tile)]
            strips.append(jt.concat(parts, 3))
        return jt.concat(strips, 2) + base

    def _part(self, window: list[Encoded], flows: jt.Var, top: int, left: int, tile: int) -> jt.Var:
        """The tile of a frame that begins at (top, left), without the base."""
        ranges, kept = [], []
        for start, side in ((top, flows.shape[2]), (left, flows.shape[3])):
            begin, end = max(0, start - OVERLAP), min(side, start + tile + OVERLAP)
            if end - begin < SMALLEST:
                begin = max(0, end - SMALLEST)
            ranges.append(slice(begin, end))
            kept.append(slice(SCALE * (start - begin), SCALE * (min(side, start + tile) - begin)))
        part = self._reconstruct(window, flows, (ranges[0], ranges[1]))[:, :, kept[0], kept[1]]
        part.sync()  # or every tile's activations would wait for the end of the frame together
        return part

    def _reconstruct(self, window: list[Encoded], flows: jt.Var, area: tuple[slice, slice]) -> jt.Var:
        """Aligns, fuses and restores an area (rows, columns), without the base."""
        middle, (rows, columns) = len(window) // 2, area
        origin = (rows.start or 0, columns.start or 0)
        aligned = []
        for i, encoded in enumerate(window):
            if i == middle:
                aligned.append(encoded.features[:, :, rows, columns])
                continue
            pair = i if i < middle else i - 1
            flow = flows[pair : pair + 1, :, rows, columns]
            aligned.append(warp(encoded.features, flow, threshold=COVERED, origin=origin))
        return self.tail(self.trunk(jt.concat(aligned, 1)))


def load_network(path: str | Path) -> BlindVSR:
    """Builds the network that a weights file describes.

    Raises:
        InputError: for an unusable file, naming up to three arrays that do not fit.
    """
    arrays, config = read_weights(path)
    return BlindVSR(arrays, config, path)
