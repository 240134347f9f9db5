"""Arrays on a GPU: which ones are, the compiled module that takes them, and new ones of the caller's library."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from evsam.errors import BackendUnavailable

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "CHANNELS_LAST",
    "C_ORDER",
    "cuda_module",
    "describe",
    "describe_map",
    "is_device_array",
    "is_tensor",
    "new_array",
    "new_map_like",
    "stream_of",
]

C_ORDER: tuple[int, ...] = ()
CHANNELS_LAST = (0, 2, 3, 1)
"""Axes of a (B, C, H, W) map in the order of its memory."""

_DLPACK_DEVICES = (2, 13)  # CUDA and CUDA managed


def is_device_array(value: object) -> bool:
    """Whether an array is on a CUDA device, of whichever library."""
    device = getattr(value, "__dlpack_device__", None)
    if device is not None:
        return device()[0] in _DLPACK_DEVICES
    return hasattr(value, "__cuda_array_interface__")


def cuda_module() -> ModuleType:
    """`evsam._cuda`, or BackendUnavailable with what is missing: the build option or the driver."""
    try:
        module = importlib.import_module("evsam._cuda")
    except ImportError as error:
        raise BackendUnavailable(
            "backend: expected evsam built with its CUDA kernels (pip install . -C cmake.define.EVSAM_CUDA=ON), "
            f"got a build without: {error}"
        ) from error
    if (problem := module.driver_error()) is not None:
        raise BackendUnavailable(f"backend: expected a CUDA device, got none: {problem}")
    return module


def stream_of(array: object, stream: int | None) -> int:
    """The stream to launch on: `stream`, or the current one of the array's library, or the default stream."""
    if stream is not None:
        return stream
    if is_tensor(array) and array.is_cuda:  # type: ignore[attr-defined]
        return int(sys.modules["torch"].cuda.current_stream(array.device).cuda_stream)  # type: ignore[attr-defined]
    if _is_cupy(array):
        return int(sys.modules["cupy"].cuda.get_current_stream().ptr)
    return 0


def describe(array: Any, name: str, stream: int = 0) -> tuple[tuple[int, ...], str]:
    """Shape and dtype ("float16") of a device array; a TypeError if it is none."""
    if is_tensor(array):
        return tuple(array.shape), str(array.dtype).removeprefix("torch.")
    shape, dtype, _ = cuda_module().describe(array, name, stream)
    return shape, dtype


def describe_map(array: Any, name: str, stream: int) -> tuple[tuple[int, int, int, int], str]:
    """Shape and dtype of a feature map; a ValueError if it has another number of axes than four."""
    shape, dtype = describe(array, name, stream)
    if len(shape) != 4:
        raise ValueError(f"{name}: expected shape (B, C, H, W), got {shape}")
    return shape, dtype


def new_array(like: Any, shape: tuple[int, ...], dtype: str, memory_order: tuple[int, ...], stream: int) -> Any:
    """An array that is not initialised, on the device and of the library of `like`.

    Args:
        like: A device array. Libraries other than PyTorch and CuPy get a `DeviceArray`.
        shape: Of the new array.
        dtype: Its name.
        memory_order: `C_ORDER`, or the axes, that with the longest stride first.
        stream: That it will be written on.
    """
    if is_tensor(like) or (_is_cupy(like) and dtype != "bfloat16"):
        library = sys.modules["torch" if is_tensor(like) else "cupy"]
        order = memory_order or tuple(range(len(shape)))
        inverse = tuple(order.index(axis) for axis in range(len(shape)))
        stored = tuple(shape[axis] for axis in order)
        if is_tensor(like):
            return library.empty(stored, dtype=getattr(library, dtype), device=like.device).permute(inverse)
        return library.empty(stored, dtype).transpose(inverse)
    return cuda_module().DeviceArray.empty(shape, dtype, memory_order=memory_order, stream=stream)


def new_map_like(x: Any, name: str, stream: int) -> Any:
    """A new feature map with the shape, dtype and layout of another."""
    describe_map(x, name, stream)
    shape, dtype, strides = cuda_module().describe(x, name, stream)
    return new_array(x, shape, dtype, CHANNELS_LAST if strides[1] == 1 else C_ORDER, stream)


def is_tensor(value: object) -> bool:
    """Whether `value` is a PyTorch tensor; imports nothing."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_cupy(value: object) -> bool:
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)
