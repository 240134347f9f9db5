"""Feature maps that stay on the device from the encoder to the decoder."""

from __future__ import annotations

import contextlib
import math
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam.engines.base import FloatArray
from evsam.engines.tensorrt_runtime.cuda import Device
from evsam.engines.tensorrt_runtime.memory import FLOAT_BYTES, DeviceBuffer

KEPT = 16
"""Blocks of one size that are kept for the next maps; further ones are freed."""


class MapMemory:
    """Memory for feature maps. Blocks of maps that are gone serve the next ones, since CUDA allocates slowly.

    It takes no lock: maps may go at any moment, even while a thread that would hold it takes a block.

    Args:
        device: where the memory is.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._free: dict[int, deque[DeviceBuffer]] = {}
        self._closed = False

    def take(self, nbytes: int) -> DeviceBuffer:
        """A block of this size; the device must be the current one."""
        try:
            return self._free[nbytes].pop()
        except (KeyError, IndexError):
            return DeviceBuffer(self.device.cuda, nbytes)

    def give(self, block: DeviceBuffer) -> None:
        """Take back a block that no work on the device uses any more."""
        kept = self._free.setdefault(block.nbytes, deque())
        if len(kept) < KEPT:
            kept.append(block)
        else:
            block.close()
        if self._closed:
            self.close()

    def close(self) -> None:
        """Free what is kept. Maps stay valid; their blocks are freed as they go."""
        self._closed = True
        for kept in list(self._free.values()):
            with contextlib.suppress(IndexError):  # until none is left
                while True:
                    kept.pop().close()


class DeviceMap:
    """A feature map on the GPU: float32 (C, G, G), C order, complete and never changed.

    NumPy gets a copy on the host from it, made once. Libraries for GPUs take it as it is, through
    ``__cuda_array_interface__``; they must not write to it. The memory lives as long as the object.

    Attributes:
        shape: of the map.
        dtype: float32.
        device: for example ``cuda:0``.
        address: of the first value.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, memory: MapMemory, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._device = memory.device
        self._memory = _Loan(memory, FLOAT_BYTES * math.prod(shape))
        self._host: FloatArray | None = None
        self._lock = threading.Lock()
        weakref.finalize(self, self._memory.end).atexit = False

    @property
    def device(self) -> str:
        """Where it is."""
        return str(self._device)

    @property
    def address(self) -> int:
        """Of the first value."""
        return self._memory.block.address

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return FLOAT_BYTES * self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<DeviceMap float32 {self.shape} on {self.device}>"

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False and self._host is None:
            raise ValueError("copy: expected True or None for a map that is on the device alone, got False")
        host = self._on_host()
        return np.array(host, dtype) if copy else host.astype(dtype or host.dtype, copy=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        # Whoever asks may still be reading when this object goes, so the block must not serve another map.
        self._memory.shared = True
        return {
            "shape": self.shape,
            "typestr": "<f4",
            "data": (self.address, True),
            "strides": None,
            "stream": None,  # complete, so nothing to wait for
            "version": 3,
        }

    def _on_host(self) -> FloatArray:
        with self._lock:
            if self._host is None:
                host = np.empty(self.shape, np.float32)
                cuda = self._device.cuda
                kind = cuda.module.cudaMemcpyKind.cudaMemcpyDeviceToHost
                with self._device.current():
                    cuda.call("cudaMemcpy", host.ctypes.data, self.address, self.nbytes, kind)
                host.setflags(write=False)
                self._host = host
            return self._host


class _Loan:
    """A block of memory while a map has it."""

    def __init__(self, memory: MapMemory, nbytes: int) -> None:
        self._lender = memory
        self.block = memory.take(nbytes)
        self.shared = False

    def end(self) -> None:
        if self.shared:
            self.block.close()  # which waits for the device
        else:
            self._lender.give(self.block)
