"""The self-test's number formats and its rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evsam.selftest.dtypes import EPSILON, from_bits, round_to, to_bits
from evsam.selftest.tolerance import compare
from tests.tolerance import FACTOR, ULPS, assert_as_good_as_eager

SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 65504.0, 65520.0, 3.3e38, 3.5e38, 1 + 2.0**-8, 1 - 2.0**-9]
)


@pytest.mark.parametrize("dtype", EPSILON)
def test_rounding_is_pytorchs(dtype):
    x = np.concatenate([SPECIAL, np.random.default_rng(0).normal(size=10_000)])
    narrow = torch.from_numpy(x).float()
    expected = narrow.to(getattr(torch, dtype)).double().numpy()
    np.testing.assert_array_equal(round_to(narrow.double().numpy(), dtype), expected)
    assert float(round_to(np.array(1 + EPSILON[dtype]), dtype)) == 1 + EPSILON[dtype]
    assert float(round_to(np.array(1 + EPSILON[dtype] / 4), dtype)) == 1


@pytest.mark.parametrize("dtype", EPSILON)
def test_axes_keep_their_order_in_memory(dtype):
    x = np.zeros((2, 3, 4, 8)).transpose(0, 3, 1, 2)
    bits = to_bits(x, dtype)
    assert [stride // bits.itemsize for stride in bits.strides] == [96, 1, 32, 8]
    assert from_bits(bits, dtype).strides == x.strides


def test_rule_is_that_of_the_tests():
    rng = np.random.default_rng(0)
    true = rng.normal(size=1000)
    eager = true.astype(np.float16)
    for scale in (1.0, 1.9, 4.0, 6.0, 20.0):
        got = (true + scale * 2.0**-11 * rng.choice([-1, 1], 1000) * 2).astype(np.float16)
        try:
            assert_as_good_as_eager(got, eager, true)
            passes = True
        except AssertionError:
            passes = False
        assert compare(got.astype(np.float64), eager.astype(np.float64), true, EPSILON["float16"]).passed is passes
    assert (FACTOR, ULPS) == (2.0, 4.0)


def test_special_values():
    true = np.array([1.0, np.nan, np.inf])
    assert compare(true, true, true, 2.0**-10).passed
    for got in ([1.0, 1.0, np.inf], [1.0, np.nan, 5.0], [np.nan, np.nan, np.inf], [1.0, np.nan]):
        result = compare(np.array(got), true, true, 2.0**-10)
        assert result.error == float("inf")
        assert not result.passed
