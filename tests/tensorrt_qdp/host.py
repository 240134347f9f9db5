"""Does with a quickly deployable plugin what TensorRT does: asks for shapes, layouts and a kernel, and launches that.

The kernel gets pointers to the inputs, then the integers, then pointers to the outputs (API reference of `aot_impl`:
"located after the tensor inputs and before the tensor outputs"). It runs in the PTX interpreter.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.cuda.ptx import Memory, parse, run
from tests.tensorrt_qdp.native import Dimension, ExprBuilder, Launch, SymExprSetter

__all__ = ["Built", "build", "execute", "fields_of"]

Array = NDArray[Any]
Attributes = Mapping[str, int | float | str]


@dataclass(frozen=True)
class Built:
    """A node of an engine: what is known once it is built. Numbers depend on the sizes of the inputs."""

    name: str
    ptx: str
    output: list[Dimension]
    grid: list[Dimension]
    block: list[Dimension]
    shared_bytes: Dimension
    arguments: list[Dimension]
    formats: list[str]


def fields_of(trt: ModuleType, names: Sequence[str], attributes: Attributes) -> Any:
    """Attributes of an ONNX node as the parser hands them on, in the order of the creator's fields."""
    fields = []
    for name in names:
        value = attributes[name]
        if isinstance(value, str):
            fields.append(trt.PluginField(name, value.encode() + b"\0", trt.PluginFieldType.CHAR))
        elif isinstance(value, int):
            fields.append(trt.PluginField(name, np.array([value], np.int32), trt.PluginFieldType.INT32))
        else:
            fields.append(trt.PluginField(name, np.array([value], np.float32), trt.PluginFieldType.FLOAT32))
    return trt.PluginFieldCollection(fields)


def build(
    trt: ModuleType,
    name: str,
    inputs: Sequence[tuple[Any, tuple[int | None, ...]]],
    attributes: Attributes,
    choice: int = 0,
    namespace: str = "evsam",
) -> Built:
    """Builds one node.

    Args:
        trt: the module `tensorrt`.
        name: of the plugin.
        inputs: type and shape of each, None for what only the execution knows.
        attributes: of the ONNX node.
        choice: which of the layouts that the plugin offers.
        namespace: of the plugin.
    """
    builder = ExprBuilder()
    creator = trt.get_plugin_registry().get_creator(name, "1", namespace)
    fields = fields_of(trt, [field.name for field in creator.field_names], attributes)
    request = trt.QuickPluginCreationRequest.STRICT_AOT
    plugin = creator.create_plugin(name, namespace, fields, trt.TensorRTPhase.BUILD, request)
    types = [type_ for type_, _ in inputs]
    (output_type,) = plugin.get_output_data_types(types, [len(shape) for _, shape in inputs])
    exprs = [
        trt.DimsExprs([Dimension((i, axis) if size is None else size) for axis, size in enumerate(shape)])
        for i, (_, shape) in enumerate(inputs)
    ]
    (output,) = plugin.get_output_shapes(exprs, [], builder)

    def described(formats: Sequence[Any]) -> list[Any]:
        shapes = [*exprs, output]
        made = []
        for shape, type_, format_ in zip(shapes, [*types, output_type], formats, strict=True):
            desc = trt.PluginTensorDesc()
            desc.dims = trt.Dims([e.get_constant_value() if e.is_constant() else -1 for e in shape])
            desc.type, desc.format, desc.scale = type_, format_, 1.0
            dynamic = trt.DynamicPluginTensorDesc()
            dynamic.desc = desc
            made.append(dynamic)
        return made

    count = len(inputs) + 1
    linear = described([trt.TensorFormat.LINEAR] * count)
    offered = plugin.get_supported_format_combinations(linear, len(inputs))
    assert len(offered) % count == 0
    chosen = offered[choice * count : (choice + 1) * count]
    assert [desc.type for desc in chosen] == [*types, output_type]
    final = described([desc.format for desc in chosen])
    plugin.configure_plugin(final[:-1], final[-1:])
    plugin.set_tactic(0)
    launch, extra = Launch(), SymExprSetter()
    plugin.get_launch_params(exprs, final, len(inputs), launch, extra, builder)
    kernel, ptx = plugin.get_kernel([d.desc for d in final[:-1]], [d.desc for d in final[-1:]])
    arguments = [extra[index] for index in range(extra.nbSymExprs)]
    assert all(argument.dtype == trt.PluginArgDataType.INT32 for argument in arguments)
    return Built(
        name=kernel,
        ptx=ptx.decode(),
        output=list(output),
        grid=[getattr(launch, f"grid_{axis}").expr for axis in "xyz"],
        block=[getattr(launch, f"block_{axis}").expr for axis in "xyz"],
        shared_bytes=launch.shared_mem.expr,
        arguments=[argument.expr for argument in arguments],
        formats=[desc.format.name for desc in chosen],
    )


def execute(built: Built, inputs: Sequence[Array], order: str = "inputs, integers, outputs") -> Array:
    """Runs the kernel.

    Args:
        built: the node.
        inputs: with the shapes of the network, whatever the layout in memory.
        order: of the kernel's arguments; any other than TensorRT's is for tests that have to fail.

    Returns:
        The output, with the shape of the network.
    """
    sizes = {(i, axis): size for i, array in enumerate(inputs) for axis, size in enumerate(array.shape)}
    stored = [in_memory(array, format_) for array, format_ in zip(inputs, built.formats[:-1], strict=True)]
    shape = tuple(expr.evaluate(sizes) for expr in built.output)
    out = in_memory(np.full(shape, np.nan, inputs[0].dtype), built.formats[-1])
    memory = Memory()
    parts = {
        "inputs": [("P", memory.register(array, writable=False)) for array in stored],
        "integers": [("i", expr.evaluate(sizes)) for expr in built.arguments],
        "outputs": [("P", memory.register(out))],
    }
    arguments = [argument for part in order.split(", ") for argument in parts[part]]
    packed = struct.pack("@" + "".join(kind for kind, _ in arguments), *(value for _, value in arguments))
    grid, block = ([expr.evaluate(sizes) for expr in dims] for dims in (built.grid, built.block))
    run(parse(built.ptx), built.name, grid, block, built.shared_bytes.evaluate(sizes), packed, memory)
    return out if built.formats[-1] == "LINEAR" else out.transpose(0, 3, 1, 2)


def in_memory(array: Array, format_: str) -> Array:
    """The array in the order of one of TensorRT's layouts."""
    assert format_ in ("LINEAR", "HWC8", "HWC")
    assert format_ != "HWC8" or (array.dtype == np.float16 and array.shape[1] % 8 == 0)
    assert format_ != "HWC" or array.dtype == np.float32
    return np.ascontiguousarray(array if format_ == "LINEAR" else array.transpose(0, 2, 3, 1)).copy()
