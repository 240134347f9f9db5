"""CUDA's runtime through its Python package: checked calls, devices, memory, streams and recorded graphs of work."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from evsam.engines.base import FloatArray
from evsam.errors import BackendUnavailable, EvsamError

logger = logging.getLogger("evsam.tensorrt")

_MODULES = ("cuda.bindings.runtime", "cuda.cudart")
"""The runtime's module in cuda-python from 12.6 on, and before."""


class Cuda:
    """The CUDA runtime; every failure of a call becomes an error with its name.

    Args:
        module: with the functions, each of which returns its status first.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the runtime's function ``name``.

        Returns:
            What it returns behind the status: nothing, one value, or several.

        Raises:
            EvsamError: the call failed.
        """
        try:
            status, *values = getattr(self.module, name)(*arguments)
        except RuntimeError as error:  # a driver or a package that lacks the function
            raise EvsamError(f"{name}: {error}") from error
        if int(status) != 0:
            raise EvsamError(f"{name}: {self._describe(status)}")
        return values[0] if len(values) == 1 else tuple(values) or None

    def release(self, name: str, handle: Any) -> None:
        """Call a function that frees something. Failures are logged, since nobody could do anything about them."""
        status, *_ = getattr(self.module, name)(handle)
        if int(status) != 0:
            logger.warning("%s: %s", name, self._describe(status))

    def _describe(self, status: Any) -> str:
        texts = (function(status)[1] for function in (self.module.cudaGetErrorName, self.module.cudaGetErrorString))
        name, text = (text.decode() if isinstance(text, bytes) else str(text) for text in texts)
        return f"{text} ({name}, {int(status)})"


def load_cuda() -> Cuda:
    """The runtime.

    Raises:
        BackendUnavailable: its Python package is not installed, or does not fit the machine.
    """
    problems = []
    for name in _MODULES:
        try:
            return Cuda(import_module(name))
        except (ImportError, OSError) as error:  # noqa: PERF203 - two names
            problems.append(str(error))
    raise BackendUnavailable(
        f"engine: tensorrt needs cuda-python; use pip install 'evsam[tensorrt]' ({'; '.join(problems)})"
    )


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        cuda: the runtime.
        index: its number.
        name: as its maker calls it.
        compute_capability: for example ``8.7``.
        driver: newest CUDA version that the driver knows, for example 12060 for 12.6.
    """

    cuda: Cuda = field(repr=False)
    index: int
    name: str
    compute_capability: str
    driver: int

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the calling thread's device, and afterwards the one again that was it before."""
        before = self.cuda.call("cudaGetDevice")
        if before != self.index:
            self.cuda.call("cudaSetDevice", self.index)
        try:
            yield
        finally:
            if before != self.index:
                self.cuda.call("cudaSetDevice", before)

    def __str__(self) -> str:
        return f"cuda:{self.index}"


def find_device(cuda: Cuda, name: str | None) -> Device:
    """The device that a user means.

    Args:
        cuda: the runtime.
        name: ``cuda``, ``cuda:N`` or None.

    Raises:
        BackendUnavailable: another name, or there is no such device.
    """
    kind, _, number = (name or "cuda").partition(":")
    if kind != "cuda" or not (number.isdecimal() or ":" not in (name or "")):
        raise BackendUnavailable(f"device: expected cuda or cuda:N for engine tensorrt, got {name!r}")
    try:
        count = cuda.call("cudaGetDeviceCount")
    except EvsamError as error:
        raise BackendUnavailable(f"device: expected a CUDA device for engine tensorrt, got none: {error}") from error
    index = int(number or 0)
    if index >= count:
        raise BackendUnavailable(f"device: expected one of {count} CUDA devices, got {name!r}")
    label = cuda.call("cudaGetDeviceProperties", index).name
    attributes = cuda.module.cudaDeviceAttr
    major, minor = (
        cuda.call("cudaDeviceGetAttribute", attribute, index)
        for attribute in (attributes.cudaDevAttrComputeCapabilityMajor, attributes.cudaDevAttrComputeCapabilityMinor)
    )
    return Device(
        cuda,
        index,
        (label.decode() if isinstance(label, bytes) else str(label)).rstrip("\0"),
        f"{major}.{minor}",
        cuda.call("cudaDriverGetVersion"),
    )


ALIGNMENT = 256
"""Bytes that TensorRT wants addresses of tensors to be multiples of; CUDA's own allocations are."""

FLOAT_BYTES = 4


class DeviceBuffer:
    """Memory on the current device, freed with the object or by :meth:`close`.

    Attributes:
        address: of its first byte.
        nbytes: its size.
    """

    def __init__(self, cuda: Cuda, nbytes: int) -> None:
        self.nbytes = nbytes
        self.address: int = cuda.call("cudaMalloc", max(nbytes, 1))
        # Not at exit: the process gives its memory back anyway, and other threads may still be computing.
        self._finalizer = weakref.finalize(self, cuda.release, "cudaFree", self.address)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Free the memory, once the device has done all work; later calls do nothing."""
        self._finalizer()


class PinnedBuffer:
    """Host memory that cannot be paged out, so that copies run beside other work.

    Attributes:
        address: of its first byte.
        nbytes: its size.
    """

    def __init__(self, cuda: Cuda, nbytes: int) -> None:
        self.nbytes = nbytes
        values = max(nbytes // FLOAT_BYTES, 1)
        self.address: int = int(cuda.call("cudaMallocHost", values * FLOAT_BYTES))
        self._finalizer = weakref.finalize(self, cuda.release, "cudaFreeHost", self.address)
        self._finalizer.atexit = False
        memory: Any = (ctypes.c_float * values).from_address(self.address)
        self._values: FloatArray = np.frombuffer(memory, np.float32)

    def view(self, shape: tuple[int, ...]) -> FloatArray:
        """Its beginning as a float32 array, in C order; not to be used once the buffer is closed."""
        return self._values[: math.prod(shape)].reshape(shape)

    def close(self) -> None:
        """Free the memory; later calls do nothing."""
        self._finalizer()


class Graph:
    """Recorded work that is launched as one."""

    def __init__(self, cuda: Cuda, recorded: object) -> None:
        self._cuda = cuda
        # CUDA 11's cudaGraphInstantiate has other arguments; this one has the same in all versions.
        self._executable = cuda.call("cudaGraphInstantiateWithFlags", recorded, 0)
        self._finalizer = weakref.finalize(self, cuda.release, "cudaGraphExecDestroy", self._executable)
        self._finalizer.atexit = False

    def launch(self, stream: Stream) -> None:
        """Append the work to a stream."""
        self._cuda.call("cudaGraphLaunch", self._executable, stream.handle)

    def close(self) -> None:
        """Free it; nothing of it may be running."""
        self._finalizer()


class Stream:
    """Work that the current device does in order, independent of other streams, the default one included.

    Attributes:
        handle: for functions of the runtime.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle = cuda.call("cudaStreamCreateWithFlags", cuda.module.cudaStreamNonBlocking)
        self._finalizer = weakref.finalize(self, cuda.release, "cudaStreamDestroy", self.handle)
        self._finalizer.atexit = False

    @property
    def address(self) -> int:
        """The handle as a number, for TensorRT and other libraries."""
        return int(self.handle)

    def to_device(self, device: int, host: int, nbytes: int) -> None:
        """Copy from pinned memory, which is not to be changed before the copy is done."""
        self._copy(device, host, nbytes, self._cuda.module.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def to_host(self, host: int, device: int, nbytes: int) -> None:
        """Copy to pinned memory, which is not to be read before :meth:`synchronize`."""
        self._copy(host, device, nbytes, self._cuda.module.cudaMemcpyKind.cudaMemcpyDeviceToHost)

    def on_device(self, target: int, source: int, nbytes: int) -> None:
        """Copy from one address of the device to another."""
        self._copy(target, source, nbytes, self._cuda.module.cudaMemcpyKind.cudaMemcpyDeviceToDevice)

    def gather(self, target: int, source: int, item: int, step: int, count: int) -> None:
        """Copy on the device: ``count`` items of ``item`` bytes, that are ``step`` bytes apart, become adjacent."""
        kind = self._cuda.module.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._cuda.call("cudaMemcpy2DAsync", target, item, source, step, item, count, kind, self.handle)

    def zero(self, device: int, nbytes: int) -> None:
        """Fill memory of the device with zeros."""
        self._cuda.call("cudaMemsetAsync", device, 0, nbytes, self.handle)

    def wait_for(self, other: int) -> None:
        """Let what follows wait for what is on another stream now; 0 is the default stream."""
        event = self._cuda.call("cudaEventCreateWithFlags", self._cuda.module.cudaEventDisableTiming)
        try:
            self._cuda.call("cudaEventRecord", event, other)
            self._cuda.call("cudaStreamWaitEvent", self.handle, event, 0)
        finally:
            self._cuda.release("cudaEventDestroy", event)

    def record(self, enqueue: Callable[[], None]) -> Graph:
        """Record what ``enqueue`` appends to this stream, without running it.

        Raises:
            EvsamError: something in it cannot be recorded.
        """
        # Other threads may allocate memory meanwhile, which a capture of global mode would forbid them.
        mode = self._cuda.module.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self.handle, mode)
        try:
            enqueue()
        except EvsamError:
            with contextlib.suppress(EvsamError):  # which says less than the first one
                self._cuda.release("cudaGraphDestroy", self._cuda.call("cudaStreamEndCapture", self.handle))
            raise
        recorded = self._cuda.call("cudaStreamEndCapture", self.handle)
        try:
            return Graph(self._cuda, recorded)
        finally:
            self._cuda.release("cudaGraphDestroy", recorded)

    def synchronize(self) -> None:
        """Wait until everything on this stream is done."""
        self._cuda.call("cudaStreamSynchronize", self.handle)

    def close(self) -> None:
        """Free the stream; later calls do nothing."""
        self._finalizer()

    def _copy(self, target: int, source: int, nbytes: int, kind: object) -> None:
        if nbytes:
            self._cuda.call("cudaMemcpyAsync", target, source, nbytes, kind, self.handle)
