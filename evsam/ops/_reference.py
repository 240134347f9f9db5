"""Running a PyTorch specification on arrays of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from evsam.ops._arrays import as_input, as_output
from evsam.ops._device import is_tensor
from evsam.ops.reference import import_torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["run_reference"]


def run_reference(function: Callable[..., Tensor], arrays: dict[str, Any], out: Any, **numbers: Any) -> Any:
    """Calls a function of `evsam.ops.reference`.

    Args:
        function: The specification.
        arrays: Its tensors by name, the first of them not None: PyTorch tensors on any device, or arrays on the CPU.
        out: To be filled and returned; None: a new tensor if the first array is one, else a NumPy array.
        numbers: Its other arguments.
    """
    import_torch()
    first = next(iter(arrays.values()))
    tensors = {name: None if value is None else _as_tensor(value, name) for name, value in arrays.items()}
    result = function(**tensors, **numbers)
    if out is None:
        return result if is_tensor(first) else result.numpy()
    if not is_tensor(out):
        out = as_output(out, "out")
    if (got := _dtype_name(out)) != (expected := _dtype_name(result)):
        raise TypeError(f"out: expected dtype {expected}, got {got}")
    if tuple(out.shape) != tuple(result.shape):
        raise ValueError(f"out: expected shape {tuple(result.shape)}, got {tuple(out.shape)}")
    if is_tensor(out):
        out.copy_(result)
    else:
        np.copyto(out, result.numpy())
    return out


def _as_tensor(value: Any, name: str) -> Tensor:
    if is_tensor(value):
        return value  # type: ignore[no-any-return]
    # A copy, because PyTorch takes no read-only arrays and no negative strides.
    tensor: Tensor = import_torch().from_numpy(as_input(value, name).copy(order="K"))
    return tensor


def _dtype_name(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")
