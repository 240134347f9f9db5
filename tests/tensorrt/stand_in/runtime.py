"""The module ``cuda.bindings.runtime`` (or ``cuda.cudart``) of a :class:`World`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.tensorrt.stand_in.world import POISON, Capture, Stream, World, host_bytes


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorInvalidDevice = 101
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901
    cudaErrorIllegalState = 401


class MemcpyKind(IntEnum):
    cudaMemcpyHostToHost = 0
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class CaptureMode(IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1
    cudaStreamCaptureModeRelaxed = 2


class Attribute(IntEnum):
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


class Handle:
    """As cuda-python's: an object with a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __int__(self) -> int:
        return self.number


TEXTS = {
    Status.cudaErrorInsufficientDriver: "CUDA driver version is insufficient for CUDA runtime version",
    Status.cudaErrorMemoryAllocation: "out of memory",
}


class Runtime:
    """The functions. Each returns its status first, as cuda-python's do."""

    def __init__(self, world: World) -> None:
        self.world = world

    def cudaGetErrorName(self, status: Any) -> tuple[Any, ...]:
        return 0, Status(int(status)).name.encode()

    def cudaGetErrorString(self, status: Any) -> tuple[Any, ...]:
        return 0, TEXTS.get(Status(int(status)), "failed").encode()

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        if self.world.devices == 0:
            return Status.cudaErrorInsufficientDriver, None
        return 0, self.world.devices

    def cudaGetDevice(self) -> tuple[Any, ...]:
        return 0, getattr(self.world.current, "device", 0)

    def cudaSetDevice(self, index: int) -> tuple[Any, ...]:
        if not 0 <= index < self.world.devices:
            return (Status.cudaErrorInvalidDevice,)
        self.world.current.device = index
        return (0,)

    def cudaGetDeviceProperties(self, index: int) -> tuple[Any, ...]:
        return 0, SimpleNamespace(name=self.world.gpu.encode())

    def cudaDeviceGetAttribute(self, attribute: Attribute, index: int) -> tuple[Any, ...]:
        return 0, self.world.compute_capability[attribute - Attribute.cudaDevAttrComputeCapabilityMajor]

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return 0, self.world.driver

    def _forbidden(self) -> bool:
        """Whether a capture forbids the call, which also ends the capture."""
        capture = self.world.capture_of_thread()
        if capture is not None:
            capture.invalid = True
        return capture is not None

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        if self._forbidden():
            return Status.cudaErrorStreamCaptureUnsupported, None
        return 0, self.world.allocate(size, "device")

    def cudaMallocHost(self, size: int) -> tuple[Any, ...]:
        if self._forbidden():
            return Status.cudaErrorStreamCaptureUnsupported, None
        return 0, self.world.allocate(size, "pinned")

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        if self._forbidden():
            return (Status.cudaErrorStreamCaptureUnsupported,)
        self.world.drain_all()
        self.world.free(address, "device")
        return (0,)

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        if self._forbidden():
            return (Status.cudaErrorStreamCaptureUnsupported,)
        self.world.drain_all()
        self.world.free(address, "pinned")
        return (0,)

    def cudaMemcpy(self, target: int, source: int, size: int, kind: MemcpyKind) -> tuple[Any, ...]:
        if self._forbidden():
            return (Status.cudaErrorStreamCaptureUnsupported,)
        to = self.world.find(target, size, "device") if kind & 1 else host_bytes(target, size)
        whence = self.world.find(source, size, "device") if kind & 2 else host_bytes(source, size)
        to[:] = whence  # without waiting for streams that do not wait for the default one
        return (0,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: MemcpyKind, stream: Any) -> tuple[Any, ...]:
        sides = {
            MemcpyKind.cudaMemcpyHostToDevice: ("device", "pinned"),
            MemcpyKind.cudaMemcpyDeviceToHost: ("pinned", "device"),
            MemcpyKind.cudaMemcpyDeviceToDevice: ("device", "device"),
        }[kind]
        to = self.world.find(target, size, sides[0])
        self.world.find(source, size, sides[1])
        if kind == MemcpyKind.cudaMemcpyDeviceToHost:
            to[:] = POISON  # nobody may read it yet

        def run() -> None:
            self.world.find(target, size, sides[0])[:] = self.world.find(source, size, sides[1])

        self.world.add(int(stream), "copy", run)
        return (0,)

    def cudaMemcpy2DAsync(
        self, target: int, step: int, source: int, source_step: int, width: int, rows: int, kind: Any, stream: Any
    ) -> tuple[Any, ...]:
        if kind != MemcpyKind.cudaMemcpyDeviceToDevice or width > min(step, source_step):
            return (Status.cudaErrorInvalidValue,)
        sizes = (rows - 1) * step + width, (rows - 1) * source_step + width
        self.world.find(target, sizes[0], "device")
        self.world.find(source, sizes[1], "device")

        def run() -> None:
            to, whence = self.world.find(target, sizes[0]), self.world.find(source, sizes[1])
            for byte in range(width):
                to[byte::step][:rows] = whence[byte::source_step][:rows]

        self.world.add(int(stream), "copy 2D", run)
        return (0,)

    def cudaMemsetAsync(self, target: int, value: int, size: int, stream: Any) -> tuple[Any, ...]:
        self.world.find(target, size, "device")
        self.world.add(int(stream), "set", lambda: self.world.find(target, size, "device").fill(value))
        return (0,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        handle = self.world.handle()
        self.world.streams[handle] = Stream(handle)
        return 0, Handle(handle)

    def cudaStreamDestroy(self, stream: Any) -> tuple[Any, ...]:
        found = self.world.stream(int(stream))
        self.world.drain(found)
        del self.world.streams[int(stream)]
        return (0,)

    def cudaStreamSynchronize(self, stream: Any) -> tuple[Any, ...]:
        found = self.world.stream(int(stream))
        if found.capture is not None or self._forbidden():
            if found.capture is not None:
                found.capture.invalid = True
            return (Status.cudaErrorStreamCaptureUnsupported,)
        self.world.drain(found)
        return (0,)

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        handle = self.world.handle()
        self.world.events[handle] = None
        return 0, Handle(handle)

    def cudaEventRecord(self, event: Any, stream: Any) -> tuple[Any, ...]:
        self.world.events[int(event)] = self.world.add(int(stream), "event", lambda: None)
        return (0,)

    def cudaStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> tuple[Any, ...]:
        recorded = self.world.events[int(event)]

        def run() -> None:
            if recorded is not None and not recorded.done:
                other = self.world.stream_of(recorded)
                if other is not None:
                    self.world.drain(other, recorded)

        self.world.add(int(stream), "wait", run)
        return (0,)

    def cudaEventDestroy(self, event: Any) -> tuple[Any, ...]:
        del self.world.events[int(event)]
        return (0,)

    def cudaStreamBeginCapture(self, stream: Any, mode: CaptureMode) -> tuple[Any, ...]:
        found = self.world.stream(int(stream))
        if found.capture is not None:
            return (Status.cudaErrorIllegalState,)
        found.capture = Capture(threading.get_ident(), mode == CaptureMode.cudaStreamCaptureModeGlobal)
        return (0,)

    def cudaStreamEndCapture(self, stream: Any) -> tuple[Any, ...]:
        found = self.world.stream(int(stream))
        capture, found.capture = found.capture, None
        if capture is None:
            return Status.cudaErrorIllegalState, None
        if capture.invalid:
            return Status.cudaErrorStreamCaptureInvalidated, None
        handle = self.world.handle()
        self.world.graphs[handle] = capture.work
        return 0, Handle(handle)

    def cudaGraphInstantiateWithFlags(self, graph: Any, flags: int) -> tuple[Any, ...]:
        handle = self.world.handle()
        self.world.executables[handle] = self.world.graphs[int(graph)]
        return 0, Handle(handle)

    def cudaGraphLaunch(self, executable: Any, stream: Any) -> tuple[Any, ...]:
        work = self.world.executables.get(int(executable))
        if work is None:
            raise self.world.broken("launch of a graph that was destroyed")
        for one in work:
            self.world.add(int(stream), f"graph: {one.name}", one.run)
        return (0,)

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:
        del self.world.graphs[int(graph)]
        return (0,)

    def cudaGraphExecDestroy(self, executable: Any) -> tuple[Any, ...]:
        if self.world.executables.pop(int(executable), None) is None:
            raise self.world.broken("a graph was destroyed twice")
        return (0,)


def make_module(world: World, name: str) -> ModuleType:
    """The module under one of its names."""
    module: Any = ModuleType(name)
    runtime = Runtime(world)
    for attribute in dir(runtime):
        if attribute.startswith("cuda"):
            setattr(module, attribute, _watched(world, attribute, getattr(runtime, attribute)))
    module.cudaError_t = Status
    module.cudaMemcpyKind = MemcpyKind
    module.cudaStreamCaptureMode = CaptureMode
    module.cudaDeviceAttr = Attribute
    module.cudaStreamNonBlocking = 1
    module.cudaEventDisableTiming = 2
    return module


def _watched(world: World, name: str, function: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    def call(*arguments: Any) -> tuple[Any, ...]:
        with world.lock:
            world.calls.append(name)
            if name in world.failing:
                if name in ("cudaStreamSynchronize", "cudaStreamEndCapture"):
                    # It fails because the work, or the recording, has ended badly, but it has ended.
                    stream = world.stream(int(arguments[0]))
                    world.drain(stream)
                    stream.capture = None
                return Status(world.failing[name]), None
            status, *values = function(*arguments)
            return (Status(status), *values)

    return call
