"""A stand-in for the compiled part of the module `tensorrt`, as far as `tensorrt.plugin` needs it.

It holds data and evaluates expressions in dimensions; nothing here knows evsam's plugins. NVIDIA's own Python sources
of `tensorrt.plugin` run on it (`EVSAM_TENSORRT_PLUGIN`, see conftest.py), and so does the stand-in of plugin.py.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["Dimension", "make_tensorrt"]


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT32 = 3


class TensorFormat(enum.Enum):
    LINEAR = 0
    HWC8 = 2
    HWC = 8


class DimensionOperation(enum.Enum):
    SUM = 0
    PROD = 1
    MAX = 2
    MIN = 3
    SUB = 4
    EQUAL = 5
    LESS = 6
    FLOOR_DIV = 7
    CEIL_DIV = 8


_OPERATIONS: dict[DimensionOperation, Callable[[int, int], int]] = {
    DimensionOperation.SUM: lambda a, b: a + b,
    DimensionOperation.PROD: lambda a, b: a * b,
    DimensionOperation.MAX: max,
    DimensionOperation.MIN: min,
    DimensionOperation.SUB: lambda a, b: a - b,
    DimensionOperation.EQUAL: lambda a, b: int(a == b),
    DimensionOperation.LESS: lambda a, b: int(a < b),
    DimensionOperation.FLOOR_DIV: lambda a, b: a // b,
    DimensionOperation.CEIL_DIV: lambda a, b: -(-a // b),
}


class Dimension:
    """An expression: a number, the axis of an input, or an operation on two expressions."""

    def __init__(self, value: int | tuple[int, int] | tuple[DimensionOperation, Dimension, Dimension]) -> None:
        self._value = value

    def is_constant(self) -> bool:
        return isinstance(self._value, int)

    def get_constant_value(self) -> int:
        assert isinstance(self._value, int), "the value of a dynamic dimension"
        return self._value

    def evaluate(self, sizes: Mapping[tuple[int, int], int]) -> int:
        """Its value for sizes by input and axis."""
        if isinstance(self._value, int):
            return self._value
        if len(self._value) == 3:
            operation, first, second = self._value
            return _OPERATIONS[operation](first.evaluate(sizes), second.evaluate(sizes))
        return sizes[self._value]


class ExprBuilder:
    def constant(self, value: int) -> Dimension:
        assert type(value) is int, "IExprBuilder.constant takes an int"
        assert -(2**63) <= value < 2**63
        return Dimension(value)

    def operation(self, operation: DimensionOperation, first: Dimension, second: Dimension) -> Dimension:
        assert isinstance(first, Dimension), first
        assert isinstance(second, Dimension), second
        if first.is_constant() and second.is_constant():
            return Dimension(Dimension((operation, first, second)).evaluate({}))
        return Dimension((operation, first, second))


class Dims(tuple[int, ...]):
    __slots__ = ()
    MAX_DIMS = 8


class DimsExprs(list[Any]):
    def __init__(self, values: Any) -> None:
        super().__init__([None] * values if isinstance(values, int) else values)


class PluginTensorDesc(SimpleNamespace):
    dims: Any
    type: DataType
    format: TensorFormat
    scale: float = 1.0


class DynamicPluginTensorDesc(SimpleNamespace):
    desc: PluginTensorDesc


class PluginFieldType(enum.Enum):
    FLOAT16 = 0
    FLOAT32 = 1
    FLOAT64 = 2
    INT8 = 3
    INT16 = 4
    INT32 = 5
    CHAR = 6
    UNKNOWN = 8
    INT64 = 10


class PluginField:
    def __init__(self, name: str, data: Any = b"", kind: PluginFieldType = PluginFieldType.UNKNOWN) -> None:
        self.name, self.type = name, kind
        # The bindings show text as an array of characters.
        self.data = np.frombuffer(data, np.int8) if isinstance(data, bytes) else np.asarray(data)


class PluginFieldCollection(list[Any]):
    pass


class Registry:
    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str) -> bool:
        self.creators[creator.name, creator.plugin_version, namespace] = creator
        return True

    def get_creator(self, name: str, version: str, namespace: str) -> Any:
        return self.creators.get((name, version, namespace))


class PluginArgDataType(enum.Enum):
    INT8 = 0
    INT16 = 1
    INT32 = 2


class Request(enum.Enum):
    UNKNOWN = 0
    PREFER_JIT = 1
    PREFER_AOT = 2
    STRICT_JIT = 3
    STRICT_AOT = 4


class Launch:
    """Where a plugin puts its launch parameters: objects with `type`, `dtype` and `expr`."""

    grid_x: Any
    grid_y: Any
    grid_z: Any
    block_x: Any
    block_y: Any
    block_z: Any
    shared_mem: Any


class SymExprSetter(dict[int, Any]):
    nbSymExprs: int = 0


def _interface(name: str) -> type:
    return type(name, (), {"__init__": lambda self: None})


class _Logger:
    WARNING = 2

    def log(self, severity: int, text: str) -> None:
        pass


def make_tensorrt(version: str) -> ModuleType:
    """A module `tensorrt` with a registry of its own."""
    module = ModuleType("tensorrt")
    registry = Registry()
    members: dict[str, Any] = {
        "__version__": version,
        "__path__": [],
        "Logger": _Logger,
        "DataType": DataType,
        "TensorFormat": TensorFormat,
        "DimensionOperation": DimensionOperation,
        "IDimensionExpr": Dimension,
        "Dims": Dims,
        "DimsExprs": DimsExprs,
        "PluginTensorDesc": PluginTensorDesc,
        "DynamicPluginTensorDesc": DynamicPluginTensorDesc,
        "PluginField": PluginField,
        "PluginFieldType": PluginFieldType,
        "PluginFieldCollection": PluginFieldCollection,
        "QuickPluginCreationRequest": Request,
        "TensorRTPhase": enum.Enum("TensorRTPhase", ["BUILD", "RUNTIME"]),
        "PluginArgType": enum.Enum("PluginArgType", ["INT"]),
        "PluginArgDataType": PluginArgDataType,
        "float32": DataType.FLOAT,
        "float16": DataType.HALF,
        "int32": DataType.INT32,
        "get_plugin_registry": lambda: registry,
    }
    for name in (
        *("ITensor", "ISymExpr", "IPluginV3", "IPluginV3QuickCore", "IPluginV3QuickBuild", "IPluginV3QuickRuntime"),
        *("IPluginV3QuickAOTBuild", "IPluginCreatorV3Quick"),
    ):
        members[name] = _interface(name)
    for name, value in members.items():
        setattr(module, name, value)
    return module
