"""Models with the inputs and outputs of the real ones that compute little, and all of whose inputs matter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from evsam.embedding import embedding_shapes
from evsam.zoo import get_variant

onnx = pytest.importorskip("onnx", reason="the small models need onnx")
helper = onnx.helper
FLOAT = onnx.TensorProto.FLOAT


def _value(name: str, dims: tuple[int | str, ...]) -> Any:
    return helper.make_tensor_value_info(name, FLOAT, dims)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, np.ndarray]) -> bytes:
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def map_names(variant: str) -> list[str]:
    return ["image_embeddings", *(f"lateral_{i}" for i in range(len(embedding_shapes(variant)) - 1))]


@lru_cache(maxsize=2)
def encoder(variant: str = "nano") -> bytes:
    """Pools the image and mixes its colours."""
    side = get_variant(variant).image_size
    rng = np.random.default_rng(0)
    nodes, outputs, constants = [], [], {}
    for name, (channels, grid, _) in zip(map_names(variant), embedding_shapes(variant), strict=True):
        step = side // grid
        constants[f"{name}.mix"] = rng.standard_normal((channels, 3, 1, 1)).astype(np.float32)
        nodes += [
            helper.make_node("AveragePool", ["images"], [f"{name}.small"], kernel_shape=[step] * 2, strides=[step] * 2),
            helper.make_node("Conv", [f"{name}.small", f"{name}.mix"], [name]),
        ]
        outputs.append(_value(name, ("batch", channels, grid, grid)))
    return _model(nodes, [_value("images", ("batch", 3, side, side))], outputs, constants)


@lru_cache(maxsize=2)
def decoder(variant: str = "nano") -> bytes:
    """Adds the maps, the points and the mask."""
    inputs, nodes = [], []
    scores = []
    for name, shape in zip(map_names(variant), embedding_shapes(variant), strict=True):
        inputs.append(_value(name, ("images", *shape)))
        nodes.append(helper.make_node("ReduceMean", [name], [f"{name}.mean"], axes=[1, 2, 3], keepdims=1))
        scores.append(f"{name}.mean")
    inputs += [
        _value("point_coords", ("prompts", "points", 2)),
        _value("point_labels", ("prompts", "points")),
        _value("mask_input", ("mask_prompts", 1, 256, 256)),
        _value("has_mask_input", (1,)),
    ]
    constants: dict[str, np.ndarray] = {
        "two": np.array([2], np.int64),
        "one": np.array([1], np.int64),
        "corner": np.array([-1, 1, 1, 1], np.int64),
        "four": np.arange(1, 5, dtype=np.float32).reshape(1, 4, 1, 1),
        "flat": np.array([-1, 4], np.int64),
    }
    nodes += [
        helper.make_node("Sum", scores, ["sum"]),
        helper.make_node("ReduceSum", ["point_coords", "two"], ["xy"], keepdims=0),
        helper.make_node("Mul", ["xy", "point_labels"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "one"], ["prompt"], keepdims=0),
        helper.make_node("Reshape", ["prompt", "corner"], ["prompt4"]),
        helper.make_node("Add", ["sum", "prompt4"], ["scalar"]),
        helper.make_node("Mul", ["scalar", "four"], ["scores4"]),
        helper.make_node("Reshape", ["scores4", "flat"], ["iou_predictions"]),
        helper.make_node("Mul", ["mask_input", "has_mask_input"], ["mask"]),
        helper.make_node("Add", ["scores4", "mask"], ["low_res_masks"]),
    ]
    outputs = [_value("iou_predictions", ("prompts", 4)), _value("low_res_masks", ("prompts", 4, 256, 256))]
    return _model(nodes, inputs, outputs, constants)


def decode(
    features: Sequence[Any], points: np.ndarray, labels: np.ndarray, masks: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the decoder computes, by NumPy."""
    total = sum(np.float32(np.asarray(array).mean()) for array in features)
    prompt = (points.sum(2) * labels).sum(1)
    scores = (total + prompt)[:, None] * np.arange(1, 5, dtype=np.float32)
    logits = np.broadcast_to(scores[:, :, None, None], (len(points), 4, 256, 256))
    return logits + (0 if masks is None else masks), scores
