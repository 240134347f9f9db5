"""Arrays on the CPU: which are, how the kernels want them laid out, and where a result goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evsam import _C
from evsam.errors import BackendUnavailable
from evsam.ops._device import is_device_array, is_tensor

__all__ = [
    "Backend",
    "as_input",
    "as_output",
    "channels_last",
    "check_output",
    "choose_backend",
    "dtype_name",
    "is_channels_last",
    "unit_last_stride",
]

Backend = Literal["auto", "native", "cuda", "reference"]


def choose_backend(backend: str, array: object, *, cuda: bool = True) -> Literal["native", "cuda", "reference"]:
    """What an op runs on.

    Args:
        backend: One of `Backend`.
        array: The op's first array, which "auto" goes by.
        cuda: Whether the op has kernels for the GPU.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend: expected one of {', '.join(get_args(Backend))}, got {backend!r}")
    if backend == "cuda" and not cuda:
        raise BackendUnavailable(
            "backend: expected native or reference for this op, which has no CUDA kernels, got cuda"
        )
    if backend == "auto":
        on_device = is_device_array(array)
        return "native" if not on_device else "cuda" if cuda else "reference"
    return backend  # type: ignore[return-value]


def as_input(value: object, name: str) -> NDArray[Any]:
    """A NumPy view of an array: one itself, or anything on the CPU that speaks DLPack (a detached PyTorch tensor)."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError) as error:
            raise TypeError(
                f"{name}: expected an array on the CPU without gradient, got {type(value).__name__}: {error}"
            ) from error
    raise TypeError(f"{name}: expected a NumPy array or a DLPack array on the CPU, got {type(value).__name__}")


def as_output(value: object, name: str) -> NDArray[Any]:
    """`value` itself, which must be a NumPy array."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array or None, got {type(value).__name__}")
    return value


def dtype_name(array: Any) -> str:
    """For example "float16", of an array of any library."""
    return str(array.dtype).removeprefix("torch.")


def check_output(out: Any, dtype: str, shape: tuple[int, ...]) -> None:
    """Raises unless `out`, a NumPy array or a PyTorch tensor, can take a result."""
    if not is_tensor(out) and not as_output(out, "out").flags.writeable:
        raise ValueError("out: expected a writable array, got a read-only one")
    if (got := dtype_name(out)) != dtype:
        raise TypeError(f"out: expected dtype {dtype}, got {got}")
    if tuple(out.shape) != shape:
        raise ValueError(f"out: expected shape {shape}, got {tuple(out.shape)}")


def unit_last_stride(array: NDArray[Any]) -> bool:
    """Whether neighbours on the last axis are neighbours in memory, which the kernels require."""
    return array.ndim > 0 and (array.shape[-1] <= 1 or array.strides[-1] == array.itemsize)


def is_channels_last(array: NDArray[Any]) -> bool:
    """Whether (B, C, H, W) lies in memory as the kernels of the CPU take it: any distance between pixels and images."""
    _, channels, height, width = array.shape
    _, of_channels, of_rows, of_pixels = array.strides
    pixel = of_pixels if width > 1 else of_rows if height > 1 else channels * array.itemsize
    whole = pixel >= channels * array.itemsize and pixel % array.itemsize == 0
    return whole and (channels <= 1 or of_channels == array.itemsize) and (height <= 1 or of_rows == width * pixel)


def channels_last(array: NDArray[Any], name: str, threads: int | None) -> NDArray[Any]:
    """(B, H, W, C) of a float32 map (B, C, H, W): a view where its memory allows, else a copy."""
    if array.ndim != 4:
        raise ValueError(f"{name}: expected shape (B, C, H, W), got {array.shape}")
    last: NDArray[Any] = array.transpose(0, 2, 3, 1)
    if is_channels_last(array):
        return last
    copy = np.empty(last.shape, np.float32)
    if array.flags.c_contiguous:
        _C.to_channels_last(array, copy, threads=threads)
    else:
        np.copyto(copy, last)
    return copy


def store(result: NDArray[Any], out: NDArray[Any], threads: int | None) -> None:
    """Copies a map (B, H, W, C) to (B, C, H, W) in any layout."""
    if out.flags.c_contiguous:
        _C.to_channels_first(result, out, threads=threads)
    else:
        np.copyto(out, result.transpose(0, 3, 1, 2))


def overlap(out: NDArray[Any], arrays: Sequence[NDArray[Any] | None]) -> bool:
    """Whether a result that is written into `out` could spoil one of the arrays."""
    return any(array is not None and np.may_share_memory(out, array) for array in arrays)
