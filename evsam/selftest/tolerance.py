"""How far a result may be off: the rule of the project's tests, by which kernels are developed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evsam.selftest.dtypes import Array

__all__ = ["FACTOR", "ULPS", "Comparison", "compare"]

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
