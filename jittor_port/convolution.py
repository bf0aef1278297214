"""Chains of convolutions, fast on a CPU: one operator of Jittor that runs them all in oneDNN's own layout.

Jittor's own convolution takes a hundred times as long on a CPU, and its use of oneDNN converts the layout of images
and weights at every call. Here weights are converted once, biases, activations and residual sums happen inside the
convolutions, and images are converted at the ends of a chain only. Without oneDNN a chain is im2col and BLAS in numpy;
on CUDA it is Jittor's operators, one after another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import jittor as jt
import numpy as np
from numpy.typing import NDArray

from jittor_port.environment import find_onednn

Array = NDArray[np.float32]
COLUMNS_BYTES = 64 * 2**20  # at most this for a block of im2col

_numbers = count()
_onednn = find_onednn()


@dataclass(frozen=True)
class Layer:
    """A convolution with zero padding and what follows it.

    Attributes:
        weight: (O, I, k, k).
        bias: (O,).
        stride: of the output.
        dilation: of the kernel.
        padding: None pads as much as keeps the size at stride 1.
        slope: of the output's negative part: 1 is no activation, 0 is ReLU, 0.1 is PWC-Net's leaky ReLU.
        residual: adds the input of the layer before this one.
    """

    weight: Array
    bias: Array
    stride: int = 1
    dilation: int = 1
    padding: int | None = None
    slope: float = 1.0
    residual: bool = False

    @property
    def pad(self) -> int:
        return self.dilation * (self.weight.shape[2] // 2) if self.padding is None else self.padding

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        reach = self.dilation * (self.weight.shape[2] - 1) - 2 * self.pad
        return (height - reach - 1) // self.stride + 1, (width - reach - 1) // self.stride + 1


class Chain:
    """Layers one after another: (B, I, H, W) -> (B, O, H', W')."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._number = next(_numbers)
        self._plan = jt.array(np.array([
            [*layer.weight.shape[:3], layer.stride, layer.dilation, layer.pad, layer.residual] for layer in layers
        ], np.int32))
        self._slopes = jt.array(np.array([layer.slope for layer in layers], np.float32))
        self._weights = jt.array(np.concatenate([
            array.astype(np.float32).ravel() for layer in layers for array in (layer.weight, layer.bias)
        ]))

    def __call__(self, x: jt.Var) -> jt.Var:
        if jt.flags.use_cuda:
            return self._by_jittor(x)
        return self._by_onednn(x) if _onednn else self._by_blas(x)

    def _output_shape(self, x: jt.Var) -> tuple[int, int, int, int]:
        height, width = x.shape[2], x.shape[3]
        for layer in self._layers:
            height, width = layer.output_size(height, width)
        return x.shape[0], self._layers[-1].weight.shape[0], height, width

    def _by_onednn(self, x: jt.Var) -> jt.Var:
        assert _onednn is not None
        out = jt.code(self._output_shape(x), "float32", [x, self._plan, self._slopes, self._weights],
                      cpu_header=_HEADER, cpu_src=_SOURCE, data={"number": self._number})
        library = _onednn.library
        out.compile_options = {
            f'FLAGS: -I"{_onednn.headers}" "{library}" -Wl,-rpath,"{library.parent}" ': 1
        }
        return out

    def _by_blas(self, x: jt.Var) -> jt.Var:
        def forward(numpy: Any, data: dict[str, Any]) -> None:
            images = data["inputs"][0]
            for place, image in enumerate(images):
                before, now = image, image
                for layer in self._layers:
                    after = im2col(now, layer)
                    if layer.residual:
                        after += before
                    before, now = now, after
                data["outputs"][0][place] = now

        return jt.numpy_code(self._output_shape(x), "float32", [x], forward)

    def _by_jittor(self, x: jt.Var) -> jt.Var:
        before, offset = x, 0
        for layer in self._layers:
            size, outputs = layer.weight.size, layer.bias.size
            weight = self._weights[offset : offset + size].reshape(layer.weight.shape)
            bias = self._weights[offset + size : offset + size + outputs]
            offset += size + outputs
            after = jt.nn.conv2d(x, weight, bias, layer.stride, layer.pad, layer.dilation)
            if layer.slope != 1:
                after = jt.maximum(after, 0) + layer.slope * jt.minimum(after, 0)
            if layer.residual:
                after = after + before
            before, x = x, after
        return x


def im2col(image: Array, layer: Layer) -> Array:
    """One image (I, H, W) through one layer, in numpy, as matrix products: (O, H', W'). Residual sums are left out."""
    outputs, inputs, side = layer.weight.shape[:3]
    height, width = layer.output_size(image.shape[1], image.shape[2])
    padded = np.pad(image, ((0, 0), (layer.pad,) * 2, (layer.pad,) * 2))
    matrix = layer.weight.reshape(outputs, -1)
    out = np.empty((outputs, height, width), np.float32)
    rows = max(1, COLUMNS_BYTES // (4 * inputs * side**2 * width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        columns = np.empty((inputs, side, side, bottom - top, width), np.float32)
        for i in range(side):
            for j in range(side):
                y, x = top * layer.stride + i * layer.dilation, j * layer.dilation
                columns[:, i, j] = padded[:, y : y + (bottom - top - 1) * layer.stride + 1 : layer.stride,
                                          x : x + (width - 1) * layer.stride + 1 : layer.stride]
        out[:, top:bottom] = (matrix @ columns.reshape(len(matrix[0]), -1)).reshape(outputs, bottom - top, width)
    out += layer.bias[:, None, None]
    return out if layer.slope == 1 else np.where(out > 0, out, np.float32(layer.slope) * out)


# For every chain, by its number: the primitives for the last size and the converted weights, which outlast it.
_HEADER = r"""
#include <dnnl.hpp>
#include <unordered_map>
#include <vector>

struct ChainLayer {
    dnnl::convolution_forward::primitive_desc description;
    dnnl::convolution_forward primitive;
    dnnl::memory weights, bias;
};
struct ChainState {
    std::vector<int64_t> shape;
    std::vector<ChainLayer> layers;
};

static dnnl::memory chain_converted(dnnl::memory& from, const dnnl::memory::desc& to, dnnl::engine& engine,
                                    dnnl::stream& stream) {
    if (from.get_desc() == to) return from;
    dnnl::memory result(to, engine);
    dnnl::reorder(from, result).execute(stream, from, result);
    return result;
}
"""
_SOURCE = r"""
    using namespace dnnl;
    using tag = memory::format_tag;
    const auto f32 = memory::data_type::f32;
    static engine cpu(engine::kind::cpu, 0);
    static stream queue(cpu);
    static std::unordered_map<int, ChainState> states;
    ChainState& state = states[(int)data["number"]];
    std::vector<int64_t> shape = {in0_shape0, in0_shape1, in0_shape2, in0_shape3};
    const int count = in1_shape0;
    if (state.shape != shape) {
        std::vector<ChainLayer> layers(count);
        int64_t height = shape[2], width = shape[3], offset = 0;
        for (int i = 0; i < count; i++) {
            const int* plan = in1_p + 7 * i;
            const int64_t outputs = plan[0], inputs = plan[1], side = plan[2], stride = plan[3], dilation = plan[4];
            const int64_t pad = plan[5], reach = dilation * (side - 1) - 2 * pad;
            const int64_t below = (height - reach - 1) / stride + 1, right = (width - reach - 1) / stride + 1;
            primitive_attr attributes;
            post_ops after;
            if (plan[6]) after.append_sum(1.f);
            if (in2_p[i] != 1.f) after.append_eltwise(1.f, algorithm::eltwise_relu, in2_p[i], 0.f);
            attributes.set_post_ops(after);
            memory::desc source({shape[0], inputs, height, width}, f32, tag::any);
            memory::desc weights({outputs, inputs, side, side}, f32, tag::any);
            memory::desc bias({outputs}, f32, tag::x);
            memory::desc target({shape[0], outputs, below, right}, f32, tag::any);
            ChainLayer& layer = layers[i];
            layer.description = convolution_forward::primitive_desc(
                convolution_forward::desc(prop_kind::forward_inference, algorithm::convolution_direct, source, weights,
                                          bias, target, {stride, stride}, {dilation - 1, dilation - 1}, {pad, pad},
                                          {pad, pad}), attributes, cpu);
            layer.primitive = convolution_forward(layer.description);
            const auto wanted = layer.description.weights_desc();
            if (i < state.layers.size() && state.layers[i].weights.get_desc() == wanted) {
                layer.weights = state.layers[i].weights;
            } else {
                memory given({{outputs, inputs, side, side}, f32, tag::oihw}, cpu, in3_p + offset);
                layer.weights = memory(wanted, cpu);
                reorder(given, layer.weights).execute(queue, given, layer.weights);
            }
            layer.bias = memory(bias, cpu);
            std::memcpy(layer.bias.get_data_handle(), in3_p + offset + outputs * inputs * side * side, outputs * 4);
            offset += outputs * (inputs * side * side + 1);
            height = below;
            width = right;
        }
        state.layers = layers;
        state.shape = shape;
    }
    memory now({shape, f32, tag::nchw}, cpu, in0_p), before;
    memory result({{out0_shape0, out0_shape1, out0_shape2, out0_shape3}, f32, tag::nchw}, cpu, out0_p);
    for (int i = 0; i < count; i++) {
        ChainLayer& layer = state.layers[i];
        const auto wanted = layer.description.dst_desc();
        memory source = chain_converted(now, layer.description.src_desc(), cpu, queue), target;
        const bool last = i == count - 1;
        if (in1_p[7 * i + 6]) {
            // the sum happens in place; the chain's own input belongs to Jittor and must stay what it is
            const bool own = before.get_data_handle() != (void*)in0_p;
            target = own ? chain_converted(before, wanted, cpu, queue) : memory(wanted, cpu);
            if (!own) reorder(before, target).execute(queue, before, target);
        } else {
            target = last && wanted == result.get_desc() ? result : memory(wanted, cpu);
        }
        layer.primitive.execute(queue, {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, layer.weights},
                                        {DNNL_ARG_BIAS, layer.bias}, {DNNL_ARG_DST, target}});
        before = source;
        now = target;
    }
    if (now.get_data_handle() != (void*)out0_p) reorder(now, result).execute(queue, now, result);
    queue.wait();
"""
