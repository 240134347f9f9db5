"""Q/DQ nodes: numbers and scales by hand, where nodes stand, and which layers are given 8 bits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, numpy_helper
from PIL import Image

import evsam
from evsam import EvsamError
from evsam.cli import main
from evsam.engines.onnxruntime import open_session
from evsam.export.encoder import read_encoder, write_encoder
from evsam.export.graph import Graph, Layer
from evsam.export.onnx import build_decoder, build_encoder, usable_layers, write_decoder
from evsam.export.options import CONVOLVING_PLUGINS, PLUGINS, ExportOptions, default_plugins
from evsam.export.quantization import FORMATS, Quantization, activation_scale, as_half, quantize_weight
from evsam.export.sensitivity import (
    ELSEWHERE,
    GROUPED,
    KEPT,
    LEAST_SHARE,
    SMALL,
    Agreement,
    Limits,
    Parts,
    choose_layers,
    encode,
    open_part,
    sample_inputs,
)
from evsam.network import FusedMBConv
from evsam.weights import Weights, save_weights
from tests.own_variants import NANO_LIKE, SAM_LIKE, own_weights

INT8, FP8 = FORMATS["int8"], FORMATS["fp8"]
ELEMENTS = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN}


@pytest.mark.parametrize(
    ("number_format", "given", "expected"),
    [
        (INT8, [0.5, 1.5, -2.5, 126.6, 300, -127.4, -300], [0, 2, -2, 127, 127, -127, -128]),
        # E4M3 has 3 digits behind the point: 1, 1.125, 1.25; 448 is its largest number, 2^-9 its smallest
        (FP8, [1.0625, 1.1875, -17, 19, 460, -1e6], [1, 1.25, -16, 20, 448, -448]),
        (FP8, [2**-9, 2**-10, 3 * 2**-10], [2**-9, 0, 2**-8]),
    ],
)
def test_rounding(number_format, given, expected) -> None:
    np.testing.assert_array_equal(number_format.round(np.array(given, np.float32)), np.array(expected, np.float32))


def test_bytes() -> None:
    """E4M3: sign, four bits of exponent with bias 7, three digits; 0 is all zeros."""
    rounded = np.array([0, 1, -1, 1.125, 448, 2**-9, 7 * 2**-9, 2**-6, -2], np.float32)
    expected = [0x00, 0x38, 0xB8, 0x39, 0x7E, 0x01, 0x07, 0x08, 0xC0]
    assert FP8.encode(rounded) == bytes(expected)
    assert INT8.encode(np.array([0, 1, -1, 127, -128], np.float32)) == bytes([0, 1, 255, 127, 128])


def test_onnxruntime_rounds_as_we_do() -> None:
    values = np.random.default_rng(0).standard_normal(4096).astype(np.float32) * np.float32(3)
    for number_format in (INT8, FP8):
        graph = Graph("rounding", quantization=Quantization(number_format, {"layer": 0.0625}))
        weight = graph.weight("weight", np.eye(1, dtype=np.float32))
        x, weight = graph.quantize("layer", Layer(graph.input("x", ("n", 1)), weight, 1, grouped=False, work=1))
        graph.output("y", graph.node("MatMul", x, weight), ("n", 1))
        (y,) = open_session(graph.model({}).SerializeToString()).run(None, {"x": values[:, None]})
        np.testing.assert_allclose(y[:, 0], number_format.round(values * 16) / 16, rtol=1e-3)


def test_weights_have_a_scale_for_each_output() -> None:
    weight = np.array([[[[1.27, -0.635]]], [[[0, 0]]], [[[-254, 2]]]], np.float32)
    numbers, scales = quantize_weight(weight, 0, INT8)
    np.testing.assert_allclose(scales, [0.01, 1, 2], rtol=1e-3)
    np.testing.assert_array_equal(numbers[:, 0, 0], [[127, -63], [0, 0], [-127, 1]])
    matrix, columns = quantize_weight(weight[:, 0, 0].T, 1, INT8)
    np.testing.assert_array_equal(matrix, numbers[:, 0, 0].T)
    np.testing.assert_array_equal(columns, scales)


def test_scales_are_float16_and_never_too_small() -> None:
    wanted = np.abs(np.random.default_rng(0).standard_normal(1000)) * 10.0 ** -(np.arange(1000) ** 0.28)
    scales = as_half(wanted)
    assert (scales >= wanted).all()
    np.testing.assert_array_equal(scales, scales.astype(np.float16))


def test_rules_for_activations() -> None:
    """A tensor of 99,990 numbers up to 1.27 and one outlier."""
    values = np.append(np.linspace(-1.27, 1.27, 99_990, dtype=np.float32), np.float32(127))
    assert activation_scale(values, 127, INT8, "max") == 1
    assert activation_scale(values, 127, INT8, "percentile") == pytest.approx(0.01, rel=1e-2)
    # cutting off the outlier costs (127 - m)^2 once, rounding costs scale^2 / 12 each time
    costs = {part: (127 - 127 * part) ** 2 + 99_990 * part**2 / 12 for part in 2.0 ** -np.linspace(0, 3, 25)}
    assert activation_scale(values, 127, INT8, "mse") == pytest.approx(min(costs, key=costs.__getitem__), rel=0.1)
    assert activation_scale(np.zeros(4, np.float32), 0, INT8, "percentile") == 1
    with pytest.raises(EvsamError, match="rule: expected one of max, percentile, mse, got 'entropy'"):
        activation_scale(values, 127, INT8, "entropy")  # type: ignore[arg-type]


def layers_of(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, list[onnx.NodeProto | None]]]:
    """Layers with weights, and what makes their two operands, None for constants and inputs."""
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        operands = [makers.get(name) for name in node.input[:2]]
        product = node.op_type == "MatMul" and (
            node.input[1] in constants or (operands[1] is not None and operands[1].op_type == "DequantizeLinear")
        )
        if product or node.op_type in ("Conv", "ConvTranspose"):
            yield node, operands


def every_layer(build: Any, weights: Weights, precision: Any) -> tuple[onnx.ModelProto, dict[str, Layer]]:
    """A model with all layers in 8 bits, and a scale of 0.05 for whatever they read."""
    graph = Graph("layers")
    if build is build_encoder:
        write_encoder(graph, read_encoder(weights))
    else:
        write_decoder(graph, weights, ExportOptions())
    plan = Quantization(FORMATS[precision], dict.fromkeys(graph.layers, 0.05))
    return build(weights, ExportOptions(precision, opset=20), quantization=plan), graph.layers


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@pytest.mark.parametrize("build", [build_encoder, build_decoder])
@pytest.mark.parametrize("variant", [SAM_LIKE, NANO_LIKE], ids=lambda variant: variant.name)
def test_nodes(variant, build, precision) -> None:
    """Both operands of every layer are dequantised; nothing else is; a value is rounded once."""
    model, layers = every_layer(build, own_weights(variant), precision)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {node.name.removesuffix(".product"): operands for node, operands in layers_of(model)}
    assert found.keys() - layers.keys() <= {"tokens.matmul"}  # positions of prompts, which are float32
    rounded = set()
    for name in layers:
        x, weight = found[name]
        assert x is not None
        assert weight is not None
        assert x.op_type == weight.op_type == "DequantizeLinear"
        rounded.add(x.name)
        stored, scale = (constants[each] for each in weight.input)
        assert stored.data_type == ELEMENTS[precision]
        assert scale.data_type == TensorProto.FLOAT16
        axis = onnx.helper.get_node_attr_value(weight, "axis")
        assert axis == layers[name].axis
        assert list(scale.dims) == [stored.dims[axis]]
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts["QuantizeLinear"] == len(rounded) == len({layer.x for layer in layers.values()})
    assert counts["DequantizeLinear"] == len(rounded) + len(layers)
    users = {name: [node.op_type for node in model.graph.node if name in node.input] for name in rounded}
    assert {op for ops in users.values() for op in ops} <= {"Conv", "ConvTranspose", "MatMul"}


def check_weights(model: onnx.ModelProto, exact: onnx.ModelProto) -> None:
    """Dequantised weights of int8 are within half a step of what they were."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in exact.graph.initializer}
    checked = 0
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        weight = wanted[node.input[0].removesuffix(".quantized")]
        numbers, scales = (numpy_helper.to_array(constants[name]).astype(np.float32) for name in node.input)
        axis = onnx.helper.get_node_attr_value(node, "axis")
        steps = np.expand_dims(scales, [other for other in range(weight.ndim) if other != axis])
        assert (np.abs(numbers * steps - weight) <= 0.51 * steps + 1e-3 * np.abs(weight)).all(), node.name
        assert (np.abs(numbers).max(tuple(o for o in range(weight.ndim) if o != axis))[scales != 1] > 100).all()
        checked += 1
    assert checked


@pytest.mark.parametrize("build", [build_encoder, build_decoder])
def test_stored_weights(build) -> None:
    weights = own_weights(NANO_LIKE)
    model, _ = every_layer(build, weights, "int8")
    exact = build(weights, ExportOptions(opset=20))
    check_weights(model, exact)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(".scale"))
    values = numpy_helper.to_array(scale).copy()
    values[0] *= np.float16(2)
    scale.CopyFrom(numpy_helper.from_array(values, scale.name))
    with pytest.raises(AssertionError):
        check_weights(model, exact)


CHANNELS, PIXELS = 8, 16


def small_parts(**changes: Any) -> Parts:
    """An encoder of three 1x1 convolutions; the input of the second has one channel a hundred times as large.

    The third, in groups, follows the second. Logits of the decoder are products with the map's channels.
    """
    rng = np.random.default_rng(0)
    first, second, third, tokens = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((CHANNELS, 3, 1, 1), (CHANNELS, CHANNELS, 1, 1), (CHANNELS, 1, 1, 1), (CHANNELS, 4 * CHANNELS))
    )
    first[0] *= 100
    second[:, 0] *= 1e-2

    def write_encoder(graph: Graph) -> None:
        x = graph.input("images", (1, 3, PIXELS, PIXELS))
        for name, weight in (("first", first), ("second", second), ("third", third)):
            groups = CHANNELS if name == "third" else 1
            inputs = 3 if name == "first" else CHANNELS
            layer = Layer(x, graph.weight(f"{name}.weight", weight), 0, groups > 1, weight.size / inputs)
            x = graph.node("Conv", *graph.quantize(name, layer), name=name, group=groups)
        graph.output("image_embeddings", x, (1, CHANNELS, PIXELS, PIXELS))

    def write_decoder(graph: Graph) -> None:
        x = graph.input("image_embeddings", (1, CHANNELS, PIXELS, PIXELS))
        x = graph.node("Transpose", x, perm=[0, 2, 3, 1])
        layer = Layer(x, graph.weight("tokens", tokens), 1, grouped=False, work=4 * CHANNELS)
        y = graph.node("Transpose", graph.node("MatMul", *graph.quantize("product", layer)), perm=[0, 3, 1, 2])
        graph.output("low_res_masks", y, (1, 4 * CHANNELS, PIXELS, PIXELS))

    usable = frozenset({"first", "second", "third", "product"})
    return replace(Parts(write_encoder, write_decoder, lambda maps, _: [maps], usable), **changes)


def images(count: int = 4) -> list[np.ndarray]:
    return list(np.random.default_rng(1).standard_normal((count, 3, PIXELS, PIXELS)).astype(np.float32))


def test_sensitive_layer_stays_in_float16() -> None:
    choice = choose_layers(small_parts(), INT8, images(), Limits(cosine=0.999, iou=0.95), "max")
    rows = {row.name: row for row in choice.layers}
    assert {name: row.precision for name, row in rows.items()} == {
        "first": "int8",
        "second": "fp16",
        "third": "int8",
        "product": "int8",
    }
    assert rows["second"].why == KEPT
    errors = {name: row.error for name, row in rows.items() if row.error is not None}
    assert errors["second"] > 10 * errors["first"] > 0
    assert "product" not in errors  # all of the decoder's were allowed at once
    assert choice.found_on == len(choice.reference.pixels) == 2
    assert sum(row.share for row in choice.layers if row.part == "encoder") == pytest.approx(1)
    assert rows["second"].share == pytest.approx(64 / (24 + 64 + 8))
    assert choice.plans["encoder"].scales.keys() == {"first", "third"}
    largest = max(np.abs(image).max() for image in images()[::2])
    assert choice.plans["encoder"].scales["first"] == pytest.approx(largest / 127, rel=2e-3)


def test_all_or_nothing() -> None:
    loose = choose_layers(small_parts(), INT8, images(1), Limits(0, 0), "max")
    assert {row.precision for row in loose.layers} == {"int8"}
    assert loose.found_on == 1
    strict = choose_layers(small_parts(), INT8, images(1), Limits(1, 1), "max")
    assert {row.precision for row in strict.layers} == {"fp16"}
    with pytest.raises(EvsamError, match="images: expected at least one to find scales on, got none"):
        choose_layers(small_parts(), INT8, [], Limits(), "max")
    with pytest.raises(EvsamError, match=r"iou: expected a limit from 0 to 1, got 1\.5"):
        Limits(iou=1.5)


def test_why_layers_are_not_tried(monkeypatch) -> None:
    choice = choose_layers(small_parts(usable=frozenset({"second", "third"})), FP8, images(), Limits(0, 0), "max")
    assert {row.name: row.why for row in choice.layers} == {
        "first": ELSEWHERE,
        "second": "",
        "third": GROUPED,
        "product": ELSEWHERE,
    }
    monkeypatch.setattr("evsam.export.sensitivity.LEAST_SHARE", 0.1)
    assert LEAST_SHARE < 0.1
    choice = choose_layers(small_parts(), INT8, images(), Limits(0, 0), "max")
    assert {row.name: row.why for row in choice.layers}["third"] == SMALL


def test_broken_scale_is_found() -> None:
    """A model with one scale that is wrong by 10 does not keep the limits that it did keep."""
    parts, limits = small_parts(), Limits(cosine=0.999, iou=0.95)
    choice = choose_layers(parts, INT8, images(), limits, "max")
    plan, decoder = choice.plans["encoder"], open_part(parts.decoder, choice.plans["decoder"])

    def agreement(plan: Quantization) -> Agreement:
        return choice.reference.agreement(encode(open_part(parts.encoder, plan), choice.reference.pixels), decoder)

    assert agreement(plan).within(limits)
    for factor in (10, 0.1):
        broken = replace(plan, scales={**plan.scales, "first": plan.scales["first"] * factor})
        assert not agreement(broken).within(limits)


def test_samples() -> None:
    found = sample_inputs(small_parts().encoder, ({"images": image[None]} for image in images(3)))
    sample, work, grouped = found["first"]
    assert (work, grouped) == (CHANNELS, False)
    np.testing.assert_array_equal(np.sort(sample.values), np.sort(np.stack(images(3)).ravel()))
    assert sample.largest == np.abs(sample.values).max()
    assert sample.count == sample.values.size
    assert found["third"][2]


@pytest.fixture
def own_model(tmp_path):
    weights = own_weights(SAM_LIKE)
    path = tmp_path / "own.safetensors"
    save_weights(path, weights.tensors, weights.variant)
    beside = tmp_path / "own.calibration"
    beside.mkdir()
    for index in range(2):
        coarse = np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC).save(beside / f"{index}.png")
    return path


def test_export(own_model, tmp_path, capsys) -> None:
    """The folder that is written runs on onnxruntime, and keeps the limits that its report speaks of."""
    out = tmp_path / "out"
    arguments = ["export", str(own_model), "--format", "onnx", "-o", str(out), "--precision", "int8"]
    assert main([*arguments, "--least-cosine", "0.99", "--least-iou", "0.9"]) == 0
    printed = capsys.readouterr().out
    assert "on 1 others the lowest cosine" in printed
    assert "generated images" not in printed
    report = json.loads((out / "layers.json").read_text())
    manifest = json.loads((out / "evsam.json").read_text())
    assert (manifest["precision"], manifest["opset"]) == ("int8", 20)
    assert report["limits"] == {"cosine": 0.99, "iou": 0.9}
    assert report["share"]["encoder"] > 0.5
    assert report["agreement"]["cosine"] >= 0.985
    assert {row["precision"] for row in report["layers"]} <= {"int8", "fp16"}
    model = onnx.load(out / "encoder.onnx")
    end = ".weight.quantized"
    stored = {tensor.name.removesuffix(end) for tensor in model.graph.initializer if tensor.name.endswith(end)}
    assert stored == {
        row["name"] for row in report["layers"] if row["precision"] == "int8" and row["part"] == "encoder"
    }
    photo = np.asarray(Image.open(own_model.with_suffix("").with_suffix(".calibration") / "1.png"))
    with evsam.load(out) as narrow, evsam.load(own_model) as exact:
        a, b = (sam.encode(photo).features for sam in (narrow, exact))
        assert np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(
            report["agreement"]["cosine"], abs=1e-3
        )
    assert main(["export", str(own_model), "--format", "onnx", "-o", str(out)]) == 0
    assert not (out / "layers.json").exists()


def test_old_opset_is_refused(own_model, tmp_path, capsys) -> None:
    arguments = ["--format", "onnx", "-o", str(tmp_path / "x"), "--precision", "int8", "--opset", "17"]
    assert main(["export", str(own_model), *arguments]) == 1
    assert "opset: expected 20 for int8, got 17" in capsys.readouterr().err


def test_plugins_keep_their_layers() -> None:
    """Convolutions inside of plugins' nodes are float16; other plugins take the place of no layer."""
    assert default_plugins("int8") == frozenset(PLUGINS) - CONVOLVING_PLUGINS
    weights = own_weights(SAM_LIKE)
    encoder = read_encoder(weights)
    options = ExportOptions("int8", frozenset({"EvsamFusedMBConv", "EvsamLayerNorm2d"}), opset=20)
    plain = usable_layers(weights, encoder, replace(options, plugins=frozenset()), options)
    usable = usable_layers(weights, encoder, options, options)
    blocks = [op.name for op in encoder.network.ops if isinstance(op, FusedMBConv)]
    assert blocks
    assert plain - usable == {f"{block}.{name}" for block in blocks for name in ("spatial", "point")}
    decoder = {name for name in plain if name.startswith(("mask_decoder", "prompt_encoder"))}
    assert plain - usable_layers(weights, encoder, options, replace(options, precision="fp32")) >= decoder > set()
    model = build_encoder(weights, options, encoder, Quantization(INT8, dict.fromkeys(usable, 0.05)))
    ops = Counter(node.op_type for node in model.graph.node)
    assert ops["EvsamFusedMBConv"] == len(blocks)
    assert ops["QuantizeLinear"] > 0
