"""A plan: a network that TensorRT has compiled for one kind of GPU."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from evsam.engines.tensorrt_runtime.cuda import Device
from evsam.engines.tensorrt_runtime.library import Library, joined
from evsam.errors import EvsamError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Limits:
    """The shapes that an input may have, dimension by dimension."""

    smallest: Shape
    largest: Shape

    def contain(self, shape: Shape) -> bool:
        """Whether a shape is within them."""
        return len(shape) == len(self.smallest) and all(
            low <= size <= high for low, size, high in zip(self.smallest, shape, self.largest, strict=True)
        )


class Plan:
    """A plan, loaded onto a device. Any number of threads may make execution contexts from it.

    Args:
        library: TensorRT.
        device: must be the current one.
        data: the plan's bytes.
        label: what to call it in errors.
        host_code: whether the plan may bring code for the CPU, as those that other versions can run do.

    Attributes:
        engine: TensorRT's object.
        inputs: names of the inputs.
        outputs: names of the outputs.

    Raises:
        EvsamError: TensorRT refuses it (of another version or GPU, or damaged), or it has tensors of other types than
            float32.
    """

    def __init__(self, library: Library, device: Device, data: bytes, label: str, host_code: bool = False) -> None:
        self.library = library
        self.device = device
        self.label = label
        self._lock = threading.Lock()
        trt = library.trt
        with library.errors() as errors:
            # Kept as long as the engine, which belongs to it.
            self._runtime = trt.Runtime(library.logger)
            if host_code:
                self._runtime.engine_host_code_allowed = True
            self.engine: Any = self._runtime.deserialize_cuda_engine(data)
        if self.engine is None:
            raise EvsamError(
                f"{label}: expected a plan that TensorRT {library.version} can load on {device.name}, "
                f"got an error: {joined(errors)}"
            )
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        self.inputs = tuple(n for n in names if self.engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT)
        self.outputs = tuple(n for n in names if self.engine.get_tensor_mode(n) == trt.TensorIOMode.OUTPUT)
        for name in names:
            dtype = self.engine.get_tensor_dtype(name)
            if dtype != trt.DataType.FLOAT:
                raise EvsamError(f"{label}: expected tensors of float32, got {dtype} for {name}")

    @property
    def profiles(self) -> int:
        """Number of optimisation profiles."""
        return int(self.engine.num_optimization_profiles)

    def shape(self, name: str) -> Shape:
        """Shape of an input or output, with -1 where it varies."""
        return tuple(self.engine.get_tensor_shape(name))

    def limits(self, name: str, profile: int) -> Limits:
        """The shapes that an input may have with a profile."""
        smallest, _, largest = self.engine.get_tensor_profile_shape(name, profile)
        return Limits(tuple(smallest), tuple(largest))

    def make_context(self) -> Any:
        """A new execution context of TensorRT, which computes in memory that it is given.

        Raises:
            EvsamError: TensorRT reports an error.
        """
        strategy = self.library.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        with self._lock, self.library.errors() as errors:
            context = self.engine.create_execution_context(strategy)
        if context is None:
            raise EvsamError(f"create_execution_context of {self.label}: {joined(errors)}")
        return context

    def close(self) -> None:
        """Drop the plan; no context of it may be left."""
        self.engine = None
        self._runtime = None
