"""Plans, loaded onto a device, and their execution: contexts, buffers, and who may run at the same time."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from evsam.engines.base import FloatArray
from evsam.engines.tensorrt_runtime.cuda import (
    ALIGNMENT,
    FLOAT_BYTES,
    Device,
    DeviceBuffer,
    Graph,
    PinnedBuffer,
    Stream,
)
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


class Closable(Protocol):
    """Something that holds memory until it is closed."""

    def close(self) -> None:
        """Release the memory."""


T = TypeVar("T", bound=Closable)


class Gate:
    """Counts the calls in progress; used as a context manager by each of them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._closed = False

    def __enter__(self) -> None:
        with self._condition:
            if self._closed:
                raise EvsamError("engine: expected an open engine, got one after close()")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._inside -= 1
            self._condition.notify_all()

    def close(self) -> bool:
        """Let nobody in any more and wait until nobody is inside.

        Returns:
            Whether it was open.
        """
        with self._condition:
            was_open = not self._closed
            self._closed = True
            self._condition.wait_for(lambda: self._inside == 0)
        return was_open


class Pool(Generic[T]):
    """Up to ``limit`` things, made when first needed and kept; callers wait where all are in use.

    Args:
        make: makes one.
        limit: how many there may be.
    """

    def __init__(self, make: Callable[[], T], limit: int) -> None:
        self._make = make
        self._turns = threading.Semaphore(limit)
        self._free: list[T] = []

    @contextmanager
    def use(self) -> Iterator[T]:
        """One of the things, for this caller alone. After an error it is closed instead of kept."""
        with self._turns:
            try:
                thing = self._free.pop()  # the last one used, since its memory is the warmest
            except IndexError:
                thing = self._make()
            try:
                yield thing
            except BaseException:
                thing.close()
                raise
            self._free.append(thing)

    def close(self) -> None:
        """Close all things; none may be in use."""
        while self._free:
            self._free.pop().close()


logger = logging.getLogger("evsam.tensorrt")

GRAPHS = 8
"""Shapes that an execution records graphs of; calls of further shapes run without."""


@dataclass(frozen=True)
class OnDevice:
    """A float32 array in memory of the device, in C order.

    Attributes:
        address: of its first value.
        shape: of the array.
        owner: what keeps the memory alive.
    """

    address: int
    shape: Shape
    owner: object

    @property
    def nbytes(self) -> int:
        """Its size."""
        return FLOAT_BYTES * math.prod(self.shape)


class Execution:
    """What one call in progress needs to run a plan.

    All memory is allocated at once, for the largest shapes of the profile: a buffer on the device for each input and
    output, memory for what TensorRT computes in between, and, for those that are copied, pinned host memory.

    With ``graphs``, shapes that come a second time are recorded as a CUDA graph, which starts faster. A graph holds
    fixed addresses, so inputs that are elsewhere on the device are copied into the buffers first.

    Args:
        plan: what to run.
        profile: the optimisation profile, which limits the shapes.
        graphs: whether to record graphs.
    """

    def __init__(self, plan: Plan, profile: int, graphs: bool = False) -> None:
        self._plan = plan
        self._profile = profile
        self._copied = graphs
        self._recording = graphs
        self._cuda = plan.device.cuda
        self._limits = {name: plan.limits(name, profile) for name in plan.inputs}
        self._seen: set[tuple[Shape, ...]] = set()
        self._recorded: dict[tuple[Shape, ...], tuple[Context, Graph]] = {}
        self._pinned: dict[str, PinnedBuffer] = {}
        self._spare: DeviceBuffer | None = None
        self.stream = Stream(self._cuda)
        self._scratch = DeviceBuffer(self._cuda, int(plan.engine.get_device_memory_size_for_profile_v2(profile)))
        self._context = self._make_context()
        largest = {name: limits.largest for name, limits in self._limits.items()}
        self._output_shapes = self._context.set_shapes(largest)
        self._buffers = {
            name: DeviceBuffer(self._cuda, FLOAT_BYTES * math.prod(shape))
            for name, shape in {**largest, **self._output_shapes}.items()
        }

    def largest(self, name: str) -> Shape:
        """The largest shape that an input may have."""
        return self._limits[name].largest

    def buffer(self, name: str, shape: Shape) -> OnDevice:
        """The buffer of an input or output on the device, as an array of a shape that fits into it."""
        buffer = self._buffers[name]
        array = OnDevice(buffer.address, shape, self)
        if array.nbytes > buffer.nbytes:
            raise EvsamError(f"{name}: expected at most {buffer.nbytes} bytes, got {array.nbytes} of shape {shape}")
        return array

    def staging(self, name: str, shape: Shape) -> FloatArray:
        """Pinned memory of an input or output as an array; valid until the next call for the same name."""
        self.buffer(name, shape)  # whose check holds for this memory too
        if name not in self._pinned:
            self._pinned[name] = PinnedBuffer(self._cuda, self._buffers[name].nbytes)
        return self._pinned[name].view(shape)

    def spare(self, nbytes: int) -> int:
        """Address of memory on the device for whatever is needed before the plan runs."""
        if self._spare is None or self._spare.nbytes < nbytes:
            self._spare = DeviceBuffer(self._cuda, nbytes)
        return self._spare.address

    def upload(self, name: str, array: npt.NDArray[Any]) -> OnDevice:
        """Copy an array of the host into the buffer of an input; numbers become float32."""
        staged = self.staging(name, array.shape)
        np.copyto(staged, array)
        return self.upload_staged(name, array.shape)

    def upload_staged(self, name: str, shape: Shape, start: int = 0, stop: int | None = None) -> OnDevice:
        """Copy what was written to :meth:`staging` to the device, or its items from ``start`` to ``stop`` alone."""
        target = self.buffer(name, shape)
        item = target.nbytes // shape[0] if shape[0] else 0
        stop = shape[0] if stop is None else stop
        offset = start * item
        self.stream.to_device(target.address + offset, self._pinned[name].address + offset, (stop - start) * item)
        return target

    def zeros(self, name: str, shape: Shape) -> OnDevice:
        """The buffer of an input, filled with zeros."""
        target = self.buffer(name, shape)
        self.stream.zero(target.address, target.nbytes)
        return target

    def start(self, inputs: Mapping[str, OnDevice]) -> dict[str, OnDevice]:
        """Let the device run the plan, after what is on the stream already.

        Args:
            inputs: every input; what they hold must not change before the stream has been synchronised.

        Returns:
            The outputs, in buffers that the next run overwrites; complete once the stream has been synchronised.

        Raises:
            EvsamError: a shape is outside the profile, or TensorRT reports an error.
        """
        if set(inputs) != set(self._plan.inputs):
            raise EvsamError(
                f"{self._plan.label}: expected inputs {', '.join(self._plan.inputs)}, got {', '.join(inputs)}"
            )
        placed = {name: self._place(name, inputs[name]) for name in self._plan.inputs}
        shapes = {name: array.shape for name, array in placed.items()}
        key = tuple(shapes.values())
        if key in self._recorded:
            context, graph = self._recorded[key]
            graph.launch(self.stream)
            return self._outputs(context.output_shapes)
        wanted = self._recording and key in self._seen and len(self._recorded) < GRAPHS
        self._seen.add(key)
        # A graph keeps addresses of the context's own memory, so its context must not get to see other shapes.
        context = self._make_context() if wanted else self._context
        outputs = self._outputs(context.set_shapes(shapes))
        context.set_addresses({name: array.address for name, array in {**placed, **outputs}.items()})
        context.enqueue(self.stream)
        if wanted:
            self._record(key, context)
        return outputs

    def download(self, outputs: Mapping[str, OnDevice]) -> dict[str, FloatArray]:
        """Wait for the device, and copy outputs to the host.

        Returns:
            Arrays in pinned memory, valid until the next run.
        """
        arrays = {name: self.staging(name, output.shape) for name, output in outputs.items()}
        for name, output in outputs.items():
            self.stream.to_host(self._pinned[name].address, output.address, output.nbytes)
        self.stream.synchronize()
        return arrays

    def close(self) -> None:
        """Wait for the device and free all memory."""
        with contextlib.suppress(EvsamError):  # which an earlier call has reported
            self.stream.synchronize()
        while self._recorded:
            context, graph = self._recorded.popitem()[1]
            graph.close()
            context.close()
        self._context.close()
        for buffer in (self._scratch, self._spare, *self._buffers.values(), *self._pinned.values()):
            if buffer is not None:
                buffer.close()
        self.stream.close()

    def _place(self, name: str, array: OnDevice) -> OnDevice:
        """The array, or a copy in the input's buffer where its address cannot be used."""
        limits = self._limits[name]
        if not limits.contain(array.shape):
            raise EvsamError(
                f"{name}: expected a shape from {limits.smallest} to {limits.largest} for {self._plan.label}, "
                f"got {array.shape}"
            )
        buffer = self.buffer(name, array.shape)
        if array.address == buffer.address or not (self._copied or array.address % ALIGNMENT):
            return array
        self.stream.on_device(buffer.address, array.address, array.nbytes)
        return buffer

    def _outputs(self, shapes: Mapping[str, Shape]) -> dict[str, OnDevice]:
        return {name: self.buffer(name, shape) for name, shape in shapes.items()}

    def _record(self, key: tuple[Shape, ...], context: Context) -> None:
        try:
            graph = self.stream.record(lambda: context.enqueue(self.stream))
        except EvsamError as error:
            # Its text alone: records of the log may be kept, and the error holds the frames of all callers.
            logger.warning("%s: no CUDA graphs, since recording one failed: %s", self._plan.label, str(error))
            self._recording = False
            self.stream.synchronize()  # the context goes, so its work must be done
            context.close()
        else:
            self._recorded[key] = context, graph

    def _make_context(self) -> Context:
        return Context(self._plan, self._profile, self._scratch, self.stream)


class Context:
    """TensorRT's execution context: shapes, addresses and state of one run after another.

    Args:
        plan: what it runs.
        profile: its optimisation profile.
        scratch: memory that it computes in; contexts may share it if their runs are on one stream.
        stream: that the runs are on.

    Attributes:
        output_shapes: for the input shapes that were set last.
    """

    def __init__(self, plan: Plan, profile: int, scratch: DeviceBuffer, stream: Stream) -> None:
        self._plan = plan
        self._context: Any = plan.make_context()
        if profile != 0:  # that of a new context
            select = self._context.set_optimization_profile_async
            self._set("set_optimization_profile_async", select, profile, stream.address)
            stream.synchronize()
        self._context.set_device_memory(scratch.address, scratch.nbytes)
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self.output_shapes: dict[str, Shape] = {}

    def set_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Set the shapes of all inputs; returns those of the outputs."""
        if self._shapes != shapes:
            self._shapes = {}  # until all are set
            for name, shape in shapes.items():
                self._set("set_input_shape", self._context.set_input_shape, name, shape)
            self.output_shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in self._plan.outputs}
            for name, shape in self.output_shapes.items():
                if min(shape, default=0) < 0:
                    raise EvsamError(
                        f"{self._plan.label}: expected outputs whose shapes follow from the inputs' shapes, "
                        f"got {shape} for {name}"
                    )
            self._shapes = dict(shapes)
        return self.output_shapes

    def set_addresses(self, addresses: Mapping[str, int]) -> None:
        """Set where inputs and outputs are."""
        for name, address in addresses.items():
            if self._addresses.get(name) != address:
                self._set("set_tensor_address", self._context.set_tensor_address, name, address)
                self._addresses[name] = address

    def enqueue(self, stream: Stream) -> None:
        """Append a run to the stream."""
        self._set("execute_async_v3", self._context.execute_async_v3, stream.address)

    def close(self) -> None:
        """Drop the context; its work must be done."""
        self._context = None

    def _set(self, name: str, method: Any, *arguments: Any) -> None:
        with self._plan.library.errors() as errors:
            try:
                done = method(*arguments)
            except RuntimeError as error:
                errors.append(str(error))
                done = False
        if not done:
            raise EvsamError(f"{name} of {self._plan.label}: {joined(errors)}")
