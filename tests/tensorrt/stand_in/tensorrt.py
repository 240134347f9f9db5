"""The module ``tensorrt`` of a :class:`World`, as version 10.3 or 11.4."""

from __future__ import annotations

import functools
import math
import threading
import weakref
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import onnx

from tests.tensorrt.stand_in.network import Network, pack, read_tensors, unpack
from tests.tensorrt.stand_in.world import ALIGNMENT, Work, World

Method = TypeVar("Method", bound=Callable[..., Any])
Shape = tuple[int, ...]

SCRATCH = 1000
"""Bytes that a context computes in, for each value of the largest first dimension."""

Severity = IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE", start=0)
DataType = IntEnum("DataType", "FLOAT HALF INT8 INT32 BOOL", start=0)
TensorIOMode = IntEnum("TensorIOMode", "NONE INPUT OUTPUT", start=0)
MemoryPoolType = IntEnum("MemoryPoolType", "WORKSPACE DLA_MANAGED_SRAM", start=0)
HardwareCompatibilityLevel = IntEnum("HardwareCompatibilityLevel", "NONE AMPERE_PLUS", start=0)
Strategy = IntEnum("Strategy", "STATIC ON_PROFILE_CHANGE USER_MANAGED", start=0)
OldFlag = IntEnum("OldFlag", "EXPLICIT_BATCH STRONGLY_TYPED", start=0)
NewFlag = IntEnum("NewFlag", "PREFER_AOT_PYTHON_PLUGINS PREFER_JIT_PYTHON_PLUGINS", start=2)
OldBuilderFlag = IntEnum("OldBuilderFlag", "FP16 INT8 TF32 VERSION_COMPATIBLE OBEY_PRECISION_CONSTRAINTS", start=0)
NewBuilderFlag = IntEnum("NewBuilderFlag", {"TF32": 2, "VERSION_COMPATIBLE": 3})

TYPES: dict[int, DataType] = {onnx.TensorProto.FLOAT: DataType.FLOAT, onnx.TensorProto.FLOAT16: DataType.HALF}


class ILogger:
    """Base of the user's loggers."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity
    Severity = Severity

    def __init__(self) -> None:
        self.initialised = True


class Dims(tuple[int, ...]):
    """A shape."""

    __slots__ = ()


class Base:
    """An object of the library: it knows its world, its logger and what it belongs to."""

    def __init__(self, world: World, logger: Any, parent: Any = None) -> None:
        self.world = world
        self.logger = logger
        self._parent = None if parent is None else weakref.ref(parent)

    def log(self, severity: Severity, message: str) -> None:
        self.world.logged.append(message)
        self.logger.log(severity, message)

    def need_parent(self) -> None:
        if self._parent is not None and self._parent() is None:
            raise self.world.broken(f"use of {type(self).__name__} after the object that it belongs to has gone")


class HostMemory(bytes):
    """What a build returns."""


class Parameter(Base):
    def __init__(self, world: World, logger: Any, name: str, shape: Shape) -> None:
        super().__init__(world, logger)
        self.name, self.shape = name, Dims(shape)


class NetworkDefinition(Base):
    def __init__(self, builder: Builder, flags: int) -> None:
        super().__init__(builder.world, builder.logger, builder)
        self.flags = flags
        self.model = b""
        self.parser: weakref.ref[Parser] | None = None

    @property
    def num_inputs(self) -> int:
        return len(self._inputs())

    def get_input(self, index: int) -> Parameter:
        tensor = self._inputs()[index]
        return Parameter(self.world, self.logger, tensor.name, tensor.shape)

    def _inputs(self) -> list[Any]:
        return [tensor for tensor in read_tensors(onnx.load_model_from_string(self.model)) if tensor.is_input]


class ParserError:
    def __init__(self, text: str, number: int, name: str, operator: str) -> None:
        self._text, self._number, self._name, self._operator = text, number, name, operator

    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return self._number

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator


class Parser(Base):
    def __init__(self, network: NetworkDefinition, logger: Any) -> None:
        super().__init__(network.world, logger, network)
        self._network = network
        self._errors: list[ParserError] = []

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            proto = onnx.load_model_from_string(model)
        except Exception:  # noqa: BLE001 - protobuf's own
            self._errors.append(ParserError("Failed to parse the model", -1, "", ""))
            return False
        if proto.functions:
            raise self.world.broken("the model has functions, whose bodies would take the place of the plugins")
        for number, node in enumerate(proto.graph.node):
            if node.domain not in ("", "ai.onnx") and node.op_type not in self.world.plugins:
                text = f"Plugin not found, are the plugin name, version, and namespace correct? {node.op_type}"
                self._errors.append(ParserError(text, number, node.name, node.op_type))
        self._network.model = model
        self._network.parser = weakref.ref(self)
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class OptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Shape, Shape, Shape]] = {}

    def set_shape(self, name: str, smallest: Shape, optimal: Shape, largest: Shape) -> None:
        ranks = {len(smallest), len(optimal), len(largest)}
        ordered = all(0 <= a <= b <= c for a, b, c in zip(smallest, optimal, largest, strict=True))
        if len(ranks) != 1 or not ordered:
            raise ValueError("Shape provided for min is inconsistent with other shapes.")
        self.shapes[name] = smallest, optimal, largest

    def __bool__(self) -> bool:
        return bool(self.shapes)


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class BuilderConfig(Base):
    def __init__(self, builder: Builder) -> None:
        super().__init__(builder.world, builder.logger, builder)
        self.profiles: list[OptimizationProfile] = []
        self.flags = {"TF32"}
        self.pools: dict[MemoryPoolType, int] = {}
        self.builder_optimization_level = 3
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self._cache: TimingCache | None = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        self.pools[pool] = size

    def set_flag(self, flag: IntEnum) -> None:
        if flag.name in ("FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"):
            raise self.world.broken(f"flag {flag.name} in a strongly typed network")
        self.flags.add(flag.name)

    def clear_flag(self, flag: IntEnum) -> None:
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(bytes(content))

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if cache.content and not cache.content.startswith(self.world.gpu.encode()) and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self._cache

    def measured(self) -> None:
        if self._cache is not None:
            self._cache.content = (self._cache.content or self.world.gpu.encode()) + b"+"


class Builder(Base):
    def __init__(self, world: World, logger: Any) -> None:
        super().__init__(world, logger)
        self._owned: list[Any] = []

    def create_network(self, flags: int = 0) -> NetworkDefinition:
        return NetworkDefinition(self, flags)

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self)

    def create_optimization_profile(self) -> OptimizationProfile:
        self._owned.append(OptimizationProfile())
        return self._owned[-1]

    def build_serialized_network(self, network: NetworkDefinition, config: BuilderConfig) -> HostMemory | None:
        network.need_parent()
        if network.parser is None or network.parser() is None:
            raise self.world.broken("build after the parser, which owns the weights, has gone")
        old = self.world.tensorrt.startswith("10.")
        if old and not network.flags & 1 << OldFlag.STRONGLY_TYPED:
            raise self.world.broken("build of a network that is not strongly typed")
        for tensor in network._inputs():
            if -1 in tensor.shape and not config.profiles:
                self.log(Severity.ERROR, "Network has dynamic inputs, but no optimization profile has been defined.")
                return None
            for profile in config.profiles:
                given = profile.shapes.get(tensor.name, (tensor.shape,) * 3)
                if any(f not in (-1, n) for shape in given for f, n in zip(tensor.shape, shape, strict=True)):
                    self.log(Severity.ERROR, f"{tensor.name}: the profile does not fit the network")
                    return None
                if -1 in (*given[0], *given[2]):
                    self.log(Severity.ERROR, f"{tensor.name}: dynamic, but not in the profile")
                    return None
        config.measured()
        header = {
            "tensorrt": self.world.tensorrt,
            "capability": self.world.compute_capability,
            "profiles": [profile.shapes for profile in config.profiles] or [{}],
            "flags": sorted(config.flags),
            "level": config.builder_optimization_level,
            "workspace": config.pools.get(MemoryPoolType.WORKSPACE),
            "hardware": config.hardware_compatibility_level.name,
            "number": len(self.world.built),
        }
        self.world.built.append(header)
        return HostMemory(pack(header, network.model))


class Runtime(Base):
    def __init__(self, world: World, logger: Any) -> None:
        super().__init__(world, logger)
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        found = unpack(bytes(data))
        if found is None:
            self.log(Severity.ERROR, "Serialization assertion magicTag == kMAGIC failed.")
            return None
        header, model = found
        movable = "VERSION_COMPATIBLE" in header["flags"]
        if movable and not self.engine_host_code_allowed:
            self.log(Severity.ERROR, "The engine contains host code, which is not allowed.")
            return None
        if header["tensorrt"] != self.world.tensorrt and not movable:
            self.log(Severity.ERROR, "The engine plan file is not compatible with this version of TensorRT.")
            return None
        if tuple(header["capability"]) != self.world.compute_capability and header["hardware"] == "NONE":
            self.log(Severity.ERROR, "The engine plan file is generated on an incompatible device.")
            return None
        return Engine(self, header, model)


class Engine(Base):
    def __init__(self, runtime: Runtime, header: dict[str, Any], model: bytes) -> None:
        super().__init__(runtime.world, runtime.logger, runtime)
        self.network = Network(model)
        self.profiles = header["profiles"]
        self.contexts: weakref.WeakSet[Context] = weakref.WeakSet()

    def __del__(self) -> None:
        if any(self.contexts):
            self.world.violations.append("an engine has gone before its contexts")

    @property
    def num_io_tensors(self) -> int:
        return len(self.network.tensors)

    @property
    def num_optimization_profiles(self) -> int:
        return len(self.profiles)

    def get_tensor_name(self, index: int) -> str:
        return list(self.network.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if self.network.tensors[name].is_input else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return TYPES.get(self.network.tensors[name].onnx_type, DataType.INT32)

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self.network.tensors[name].shape)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[Dims]:
        fixed = self.network.tensors[name].shape
        return [Dims(shape) for shape in self.profiles[profile].get(name, [fixed] * 3)]

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        return SCRATCH * max(shapes[2][0] for shapes in self.profiles[profile].values())

    def create_execution_context(self, strategy: Strategy = Strategy.STATIC) -> Context:
        self.need_parent()
        context = Context(self, Strategy(strategy))
        self.contexts.add(context)
        return context


def for_one_thread(method: Method) -> Method:
    """A method of a context, which one thread at a time may use, and another only after its work is done."""

    @functools.wraps(method)
    def checked(self: Context, *arguments: Any) -> Any:
        self.need_parent()
        me = threading.get_ident()
        if not self.turn.acquire(blocking=False):
            raise self.world.broken("a context was used by two threads at once")
        try:
            if self.work is not None and not self.work.done and self.thread != me:
                raise self.world.broken("a context was used by a thread while work of another one was running")
            self.thread = me
            return method(self, *arguments)
        finally:
            self.turn.release()

    return checked  # type: ignore[return-value]


class Context(Base):
    def __init__(self, engine: Engine, strategy: Strategy) -> None:
        super().__init__(engine.world, engine.logger, engine)
        self._engine = weakref.ref(engine)  # the real binding keeps the engine alive; C++ would not
        self.strategy = strategy
        self.profile = 0
        self.turn = threading.Lock()
        self.thread = 0
        self.work: Work | None = None
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self.memory: tuple[int, int] | None = None
        self.fresh = True

    @property
    def engine(self) -> Engine:
        self.need_parent()
        engine = self._engine()
        assert engine is not None
        return engine

    @for_one_thread
    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        if not 0 <= index < len(self.engine.profiles):
            raise RuntimeError("Error in set optimization profile async.")
        self.profile, self.shapes, self.memory, self.fresh = index, {}, None, True
        self.world.add(stream, "profile", lambda: None)
        return True

    @for_one_thread
    def set_device_memory(self, memory: int, size: int) -> None:
        if self.strategy != Strategy.USER_MANAGED:
            raise self.world.broken("device memory for a context that has its own")
        if size < self.engine.get_device_memory_size_for_profile_v2(self.profile):
            raise self.world.broken("device memory that is too small for the profile")
        self.memory = memory, size

    @for_one_thread
    def set_input_shape(self, name: str, shape: Shape) -> bool:
        limits = self.engine.get_tensor_profile_shape(name, self.profile)
        if len(shape) != len(limits[0]) or not all(
            a <= n <= b for a, n, b in zip(limits[0], shape, limits[2], strict=True)
        ):
            self.log(Severity.ERROR, f"Static dimension mismatch or out of the profile while setting {name}: {shape}")
            return False
        if self.shapes.get(name) != shape:
            self.fresh = True
        self.shapes[name] = tuple(shape)
        return True

    @for_one_thread
    def get_tensor_shape(self, name: str) -> Dims:
        if self.engine.network.tensors[name].is_input:
            return Dims(self.shapes.get(name, self.engine.get_tensor_shape(name)))
        return Dims(self.engine.network.output_shapes(self.shapes)[name])

    @for_one_thread
    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine.network.tensors or memory % ALIGNMENT:
            self.log(Severity.ERROR, f"IExecutionContext::setTensorAddress: {name} at {memory:#x}")
            return False
        self.addresses[name] = memory
        return True

    @for_one_thread
    def execute_async_v3(self, stream_handle: int) -> bool:
        if stream_handle == 0:
            raise self.world.broken("a run on the default stream")
        inputs, shapes = self._checked()
        capture = self.world.stream(stream_handle).capture
        if capture is not None and self.fresh:
            capture.invalid = True
            self.log(Severity.ERROR, "The first run after a change of shapes cannot be captured.")
            return False
        captured = capture is not None
        self.fresh = self.fresh and captured
        addresses, memory = dict(self.addresses), self.memory

        world, network, me = self.world, self.engine.network, weakref.ref(self)

        def run() -> None:
            context = me()
            if context is None:
                raise world.broken("a context has gone before its work was done")
            if captured and context.shapes != {name: shapes[name] for name in inputs}:
                raise world.broken("launch of a graph whose context has got other shapes")
            if memory is not None:
                world.find(*memory, "device").fill(0)
            given = {name: context.view(addresses[name], shapes[name]).copy() for name in inputs}
            for name, value in network.run(given).items():
                if value.shape != shapes[name]:
                    raise world.broken(f"{name} has shape {value.shape}, and {shapes[name]} was foretold")
                context.view(addresses[name], shapes[name])[...] = value

        work = self.world.add(stream_handle, "run", run)
        self.work = self.work if captured else work
        return True

    def _checked(self) -> tuple[set[str], dict[str, Shape]]:
        """Names of the inputs and shapes of all tensors, if nothing is missing for a run."""
        inputs = {name for name, tensor in self.engine.network.tensors.items() if tensor.is_input}
        if missing := inputs.difference(self.shapes):
            raise self.world.broken(f"a run without the shapes of {sorted(missing)}")
        shapes = {**self.shapes, **self.engine.network.output_shapes(self.shapes)}
        for name, shape in shapes.items():
            if not self.addresses.get(name):
                raise self.world.broken(f"a run without the address of {name}")
            self.world.find(self.addresses[name], 4 * math.prod(shape), "device")
        if self.strategy == Strategy.USER_MANAGED:
            if self.memory is None:
                raise self.world.broken("a run without device memory")
            self.world.find(*self.memory, "device")
        return inputs, shapes

    def view(self, address: int, shape: Shape) -> np.ndarray:
        return self.world.find(address, 4 * math.prod(shape), "device").view(np.float32).reshape(shape)


def make_module(world: World) -> ModuleType:
    """The module, with what its version has and without what it has not."""
    module: Any = ModuleType("tensorrt")
    old = world.tensorrt.startswith("10.")
    module.__version__ = world.tensorrt
    module.ILogger = ILogger
    module.DataType = DataType
    module.float32 = DataType.FLOAT
    module.TensorIOMode = TensorIOMode
    module.MemoryPoolType = MemoryPoolType
    module.HardwareCompatibilityLevel = HardwareCompatibilityLevel
    module.ExecutionContextAllocationStrategy = Strategy
    module.NetworkDefinitionCreationFlag = OldFlag if old else NewFlag
    module.BuilderFlag = OldBuilderFlag if old else NewBuilderFlag

    def with_logger(kind: type[Any]) -> Callable[[Any], Any]:
        def make(logger: Any) -> Any:
            if not getattr(logger, "initialised", False):
                raise TypeError("__init__() of ILogger was not called")
            return kind(world, logger)

        return make

    module.Builder = with_logger(Builder)
    module.Runtime = with_logger(Runtime)
    module.OnnxParser = Parser
    return module
