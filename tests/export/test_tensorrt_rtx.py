"""Exported models through the parser and the builder of TensorRT for RTX, which need no GPU; nothing runs here.

Engines are built for SM 86 and SM 120.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx not installed: pip install 'evsam[onnx]'")

from onnx import helper

from evsam.embedding import embedding_shapes
from evsam.export.encoder import EncoderModel, read_encoder, write_encoder
from evsam.export.graph import Graph
from evsam.export.onnx import build_decoder, build_encoder, write_decoder
from evsam.export.options import ExportOptions
from evsam.export.quantization import FORMATS, Quantization
from evsam.network import Encoder, LiteMLA, describe_encoder
from evsam.weights import Weights, expected_tensors, load_weights
from evsam.zoo import VARIANTS, Variant
from tests.export.rtx import Network, build, import_rtx, inferred_types, parse
from tests.golden.seeded_weights import seeded_state_dict
from tests.memory import give_back
from tests.own_variants import NANO_LIKE, SAM_LIKE, own_weights
from tests.thorough import sparing

trt = import_rtx()

FP16 = ExportOptions(precision="fp16", opset=20)

LARGEST = 4
"""Images, prompts and points of the engines' profiles."""

Shapes = dict[str, tuple[int, ...]]


def weights(variant: str) -> Weights:
    """Weights of a variant, which nobody else holds: nano's own, stand-ins for the others."""
    if variant == "nano":
        return load_weights(variant)
    return Weights(VARIANTS[variant], seeded_state_dict(dict(expected_tensors(variant))), None, {})


def decoder_weights(variant: str) -> Weights:
    """The same without those of the encoder, which are most of the work."""
    if variant == "nano":
        return load_weights(variant)
    shapes = {name: shape for name, shape in expected_tensors(variant).items() if not name.startswith("image_encoder")}
    return Weights(VARIANTS[variant], seeded_state_dict(shapes), None, {})


def outputs_of_encoder(variant: str) -> Shapes:
    embedding, *lateral = embedding_shapes(variant)
    return {"image_embeddings": (-1, *embedding), **{f"lateral_{i}": (-1, *shape) for i, shape in enumerate(lateral)}}


def inputs_of_decoder(variant: str) -> Shapes:
    return {
        **outputs_of_encoder(variant),
        "point_coords": (-1, -1, 2),
        "point_labels": (-1, -1),
        "mask_input": (-1, 1, 256, 256),
        "has_mask_input": (1,),
    }


def outputs_of_decoder(masks: int) -> Shapes:
    return {"iou_predictions": (-1, masks), "low_res_masks": (-1, masks, 256, 256)}


def as_float(shapes: Shapes) -> dict[str, tuple[Any, tuple[int, ...]]]:
    return {name: (trt.DataType.FLOAT, shape) for name, shape in shapes.items()}


def profiles(network: Network) -> dict[str, list[tuple[int, ...]]]:
    """Of all inputs that vary: from one image and one prompt without points."""

    def shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        low = tuple(int(axis == 0) if size < 0 else size for axis, size in enumerate(shape))
        high = tuple(LARGEST if size < 0 else size for size in shape)
        return [low, high, high]

    return {name: shapes(shape) for name, (_, shape) in network.inputs().items() if min(shape) < 0}


def check_every_value(network: Network) -> None:
    """TensorRT finds the types and sizes, fixed and varying, that ONNX does."""
    inferred, values = inferred_types(network.model), dict(network.values())
    assert values
    for name, tensor in values.items():
        element, shape = inferred[name]
        sizes = tuple(-1 if size is None else size for size in shape)
        assert (tensor.dtype, tuple(tensor.shape)) == (network.type_of(element), sizes), name


def check_engine(network: Network) -> None:
    """The engine holds the weights at least, and what it makes of them."""
    sizes = [
        math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in network.model.graph.initializer
    ]
    assert build(network, profiles(network)) > sum(sizes)


def check_precision(network: Network) -> None:
    """An fp16 network: convolutions compute on 16 bits, and what cannot do without on 32."""
    half, single = trt.DataType.HALF, trt.DataType.FLOAT
    convolutions = [*network.layers("CONVOLUTION"), *network.layers("DECONVOLUTION")]
    assert convolutions
    assert all(network.types(layer) == {half} for layer in convolutions)

    counts = Counter(node.op_type for node in network.model.graph.node)
    for op, kind in (("LayerNormalization", "NORMALIZATION"), ("Softmax", "SOFTMAX")):
        layers = network.layers(kind)
        assert len(layers) == counts[op]
        assert all(network.types(layer) == {single} for layer in layers)
    assert counts["LayerNormalization"]


def check_activations(network: Network) -> None:
    """Of GELU's two formulas TensorRT takes the one that the node names."""
    kinds = Counter(layer.type.name for layer in network.layers_as("ACTIVATION", "IActivationLayer"))
    nodes = [node for node in network.model.graph.node if node.op_type == "Gelu"]
    formulas = Counter(helper.get_node_attr_value(node, "approximate").decode() for node in nodes)
    assert (kinds["GELU_TANH"], kinds["GELU_ERF"]) == (formulas["tanh"], formulas["none"])


def check_no_half(network: Network) -> None:
    assert all(trt.DataType.HALF not in network.types(layer) for layer in network.layers())


def attention_layers(network: Network) -> list[Any]:
    """Everything between the cast to float32 and the one back in ReLU linear attentions."""
    return [layer for layer in network.layers() if ".attention." in layer.name and not layer.name.endswith(".cast")]


def check_attention(network: Network, encoder: Encoder) -> None:
    """Sums over tokens are float32, in every block."""
    blocks = [op for op in encoder.ops if isinstance(op, LiteMLA)]
    layers = attention_layers(network)
    products = [layer for layer in layers if layer.type == trt.LayerType.MATRIX_MULTIPLY]
    assert len(products) == 2 * len(blocks) > 0
    assert all(trt.DataType.HALF not in network.types(layer) for layer in layers)


def parsed_encoder(name: str, options: ExportOptions) -> Network:
    variant = VARIANTS[name]
    encoder = read_encoder(weights(name))
    give_back()  # each copy of xl1's weights takes 0.8 GB
    model = build_encoder(Weights(variant, {}, None, {}), options, encoder)
    del encoder
    give_back()
    network = parse(trt, model)
    assert network.inputs() == as_float({"images": (-1, 3, variant.image_size, variant.image_size)})
    assert network.outputs() == as_float(outputs_of_encoder(name))
    check_every_value(network)
    check_activations(network)
    return network


def parsed_decoder(variant: str, options: ExportOptions, masks: int = 4) -> Network:
    network = parse(trt, build_decoder(decoder_weights(variant), options))
    assert network.inputs() == as_float(inputs_of_decoder(variant))
    assert network.outputs() == as_float(outputs_of_decoder(masks))
    check_every_value(network)
    check_activations(network)
    return network


@pytest.mark.parametrize("variant", sparing(VARIANTS, "l1", "l2", "xl0"))
def test_fp16_encoder(variant: str) -> None:
    network = parsed_encoder(variant, FP16)
    check_precision(network)
    check_attention(network, describe_encoder(VARIANTS[variant]))
    check_engine(network)


@pytest.mark.parametrize("variant", VARIANTS)
def test_fp16_decoder(variant: str) -> None:
    network = parsed_decoder(variant, FP16)
    check_precision(network)
    assert network.layers("SOFTMAX")
    check_engine(network)


@pytest.mark.parametrize("variant", ["nano", "l0"])
def test_fp32_encoder(variant: str) -> None:
    network = parsed_encoder(variant, ExportOptions())
    check_no_half(network)
    if variant == "nano":
        check_engine(network)


def test_fp32_decoder() -> None:
    network = parsed_decoder("nano", ExportOptions())
    check_no_half(network)
    check_engine(network)


@pytest.mark.parametrize("variant", ["nano", "l0"])
@pytest.mark.parametrize(("masks", "count"), [("auto", 1), ("single", 1), ("multi", 3)])
def test_choices_of_masks(variant: str, masks: Any, count: int) -> None:
    network = parsed_decoder(variant, replace(FP16, masks=masks), count)
    if (variant, masks) == ("nano", "auto"):
        check_engine(network)


@pytest.mark.parametrize("variant", ["nano", "l0"])
def test_masks_of_the_images_size_are_refused(variant: str) -> None:
    """The size of the image is float32, as in SAM's ONNX decoder, and TensorRT makes shapes of integers alone."""
    model = build_decoder(decoder_weights(variant), replace(FP16, image_size_masks=True))
    with pytest.raises(AssertionError, match=r"orig_im_size is a shape tensor and must have type Int32 or Int64"):
        parse(trt, model)


@pytest.mark.parametrize("value", [".scales", ".logits"])
def test_sums_on_16_bits_are_found(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The checks of this file fail where a cast to float32 is missing: of the linear attention, of softmax."""
    wide = Graph.wide
    monkeypatch.setattr(Graph, "wide", lambda graph, name: name if name.endswith(value) else wide(graph, name))
    nano = load_weights("nano")
    encoder = read_encoder(nano)
    networks = [parse(trt, build_encoder(nano, FP16, encoder)), parse(trt, build_decoder(nano, FP16))]
    for network in networks:
        check_every_value(network)
    with pytest.raises(AssertionError):
        check_attention(networks[0], encoder.network) if value == ".scales" else check_precision(networks[1])


def test_other_types_than_those_of_the_model_are_found() -> None:
    nano = load_weights("nano")
    network = parse(trt, build_encoder(nano, FP16))
    with pytest.raises(AssertionError):
        check_every_value(replace(network, model=build_encoder(nano)))
    with pytest.raises(AssertionError):
        check_no_half(network)


@pytest.fixture(scope="module")
def folded() -> EncoderModel:
    """l0's encoder for small images, whose values would not fit into float16: with folded ranges."""
    pytest.importorskip("onnxruntime", reason="onnxruntime not installed: pip install 'evsam[onnx]'")
    from evsam.export.ranges import fold_ranges

    encoder = read_encoder(weights("l0"), image_size=128)
    first = encoder.network.ops[0].convs[0].name
    numbers = encoder.convs[first]
    bright = {**encoder.convs, first: numbers._replace(weight=numbers.weight * 1e5)}
    picture = np.random.default_rng(0).standard_normal((3, 128, 128)).astype(np.float32)
    return fold_ranges(replace(encoder, convs=bright), [picture])[0]


def test_folded_ranges(folded: EncoderModel) -> None:
    """GELU of values that are stored as a fraction is computed on the values, in float32."""
    activated = [op for op in folded.network.ops if getattr(op, "activation", "none") != "none"]
    assert all(folded.inner_scale(op) > 1 for op in activated)
    network = parse(trt, build_encoder(weights("l0"), FP16, folded))
    check_every_value(network)
    check_precision(network)
    check_attention(network, folded.network)
    check_activations(network)
    gelu = [x for x in network.layers_as("ACTIVATION", "IActivationLayer") if x.type == trt.ActivationType.GELU_TANH]
    assert len(gelu) >= len(activated)
    assert all(network.types(layer) == {trt.DataType.FLOAT} for layer in gelu)
    factors = [layer for layer in network.layers("ELEMENTWISE") if re.search(r"gelu\.(value|stored)(_2)?$", layer.name)]
    assert len(factors) == 2 * len(gelu)
    assert all(network.types(layer) == {trt.DataType.FLOAT} for layer in factors)
    check_engine(network)


def quantized(build_part: Any, precision: Any, weights: Weights) -> Network:
    """A part of a made-up variant with all layers in 8 bits, parsed."""
    graph = Graph("layers")
    if build_part is build_encoder:
        write_encoder(graph, read_encoder(weights))
    else:
        write_decoder(graph, weights, ExportOptions())
    layers = [name for name, layer in graph.layers.items() if FORMATS[precision].grouped or not layer.grouped]
    plan = Quantization(FORMATS[precision], dict.fromkeys(layers, 0.05))
    return parse(trt, build_part(weights, ExportOptions(precision, opset=20), quantization=plan))


TARGETS = {"int8": ("SM86", "SM120"), "fp8": ("SM89", "SM120")}
"""Ampere, the family of Jetson Orin, Ada, and Blackwell, that of Jetson Thor."""


@pytest.mark.parametrize("precision", TARGETS)
@pytest.mark.parametrize("build_part", [build_encoder, build_decoder])
@pytest.mark.parametrize("variant", [SAM_LIKE, NANO_LIKE], ids=lambda variant: variant.name)
def test_eight_bits(variant: Variant, build_part: Any, precision: str) -> None:
    """All Q/DQ nodes become layers between float16 and the format, and one variant, for it is slow, is built."""
    network = quantized(build_part, precision, own_weights(variant))
    check_every_value(network)
    check_precision(network)
    counts = Counter(node.op_type for node in network.model.graph.node)
    stored = trt.DataType.INT8 if precision == "int8" else trt.DataType.FP8
    pairs = [*network.layers("QUANTIZE"), *network.layers("DEQUANTIZE")]
    assert len(pairs) == counts["QuantizeLinear"] + counts["DequantizeLinear"] > 0
    for layer in pairs:
        narrow = layer.get_output(0) if layer.type == trt.LayerType.QUANTIZE else layer.get_input(0)
        assert narrow.dtype == stored
        assert trt.DataType.HALF in network.types(layer)
    if variant == NANO_LIKE:
        assert build(network, profiles(network), TARGETS[precision]) > 0


def test_fp8_needs_its_hardware() -> None:
    """TensorRT builds it for compute capability 8.9 and later alone, so not for Orin."""
    network = quantized(build_encoder, "fp8", own_weights(NANO_LIKE))
    with pytest.raises(AssertionError, match=r"Cannot compile for target.*sm86, because .* datatypes: fp8_e4m3"):
        build(network, profiles(network), ("SM86",))
