"""Arrays that other libraries hold on a GPU: where they are, and which stream they are ready on."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, ClassVar

from evsam.engines.tensorrt_runtime.execution import OnDevice
from evsam.engines.tensorrt_runtime.memory import FLOAT_BYTES
from evsam.engines.tensorrt_runtime.stream import Stream
from evsam.ops._device import is_device_array, stream_of

__all__ = ["is_device_array", "take_array"]

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
