"""Arrays on the GPU: feature maps that stay there from the encoder to the decoder, and arrays of other libraries."""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from evsam.engines.base import FloatArray
from evsam.engines.tensorrt_runtime.cuda import FLOAT_BYTES, Device, DeviceBuffer, Stream
from evsam.engines.tensorrt_runtime.execution import OnDevice
from evsam.ops._device import stream_of

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


_DLPACK_CUDA = 2

_DLPACK_FLOAT = 2


def take_array(value: Any, name: str, device: int, stream: Stream) -> OnDevice:
    """A float32 array of another library, without a copy. What follows on the stream runs once the array is ready.

    Args:
        value: has ``__cuda_array_interface__`` or speaks DLPack; C order.
        name: what to call it in errors.
        device: number of the GPU that it has to be on.
        stream: that it will be read on.

    Raises:
        TypeError: it is no such array, or of another dtype.
        ValueError: it is not in C order, or on another GPU.
    """
    try:
        interface = getattr(value, "__cuda_array_interface__", None)
    except RuntimeError as error:  # a PyTorch tensor that wants a gradient
        raise TypeError(f"{name}: expected an array without gradient, got {error}") from error
    if interface is None:
        if not hasattr(value, "__dlpack__"):
            raise TypeError(f"{name}: expected an array on a CUDA device, got {type(value).__name__}")
        return _from_dlpack(value, name, device, stream)
    if interface["typestr"] not in ("<f4", "=f4"):
        raise TypeError(f"{name}: expected float32, got {interface['typestr']}")
    located = getattr(value, "__dlpack_device__", None)
    if located is not None:
        _check_device(name, int(located()[1]), device)
    shape = tuple(int(size) for size in interface["shape"])
    strides = interface.get("strides")
    _check_order(name, shape, None if strides is None else [int(step) // FLOAT_BYTES for step in strides])
    producer = interface.get("stream")
    stream.wait_for(stream_of(value, None) if producer is None else int(producer))
    return OnDevice(int(interface["data"][0]), shape, value)


class _Tensor(ctypes.Structure):
    """DLTensor, and the beginning of DLManagedTensor; dlpack.h, version 0.8."""

    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


def _from_dlpack(value: Any, name: str, device: int, stream: Stream) -> OnDevice:
    kind, index = value.__dlpack_device__()
    if kind != _DLPACK_CUDA:
        raise TypeError(f"{name}: expected an array on a CUDA device, got one on DLPack's device type {int(kind)}")
    _check_device(name, int(index), device)
    # The capsule stays whole and unconsumed: it frees what it holds when the result's owner goes.
    capsule = value.__dlpack__(stream=stream.address)
    pointer: Callable[..., int] = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]  # type: ignore[attr-defined]
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    if (tensor.code, tensor.bits, tensor.lanes) != (_DLPACK_FLOAT, 32, 1):
        raise TypeError(f"{name}: expected float32, got DLPack's type {tensor.code} of {tensor.bits} bits")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    _check_order(name, shape, [tensor.strides[axis] for axis in range(tensor.ndim)] if tensor.strides else None)
    return OnDevice(int(tensor.data or 0) + int(tensor.byte_offset), shape, (value, capsule))


def _check_device(name: str, index: int, device: int) -> None:
    if index != device:
        raise ValueError(f"{name}: expected an array on cuda:{device}, got one on cuda:{index}")


def _check_order(name: str, shape: tuple[int, ...], strides: list[int] | None) -> None:
    """Strides count values; None is C order."""
    if strides is None:
        return
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != step:
            raise ValueError(f"{name}: expected an array in C order, got strides {tuple(strides)} of shape {shape}")
        step *= size
