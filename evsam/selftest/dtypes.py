"""fp16, bfloat16 and float32 on the host, where NumPy has no bfloat16: its bits travel as uint16."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["EPSILON", "Array", "DType", "StoredType", "from_bits", "round_to", "to_bits"]

Array = NDArray[np.float64]
DType = Literal["float16", "bfloat16", "float32"]
StoredType = Literal["float16", "bfloat16", "float32", "uint8"]

EPSILON: dict[DType, float] = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}
"""Unit in the last place of 1."""


def to_bits(x: Array, dtype: StoredType) -> NDArray[Any]:
    """Rounded to nearest even, as NumPy's numbers, or as the bits of bfloat16 in uint16.

    The axes keep their order in memory.
    """
    with np.errstate(over="ignore"):
        narrow: NDArray[Any] = x.astype(np.float32 if dtype == "bfloat16" else dtype)
    if dtype != "bfloat16":
        return narrow
    bits = narrow.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    # NaN apart: one whose bits are all in the lower half would become infinite.
    upper: NDArray[Any] = np.where(np.isnan(x), np.uint32(0x7FC0), rounded).astype(np.uint16)
    return upper


def from_bits(x: NDArray[Any], dtype: DType) -> Array:
    """The numbers in float64."""
    if dtype == "bfloat16":
        return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return x.astype(np.float64)


def round_to(x: Array, dtype: DType) -> Array:
    """The nearest numbers that the dtype has; infinite where it ends."""
    return from_bits(to_bits(x, dtype), dtype)
