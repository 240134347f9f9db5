"""TensorRT for RTX: it parses ONNX and builds engines for any of its GPUs on a machine that has none.

It cannot load or run them there. What it parses and builds is likely, and no more than that, to go through TensorRT
itself: by the files that its messages name, its parser is onnx-tensorrt too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper, shape_inference

__all__ = ["CAPABILITIES", "REASON", "Network", "build", "import_rtx", "inferred_types", "parse"]

REASON = "tensorrt_rtx not installed: pip install tensorrt-rtx-cu13"

CAPABILITIES = ("SM86", "SM120")
"""Ampere and Blackwell. One engine holds both, and takes no longer to build than one for either."""

HARMLESS = re.compile(r"Converting conv (activation|weight) scales to fp32\.")
"""What it says of every convolution with Q/DQ nodes whose scales are float16, as ONNX demands."""

LARGE = 1024
"""Elements of a constant whose values say nothing about shapes."""

Inferred = dict[str, tuple[int, tuple[int | None, ...]]]
"""Element type and shape of every value of a model by its name; sizes that vary are None."""


def import_rtx() -> Any:
    """The module; skips where there is none."""
    return pytest.importorskip("tensorrt_rtx", reason=REASON)


@dataclass(frozen=True, eq=False)
class Network:
    """What the parser made of a model.

    Attributes:
        trt: the module.
        builder: of the network.
        definition: the network.
        parser: owns the weights of the network.
        model: what was parsed.
    """

    trt: Any
    builder: Any
    definition: Any
    parser: Any
    model: onnx.ModelProto

    def inputs(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        """Types and shapes of the inputs; sizes that vary are -1."""
        return _described(self.definition.get_input, self.definition.num_inputs)

    def outputs(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        """The same of the outputs."""
        return _described(self.definition.get_output, self.definition.num_outputs)

    def layers(self, kind: str | None = None) -> list[Any]:
        """All layers, or those of one type."""
        layers = map(self.definition.get_layer, range(self.definition.num_layers))
        return [layer for layer in layers if kind is None or layer.type == getattr(self.trt.LayerType, kind)]

    def layers_as(self, kind: str, interface: str) -> list[Any]:
        """The layers of one type, with what only that type has."""
        layers = self.layers(kind)
        for layer in layers:
            layer.__class__ = getattr(self.trt, interface)  # how TensorRT's Python casts
        return layers

    def types(self, layer: Any) -> set[Any]:
        """Types that a layer reads and writes."""
        tensors = [*map(layer.get_input, range(layer.num_inputs)), *map(layer.get_output, range(layer.num_outputs))]
        return {tensor.dtype for tensor in tensors if tensor is not None}

    def values(self) -> Iterator[tuple[str, Any]]:
        """Name and tensor of every value that a node of the model computes."""
        for node in self.model.graph.node:
            for index, name in enumerate(node.output):
                yield name, self.parser.get_layer_output_tensor(node.name, index)

    def type_of(self, element: int) -> Any:
        """TensorRT's type for one of ONNX."""
        types = self.trt.DataType
        known: dict[int, Any] = {
            TensorProto.FLOAT: types.FLOAT,
            TensorProto.FLOAT16: types.HALF,
            TensorProto.INT64: types.INT64,
            TensorProto.BOOL: types.BOOL,
            TensorProto.INT8: types.INT8,
            TensorProto.FLOAT8E4M3FN: types.FP8,
        }
        return known[element]


def parse(trt: Any, model: onnx.ModelProto, *, warnings: bool = False) -> Network:
    """Parse a model into a strongly typed network.

    Args:
        trt: the module.
        model: what to parse.
        warnings: whether TensorRT may warn.

    Raises:
        AssertionError: TensorRT cannot, or says a word against it.
    """
    complaints = _logger(trt).messages
    complaints.clear()
    builder = trt.Builder(_logger(trt))
    definition = builder.create_network(0)
    assert definition.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    parser = trt.OnnxParser(definition, _logger(trt))
    parsed = parser.parse(model.SerializeToString())
    errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
    assert parsed, errors
    assert not errors
    assert warnings or not complaints
    return Network(trt, builder, definition, parser, model)


def build(
    network: Network,
    shapes: Mapping[str, Iterable[tuple[int, ...]]],
    capabilities: tuple[str, ...] = CAPABILITIES,
) -> int:
    """Build an engine.

    Args:
        network: what to build.
        shapes: smallest, usual and largest shape of every input that varies.
        capabilities: of the GPUs that it is for.

    Returns:
        Number of its bytes.

    Raises:
        AssertionError: TensorRT cannot, or says a word against it.
    """
    trt = network.trt
    complaints = _logger(trt).messages
    complaints.clear()
    config = network.builder.create_builder_config()
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), index)
    profile = network.builder.create_optimization_profile()
    for name, three in shapes.items():
        profile.set_shape(name, *three)
    assert config.add_optimization_profile(profile) == 0
    engine = network.builder.build_serialized_network(network.definition, config)
    assert engine is not None, complaints
    assert not [complaint for complaint in complaints if not HARMLESS.search(complaint)]
    return int(engine.nbytes)


def inferred_types(model: onnx.ModelProto) -> Inferred:
    """Types and shapes by ONNX's own rules."""
    graph = model.graph
    small, inputs = [], list(graph.input)
    for tensor in graph.initializer:  # large ones stay out of what is copied
        if math.prod(tensor.dims) <= LARGE:
            small.append(tensor)
        else:
            inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    light = helper.make_model(
        helper.make_graph(list(graph.node), graph.name, inputs, list(graph.output), small),
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
    )
    graph = shape_inference.infer_shapes(light, strict_mode=True, data_prop=True).graph
    found: Inferred = {}
    for value in (*graph.value_info, *graph.output):
        kind = value.type.tensor_type
        dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
        found[value.name] = (kind.elem_type, dims)
    return found


@lru_cache(maxsize=1)
def _logger(trt: Any) -> Any:
    """Keeps warnings and errors. TensorRT wants one logger for everything in a process."""

    def log(self: Any, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.WARNING, trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.messages.append(message)

    def __init__(self: Any) -> None:
        trt.ILogger.__init__(self)
        self.messages = []

    # not a class statement: the type of its base is unknown to mypy
    return type("Logger", (trt.ILogger,), {"log": log, "__init__": __init__})()


def _described(get: Callable[[int], Any], count: int) -> dict[str, tuple[Any, tuple[int, ...]]]:
    return {x.name: (x.dtype, tuple(x.shape)) for x in map(get, range(count))}
