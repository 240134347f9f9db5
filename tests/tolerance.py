"""The one tolerance rule of all numerical tests.

A result may be off by at most twice the error of the same computation done eagerly by PyTorch in the same dtype, both
measured against float64, plus a tiny absolute allowance. Twice, because another order of the same roundings can double
the largest of many errors by chance; the allowance, because the eager result can be right to the last bit by chance.
The rule scales with the problem by itself: there is no hand-picked tolerance to loosen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["assert_as_good_as_eager", "max_error"]

FACTOR = 2.0
# Units in the last place of the largest true value that any result may be off.
ULPS = 4.0


def max_error(got: ArrayLike, true: ArrayLike) -> float:
    """Largest absolute difference; infinite where one is NaN or infinite and the other is something else."""
    got64, true64 = np.asarray(got, np.float64), np.asarray(true, np.float64)
    if got64.shape != true64.shape:
        raise AssertionError(f"shape: expected {true64.shape}, got {got64.shape}")
    special = ~np.isfinite(true64) | ~np.isfinite(got64)
    if not np.array_equal(got64[special], true64[special], equal_nan=True):
        return float("inf")
    return float(np.abs(got64[~special] - true64[~special]).max(initial=0.0))


def assert_as_good_as_eager(got: ArrayLike, eager: ArrayLike, true: ArrayLike, *, eps: float | None = None) -> None:
    """Fails unless `got` is about as close to `true` as `eager` is.

    Args:
        got: Result under test, in a floating-point dtype.
        eager: The same computed by PyTorch, step by step, in the dtype of `got`.
        true: The same computed in float64 from the same inputs.
        eps: Machine precision, where the numbers are of a dtype that NumPy lacks (bfloat16); None: that of `got`.
    """
    got, eager, true = np.asarray(got), np.asarray(eager), np.asarray(true)
    if true.dtype != np.float64 or eager.dtype != got.dtype:
        raise AssertionError(
            f"dtypes: expected eager as got and true float64, got {got.dtype} {eager.dtype} {true.dtype}"
        )
    largest = np.abs(true[np.isfinite(true)]).max(initial=0.0)
    allowance = ULPS * (float(np.finfo(got.dtype).eps) if eps is None else eps) * float(largest)
    error, allowed = max_error(got, true), FACTOR * max_error(eager, true) + allowance
    if not error <= allowed:
        raise AssertionError(f"error against float64: expected at most {allowed:.3g}, got {error:.3g}")
