"""The fused blocks as ONNX nodes: of standard operators, or as one node of domain ``evsam`` with such a body.

A body is written by the function that also writes the plain flavour, so the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from evsam.export.graph import HALF, Graph
from evsam.export.network import Conv, ConvBlock, EncoderBlock, FusedMBConv, LiteMLA, MBConv, ResBlock
from evsam.export.options import FLOAT32_PLUGINS
from evsam.zoo import Activation

ResizeMode = Literal["bilinear", "bicubic"]

RESIZE_MODES = {"bilinear": "linear", "bicubic": "cubic"}


def write_block(graph: Graph, block: EncoderBlock, x: str, size: int, plugins: frozenset[str]) -> str:
    """Write one block.

    Args:
        graph: where to.
        block: what.
        x: map (B, C, H, W).
        size: H and W.
        plugins: blocks that are to be one node.

    Returns:
        Name of the output.
    """
    with graph.scope(block.name):
        match block:
            case ConvBlock():
                y = convolve(graph, "conv", x, block.conv)
                return activate(graph, y, block.activation, block.activation_scale)
            case ResBlock():
                y = activate(graph, convolve(graph, "conv1", x, block.first), block.activation, block.activation_scale)
                return _add(graph, convolve(graph, "conv2", y, block.second), x if block.shortcut else None)
            case FusedMBConv():
                return _write_fused_mbconv(graph, block, x, plugins)
            case MBConv():
                y = x
                if block.expand is not None:
                    y = convolve(graph, "expand", y, block.expand)
                    y = activate(graph, y, block.activation, block.activation_scale)
                y = convolve(graph, "depth", y, block.depth)
                y = activate(graph, y, block.activation, block.activation_scale)
                return _add(graph, convolve(graph, "point", y, block.point), x if block.shortcut else None)
            case LiteMLA():
                return _write_lite_mla(graph, block, x, size, plugins)


def convolve(graph: Graph, name: str, x: str, conv: Conv) -> str:
    """A convolution whose weights are constants of the graph."""
    weight, bias = graph.weight(f"{name}.weight", conv.weight), graph.weight(f"{name}.bias", conv.bias)
    return _conv(graph, name, x, weight, bias, conv.weight.shape[-1], conv.stride, conv.groups)


def _conv(
    graph: Graph, name: str, x: str, weight: str, bias: str | None, kernel: int, stride: int = 1, groups: int = 1
) -> str:
    inputs = [x, weight] if bias is None else [x, weight, bias]
    return graph.node(
        "Conv",
        *inputs,
        name=name,
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[kernel // 2] * 4,
        group=groups,
    )


def activate(graph: Graph, x: str, activation: Activation | Literal["relu", "none"] | None, scale: float = 1.0) -> str:
    """An activation of a map stored as a fraction 1 / scale of its value, as :func:`evsam.ops.reference.activate`.

    GELU is not homogeneous: where the scale is not 1 it is computed in float32 on the value itself.
    """
    match activation:
        case "gelu" if scale == 1:
            return graph.node("Gelu", x, approximate="tanh")
        case "gelu":
            wide = graph.wide(x)
            wide = graph.node("Mul", wide, graph.number(scale, wide), name="gelu.value")
            wide = graph.node("Gelu", wide, name="gelu.wide", approximate="tanh")
            wide = graph.node("Mul", wide, graph.number(1 / scale, wide), name="gelu.stored")
            return graph.cast(wide, graph.types[x])
        case "relu6":
            return graph.node("Clip", x, graph.number(0, x), graph.number(6 / scale, x), name="relu6")
        case "relu":
            return graph.node("Relu", x)
        case _:
            return x


def activate_exact_gelu(graph: Graph, x: str) -> str:
    """GELU by the error function, as SAM's decoder has it."""
    return graph.node("Gelu", x, approximate="none")


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
    maps: Sequence[tuple[str, int]],
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


def resize(graph: Graph, name: str, x: str, factor: int, mode: ResizeMode) -> str:
    """A map enlarged by a whole factor, with the centres of pixels aligned."""
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


def _write_fused_mbconv(graph: Graph, block: FusedMBConv, x: str, plugins: frozenset[str]) -> str:
    stride, residual = block.spatial.stride, block.shortcut

    def finish(inner: Graph, x: str, weight: str, bias: str, point_weight: str, point_bias: str) -> str:
        y = _conv(inner, "spatial", x, weight, bias, 3, stride)
        y = activate(inner, y, block.activation, block.activation_scale)
        return _add(inner, _conv(inner, "point", y, point_weight, point_bias, 1), x if residual else None)

    def body(inner: Graph, inputs: Sequence[str]) -> str:
        x, weight, bias, point_weight, point_bias = inputs
        weight = inner.node("Transpose", weight, name="spatial.weight", perm=[0, 3, 1, 2])
        bias, point_bias = _like(inner, bias, x), _like(inner, point_bias, x)
        return finish(inner, x, weight, bias, _matrix_as_kernel(inner, point_weight), point_bias)

    if usable("EvsamFusedMBConv", graph, plugins):
        inputs = [
            x,
            graph.weight("spatial.weight", block.spatial.weight.transpose(0, 2, 3, 1)),
            graph.constant(block.spatial.bias, "spatial.bias"),
            graph.weight("point.weight", block.point.weight[:, :, 0, 0]),
            graph.constant(block.point.bias, "point.bias"),
        ]
        attributes = {
            "stride": stride,
            "activation": "gelu_tanh" if block.activation == "gelu" else block.activation,
            "activation_scale": block.activation_scale,
            "residual": int(residual),
        }
        return graph.call("EvsamFusedMBConv", inputs, attributes, body, "out")
    return finish(
        graph,
        x,
        graph.weight("spatial.weight", block.spatial.weight),
        graph.weight("spatial.bias", block.spatial.bias),
        graph.weight("point.weight", block.point.weight),
        graph.weight("point.bias", block.point.bias),
    )


def _write_lite_mla(graph: Graph, block: LiteMLA, x: str, size: int, plugins: frozenset[str]) -> str:
    dim, total = block.head_dim, len(block.grouped)
    kernel = block.depthwise.shape[-1]

    def finish(
        inner: Graph, x: str, qkv: str, depthwise: str, grouped: str, project: str, bias: str, nested: frozenset[str]
    ) -> str:
        y = _conv(inner, "qkv", x, qkv, None, 1)
        near = _conv(inner, "near.depth", y, depthwise, None, kernel, groups=total)
        near = _conv(inner, "near", near, grouped, None, 1, groups=total // dim)
        scales = inner.node("Concat", y, near, name="scales", axis=1)
        attended = write_attention(inner, scales, 2 * total // 3 // dim, dim, size, block.eps, nested)
        return _add(inner, _conv(inner, "project", attended, project, bias, 1), x)

    def body(inner: Graph, inputs: Sequence[str]) -> str:
        x, qkv, depthwise, grouped, project, bias = inputs
        qkv, grouped, project = (_matrix_as_kernel(inner, weight) for weight in (qkv, grouped, project))
        return finish(inner, x, qkv, depthwise, grouped, project, _like(inner, bias, x), frozenset())

    if usable("EvsamLiteMLA", graph, plugins):
        inputs = [
            x,
            graph.weight("qkv.weight", block.qkv),
            graph.weight("near.depth.weight", block.depthwise),
            graph.weight("near.weight", block.grouped),
            graph.weight("project.weight", block.project.weight[:, :, 0, 0]),
            graph.constant(block.project.bias, "project.bias"),
        ]
        attributes = {"head_dim": dim, "eps": block.eps, "residual": 1}
        # the body is written for one size of the map
        return graph.call("EvsamLiteMLA", inputs, attributes, body, "out", variant=f"{total}x{size}")
    return finish(
        graph,
        x,
        graph.weight("qkv.weight", block.qkv[:, :, None, None]),
        graph.weight("near.depth.weight", block.depthwise),
        graph.weight("near.weight", block.grouped[:, :, None, None]),
        graph.weight("project.weight", block.project.weight),
        graph.weight("project.bias", block.project.bias),
        plugins,
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


def usable(plugin: str, graph: Graph, plugins: frozenset[str]) -> bool:
    """Whether a block becomes a node of this plugin: some kernels take float16 alone."""
    return plugin in plugins and (graph.narrow_type == HALF or plugin in FLOAT32_PLUGINS)


def _matrix_as_kernel(graph: Graph, matrix: str) -> str:
    """(O, I) as the weight (O, I, 1, 1) of a convolution."""
    return graph.node("Unsqueeze", matrix, graph.constant(np.array([2, 3])), name=f"{matrix}.kernel")


def _like(graph: Graph, value: str, other: str) -> str:
    return graph.cast(value, graph.types[other])


def _add(graph: Graph, y: str, x: str | None) -> str:
    return y if x is None else graph.node("Add", x, y, name="sum")
