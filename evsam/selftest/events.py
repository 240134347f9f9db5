"""CUDA events by the driver's own library, so that timing needs neither PyTorch nor CuPy."""

from __future__ import annotations

import ctypes
from typing import Any

from evsam.errors import BackendUnavailable

__all__ = ["Events"]

MULTIPROCESSOR_COUNT = 16
"""CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT."""


class Events:
    """Events on the default stream of the current device, whose context the CUDA runtime has made already.

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
