"""A stand-in for `tensorrt.plugin`, the Python part of quickly deployable plugins, on the module of native.py.

Written from the API reference and from how NVIDIA's sources of 10.9 to 11.1 behave, without what evsam does not use
(size tensors, aliases, Python implementations). What differs between versions:

- 10.9: an expression is true, whatever its value. 11: one that is not constant refuses to be true or false.
- 10.9: expressions can still be made after the shapes are known. 11: only while TensorRT asks for shapes or launches.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from tests.tensorrt_qdp.native import (
    DataType,
    Dimension,
    DimensionOperation,
    ExprBuilder,
    PluginArgDataType,
    PluginField,
    PluginTensorDesc,
    Request,
    TensorFormat,
)

__all__ = ["make_plugin_module"]

RESERVED_NAMESPACES = {"", "trt", "tensorrt", "std"}
BUILT_IN_TYPES = (int, float, bytes, bool, str)


class Context:
    """What TensorRT is asking: with what expressions are made, if at all, and whether as version 11 does."""

    builder: ExprBuilder | None = None
    strict = False

    def enter(self, builder: ExprBuilder, strict: bool) -> None:
        self.builder, self.strict = builder, strict

    def leave(self) -> None:
        if self.strict:
            self.builder = None


CONTEXT = Context()


class SymExpr:
    _expr: Any

    def __init__(self, value: Any = None) -> None:
        self._fake = False
        if isinstance(value, SymExpr):
            self._expr, self._fake = value._expr, value._fake
        elif isinstance(value, Dimension):
            self._expr = value
        elif type(value) is int and CONTEXT.builder is not None:
            self._expr = CONTEXT.builder.constant(value)
        else:
            self._expr, self._fake = None, True

    def _op(self, operation: Any, other: Any) -> Any:
        other = other if isinstance(other, SymExpr) else SymExpr(other)
        if self._fake:
            return ShapeExpr()
        assert CONTEXT.builder is not None, "expressions are made while TensorRT asks for shapes or launches"
        return ShapeExpr(CONTEXT.builder.operation(operation, self._expr, other._expr))

    def __add__(self, other: Any) -> Any:
        return self._op(DimensionOperation.SUM, other)

    def __sub__(self, other: Any) -> Any:
        return self._op(DimensionOperation.SUB, other)

    def __mul__(self, other: Any) -> Any:
        return self._op(DimensionOperation.PROD, other)

    def __floordiv__(self, other: Any) -> Any:
        return self._op(DimensionOperation.FLOOR_DIV, other)

    def __eq__(self, other: object) -> Any:
        return self._op(DimensionOperation.EQUAL, other)

    def __lt__(self, other: Any) -> Any:
        return self._op(DimensionOperation.LESS, other)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        if not CONTEXT.strict:
            return True
        if self._fake or not self._expr.is_constant():
            raise RuntimeError("Cannot evaluate symbolic expression as boolean")
        return bool(self._expr.get_constant_value())


class SymInt32(SymExpr):
    pass


class ShapeExpr(SymInt32):
    pass


class SymExprs:
    def __init__(self, length: int) -> None:
        self._exprs: list[Any] = [None] * length

    def __len__(self) -> int:
        return len(self._exprs)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._exprs)

    def __getitem__(self, index: int) -> Any:
        return self._exprs[index]

    def __setitem__(self, index: int, value: Any) -> None:
        self._exprs[index] = value if isinstance(value, SymExpr) else SymExpr(value)


class SymIntExprs(SymExprs):
    pass


class ShapeExprs(SymExprs):
    @classmethod
    def of(cls, values: Sequence[Any]) -> Any:
        made = cls(len(values))
        made._exprs = [ShapeExpr(value) for value in values]
        return made


class TensorDesc:
    def __init__(self, shape_expr: Any = None, dtype: Any = None) -> None:
        self.shape_expr, self.dtype = shape_expr, dtype
        self._shape: Any = None
        self._format: Any = None

    def like(self) -> Any:
        return TensorDesc(ShapeExprs.of([expr + 0 for expr in self.shape_expr]), self.dtype)

    @property
    def shape(self) -> Any:
        if self._shape is None:
            raise ValueError("TensorDesc has no shape information available at this stage")
        return self._shape

    @property
    def format(self) -> Any:
        if self._shape is None:
            raise ValueError("TensorDesc has no shape information available at this stage")
        return self._format


class AutoTuneCombination:
    def __init__(self, io_types: str, layouts: str) -> None:
        names = {"FP32": DataType.FLOAT, "FP16": DataType.HALF}
        self.types = [names[name.strip()] for name in io_types.split(",")]
        self.layouts = [getattr(TensorFormat, name.strip()) for name in layouts.split(",")]
        assert len(self.types) == len(self.layouts)


class KernelLaunchParams:
    def __init__(self) -> None:
        for axis in "xyz":
            setattr(self, f"grid_{axis}", 1)
            setattr(self, f"block_{axis}", 1)
        self.shared_mem = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in {*(f"{what}_{axis}" for what in ("grid", "block") for axis in "xyz"), "shared_mem"}:
            raise AttributeError(f"KernelLaunchParams object has no attribute '{name}'")
        self.__dict__[name] = SymInt32(value)


class Argument:
    """What TensorRT is handed for an expression."""

    def __init__(self, value: Any) -> None:
        assert type(value) in (SymInt32, ShapeExpr), f"Extra args must be SymInt32, got {type(value)}"
        self.dtype, self.expr = PluginArgDataType.INT32, value._expr


class Definition:
    def __init__(self, function: Any) -> None:
        signature = inspect.signature(function)
        self.describe = function
        self.inputs: list[str] = []
        self.attributes: dict[str, Any] = {}
        for name, parameter in signature.parameters.items():
            assert parameter.default is inspect.Parameter.empty, f"{name} has a default"
            if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, TensorDesc):
                assert not self.attributes, "tensors come before attributes"
                self.inputs.append(name)
            else:
                array = typing.get_origin(parameter.annotation) is np.ndarray
                assert array or parameter.annotation in BUILT_IN_TYPES, parameter
                assert name not in ("outputs", "stream", "tactic")
                self.attributes[name] = parameter.annotation
        assert signature.return_annotation is TensorDesc
        self.autotune: Any = None
        self.compile: Any = None

    def check(self, function: Any, *more: str) -> inspect.Signature:
        signature = inspect.signature(function)
        names = [*self.inputs, *self.attributes, *more]
        assert list(signature.parameters) == names, f"{list(signature.parameters)}, expected {names}"
        for name, annotation in self.attributes.items():
            assert signature.parameters[name].annotation == annotation
        assert typing.get_origin(signature.parameters["outputs"].annotation) is tuple
        return signature


class Plugin:
    """One node, with the methods that TensorRT calls while it builds an engine."""

    def __init__(self, definition: Definition, attributes: dict[str, Any], strict: bool) -> None:
        self._definition, self.attrs, self._strict = definition, attributes, strict
        self._types: Any = None
        self._tactic = 0
        self._kernels: dict[Any, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: tuple[Any, ...] = ()

    def get_output_data_types(self, types: Sequence[Any], ranks: Sequence[int]) -> list[Any]:
        self._types = types
        fakes = [TensorDesc(ShapeExprs.of([None] * r), t) for t, r in zip(types, ranks, strict=True)]
        return [self._definition.describe(*fakes, **self.attrs).dtype]

    def get_output_shapes(self, inputs: Sequence[Any], shape_inputs: Sequence[Any], builder: Any) -> list[Any]:
        CONTEXT.enter(builder, self._strict)
        self._inputs = [TensorDesc(ShapeExprs.of(s), t) for s, t in zip(inputs, self._types, strict=True)]
        self._outputs = (self._definition.describe(*self._inputs, **self.attrs),)
        CONTEXT.leave()
        return [[expr._expr for expr in out.shape_expr] for out in self._outputs]

    def _fill(self, in_out: Sequence[Any]) -> None:
        for desc, given in zip([*self._inputs, *self._outputs], in_out, strict=True):
            desc._shape, desc.dtype, desc._format = given.desc.dims, given.desc.type, given.desc.format

    def get_supported_format_combinations(self, in_out: Sequence[Any], num_inputs: int) -> list[Any]:
        for desc, given in zip([*self._inputs, *self._outputs], in_out, strict=True):
            desc._shape, desc._format = given.desc.dims, given.desc.format
        found = []
        for combination in self._definition.autotune(*self._inputs, *self.attrs.values(), self._outputs):
            assert isinstance(combination, AutoTuneCombination)
            for type_, layout in zip(combination.types, combination.layouts, strict=True):
                desc = PluginTensorDesc()
                desc.type, desc.format = type_, layout
                found.append(desc)
        return found

    def configure_plugin(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        pass

    def set_tactic(self, tactic: int) -> None:
        self._tactic = tactic

    def get_launch_params(
        self, shapes: Sequence[Any], in_out: Sequence[Any], num_inputs: int, launch: Any, extra: Any, builder: Any
    ) -> None:
        CONTEXT.enter(builder, self._strict)
        self._fill(in_out)
        name, ptx, params, arguments = self._definition.compile(
            *self._inputs, *self.attrs.values(), self._outputs, self._tactic
        )
        assert isinstance(name, (str, bytes))
        assert isinstance(ptx, (str, bytes))
        assert isinstance(params, KernelLaunchParams)
        assert isinstance(arguments, SymExprs)
        for key, value in vars(params).items():
            setattr(launch, key, Argument(value))
        extra.nbSymExprs = len(arguments)
        for index, argument in enumerate(arguments):
            extra[index] = Argument(argument)
        self._kernels[tuple(d.desc.format for d in in_out)] = (name, ptx)
        CONTEXT.leave()

    def get_kernel(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[str, bytes]:
        name, ptx = self._kernels[tuple(d.format for d in [*inputs, *outputs])]
        return name, ptx.encode() if isinstance(ptx, str) else ptx


class Creator:
    plugin_version = "1"

    def __init__(self, name: str, definition: Definition, strict: bool) -> None:
        self.name, self._definition, self._strict = name, definition, strict
        self.field_names = [PluginField(attribute) for attribute in definition.attributes]

    def create_plugin(self, name: str, namespace: str, fields: Any, phase: Any, request: Any) -> Plugin:
        assert name == self.name
        assert request == Request.STRICT_AOT
        values: dict[str, Any] = {}
        for field in fields:
            annotation = self._definition.attributes[field.name]
            if typing.get_origin(annotation) is np.ndarray:
                (kind,) = typing.get_args(typing.get_args(annotation)[1])
                values[field.name] = field.data.astype(kind)
            elif annotation is str:
                values[field.name] = field.data.tobytes().decode("utf-8")
            else:
                values[field.name] = annotation(field.data)
        return Plugin(self._definition, values, self._strict)


class Library:
    """The decorators, and what was registered by them with one module `tensorrt`."""

    def __init__(self, trt: ModuleType) -> None:
        self._definitions: dict[str, Definition] = {}
        self._registry = trt.get_plugin_registry()
        self._strict = int(trt.__version__.split(".")[0]) >= 11

    def register(self, plugin_id: str) -> Callable[[Any], Any]:
        namespace, name = plugin_id.split("::")
        assert namespace not in RESERVED_NAMESPACES

        def decorate(function: Any) -> Any:
            if plugin_id in self._definitions:
                raise ValueError(f"already has a definition for '{name}'")
            self._definitions[plugin_id] = Definition(function)
            creator = Creator(name, self._definitions[plugin_id], self._strict)
            self._registry.register_creator(creator, namespace)
            return function

        return decorate

    def autotune(self, plugin_id: str) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            signature = self._definitions[plugin_id].check(function, "outputs")
            assert signature.return_annotation == list[AutoTuneCombination]
            self._definitions[plugin_id].autotune = function
            return function

        return decorate

    def aot_impl(self, plugin_id: str) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            signature = self._definitions[plugin_id].check(function, "outputs", "tactic")
            returned = typing.get_args(signature.return_annotation)
            assert len(returned) == 4
            assert issubclass(returned[2], KernelLaunchParams)
            assert issubclass(returned[3], SymExprs)
            self._definitions[plugin_id].compile = function
            return function

        return decorate


def cdiv(first: Any, second: Any) -> Any:
    if isinstance(first, int) and isinstance(second, int):
        raise ValueError("Both arguments cannot be 'int's")
    first = ShapeExpr(first) if isinstance(first, int) else first
    return first._op(DimensionOperation.CEIL_DIV, second)


def from_shape_expr(shape_expr: Any, dtype: Any) -> TensorDesc:
    return TensorDesc(ShapeExprs.of(list(shape_expr)), dtype)


def make_plugin_module(trt: ModuleType) -> ModuleType:
    """The module `tensorrt.plugin` of `trt`, whose version decides what it is like."""
    module = ModuleType("tensorrt.plugin")
    library = Library(trt)
    members: list[Any] = [SymInt32, ShapeExpr, SymExprs, SymIntExprs, ShapeExprs, TensorDesc, AutoTuneCombination]
    members += [KernelLaunchParams, library.register, library.autotune, library.aot_impl, cdiv, from_shape_expr]
    for member in members:
        setattr(module, member.__name__, member)
    return module
