"""What the ops share: checking and preparing arrays before they go to the compiled module."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evsam.errors import BackendUnavailable
from evsam.ops._device import is_device_array

__all__ = ["Backend", "as_input", "as_output", "choose_backend", "unit_last_stride"]

Backend = Literal["auto", "cpu", "cuda", "reference"]


def choose_backend(backend: str, array: object, *, cpu_kernels: bool) -> Literal["cpu", "cuda", "reference"]:
    """What an op runs on.

    Args:
        backend: One of `Backend`.
        array: The op's first array, which "auto" goes by.
        cpu_kernels: Whether the op has CPU kernels in `evsam._C`.
    """
    if backend == "auto":
        if is_device_array(array):
            return "cuda"
        return "cpu" if cpu_kernels else "reference"
    if backend == "cpu" and not cpu_kernels:
        raise BackendUnavailable(
            "backend: expected cuda or reference for this op, whose CPU kernels belong to the native engine, got cpu"
        )
    if backend not in ("cpu", "cuda", "reference"):
        raise ValueError(f"backend: expected one of {', '.join(get_args(Backend))}, got {backend!r}")
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


def unit_last_stride(array: NDArray[Any]) -> bool:
    """Whether neighbours on the last axis are neighbours in memory, which the kernels require."""
    return array.ndim > 0 and (array.shape[-1] <= 1 or array.strides[-1] == array.itemsize)
