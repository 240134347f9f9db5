"""The tolerance rule itself must be able to fail."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tolerance import ULPS, assert_as_good_as_eager, max_error

TRUE = np.array([1.0, -2.0, 3.0])


def test_accepts_what_is_as_good_as_eager() -> None:
    eager = (TRUE + 1e-3).astype(np.float32)
    assert_as_good_as_eager((TRUE - 1.9e-3).astype(np.float32), eager, TRUE)


def test_rejects_more_than_twice_the_error() -> None:
    eager = (TRUE + 1e-3).astype(np.float32)
    with pytest.raises(AssertionError, match=r"error against float64: expected at most 0\.002, got 0\.0021"):
        assert_as_good_as_eager((TRUE - 2.1e-3).astype(np.float32), eager, TRUE)


def test_allowance_is_a_few_units_in_the_last_place() -> None:
    eager, unit = TRUE.astype(np.float32), 3.0 * float(np.finfo(np.float32).eps)
    assert_as_good_as_eager((TRUE + 0.9 * ULPS * unit).astype(np.float32), eager, TRUE)
    with pytest.raises(AssertionError, match="error against float64"):
        assert_as_good_as_eager((TRUE + 1.2 * ULPS * unit).astype(np.float32), eager, TRUE)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rejects_special_values_in_the_wrong_place(bad: float) -> None:
    got = TRUE.copy()
    got[1] = bad
    assert max_error(got, TRUE) == np.inf
    assert max_error(TRUE, got) == np.inf
    assert max_error(got, got) == 0.0


def test_rejects_wrong_shapes_and_dtypes() -> None:
    with pytest.raises(AssertionError, match="shape"):
        max_error(TRUE[:2], TRUE)
    with pytest.raises(AssertionError, match="dtypes"):
        assert_as_good_as_eager(TRUE.astype(np.float32), TRUE, TRUE)
