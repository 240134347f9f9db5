"""Nodes of plugins by what TensorRT's parser makes of them; plugin_probe.py is the process that asks it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from evsam.export.graph import DOMAIN
from evsam.export.tensorrt import strip_functions

__all__ = [
    "FIELDS",
    "Answer",
    "Fields",
    "attributes_of",
    "check_answer",
    "plugin_nodes",
    "probe",
    "single_nodes",
    "stripped",
]

PROBE = Path(__file__).with_name("plugin_probe.py")

FIELDS: dict[str, dict[str, str]] = {
    "EvsamReluLinearAttention": {"head_dim": "INT32", "eps": "FLOAT32"},
    "EvsamLiteMLA": {"head_dim": "INT32", "eps": "FLOAT32", "residual": "INT32"},
    "EvsamFusedMBConv": {
        "stride": "INT32",
        "activation": "CHAR",
        "activation_scale": "FLOAT32",
        "residual": "INT32",
    },
    "EvsamLayerNorm2d": {"eps": "FLOAT32"},
    "EvsamUpsampleAdd": {"mode": "CHAR"},
}
"""Fields that the plugins have, and their types."""

Fields = Mapping[str, Any]
"""Names and values of a node's fields, as Python has them."""


@dataclass(frozen=True)
class Answer:
    """What the parser did with one model.

    Attributes:
        created: the plugins that it asked for: name, node, and type and value of each field.
        parsed: whether it took the model.
        errors: operator and text of what it says against it.
    """

    created: tuple[tuple[str, str, dict[str, list[Any]]], ...]
    parsed: bool
    errors: tuple[tuple[str, str], ...]


def probe(folder: Path, models: Sequence[onnx.ModelProto]) -> list[Answer]:
    """Parse models in a process that has creators for all plugins.

    Args:
        folder: empty one, for files.
        models: to parse, one after the other.
    """
    fields = folder / "fields.json"
    fields.write_text(json.dumps(FIELDS))
    files = [folder / f"{index}.onnx" for index in range(len(models))]
    for file, model in zip(files, models, strict=True):
        file.write_bytes(model.SerializeToString())
    command = [sys.executable, str(PROBE), str(fields), *map(str, files)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    answers, created = [], []
    for line in process.stdout.splitlines():
        if not line.startswith("{"):
            continue  # TensorRT's own
        answer = json.loads(line)
        if "created" in answer:
            assert answer["phase"] == "BUILD"
            created.append((answer["created"], answer["node"], answer["fields"]))
        else:
            answers.append(Answer(tuple(created), answer["parsed"], tuple(map(tuple, answer["errors"]))))
            created = []
    assert process.returncode == 0, process.stderr
    assert len(answers) == len(models), process.stdout
    return answers


def check_answer(answer: Answer, op: str, node: str, expected: Fields) -> None:
    """A model whose first plugin node is this one.

    Args:
        answer: of the parser.
        op: type of the node.
        node: its name.
        expected: names and values of its fields.

    Raises:
        AssertionError: the parser asked for something else.
    """
    wanted = {name: [kind, _as_given(kind, expected[name])] for name, kind in FIELDS[op].items()}
    assert answer.created == ((op, node, wanted),)
    assert not answer.parsed
    assert answer.errors == ((op, "Assertion failed: plugin: Could not create the plugin."),)


def _as_given(kind: str, value: Any) -> Any:
    """A value as the parser hands it over: numbers as arrays, and a zero byte behind a text."""
    if kind == "CHAR":
        return f"{value}\0"
    return [float(np.float32(value)) if kind == "FLOAT32" else value]


def attributes_of(node: onnx.NodeProto) -> set[str]:
    """All of a node's attributes: of those that are no fields of the plugin the parser says nothing."""
    return {attribute.name for attribute in node.attribute}


def plugin_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of plugins, in the order of the model."""
    return [node for node in model.graph.node if node.domain == DOMAIN]


def stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as TensorRT's parser is to see it, without the bodies of functions."""
    return onnx.load_model_from_string(strip_functions(model.SerializeToString()))


def single_nodes(model: onnx.ModelProto) -> list[onnx.ModelProto]:
    """A model for each node of a plugin: the parser stops at the first one.

    Args:
        model: of float16 maps.
    """
    return [_single_node(model, node) for node in plugin_nodes(model)]


def _single_node(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.ModelProto:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    maps = [_map(name) for name in node.input if name not in constants]
    weights = [constants[name] for name in node.input if name in constants]
    graph = helper.make_graph([node], node.name, maps, [_map(node.output[0])], weights)
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def _map(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT16, ("batch", "channels", "height", "width"))
