"""A writer of ONNX graphs: nodes by name, weights in the precision of the model, functions for evsam's own nodes.

The network is written by hand, a node at a time, and not traced: names are those of the model, shapes and casts are
what this package says, and neither torch nor an exporter of some version of it is needed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam.errors import BackendUnavailable
from evsam.export.quantization import NumberFormat, Quantization, quantize_weight

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise BackendUnavailable("evsam.export needs onnx; use pip install 'evsam[onnx]'") from error

IR_VERSIONS = {17: 8, 20: 9}
"""Versions of the standard operators that can be written, with that of the file format that came with each.

17 is the first with LayerNormalization and runs on onnxruntime 1.16, which Jetson images have; 20 is the first with
Gelu, which TensorRT 10.3 reads.
"""

OPSET = max(IR_VERSIONS)

IR_OVERLOADS = 10
"""The first file format in which functions of one name may have several bodies (overloads)."""

DOMAIN = "evsam"

FLOAT, HALF, INT64, BOOL, DOUBLE = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.BOOL,
    TensorProto.DOUBLE,
)

_RESULT_TYPES = {
    **dict.fromkeys(("Equal", "Less", "Greater", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Not"), BOOL),
    **dict.fromkeys(("Shape", "ArgMax"), INT64),
}
"""Ops whose result is of another type than their first input."""

Shape = Sequence[int | str | None]
Body = Callable[["Graph", Sequence[str]], str]
"""Writes the body of a function, given the names of its inputs, and returns that of its output."""


_EIGHT_BITS = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN}
"""Types by the name of the format."""


@dataclass(frozen=True)
class Layer:
    """A layer with weights, which can read 8 bits.

    Attributes:
        x: what it reads.
        weight: its weight.
        axis: of the weight's output channels.
        grouped: whether it is a convolution in groups.
        work: multiply-adds for each number that it reads.
    """

    x: str
    weight: str
    axis: int
    grouped: bool
    work: float


class Graph:
    """A graph in the making. Values are their names.

    Attributes:
        types: of all values.
        layers: those with weights, by their names; of nodes of plugins there are none.

    Args:
        name: of the graph.
        half: whether the network computes on float16; :meth:`weight` and :meth:`narrow` then give float16.
        opset: one of :data:`IR_VERSIONS`, whose numbers :data:`evsam.export.options.OPSETS` lists without onnx.
        quantization: which layers read 8 bits, None for none.
    """

    def __init__(
        self, name: str, half: bool = False, opset: int = OPSET, quantization: Quantization | None = None
    ) -> None:
        self.name = name
        self.layers: dict[str, Layer] = {}
        self.opset = opset
        self.narrow_type = HALF if half else FLOAT
        self.types: dict[str, int] = {}
        self._scopes: list[str] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._functions: dict[tuple[str, str], Any] = {}
        self._quantization = quantization
        self._narrowed: dict[tuple[str, float], str] = {}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Everything inside has ``name.`` in front of its name."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def input(self, name: str, shape: Shape, dtype: int = FLOAT) -> str:
        """Declare an input of the graph."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        self.types[name] = dtype
        return name

    def is_constant(self, value: str) -> bool:
        """Whether a value is a constant of the graph."""
        return value in self._initializers

    def weights(self) -> dict[str, npt.NDArray[Any]]:
        """The constants of the graph by name."""
        return {name: numpy_helper.to_array(tensor) for name, tensor in self._initializers.items()}

    def is_output(self, value: str) -> bool:
        """Whether a value is an output of the graph."""
        return any(output.name == value for output in self._outputs)

    def output(self, name: str, value: str, shape: Shape) -> None:
        """Make a value an output of the graph, in float32, under this name."""
        value = self.wide(value)
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}.output"))
        self.types[name] = FLOAT
        self._outputs.append(helper.make_tensor_value_info(name, FLOAT, shape))

    def constant(self, array: npt.ArrayLike, name: str | None = None) -> str:
        """A constant of the array's own type; without a name, equal arrays are stored once."""
        values = np.asarray(array)
        key = self._qualified(name) if name else _constant_name(values)
        if key not in self._initializers:
            self._initializers[key] = numpy_helper.from_array(values, key)
            self.types[key] = helper.np_dtype_to_tensor_dtype(values.dtype)
        return key

    def weight(self, name: str, array: npt.ArrayLike) -> str:
        """A named constant in the precision of the network."""
        values = np.asarray(array, np.float32)
        return self.constant(values.astype(np.float16) if self.narrow_type == HALF else values, name)

    def quantize(self, name: str, layer: Layer) -> tuple[str, str]:
        """What a layer is to read: value and weight, or what Q/DQ nodes make of them if it reads 8 bits.

        Values that several layers read are rounded once. Weights that are not constants, as in the bodies of functions,
        stay as they are, and their layers are not listed.

        Args:
            name: of the layer.
            layer: with the values in the precision of the network.
        """
        if not self.is_constant(layer.weight):
            return layer.x, layer.weight
        name = self._qualified(name)
        self.layers[name] = layer
        if (plan := self._quantization) is None or name not in plan.scales:
            return layer.x, layer.weight
        return self._round_value(layer.x, plan.scales[name], plan.format), self._round_weight(layer, plan.format)

    def _round_value(self, x: str, scale: float, number_format: NumberFormat) -> str:
        if (x, scale) not in self._narrowed:
            name, factor, dtype = self._local(x), self.number(scale, x), self.types[x]
            zero = self._eight_bits("zero", np.zeros((), np.float32), number_format)
            eight = self.node("QuantizeLinear", x, factor, zero, name=f"{name}.quantized", dtype=self.types[zero])
            self._narrowed[x, scale] = self.node("DequantizeLinear", eight, factor, name=f"{name}.rounded", dtype=dtype)
        return self._narrowed[x, scale]

    def _round_weight(self, layer: Layer, number_format: NumberFormat) -> str:
        dtype, name = self.types[layer.weight], self._local(layer.weight)
        weight = numpy_helper.to_array(self._initializers[layer.weight]).astype(np.float32)
        numbers, scales = quantize_weight(weight, layer.axis, number_format)
        eight = self._eight_bits(f"{layer.weight}.quantized", numbers, number_format)
        factors = self.constant(scales.astype(helper.tensor_dtype_to_np_dtype(dtype)), f"{name}.scale")
        return self.node("DequantizeLinear", eight, factors, name=f"{name}.rounded", dtype=dtype, axis=layer.axis)

    def _eight_bits(self, name: str, numbers: npt.NDArray[np.float32], number_format: NumberFormat) -> str:
        """A constant of the format, of numbers that it holds; made by hand, for numpy has no float8."""
        if name not in self._initializers:
            dtype = _EIGHT_BITS[number_format.name]
            data = number_format.encode(numbers)
            self._initializers[name] = helper.make_tensor(name, dtype, numbers.shape, data, raw=True)
            self.types[name] = dtype
        return name

    def number(self, value: float, like: str) -> str:
        """A scalar of the type of another value."""
        return self.constant(np.array(value, helper.tensor_dtype_to_np_dtype(self.types[like])))

    def node(self, op: str, *inputs: str, name: str | None = None, dtype: int | None = None, **attributes: Any) -> str:
        """Add a node with one output; returns its name.

        Args:
            op: type of the node, of the standard operators.
            inputs: names; empty ones stand for optional inputs that are not there.
            name: of node and output; None numbers them.
            dtype: of the output; None for that of the first input, where the op does not say otherwise.
            attributes: of the node.
        """
        return self.nodes(op, *inputs, names=[name or op.lower()], dtype=dtype, **attributes)[0]

    def nodes(
        self, op: str, *inputs: str, names: Sequence[str], dtype: int | None = None, **attributes: Any
    ) -> list[str]:
        """As :meth:`node`, with several outputs."""
        outputs = [self._unique(self._qualified(name)) for name in names]
        if dtype is None:
            dtype = _RESULT_TYPES.get(op, self.types[inputs[0]])
        for output in outputs:
            self.types[output] = dtype
        self._add(op, inputs, outputs, attributes)
        return outputs

    def wide(self, value: str) -> str:
        """The value in float32."""
        return self._cast(value, FLOAT)

    def narrow(self, value: str) -> str:
        """The value in the precision of the network."""
        return self._cast(value, self.narrow_type)

    def cast(self, value: str, dtype: int) -> str:
        """The value in another type."""
        return self._cast(value, dtype)

    def call(
        self, op: str, inputs: Sequence[str], attributes: dict[str, Any], body: Body, name: str, variant: str = ""
    ) -> str:
        """Add a node of domain ``evsam``, whose function body of standard operators ``body`` writes.

        Nodes of one type whose bodies differ get overloads of the function.

        Args:
            op: type of the node.
            inputs: names.
            attributes: of the node.
            body: writes the body; it may depend on the attributes, the types of the inputs and the variant.
            name: of node and output.
            variant: what else the body depends on.
        """
        types = [self.types[value] for value in inputs]
        parts = [variant, *(f"{key}={value}" for key, value in attributes.items()), *map(str, types)]
        overload = "_".join(part for part in parts if part)
        if (op, overload) not in self._functions:
            self._functions[op, overload] = self._function(op, overload, types, attributes, body)
        output = self._unique(self._qualified(name))
        node = helper.make_node(op, inputs, [output], name=output, domain=DOMAIN, **attributes)
        node.overload = overload
        self._nodes.append(node)
        self.types[output] = types[0]
        return output

    def model(self, metadata: dict[str, str]) -> onnx.ModelProto:
        """The finished model, checked. It takes the weights, as large as the rest of the process: the graph is spent.

        Args:
            metadata: text to store in it.
        """
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs)
        opsets = [helper.make_opsetid("", self.opset)]
        if self._functions:
            opsets.append(helper.make_opsetid(DOMAIN, 1))
        made = helper.make_model(
            graph,
            opset_imports=opsets,
            functions=list(self._functions.values()),
            ir_version=IR_OVERLOADS if self._functions else IR_VERSIONS[self.opset],
            producer_name="evsam",
        )
        # behind the helpers, each of which copies what it is given
        used = {value for node in self._nodes for value in node.input}
        for name in list(self._initializers):
            tensor = self._initializers.pop(name)
            if name in used:
                made.graph.initializer.append(tensor)
        helper.set_model_props(made, metadata)
        onnx.checker.check_model(made)
        return made

    def _function(
        self, op: str, overload: str, types: Sequence[int], attributes: dict[str, Any], body: Body
    ) -> onnx.FunctionProto:
        inner = Graph(op, self.narrow_type == HALF, self.opset)
        names = [f"input{i}" for i in range(len(types))]
        inner.types.update(zip(names, types, strict=True))
        result = body(inner, names)
        constants = [
            helper.make_node("Constant", [], [name], name=name, value=tensor)
            for name, tensor in inner._initializers.items()
        ]
        function = helper.make_function(
            DOMAIN,
            op,
            names,
            [result],
            [*constants, *inner._nodes],
            [helper.make_opsetid("", self.opset)],
            list(attributes),
        )
        function.overload = overload
        return function

    def _add(self, op: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]) -> None:
        if self.opset < 18:
            inputs, attributes = self._as_before_18(op, inputs, attributes)
        self._nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))

    def _as_before_18(
        self, op: str, inputs: Sequence[str], attributes: dict[str, Any]
    ) -> tuple[Sequence[str], dict[str, Any]]:
        """Split counts its outputs, and the reductions but ReduceSum have their axes as an attribute."""
        if op == "Split":
            return inputs, {key: value for key, value in attributes.items() if key != "num_outputs"}
        if op.startswith("Reduce") and op != "ReduceSum" and len(inputs) == 2:
            axes = numpy_helper.to_array(self._initializers[inputs[1]]).tolist()
            return inputs[:1], {**attributes, "axes": axes}
        return inputs, attributes

    def _cast(self, value: str, dtype: int) -> str:
        if self.types[value] == dtype:
            return value
        return self.node("Cast", value, name=f"{self._local(value)}.cast", dtype=dtype, to=dtype)

    def _qualified(self, name: str) -> str:
        return ".".join([*self._scopes, name])

    def _local(self, value: str) -> str:
        """The name without the scopes that it would get again."""
        prefix = self._qualified("")
        return value.removeprefix(prefix)

    def _unique(self, name: str) -> str:
        if name not in self.types:
            return name
        number = 2
        while f"{name}_{number}" in self.types:
            number += 1
        return f"{name}_{number}"


class Value:
    """A value of a graph, to write formulas with; other operands are values, numbers of its type, or arrays."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def op(self, op: str, *others: Operand, **attributes: Any) -> Value:
        """A node with this value as its first input; see :meth:`Graph.node`."""
        return Value(self.graph, self.graph.node(op, self.name, *map(self._name, others), **attributes))

    def cast(self, dtype: int) -> Value:
        """The value in another type."""
        return Value(self.graph, self.graph.cast(self.name, dtype))

    def __add__(self, other: Operand) -> Value:
        return self.op("Add", other)

    def __sub__(self, other: Operand) -> Value:
        return self.op("Sub", other)

    def __mul__(self, other: Operand) -> Value:
        return self.op("Mul", other)

    def __truediv__(self, other: Operand) -> Value:
        return self.op("Div", other)

    def __rtruediv__(self, other: float) -> Value:
        return Value(self.graph, self._name(other)) / self

    def __matmul__(self, other: Operand) -> Value:
        return self.op("MatMul", other)

    def _name(self, operand: Operand) -> str:
        if isinstance(operand, Value):
            return operand.name
        if isinstance(operand, np.ndarray):
            return self.graph.constant(operand)
        return self.graph.number(operand, self.name)


Operand = Value | float | npt.NDArray[Any]


def _constant_name(values: npt.NDArray[Any]) -> str:
    text = "x".join(map(str, values.shape))
    content = "_".join(map(str, values.reshape(-1)[:8].tolist()))
    digest = "" if values.size <= 8 else f".{zlib.crc32(values.tobytes()):08x}"
    return f"constant.{values.dtype}[{text}].{content}{digest}"
