"""Numbers of the kernels on the host, and how far they may be off.

NumPy has no bfloat16: its bits travel as uint16. The rule is that of the project's tests, by which kernels are
developed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EPSILON",
    "FACTOR",
    "ULPS",
    "Array",
    "Comparison",
    "DType",
    "StoredType",
    "compare",
    "from_bits",
    "round_to",
    "to_bits",
]

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


FACTOR = 2.0
"""Times the error of the same computation done op by op in the same dtype: another order of the same roundings can
double the largest of many errors by chance."""

ULPS = 4.0
"""Units in the last place of the largest true value that any result may be off: the other computation can be right to
the last bit by chance."""


@dataclass(frozen=True)
class Comparison:
    """A result against the truth.

    Attributes:
        error: largest absolute difference; infinite where one is NaN or infinite and the other is something else.
        allowed: what it may be.
    """

    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether it is within what is allowed."""
        return self.error <= self.allowed


def compare(got: Array, separate: Array, true: Array, epsilon: float) -> Comparison:
    """A result against the truth.

    Args:
        got: what is checked.
        separate: the same computed op by op, each stored tensor rounded to the result's dtype.
        true: the same without any rounding.
        epsilon: unit in the last place of 1 in the result's dtype.
    """
    largest = np.abs(true[np.isfinite(true)]).max(initial=0.0)
    allowed = FACTOR * _largest_error(separate, true) + ULPS * epsilon * largest
    return Comparison(_largest_error(got, true), float(allowed))


def _largest_error(got: Array, true: Array) -> float:
    if got.shape != true.shape:
        return float("inf")
    special = ~np.isfinite(true) | ~np.isfinite(got)
    if not np.array_equal(got[special], true[special], equal_nan=True):
        return float("inf")
    return float(np.abs(got[~special] - true[~special]).max(initial=0.0))
