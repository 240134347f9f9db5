"""How long an op takes on the device, and what share of its data sheet that is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evsam.errors import BackendUnavailable
from evsam.selftest.devices import Device
from evsam.timing import Clock, Timing, measure

__all__ = ["FLUSH_BYTES", "Cache", "Events", "Rates", "measure_on_device", "rates"]

Cache = Literal["warm", "cold"]

FLUSH_BYTES = 512 << 20
"""Written before each timed call: more than any second-level cache, and enough to keep the device busy (160 us at 3350
GB/s) while the host queues what is timed behind it, so that the host's own time is not measured."""


def measure_on_device(
    candidates: Mapping[str, Callable[[], object]],
    flush: Callable[[], object],
    clock: Clock,
    cache: Cache,
    calls: int,
) -> dict[str, Timing]:
    """Times single calls by events, the candidates in turns.

    Args:
        candidates: each starts its work on the default stream.
        flush: starts to write :data:`FLUSH_BYTES` on the default stream.
        clock: events of that stream: :class:`Events`, or something like it.
        cache: "cold": a call follows upon the flush; "warm": another call, that is not timed, lies between.
        calls: how many of each.
    """

    def before(call: Callable[[], object]) -> None:
        flush()
        if cache == "warm":
            call()

    return measure(candidates, calls=calls, before=before, clock=clock)


@dataclass(frozen=True)
class Rates:
    """What a call reached.

    Attributes:
        gbs: 10^9 bytes/s, inputs and result counted once.
        tflops: 10^12 FLOP/s, a multiply-accumulate counted as two.
        roof: which of the device's two limits is the nearer one: tensor cores or memory; empty for an unknown device.
        percent: of that roof, by the data sheet; None for an unknown device.
    """

    gbs: float
    tflops: float
    roof: Literal["tensor", "memory", ""]
    percent: float | None


def rates(macs: int, moved: int, seconds: float, device: Device | None) -> Rates:
    """Rates of a call.

    Args:
        macs: its multiply-accumulates.
        moved: its compulsory bytes.
        seconds: that it took.
        device: whose data sheet to compare with, or None.
    """
    gbs, tflops = 1e-9 * moved / seconds, 2e-12 * macs / seconds
    if device is None:
        return Rates(gbs, tflops, "", None)
    memory, tensor = gbs / device.dram_gbs, tflops / device.tensor_tflops
    return Rates(gbs, tflops, "tensor" if tensor > memory else "memory", 100 * max(memory, tensor))


MULTIPROCESSOR_COUNT = 16
"""CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT."""


class Events:
    """Events on the default stream of the current device, whose context the CUDA runtime has made already.

    By the driver's own library, so that timing needs neither PyTorch nor CuPy.

    Args:
        library: the driver's library; None loads it.

    Raises:
        BackendUnavailable: there is no driver.
    """

    def __init__(self, library: Any = None) -> None:
        if library is None:
            try:
                library = ctypes.CDLL("libcuda.so.1")
            except OSError as error:
                raise BackendUnavailable(f"timing: expected the CUDA driver, got none: {error}") from error
        self._library = library

    def record(self) -> ctypes.c_void_p:
        """A new event behind everything that was started so far."""
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))
        self._call("cuEventRecord", event, ctypes.c_void_p(None))
        return event

    def seconds(self, begin: ctypes.c_void_p, end: ctypes.c_void_p) -> float:
        """Time from one event to the other, once both have happened; both are destroyed."""
        milliseconds = ctypes.c_float()
        self._call("cuEventSynchronize", end)
        self._call("cuEventElapsedTime", ctypes.byref(milliseconds), begin, end)
        for event in (begin, end):
            self._call("cuEventDestroy_v2", event)
        return 1e-3 * milliseconds.value

    def fill(self, address: int, size: int) -> None:
        """Starts to write ``size`` bytes of device memory, and does not wait."""
        arguments = (ctypes.c_uint64(address), ctypes.c_ubyte(0), ctypes.c_size_t(size), ctypes.c_void_p(None))
        self._call("cuMemsetD8Async", *arguments)

    def multiprocessors(self) -> int:
        """Of the current device."""
        device, count = ctypes.c_int(), ctypes.c_int()
        self._call("cuCtxGetDevice", ctypes.byref(device))
        self._call("cuDeviceGetAttribute", ctypes.byref(count), ctypes.c_int(MULTIPROCESSOR_COUNT), device)
        return count.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            raise RuntimeError(f"{name}: expected CUDA_SUCCESS, got error {code} of the CUDA driver")
