"""The image encoder as an ONNX graph: the ops of its description, with the numbers of a model.

An op is written with standard operators, or as one node of domain ``evsam`` with such a body. Both are written by the
same function, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evsam.export.graph import HALF, Graph
from evsam.export.nodes import (
    activate,
    convolve,
    resize,
    write_attention,
    write_conv,
    write_layer_norm_2d,
    write_residual,
    write_upsample_add,
)
from evsam.export.options import FLOAT32_PLUGINS
from evsam.network import (
    ATTENTION_EPS,
    NORM_EPS,
    Array,
    Conv,
    Convolution,
    ConvTranspose,
    ConvWeights,
    Encoder,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MBConv,
    Network,
    Norm,
    Op,
    Tensors,
    UpsampleAdd,
    describe_encoder,
)
from evsam.weights import Weights


@dataclass(frozen=True, eq=False)
class Model:
    """A network and the numbers of its convolutions and layer norms, which range folding changes.

    Attributes:
        network: the ops.
        convs: weights of each convolution by its name, the batch norm folded in.
        norms: gain and bias of each layer norm by its name, float32 (C,).
        eps: of each layer norm and each attention, by the name of the op, where it is not the network's.
        inner_scales: what an op keeps between its convolutions, or behind its activation, is stored as a fraction
            1 / scale of its value; by the name of the op, 1 where there is none.
    """

    network: Network
    convs: Mapping[str, ConvWeights]
    norms: Mapping[str, tuple[Array, Array]]
    eps: Mapping[str, float] = field(default_factory=dict)
    inner_scales: Mapping[str, float] = field(default_factory=dict)

    def inner_scale(self, op: Op) -> float:
        """Scale of what an op keeps inside."""
        return self.inner_scales.get(op.name, 1.0)

    def eps_of(self, op: LayerNorm | LiteMLA) -> float:
        """What is added to the variance, or to the denominators."""
        return self.eps.get(op.name, NORM_EPS if isinstance(op, LayerNorm) else ATTENTION_EPS)


@dataclass(frozen=True, eq=False)
class EncoderModel(Model):
    """An encoder; ``output_scales`` are inner scales of maps that leave it, by their names."""

    network: Encoder
    output_scales: Mapping[str, float] = field(default_factory=dict)


def read_numbers(network: Network, tensors: Tensors) -> tuple[dict[str, ConvWeights], dict[str, tuple[Array, Array]]]:
    """Numbers of all convolutions and of all layer norms of a network, by their names."""
    parts = [part for op in network.ops for part in op.parts]
    norms = {part.name: [tensors[name] for name in part.tensors] for part in parts if isinstance(part, Norm)}
    return (
        {part.name: part.read(tensors) for part in parts if isinstance(part, Conv)},
        {name: (gain, bias) for name, (gain, bias) in norms.items()},
    )


def read_encoder(weights: Weights, image_size: int | None = None) -> EncoderModel:
    """The encoder of a model.

    Args:
        weights: the model.
        image_size: another side of the image than the variant's, in pixels; the grid changes with it. For tests.
    """
    network = describe_encoder(weights.variant, image_size)
    return EncoderModel(network, *read_numbers(network, weights.tensors))


def write_encoder(graph: Graph, encoder: EncoderModel, plugins: frozenset[str] = frozenset()) -> None:
    """Write the whole encoder with its input and outputs, as :mod:`evsam.export.onnx` describes them."""
    network = encoder.network
    values = {network.image.name: graph.narrow(graph.input("images", ("batch", *network.image.shape)))}
    outputs = ["image_embeddings", *(f"lateral_{i}" for i in range(len(network.outputs) - 1))]
    names = dict(zip((x.name for x in network.outputs), outputs, strict=True))
    for op in network.ops:
        values[op.name] = value = write_op(graph, op, encoder, values, plugins)
        if op.name not in names:
            continue
        scale = encoder.output_scales.get(op.name, 1.0)
        if scale != 1:
            value = graph.wide(value)
            value = graph.node("Mul", value, graph.number(scale, value), name=f"{scope_of(op)}.value")
        graph.output(names[op.name], value, ("batch", *op.output.shape))


def scope_of(op: Op) -> str:
    """What stands in front of the names of an op's nodes; a plain convolution shares it with its block."""
    return op.name.rpartition(".")[0] if isinstance(op, Convolution | UpsampleAdd) else op.name


def output_values(op: Op) -> list[str]:
    """Names of the values of an op, written with standard operators, that are or lead to its output alone.

    They are all that has the size of the output; an op may have some of them only.
    """
    scope = scope_of(op)
    match op:
        case Convolution():
            ends = [op.name, f"{scope}.{op.activation.removesuffix('_tanh')}"]
        case FusedMBConv() | MBConv():
            ends = [f"{scope}.point"]
        case LiteMLA():
            ends = [f"{scope}.project"]
        case UpsampleAdd(mode="bicubic"):
            maps = range(len(op.reads))
            return [f"{op.name}.{kind}{i}" for kind in ("resized", "sum") for i in maps]
        case UpsampleAdd():
            return [f"{op.inputs[0].name}.resized", op.name]
        case _:
            return [op.name]
    return ends if op.residual is None else [*ends, f"{scope}.sum"]


def write_op(
    graph: Graph, op: Op, model: Model, values: Mapping[str, str], plugins: frozenset[str] = frozenset()
) -> str:
    """Write one op of an encoder, or one that decoders have too.

    Args:
        graph: where to.
        op: of the model's network.
        model: the numbers.
        values: by the names of the maps that the op reads.
        plugins: groups of layers that are to be one node.

    Returns:
        Name of the output.
    """
    x = values[op.inputs[0].name]
    residual = None if op.residual is None else values[op.residual.name]
    match op:
        case LayerNorm():
            y = write_layer_norm_2d(graph, op.name, x, *model.norms[op.norm.name], model.eps_of(op), plugins)
            with graph.scope(op.name):
                return activate(graph, y, op.activation)
        case UpsampleAdd(mode="bicubic"):
            scope, _, name = op.name.rpartition(".")
            maps = [(values[each.name], _factor(each.size, op.size)) for each in op.reads]
            with graph.scope(scope):
                return write_upsample_add(graph, name, maps, op.mode, plugins)
        case UpsampleAdd():
            y = resize(graph, f"{op.inputs[0].name}.resized", x, _factor(op.inputs[0].size, op.size), op.mode)
            return y if residual is None else graph.node("Add", residual, y, name=op.name)
    with graph.scope(scope_of(op)):
        match op:
            case ConvTranspose():
                return _write_conv_transpose(graph, op, model, values)
            case Convolution():
                name = op.name.rpartition(".")[2]
                y = convolve(graph, name, x, op.conv, model.convs[op.conv.name])
                return write_residual(graph, activate(graph, y, op.activation, model.inner_scale(op)), residual)
            case FusedMBConv():
                return _write_fused_mbconv(graph, op, model, x, residual, plugins)
            case MBConv():
                return _write_mbconv(graph, op, model, x, residual)
            case LiteMLA():
                return _write_lite_mla(graph, op, model, x, plugins)
    raise TypeError(f"op: expected one that an encoder has, got {type(op).__name__}")


def _write_conv_transpose(graph: Graph, op: ConvTranspose, model: Model, values: Mapping[str, str]) -> str:
    y = convolve(graph, "up", values[op.inputs[0].name], op.up, model.convs[op.up.name])
    y = write_residual(graph, y, None if op.residual is None else values[op.residual.name])
    if op.side is not None:
        side = convolve(graph, "side", values[op.inputs[1].name], op.side, model.convs[op.side.name])
        y = graph.node("Add", y, side, name="joined")
    return activate(graph, y, op.activation)


def _write_mbconv(graph: Graph, op: MBConv, model: Model, x: str, residual: str | None) -> str:
    y = x
    for name, conv in (("expand", op.expand), ("depth", op.depth)):
        if conv is not None:
            y = convolve(graph, name, y, conv, model.convs[conv.name])
            y = activate(graph, y, op.activation, model.inner_scale(op))
    return write_residual(graph, convolve(graph, "point", y, op.point, model.convs[op.point.name]), residual)


def _write_fused_mbconv(
    graph: Graph, op: FusedMBConv, model: Model, x: str, residual: str | None, plugins: frozenset[str]
) -> str:
    spatial, point = model.convs[op.spatial.name], model.convs[op.point.name]
    scale = model.inner_scale(op)

    def finish(inner: Graph, x: str, weight: str, bias: str, point_weight: str, point_bias: str) -> str:
        y = write_conv(inner, "spatial", x, weight, bias, op.spatial)
        y = write_conv(inner, "point", activate(inner, y, op.activation, scale), point_weight, point_bias, op.point)
        return write_residual(inner, y, None if residual is None else x)

    def body(inner: Graph, inputs: Sequence[str]) -> str:
        x, weight, bias, point_weight, point_bias = inputs
        weight = inner.node("Transpose", weight, name="spatial.weight", perm=[0, 3, 1, 2])
        bias, point_bias = _like(inner, bias, x), _like(inner, point_bias, x)
        return finish(inner, x, weight, bias, _matrix_as_filter(inner, point_weight), point_bias)

    if _usable("EvsamFusedMBConv", graph, plugins):
        inputs = [
            x,
            graph.weight("spatial.weight", spatial.weight.transpose(0, 2, 3, 1)),
            _bias(graph, "spatial", spatial, wide=True),
            graph.weight("point.weight", point.weight[:, :, 0, 0]),
            _bias(graph, "point", point, wide=True),
        ]
        attributes = {
            "stride": op.spatial.stride,
            "activation": op.activation,
            "activation_scale": scale,
            "residual": int(residual is not None),
        }
        return graph.call("EvsamFusedMBConv", inputs, attributes, body, "out")
    return finish(
        graph,
        x,
        graph.weight("spatial.weight", spatial.weight),
        _bias(graph, "spatial", spatial),
        graph.weight("point.weight", point.weight),
        _bias(graph, "point", point),
    )


def _write_lite_mla(graph: Graph, op: LiteMLA, model: Model, x: str, plugins: frozenset[str]) -> str:
    qkv, depthwise, grouped, project = (model.convs[conv.name] for conv in op.convs)
    dim, size, eps = op.head_dim, op.inputs[0].size, model.eps_of(op)

    def finish(
        inner: Graph, x: str, qkv: str, depthwise: str, grouped: str, project: str, bias: str, nested: frozenset[str]
    ) -> str:
        y = write_conv(inner, "qkv", x, qkv, None, op.qkv)
        near = write_conv(inner, "near.depth", y, depthwise, None, op.depthwise)
        near = write_conv(inner, "near", near, grouped, None, op.grouped)
        scales = inner.node("Concat", y, near, name="scales", axis=1)
        attended = write_attention(inner, scales, 2 * op.heads, dim, size, eps, nested)
        return write_residual(inner, write_conv(inner, "project", attended, project, bias, op.project), x)

    def body(inner: Graph, inputs: Sequence[str]) -> str:
        x, qkv, depthwise, grouped, project, bias = inputs
        qkv, grouped, project = (_matrix_as_filter(inner, weight) for weight in (qkv, grouped, project))
        return finish(inner, x, qkv, depthwise, grouped, project, _like(inner, bias, x), frozenset())

    if _usable("EvsamLiteMLA", graph, plugins):
        inputs = [
            x,
            graph.weight("qkv.weight", qkv.weight[:, :, 0, 0]),
            graph.weight("near.depth.weight", depthwise.weight),
            graph.weight("near.weight", grouped.weight[:, :, 0, 0]),
            graph.weight("project.weight", project.weight[:, :, 0, 0]),
            _bias(graph, "project", project, wide=True),
        ]
        attributes = {"head_dim": dim, "eps": eps, "residual": 1}
        # the body is written for one size of the map and one of the filter
        variant = f"{op.qkv.outputs}x{size}k{op.depthwise.filter_size}"
        return graph.call("EvsamLiteMLA", inputs, attributes, body, "out", variant=variant)
    return finish(
        graph,
        x,
        graph.weight("qkv.weight", qkv.weight),
        graph.weight("near.depth.weight", depthwise.weight),
        graph.weight("near.weight", grouped.weight),
        graph.weight("project.weight", project.weight),
        _bias(graph, "project", project),
        plugins,
    )


def _usable(plugin: str, graph: Graph, plugins: frozenset[str]) -> bool:
    """Whether an op becomes a node of this plugin: some kernels take float16 alone."""
    return plugin in plugins and (graph.narrow_type == HALF or plugin in FLOAT32_PLUGINS)


def _factor(size: int, to: int) -> float:
    """By how much a map grows; a whole number where it is one, so that names have no point."""
    return to / size if to % size else to // size


def _matrix_as_filter(graph: Graph, matrix: str) -> str:
    """(O, I) as the weight (O, I, 1, 1) of a convolution."""
    return graph.node("Unsqueeze", matrix, graph.constant(np.array([2, 3])), name=f"{matrix}.kernel")


def _like(graph: Graph, value: str, other: str) -> str:
    return graph.cast(value, graph.types[other])


def _bias(graph: Graph, name: str, conv: ConvWeights, wide: bool = False) -> str:
    """A convolution's bias, zeros where it has none; ``wide`` for float32 in networks of any precision."""
    bias = np.zeros(len(conv.weight), np.float32) if conv.bias is None else conv.bias
    return graph.constant(bias, f"{name}.bias") if wide else graph.weight(f"{name}.bias", bias)
