"""Nodes of plugins, as TensorRT's ONNX parser understands them: the one of TensorRT for RTX, which needs no GPU.

The parser looks for a plugin by the node's operator, version "1" and the empty namespace, and makes fields of the
attributes. That is as far as this goes: TensorRT for RTX has no plugins, and aborts the process that gives it one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx not installed: pip install 'evsam[onnx]'")

import onnx
from onnx import helper

from evsam.export.encoder import EncoderModel, write_op
from evsam.export.graph import Graph
from evsam.export.nodes import write_attention, write_layer_norm_2d, write_upsample_add
from evsam.export.onnx import build_encoder
from evsam.export.options import PLUGINS, ExportOptions
from evsam.network import Activation, Conv, ConvWeights, Encoder, FusedMBConv, LiteMLA, Map, Op
from evsam.weights import Weights, load_weights
from evsam.zoo import VARIANTS
from tests.export.plugin_nodes import (
    FIELDS,
    Answer,
    Fields,
    attributes_of,
    check_answer,
    plugin_nodes,
    probe,
    single_nodes,
    stripped,
)
from tests.export.rtx import import_rtx, parse

trt = import_rtx()

ALL = frozenset(PLUGINS)
ALL_PLUGINS = ExportOptions(precision="fp16", plugins=ALL)

CHANNELS, SIDE = 64, 8

Nodes = dict[str, tuple[str, Fields]]
"""Type and fields of nodes by their names."""


def fused_mbconv(stride: int, residual: int) -> Fields:
    return {"stride": stride, "activation": "gelu_tanh", "activation_scale": 1, "residual": residual}


def lite_mla(head_dim: int) -> Fields:
    return {"head_dim": head_dim, "eps": 1e-15, "residual": 1}


STAGES, MIDDLE = "image_encoder.backbone.stages", "image_encoder.neck.middle"

ENDS: Nodes = {
    "neck.input": ("EvsamUpsampleAdd", {"mode": "bicubic"}),
    "norm": ("EvsamLayerNorm2d", {"eps": 1e-6}),
}

L0: Nodes = {
    f"{STAGES}.1.op_list.0.main.out": ("EvsamFusedMBConv", fused_mbconv(2, 0)),
    f"{STAGES}.1.op_list.1.main.out": ("EvsamFusedMBConv", fused_mbconv(1, 1)),
    f"{STAGES}.2.op_list.0.main.out": ("EvsamFusedMBConv", fused_mbconv(2, 0)),
    f"{STAGES}.2.op_list.1.main.out": ("EvsamFusedMBConv", fused_mbconv(1, 1)),
    **{f"{STAGES}.4.op_list.{i}.context_module.main.out": ("EvsamLiteMLA", lite_mla(32)) for i in range(1, 5)},
    **{f"{MIDDLE}.op_list.{i}.main.out": ("EvsamFusedMBConv", fused_mbconv(1, 1)) for i in range(4)},
    **ENDS,
}

NANO_BLOCKS = (f"{STAGES}.3.op_list.5", f"{STAGES}.4.op_list.2")

NANO: Nodes = {
    **{f"{name}.context_module.main.out": ("EvsamLiteMLA", lite_mla(16)) for name in NANO_BLOCKS},
    **ENDS,
}

NANO_ATTENTION: Nodes = {
    f"{name}.context_module.main.attention.out": ("EvsamReluLinearAttention", {"head_dim": 16, "eps": 1e-15})
    for name in NANO_BLOCKS
}


def check_nodes(answers: Iterable[Answer], models: Iterable[onnx.ModelProto], expected: Nodes) -> None:
    """The parser's answers to models of one node each, in any order."""
    nodes = [node for model in models for node in plugin_nodes(model)]
    assert sorted(node.name for node in nodes) == sorted(expected)
    for answer, node in zip(answers, nodes, strict=True):
        op, fields = expected[node.name]
        assert node.op_type == op
        assert attributes_of(node) == set(FIELDS[op])
        check_answer(answer, op, node.name, fields)


def check_model(folder: Path, model: onnx.ModelProto, expected: Nodes) -> None:
    """The whole model, in which the parser stops at the first node of a plugin, and each of these nodes."""
    single = single_nodes(model)
    whole, *answers = probe(folder, [stripped(model), *single])
    check_nodes(answers, single, expected)
    assert whole == answers[0]


def test_l0(seeded_tensors: Callable[[str], dict[str, np.ndarray]], tmp_path: Path) -> None:
    weights = Weights(VARIANTS["l0"], seeded_tensors("l0"), None, {})
    check_model(tmp_path, build_encoder(weights, ALL_PLUGINS), L0)


@pytest.mark.parametrize(
    ("plugins", "expected"), [(ALL, NANO), (frozenset({"EvsamReluLinearAttention"}), NANO_ATTENTION)]
)
def test_nano(plugins: frozenset[str], expected: Nodes, tmp_path: Path) -> None:
    check_model(tmp_path, build_encoder(load_weights("nano"), replace(ALL_PLUGINS, plugins=plugins)), expected)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def small_model(write: Callable[[Graph, str], str]) -> onnx.ModelProto:
    """What a function writes for a map (batch, CHANNELS, SIDE, SIDE)."""
    graph = Graph("small", half=True)
    shape = ("batch", CHANNELS, SIDE, SIDE)
    result = write(graph, graph.narrow(graph.input("x", shape)))
    graph.output("y", result, ("batch", "channels", "height", "width"))
    return graph.model({})


INPUT = Map("x", CHANNELS, SIDE)


def write_small(
    graph: Graph, op: Op, x: str, plugins: frozenset[str] = ALL, scale: float = 1.0, eps: float | None = None
) -> str:
    """An op with random numbers, of the network's only map."""
    convs = {
        conv.name: ConvWeights(random(*conv.weight_shape), random(conv.outputs) if conv.bias else None)
        for conv in op.convs
    }
    network = Encoder((INPUT,), (op,), (), ())
    encoder = EncoderModel(network, convs, {}, {} if eps is None else {op.name: eps}, {op.name: scale})
    return write_op(graph, op, encoder, {INPUT.name: x}, plugins)


def fused_block(name: str, stride: int = 1, activation: Activation = "gelu_tanh", residual: bool = True) -> FusedMBConv:
    spatial = Conv("spatial", CHANNELS, 2 * CHANNELS, 3, stride, bias=True)
    point = Conv("point", 2 * CHANNELS, CHANNELS, bias=True)
    added = INPUT if residual and stride == 1 else None
    return FusedMBConv(name, name, (INPUT,), spatial, point, activation, residual=added)


def write_fused(graph: Graph, x: str) -> str:
    return write_small(graph, fused_block("relu6", activation="relu6", residual=False), x, scale=4.0)


def write_folded_gelu(graph: Graph, x: str) -> str:
    return write_small(graph, fused_block("folded"), x, scale=256.0)


def write_mla(graph: Graph, x: str) -> str:
    """With the epsilon of folded ranges, far below what float16 has and near the end of what float32 has."""
    op = LiteMLA(
        "mla",
        "mla",
        (INPUT,),
        Conv("qkv", CHANNELS, 192),
        Conv("depthwise", 192, 192, 5, groups=192),
        Conv("grouped", 192, 192, groups=6),
        Conv("project", 2 * CHANNELS, CHANNELS, bias=True),
        head_dim=32,
        residual=INPUT,
    )
    return write_small(graph, op, x, eps=1e-15 / 2.0**60)


def write_relu_attention(graph: Graph, x: str) -> str:
    qkv = graph.node("Concat", x, x, x, name="qkv", axis=1)
    return write_attention(graph, qkv, CHANNELS // 16, 16, SIDE, 2.0**-50, ALL)


def write_norm(graph: Graph, x: str) -> str:
    return write_layer_norm_2d(graph, "norm", x, random(CHANNELS), random(CHANNELS), 2.0**-30, ALL)


def write_bilinear(graph: Graph, x: str) -> str:
    """Of two maps, to twice their size."""
    fine = graph.node("Concat", x, x, name="wide", axis=2)
    fine = graph.node("Concat", fine, fine, name="fine", axis=3)
    return write_upsample_add(graph, "up", [(x, 2), (x, 2), (fine, 1)], "bilinear", ALL)


SMALL: list[tuple[Callable[[Graph, str], str], Nodes]] = [
    (
        write_fused,
        {
            "relu6.out": (
                "EvsamFusedMBConv",
                {"stride": 1, "activation": "relu6", "activation_scale": 4, "residual": 0},
            )
        },
    ),
    (write_folded_gelu, {"folded.out": ("EvsamFusedMBConv", {**fused_mbconv(1, 1), "activation_scale": 256})}),
    (write_mla, {"mla.out": ("EvsamLiteMLA", {"head_dim": 32, "eps": 1e-15 / 2.0**60, "residual": 1})}),
    (write_relu_attention, {"attention.out": ("EvsamReluLinearAttention", {"head_dim": 16, "eps": 2.0**-50})}),
    (write_norm, {"norm": ("EvsamLayerNorm2d", {"eps": 2.0**-30})}),
    (write_bilinear, {"up": ("EvsamUpsampleAdd", {"mode": "bilinear"})}),
]
"""Values that l0 and nano do not have."""


def test_other_values(tmp_path: Path) -> None:
    models = [stripped(small_model(write)) for write, _ in SMALL]
    expected = {name: node for _, nodes in SMALL for name, node in nodes.items()}
    answers = probe(tmp_path, models)
    assert {op for op, _ in expected.values()} == set(FIELDS) == ALL
    check_nodes(answers, models, expected)


def test_no_such_plugin(tmp_path: Path) -> None:
    """An error of the parser, for every such node, and nothing worse."""
    model = stripped(small_model(write_norm))
    plugin_nodes(model)[0].op_type = "EvsamNoSuchPlugin"
    assert probe(tmp_path, [model]) == [not_found("EvsamNoSuchPlugin")]


def not_found(op: str) -> Answer:
    said = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
    return Answer((), parsed=False, errors=((op, said),))


def test_bodies_left_in_take_the_place_of_plugins(tmp_path: Path) -> None:
    """Whatever plugins there are: that is why the bodies have to go."""
    for answer in probe(tmp_path, [small_model(write) for write, _ in SMALL]):
        assert answer == Answer((), parsed=True, errors=())


def test_of_several_bodies_left_in_one_is_taken_for_all() -> None:
    """The parser does not know overloads of functions: it gives the second block the stride of the first.

    So a model whose bodies were left in is not only slower, as l0 with all its blocks: it may be another network, or,
    where sizes do not match, none at all.
    """
    strides = (2, 1)

    def write(graph: Graph, x: str) -> str:
        for stride in strides:
            x = write_small(graph, fused_block(f"stride{stride}", stride), x, plugins)
        return x

    def found() -> list[int]:
        network = parse(trt, small_model(write), warnings=True)
        layers = network.layers_as("CONVOLUTION", "IConvolutionLayer")
        return [layer.stride_nd[0] for layer in layers if tuple(layer.kernel_size_nd) == (3, 3)]

    plugins: frozenset[str] = frozenset()
    assert found() == [2, 1]
    plugins = ALL
    assert found() == [2, 2]


def rename_field(node: onnx.NodeProto) -> None:
    next(a for a in node.attribute if a.name == "activation_scale").name = "scale"


def remove_field(node: onnx.NodeProto) -> None:
    del node.attribute[0]


def change_value(node: onnx.NodeProto) -> None:
    next(a for a in node.attribute if a.name == "stride").i = 2


def change_text(node: onnx.NodeProto) -> None:
    next(a for a in node.attribute if a.name == "activation").s = b"gelu"


def change_type(node: onnx.NodeProto) -> None:
    scale = next(a for a in node.attribute if a.name == "activation_scale")
    scale.CopyFrom(helper.make_attribute("activation_scale", 4))


def change_version(node: onnx.NodeProto) -> None:
    node.attribute.append(helper.make_attribute("plugin_version", "2"))


def change_op(node: onnx.NodeProto) -> None:
    node.op_type = "EvsamLiteMLA"


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """The checks of this file fail on nodes that are not what they should be."""
    changes = [rename_field, remove_field, change_value, change_text, change_type, change_version, change_op]
    right = stripped(small_model(write_fused))
    models = []
    for change in changes:
        wrong = onnx.ModelProto()
        wrong.CopyFrom(right)
        change(plugin_nodes(wrong)[0])
        models.append(wrong)
    (name, (op, fields)) = next(iter(SMALL[0][1].items()))
    answer, *answers = probe(tmp_path, [right, *models])
    check_answer(answer, op, name, fields)
    for change, answer in zip(changes, answers, strict=True):
        assert answer.created or answer == not_found(op), change.__name__
        with pytest.raises(AssertionError):
            check_answer(answer, op, name, fields)
