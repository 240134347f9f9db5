"""What encoder and decoders are written with: convolutions, activations, norms, sums and attention as ONNX nodes.

Some can be one node of domain ``evsam``, for a TensorRT plugin. Its body of standard operators is written by the
function that also writes the plain flavour, so the two cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from evsam.export.graph import Graph, Layer
from evsam.network import Activation, Conv, ConvWeights, ResizeMode, UpConv

GELU_OPSET = 20
"""The first opset with Gelu."""

RESIZE_MODES = {"bilinear": "linear", "bicubic": "cubic"}


def convolve(graph: Graph, name: str, x: str, conv: Conv, numbers: ConvWeights) -> str:
    """A convolution whose weights are constants of the graph."""
    weight = graph.weight(f"{name}.weight", numbers.weight)
    bias = None if numbers.bias is None else graph.weight(f"{name}.bias", numbers.bias)
    return write_conv(graph, name, x, weight, bias, conv)


def write_conv(graph: Graph, name: str, x: str, weight: str, bias: str | None, conv: Conv) -> str:
    """A convolution of values."""
    transposed = isinstance(conv, UpConv)
    positions = 1 if transposed else 1 / conv.stride**2  # for each of the input's
    work = math.prod(conv.weight_shape) / conv.inputs * positions
    x, weight = graph.quantize(name, Layer(x, weight, int(transposed), conv.groups > 1, work))
    inputs = [x, weight] if bias is None else [x, weight, bias]
    return graph.node(
        "ConvTranspose" if transposed else "Conv",
        *inputs,
        name=name,
        kernel_shape=[conv.filter_size] * 2,
        strides=[conv.stride] * 2,
        pads=[(conv.filter_size - 1) // 2] * 4,
        group=conv.groups,
    )


def write_residual(graph: Graph, y: str, x: str | None) -> str:
    """The sum with the residual, if there is one."""
    return y if x is None else graph.node("Add", x, y, name="sum")


def activate(graph: Graph, x: str, activation: Activation, scale: float = 1.0) -> str:
    """An activation of a map stored as a fraction 1 / scale of its value, as :func:`evsam.ops.reference.activate`.

    GELU is not homogeneous: where the scale is not 1 it is computed in float32 on the value itself.
    """
    match activation:
        case "gelu_tanh" if scale == 1:
            return _gelu(graph, x, "tanh")
        case "gelu_tanh":
            wide = graph.wide(x)
            wide = graph.node("Mul", wide, graph.number(scale, wide), name="gelu.value")
            wide = _gelu(graph, wide, "tanh", "gelu.wide")
            wide = graph.node("Mul", wide, graph.number(1 / scale, wide), name="gelu.stored")
            return graph.cast(wide, graph.types[x])
        case "relu6":
            return graph.node("Clip", x, graph.number(0, x), graph.number(6 / scale, x), name="relu6")
        case "relu":
            return graph.node("Relu", x)
        case "gelu":
            return _gelu(graph, x, "none")
        case "none":
            return x


def _gelu(graph: Graph, x: str, approximate: Literal["tanh", "none"], name: str = "gelu") -> str:
    """One node, or before opset 20 its formula, in the form that runtimes recognise; in float32, for x^3 is large."""
    if graph.opset >= GELU_OPSET:
        return graph.node("Gelu", x, name=name, approximate=approximate)
    wide = graph.wide(x)

    def number(value: float) -> str:
        return graph.number(value, wide)

    if approximate == "tanh":
        y = graph.node("Mul", wide, number(0.044715), name=f"{name}.cubic")
        y = graph.node("Mul", y, wide, name=f"{name}.cubed")
        y = graph.node("Add", y, number(1), name=f"{name}.factor")
        y = graph.node("Mul", graph.node("Mul", wide, number(math.sqrt(2 / math.pi)), name=f"{name}.scaled"), y)
        y = graph.node("Tanh", y, name=f"{name}.tanh")
    else:
        y = graph.node("Erf", graph.node("Div", wide, number(math.sqrt(2)), name=f"{name}.scaled"), name=f"{name}.erf")
    y = graph.node("Add", y, number(1), name=f"{name}.gate")
    y = graph.node("Mul", graph.node("Mul", wide, number(0.5), name=f"{name}.half"), y, name=name)
    return graph.cast(y, graph.types[x])


def layer_norm_2d(graph: Graph, name: str, x: str, gain: str, bias: str, eps: float) -> str:
    """Layer norm over the channels of a map (B, C, H, W), in float32 whatever the map is; the result is of its type."""
    rows = graph.wide(graph.node("Transpose", x, name=f"{name}.rows", perm=[0, 2, 3, 1]))
    rows = graph.node("LayerNormalization", rows, gain, bias, name=name, axis=-1, epsilon=eps)
    return graph.cast(graph.node("Transpose", rows, name=f"{name}.map", perm=[0, 3, 1, 2]), graph.types[x])


def write_layer_norm_2d(
    graph: Graph, name: str, x: str, gain: Any, bias: Any, eps: float, plugins: frozenset[str] = frozenset()
) -> str:
    """Layer norm with constant gain and bias, as node EvsamLayerNorm2d if that is among the plugins."""
    weights = [graph.constant(np.asarray(v, np.float32), f"{name}.{k}") for k, v in (("weight", gain), ("bias", bias))]

    def body(inner: Graph, inputs: Sequence[str]) -> str:
        return layer_norm_2d(inner, name, inputs[0], inputs[1], inputs[2], eps)

    if "EvsamLayerNorm2d" in plugins:
        return graph.call("EvsamLayerNorm2d", [x, *weights], {"eps": eps}, body, name)
    return body(graph, [x, *weights])


def write_upsample_add(
    graph: Graph,
    name: str,
    maps: Sequence[tuple[str, float]],
    mode: ResizeMode,
    plugins: frozenset[str],
) -> str:
    """The sum of maps, the last of which has the size of the output and the others are resized to it.

    Args:
        graph: where to.
        name: of the sum.
        maps: name and factor of each map, in the order of addition.
        mode: of resizing.
        plugins: blocks that are to be one node.
    """

    def body(inner: Graph, inputs: Sequence[str]) -> str:
        total = ""
        for i, (x, (_, factor)) in enumerate(zip(inputs, maps, strict=True)):
            resized = resize(inner, f"{name}.resized{i}", x, factor, mode)
            total = inner.node("Add", total, resized, name=f"{name}.sum{i}") if total else resized
        return total

    inputs = [x for x, _ in maps]
    if "EvsamUpsampleAdd" in plugins:
        # the factors belong to the body alone: the kernel reads them off the shapes
        suffix = "".join(str(factor) for _, factor in maps)
        return graph.call("EvsamUpsampleAdd", inputs, {"mode": mode}, body, name, variant=suffix)
    return body(graph, inputs)


def resize(graph: Graph, name: str, x: str, factor: float, mode: ResizeMode) -> str:
    """A map enlarged by a factor, with the centres of pixels aligned."""
    if factor == 1:
        return x
    scales = graph.constant(np.array([1, 1, factor, factor], np.float32))
    extra: dict[str, Any] = {"cubic_coeff_a": -0.75} if mode == "bicubic" else {}
    return graph.node(
        "Resize",
        *(x, "", scales),
        name=name,
        mode=RESIZE_MODES[mode],
        coordinate_transformation_mode="half_pixel",
        **extra,
    )


def write_attention(
    graph: Graph, qkv: str, heads: int, dim: int, size: int, eps: float, plugins: frozenset[str]
) -> str:
    """ReLU linear attention of a map (B, heads * 3 * dim, size, size): (B, heads * dim, size, size)."""

    def body(inner: Graph, inputs: Sequence[str]) -> str:
        # Sums over all tokens do not fit into float16, so everything here but what is stored is float32.
        wide = inner.wide(inputs[0])
        rows = inner.node("Reshape", wide, inner.constant(np.array([0, heads, 3 * dim, size * size])), name="heads")
        parts = inner.constant(np.array([dim, dim, dim]))
        q, k, v = inner.nodes("Split", rows, parts, names=["attention.q", "attention.k", "attention.v"], axis=2)
        q, k = inner.node("Relu", q, name="attention.q.relu"), inner.node("Relu", k, name="attention.k.relu")
        pads = inner.constant(np.array([0, 0, 0, 0, 0, 0, 1, 0]))
        v = inner.node("Pad", v, pads, inner.number(1, v), name="attention.v.ones")
        k = inner.node("Transpose", k, name="attention.k.transposed", perm=[0, 1, 3, 2])
        state = inner.node("MatMul", v, k, name="attention.state")
        product = inner.node("MatMul", state, q, name="attention.product")
        parts = inner.constant(np.array([dim, 1]))
        names = ["attention.numerator", "attention.denominator"]
        top, bottom = inner.nodes("Split", product, parts, names=names, axis=2)
        bottom = inner.node("Add", bottom, inner.number(eps, bottom), name="attention.denominator.eps")
        out = inner.node("Div", top, bottom, name="attention.quotient")
        out = inner.node("Reshape", out, inner.constant(np.array([0, heads * dim, size, size])), name="attention.map")
        return inner.cast(out, inner.types[inputs[0]])

    if "EvsamReluLinearAttention" in plugins:
        attributes = {"head_dim": dim, "eps": eps}
        return graph.call(
            "EvsamReluLinearAttention", [qkv], attributes, body, "attention.out", variant=f"{heads}x{size}"
        )
    return body(graph, [qkv])
