"""Range folding: the float32 network stays what it is, to the bit, and the float16 network becomes finite."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from benchmarks.models.simulation import SimulatedGraph
from evsam import EvsamError
from evsam.engines.onnxruntime import open_session
from evsam.export.encoder import EncoderModel, read_encoder, write_encoder
from evsam.export.graph import Graph
from evsam.export.ranges import FLOAT16_MAX, HEADROOM, PREFIX, add_probes, fold_ranges, holds_unscaled_value
from evsam.network import FusedMBConv, describe_encoder
from evsam.zoo import VARIANTS
from tests.export.networks import amplified_weights, weights_of
from tests.thorough import sparing

SIDE = 128


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((3, SIDE // 16, SIDE // 16)).astype(np.float32)
    return [np.kron(coarse, np.ones((16, 16), np.float32)) + rng.standard_normal((3, SIDE, SIDE)).astype(np.float32)]


def run(encoder: EncoderModel, graph: Graph | None = None) -> list[np.ndarray]:
    graph = graph or Graph("encoder")
    write_encoder(graph, encoder)
    session = open_session(graph.model({}).SerializeToString())
    return session.run(None, {"images": images()[0][None]})


def run_with_probes(encoder: EncoderModel, graph: Graph) -> tuple[list[np.ndarray], dict[str, float]]:
    """The outputs, and the largest magnitude of every tensor."""
    write_encoder(graph, encoder)
    add_probes(graph)
    session = open_session(graph.model({}).SerializeToString())
    found = dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {"images": images()[0][None]}), strict=True)
    )
    outputs = [value for name, value in found.items() if not name.startswith(PREFIX)]
    return outputs, {name: float(value) for name, value in found.items() if name.startswith(PREFIX)}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def with_new_ops() -> list[str]:
    """Variants with an op that none before them has: the others are the same ops, only more of them."""
    chosen: list[str] = []
    known: set[str] = set()
    for variant, description in VARIANTS.items():
        ops = {
            re.sub(r"'[^']*'", "", repr(op)) for op in describe_encoder(description, SIDE).ops
        }  # but for their names
        if not ops <= known:
            chosen.append(variant)
        known |= ops
    return chosen


def test_variants_that_differ_in_depth_alone_are_left_out() -> None:
    assert with_new_ops() == ["nano", "l0", "xl0"]


@pytest.mark.parametrize("variant", sparing(with_new_ops(), "xl0"))
def test_folding_keeps_the_network_and_makes_float16_finite(variant) -> None:
    encoder = read_encoder(amplified_weights(variant), SIDE)
    folded, report = fold_ranges(encoder, images())
    assert max(row.before for row in report.ranges if row.kind == "stream") > 1e6
    exact = run(encoder)
    for a, b in zip(exact, run(folded), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not all(np.isfinite(x).all() for x in run(encoder, SimulatedGraph("encoder", "float16")))
    narrow, largest = run_with_probes(folded, SimulatedGraph("encoder", "float16"))
    for a, b in zip(exact, narrow, strict=True):
        assert np.isfinite(b).all()
        assert cosine(a, b) >= 0.9999
    # rounding moves the largest values a little
    limit = 1.01 * FLOAT16_MAX / HEADROOM
    assert len(largest) > 100
    for name, value in largest.items():
        assert holds_unscaled_value(name) or value <= limit, name


def test_lateral_maps_keep_their_values() -> None:
    weights = weights_of("nano")
    grown = {
        name: tensor * np.float32(2**14) if ".lateral.skip." in name and name.endswith(".weight") else tensor
        for name, tensor in weights.tensors.items()
    }
    encoder = read_encoder(replace(weights, tensors=grown), SIDE)
    folded, report = fold_ranges(encoder, images())
    laterals = [row for row in report.ranges if row.kind == "output"]
    assert laterals
    assert all(row.scale > 1 for row in laterals)
    for a, b in zip(run(encoder), run(folded), strict=True):
        np.testing.assert_array_equal(a, b)


def test_report() -> None:
    _, report = fold_ranges(read_encoder(amplified_weights("l0"), SIDE), images(), headroom=8)
    names = {row.name for row in report.ranges}
    assert {"neck", "neck.output", "image_encoder.backbone.stages.3.op_list.0.main"} <= names
    assert {row.kind for row in report.ranges} == {"stream", "hidden", "query", "key", "value", "norm"}
    for row in report.ranges:
        assert row.scale == 2 ** round(np.log2(row.scale)) >= 1
        assert row.after <= FLOAT16_MAX / 8
        assert row.name in report.as_text()
    assert report.as_json()["ranges"][0]["before"] == report.ranges[0].before
    assert report.largest[0] <= FLOAT16_MAX / 8


def test_small_activations_keep_their_weights() -> None:
    encoder = read_encoder(weights_of("l0"), SIDE)
    folded, report = fold_ranges(encoder, images())
    assert all(row.scale == 1 for row in report.ranges if row.kind in ("stream", "hidden", "value"))
    blocks = [op for op in encoder.network.ops if isinstance(op, FusedMBConv)]
    assert len(blocks) == 4 + 4
    for name in (conv.name for block in blocks for conv in block.convs):
        assert encoder.convs[name].weight.tobytes() == folded.convs[name].weight.tobytes()


@pytest.mark.parametrize("headroom", [0.5, 1e6])
def test_headroom_out_of_range(headroom) -> None:
    with pytest.raises(EvsamError, match="headroom: expected a number from 1 to 65504, got"):
        fold_ranges(read_encoder(weights_of("nano"), SIDE), images(), headroom)


def test_no_images() -> None:
    with pytest.raises(EvsamError, match="images: expected at least one to measure ranges on, got none"):
        fold_ranges(read_encoder(weights_of("nano"), SIDE), [])


@pytest.mark.parametrize(("storage", "kept", "rounded"), [("float16", 11, 12), ("bfloat16", 8, 9)])
def test_simulation_rounds(storage, kept, rounded) -> None:
    graph = SimulatedGraph("rounding", storage)
    x = graph.narrow(graph.input("x", ("n",)))
    graph.output("y", graph.node("Add", x, x), ("n",))
    session = open_session(graph.model({}).SerializeToString())
    values = np.array([1 + 2.0 ** (1 - kept), 1 + 2.0 ** (1 - rounded)], np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": values})[0], [2 * values[0], 2])


def test_simulation_adds_up_in_float32() -> None:
    graph = SimulatedGraph("sums", "float16")
    x = graph.narrow(graph.input("x", (1, 4099)))
    ones = graph.weight("ones", np.ones((4099, 1)))
    graph.output("y", graph.node("MatMul", x, ones), (1, 1))
    session = open_session(graph.model({}).SerializeToString())
    (y,) = session.run(None, {"x": np.ones((1, 4099), np.float32)})
    assert y.item() == 4100  # float16's neighbours are 4096 and 4100; added up in float16 it would stay at 2048
