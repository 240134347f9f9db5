"""One machine with a GPU: its memory, and the work on its streams."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ALIGNMENT = 256
POISON = 0xFF
"""Makes NaN of float32."""

FIRST_ADDRESS = 1 << 60
"""Device memory is where no process has memory, so that a read by the host ends the process."""


class Broken(AssertionError):
    """A rule of CUDA or TensorRT was broken."""


@dataclass
class Allocation:
    address: int
    size: int
    data: np.ndarray
    kind: str
    freed: bool = False


@dataclass(eq=False)
class Work:
    """Something on a stream."""

    name: str
    run: Callable[[], None]
    done: bool = False


@dataclass(eq=False)
class Stream:
    handle: int
    pending: list[Work] = field(default_factory=list)
    capture: Capture | None = None


@dataclass(eq=False)
class Capture:
    """A graph while it is recorded."""

    thread: int
    global_mode: bool
    work: list[Work] = field(default_factory=list)
    invalid: bool = False


class World:
    """The machine.

    Args:
        tensorrt: version of TensorRT.
        gpu: name of the GPU.
        compute_capability: of the GPU.
        driver: newest CUDA version that the driver knows.
        devices: number of GPUs.
    """

    def __init__(
        self,
        tensorrt: str = "10.3.0",
        gpu: str = "Stand-in GPU",
        compute_capability: tuple[int, int] = (8, 7),
        driver: int = 12060,
        devices: int = 1,
    ) -> None:
        self.tensorrt = tensorrt
        self.gpu = gpu
        self.compute_capability = compute_capability
        self.driver = driver
        self.devices = devices
        self.violations: list[str] = []
        self.calls: list[str] = []
        self.failing: dict[str, int] = {}
        self.plugins: set[str] = set()
        self.built: list[dict[str, Any]] = []
        self.current = threading.local()
        self.allocations: dict[int, Allocation] = {}
        self.streams: dict[int, Stream] = {}
        self.events: dict[int, Work | None] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.logged: list[str] = []
        self._next = FIRST_ADDRESS
        self._handles = iter(range(0x1000, 1 << 30, 0x10))
        self.lock = threading.RLock()

    def broken(self, message: str) -> Broken:
        """The error to raise; it is also kept, in case somebody catches it."""
        self.violations.append(message)
        return Broken(message)

    def handle(self) -> int:
        return next(self._handles)

    # Memory

    def allocate(self, size: int, kind: str) -> int:
        if kind == "pinned":
            data = np.full(size, POISON, np.uint8)
            address = data.ctypes.data
        else:
            data = np.full(size, POISON, np.uint8)
            address = self._next
            self._next += -(-size // ALIGNMENT) * ALIGNMENT + ALIGNMENT  # a gap behind each, so that overruns hit it
        self.allocations[address] = Allocation(address, size, data, kind)
        return address

    def free(self, address: int, kind: str) -> None:
        found = self.allocations.get(address)
        if found is None or found.kind != kind:
            raise self.broken(f"free of {address:#x}, which is no {kind} memory")
        if found.freed:
            raise self.broken(f"double free of {kind} memory {address:#x}")
        found.freed = True
        found.data[:] = POISON
        if kind == "pinned":
            found.data = found.data.copy()  # the old memory goes back to the process with its last view

    def find(self, address: int, size: int, kind: str | None = None) -> np.ndarray:
        """The bytes at an address."""
        for found in self.allocations.values():
            if found.address <= address < found.address + max(found.size, 1):
                if found.freed:
                    if found.kind == "pinned":
                        continue  # the address may belong to another one by now
                    raise self.broken(f"use of {found.kind} memory {address:#x} after it was freed")
                if kind is not None and found.kind != kind:
                    raise self.broken(f"expected {kind} memory, got {found.kind} memory {address:#x}")
                if address + size > found.address + found.size:
                    raise self.broken(
                        f"{size} bytes at {address:#x} reach beyond the {found.size} bytes allocated at "
                        f"{found.address:#x}"
                    )
                offset = address - found.address
                return found.data[offset : offset + size]
        raise self.broken(f"use of {address:#x}, which is no memory of CUDA" + (f" ({kind} expected)" if kind else ""))

    # Work

    def add(self, handle: int, name: str, run: Callable[[], None]) -> Work:
        work = Work(name, run)
        stream = self.stream(handle)
        if stream.capture is not None:
            stream.capture.work.append(work)
        else:
            stream.pending.append(work)
        return work

    def stream(self, handle: int) -> Stream:
        if handle in (0, 1, 2):
            return self.streams.setdefault(handle, Stream(handle))
        if handle not in self.streams:
            raise self.broken(f"use of stream {handle:#x}, which does not exist")
        return self.streams[handle]

    def drain(self, stream: Stream, until: Work | None = None) -> None:
        while stream.pending and not (until is not None and until.done):
            work = stream.pending.pop(0)
            work.run()
            work.run, work.done = _nothing, True  # what it held may go

    def drain_all(self) -> None:
        for stream in list(self.streams.values()):
            self.drain(stream)

    def stream_of(self, work: Work) -> Stream | None:
        return next((stream for stream in self.streams.values() if work in stream.pending), None)

    def capture_of_thread(self) -> Capture | None:
        """The capture that forbids this thread to allocate or to wait."""
        for stream in self.streams.values():
            capture = stream.capture
            if capture is not None and (capture.global_mode or capture.thread == threading.get_ident()):
                return capture
        return None

    # The end

    def leaks(self) -> list[str]:
        """What has not been freed."""
        gc.collect()
        found = [f"{a.kind} memory of {a.size} bytes" for a in self.allocations.values() if not a.freed]
        found += [f"stream {handle:#x}" for handle in self.streams if handle > 2]
        found += [f"event {handle:#x}" for handle in self.events]
        found += [f"graph {handle:#x}" for handle in (*self.graphs, *self.executables)]
        return found

    def close(self) -> None:
        """Give back the bytes behind all allocations.

        The rest of what the test and the stand-ins made is full of cycles, and may live for long; it is small.
        """
        for found in self.allocations.values():
            found.data = found.data[:0].copy()


def _nothing() -> None:
    pass


def host_bytes(address: int, size: int) -> np.ndarray:
    """Any memory of the process."""
    return np.frombuffer((ctypes.c_ubyte * size).from_address(address), np.uint8)  # type: ignore[call-overload]
