"""Operators that know no network: cost volume, warping, resizing, pooling.

The cost volume and the warp have two forms that agree: plain Jittor operators, which run anywhere, and one loop in C++
for the CPU, where the plain ones take ten times as long.
"""

import jittor as jt
import numpy as np
from numpy.typing import NDArray


def cost_volume(first: jt.Var, second: jt.Var, radius: int = 4) -> jt.Var:
    """Correlates every pixel of `first` with the (2 radius + 1)^2 pixels around it in `second`.

    Args:
        first: (B, C, H, W).
        second: (B, C, H, W); it counts as zero outside.
        radius: largest displacement, pixels.

    Returns:
        (B, (2 radius + 1)^2, H, W): channel (dy + radius) * (2 radius + 1) + (dx + radius) is the mean over channels of
        first[y, x] * second[y + dy, x + dx].

    Raises:
        ValueError: if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"cost_volume needs equal shapes, got {tuple(first.shape)} and {tuple(second.shape)}")
    if jt.flags.use_cuda:
        return cost_volume_plain(first, second, radius)
    batch, _, height, width = first.shape
    return jt.code((batch, (2 * radius + 1) ** 2, height, width), "float32", [first, second],
                   cpu_src=_COST_VOLUME, data={"radius": float(radius)})


def cost_volume_plain(first: jt.Var, second: jt.Var, radius: int = 4) -> jt.Var:
    """The definition of `cost_volume`."""
    height, width = first.shape[-2:]
    padded = jt.nn.pad(second, [radius] * 4)
    offsets = range(2 * radius + 1)
    return jt.stack([(first * padded[:, :, dy : dy + height, dx : dx + width]).mean(1)
                     for dy in offsets for dx in offsets], dim=1)


def warp(image: jt.Var, flow: jt.Var, *, threshold: float, zeros: bool = False,
         origin: tuple[int, int] = (0, 0)) -> jt.Var:
    """Samples `image` bilinearly at every pixel's position plus its flow; what comes from outside becomes zero.

    Args:
        image: (B, C, H, W).
        flow: (B, 2, h, w), pixels, (dx, dy), of the whole image or of a window of it.
        threshold: outside is where less than this share of a bilinear sample lies inside the image.
        zeros: the image is black outside for the sampling, instead of repeating its edge.
        origin: where in the image the flow's first pixel lies, (y, x).

    Returns:
        (B, C, h, w).

    Raises:
        ValueError: if batch or size do not fit.
    """
    bottom, right = origin[0] + flow.shape[2], origin[1] + flow.shape[3]
    if tuple(flow.shape[:2]) != (image.shape[0], 2) or bottom > image.shape[2] or right > image.shape[3]:
        raise ValueError(f"flow {tuple(flow.shape)} from {origin} does not fit image {tuple(image.shape)}")
    if jt.flags.use_cuda:
        return warp_plain(image, flow, threshold=threshold, zeros=zeros, origin=origin)
    data = {"threshold": threshold, "zeros": float(zeros), "top": float(origin[0]), "left": float(origin[1])}
    return jt.code((*image.shape[:2], *flow.shape[2:]), "float32", [image, flow], cpu_src=_WARP, data=data)


def warp_plain(image: jt.Var, flow: jt.Var, *, threshold: float, zeros: bool = False,
               origin: tuple[int, int] = (0, 0)) -> jt.Var:
    """The definition of `warp`."""
    height, width = image.shape[-2:]
    x = jt.array(np.arange(flow.shape[3], dtype=np.float32) + origin[1]) + flow[:, 0]
    y = jt.array(np.arange(flow.shape[2], dtype=np.float32)[:, None] + origin[0]) + flow[:, 1]
    grid = jt.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], dim=-1)
    # the weights come from PyTorch 0.4.1, which knew no grid but this one; today's default shifts every warp
    sampled = jt.nn.grid_sample(image, grid, mode="bilinear", padding_mode="zeros" if zeros else "border",
                                align_corners=True)
    inside_x = jt.clamp(jt.minimum(x + 1, width - x), 0, 1)
    inside_y = jt.clamp(jt.minimum(y + 1, height - y), 0, 1)
    return sampled * (inside_x * inside_y >= threshold).float32().unsqueeze(1)


def resize(image: jt.Var, size: tuple[int, int]) -> jt.Var:
    """Bilinear resizing of (B, C, H, W) to `size`, pixel centres in the middle of pixels (align_corners=False)."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    rows, columns = (bilinear_matrix(old, new) for old, new in zip(image.shape[-2:], size, strict=True))
    return along_both(image, rows, columns)


def adaptive_mean(image: jt.Var, size: int) -> jt.Var:
    """Averages (B, C, H, W) over size x size windows as PyTorch's AdaptiveAvgPool2d does; Jittor's differs."""
    return along_both(image, *(pooling_matrix(side, size) for side in image.shape[-2:]))


def pooling_matrix(inputs: int, outputs: int) -> NDArray[np.float32]:
    """(outputs, inputs): row i averages from floor(i n / o) to ceil((i + 1) n / o)."""
    matrix = np.zeros((outputs, inputs), np.float32)
    for i in range(outputs):
        start, stop = i * inputs // outputs, -(-(i + 1) * inputs // outputs)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def bilinear_matrix(inputs: int, outputs: int) -> NDArray[np.float32]:
    """(outputs, inputs): row i holds the weights of output i, the edge repeated."""
    matrix = np.zeros((outputs, inputs), np.float32)
    positions = np.maximum((np.arange(outputs) + 0.5) * inputs / outputs - 0.5, 0)
    left = np.minimum(positions.astype(int), inputs - 1)
    share = (positions - left).astype(np.float32)
    np.add.at(matrix, (np.arange(outputs), left), 1 - share)
    np.add.at(matrix, (np.arange(outputs), np.minimum(left + 1, inputs - 1)), share)
    return matrix


def along_both(image: jt.Var, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> jt.Var:
    """rows @ image @ columns^T for every channel of (B, C, H, W); zeros in the matrices cost nothing on the CPU."""
    if jt.flags.use_cuda:
        return along_both_plain(image, rows, columns)
    shape = (*image.shape[:2], len(rows), len(columns))
    return jt.code(shape, "float32", [image, jt.array(rows), jt.array(columns)], cpu_src=_ALONG_BOTH)


def along_both_plain(image: jt.Var, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> jt.Var:
    """The definition of `along_both`."""
    batch, channels, height, width = image.shape
    lines = jt.matmul(image.reshape(-1, width), jt.array(columns.T.copy())).reshape(batch * channels, height, -1)
    turned = jt.matmul(lines.transpose(0, 2, 1).reshape(-1, height), jt.array(rows.T.copy()))
    return turned.reshape(batch, channels, len(columns), len(rows)).transpose(0, 1, 3, 2)


_COST_VOLUME = r"""
    const int radius = data["radius"], side = 2 * radius + 1;
    const int channels = in0_shape1, height = in0_shape2, width = in0_shape3;
    const float scale = 1.f / channels;
    #pragma omp parallel for collapse(3) schedule(static)
    for (int b = 0; b < in0_shape0; b++)
        for (int y = 0; y < height; y++)
            for (int dy = -radius; dy <= radius; dy++) {
                for (int dx = -radius; dx <= radius; dx++) {
                    float* to = &@out(b, (dy + radius) * side + dx + radius, y, 0);
                    for (int x = 0; x < width; x++) to[x] = 0;
                    if (y + dy < 0 || y + dy >= height) continue;
                    const int from = std::max(0, -dx), until = std::min(width, width - dx);
                    for (int c = 0; c < channels; c++) {
                        const float* one = &@in0(b, c, y, 0);
                        const float* two = &@in1(b, c, y + dy, 0) + dx;
                        for (int x = from; x < until; x++) to[x] += one[x] * two[x];
                    }
                    for (int x = from; x < until; x++) to[x] *= scale;
                }
            }
"""
_WARP = r"""
    const int channels = in0_shape1, height = in0_shape2, width = in0_shape3;
    const int rows = in1_shape2, columns = in1_shape3, first_row = data["top"], first_column = data["left"];
    const float threshold = data["threshold"];
    const bool zeros = data["zeros"];
    const size_t plane = (size_t)height * width;
    #pragma omp parallel for collapse(2) schedule(static)
    for (int b = 0; b < in0_shape0; b++)
        for (int y = 0; y < rows; y++) {
            std::vector<int> places(4 * columns);
            std::vector<float> weights(4 * columns);
            for (int x = 0; x < columns; x++) {
                float px = x + first_column + @in1(b, 0, y, x), py = y + first_row + @in1(b, 1, y, x);
                const float inside_x = std::min(std::max(std::min(px + 1, width - px), 0.f), 1.f);
                const float inside_y = std::min(std::max(std::min(py + 1, height - py), 0.f), 1.f);
                const bool inside = inside_x * inside_y >= threshold;
                if (!zeros || !inside) {
                    px = std::min(std::max(px, 0.f), width - 1.f);
                    py = std::min(std::max(py, 0.f), height - 1.f);
                }
                const int left = std::floor(px), top = std::floor(py);
                const float right_share = px - left, low_share = py - top;
                for (int k = 0; k < 4; k++) {
                    const int column = left + k % 2, row = top + k / 2;
                    const bool there = inside && column >= 0 && column < width && row >= 0 && row < height;
                    places[4 * x + k] = there ? row * width + column : 0;
                    weights[4 * x + k] = !there ? 0 : (k % 2 ? right_share : 1 - right_share)
                                                      * (k / 2 ? low_share : 1 - low_share);
                }
            }
            for (int c = 0; c < channels; c++) {
                const float* from = in0_p + (b * (size_t)channels + c) * plane;
                float* to = &@out(b, c, y, 0);
                for (int x = 0; x < columns; x++) {
                    const int* place = &places[4 * x];
                    const float* weight = &weights[4 * x];
                    to[x] = from[place[0]] * weight[0] + from[place[1]] * weight[1]
                            + from[place[2]] * weight[2] + from[place[3]] * weight[3];
                }
            }
        }
"""
_ALONG_BOTH = r"""
    const int height = in0_shape2, width = in0_shape3, below = in1_shape0, right = in2_shape0;
    std::vector<int> from(right, 0), until(right, width);  // where each row of the second matrix is not zero
    for (int x = 0; x < right; x++) {
        while (from[x] < width && @in2(x, from[x]) == 0) from[x]++;
        while (until[x] > from[x] && @in2(x, until[x] - 1) == 0) until[x]--;
    }
    #pragma omp parallel for collapse(2) schedule(static)
    for (int plane = 0; plane < in0_shape0 * in0_shape1; plane++)
        for (int y = 0; y < below; y++) {
            const float* image = in0_p + (size_t)plane * height * width;
            std::vector<float> line(width, 0.f);
            for (int i = 0; i < height; i++) {
                const float weight = @in1(y, i);
                if (weight == 0) continue;
                for (int x = 0; x < width; x++) line[x] += weight * image[(size_t)i * width + x];
            }
            float* to = out0_p + ((size_t)plane * below + y) * right;
            for (int x = 0; x < right; x++) {
                float sum = 0;
                for (int j = from[x]; j < until[x]; j++) sum += @in2(x, j) * line[j];
                to[x] = sum;
            }
        }
"""
