"""Memory of the device, and memory of the host that copies to and from it can reach directly."""

from __future__ import annotations

import ctypes
import math
import weakref
from typing import Any

import numpy as np

from evsam.engines.base import FloatArray
from evsam.engines.tensorrt_runtime.cuda import Cuda

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
