"""The self-test's number formats, its rule, and its NumPy references against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from evsam.ops import reference as specification
from evsam.selftest import reference
from evsam.selftest.numbers import EPSILON, compare, from_bits, round_to, to_bits
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


RNG = np.random.default_rng(0)


def nchw(x):
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def close(got, expected):
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-12, atol=1e-12)


def close_map(got, expected):
    close(got, expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_conv(kernel, stride):
    x, weight, bias = RNG.normal(size=(2, 7, 5, 8)), RNG.normal(size=(6, kernel, kernel, 8)), RNG.normal(size=6)
    expected = F.conv2d(nchw(x), nchw(weight), torch.from_numpy(bias), stride, kernel // 2)
    close_map(reference.conv(x, weight, bias, stride, reference.exact), expected)
    without = F.conv2d(nchw(x), nchw(weight), None, stride, kernel // 2)
    close_map(reference.conv(x, weight, None, stride, reference.exact), without)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_depthwise(kernel, stride):
    x, weight, bias = RNG.normal(size=(2, 6, 9, 4)), RNG.normal(size=(4, kernel, kernel)), RNG.normal(size=4)
    expected = F.conv2d(
        nchw(x), torch.from_numpy(weight)[:, None], torch.from_numpy(bias), stride, kernel // 2, groups=4
    )
    close_map(reference.depthwise(x, weight, bias, stride, reference.exact), expected)


def test_grouped():
    x, weight = RNG.normal(size=(2, 3, 4, 12)), RNG.normal(size=(12, 4))
    expected = F.conv2d(nchw(x), torch.from_numpy(weight)[:, :, None, None], groups=3)
    close_map(reference.grouped(x, weight, reference.exact), expected)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(14, 9), (3, 4), (7, 5), (28, 20)])
def test_upsample(mode, size):
    x = RNG.normal(size=(2, 7, 5, 3))
    expected = F.interpolate(nchw(x), size=size, mode=mode, align_corners=False)
    close_map(reference.upsample(x, size, mode, reference.exact), expected)


def test_layer_norm():
    x, weight, bias = RNG.normal(size=(1, 2, 3, 16)), RNG.normal(size=16), RNG.normal(size=16)
    expected = F.layer_norm(torch.from_numpy(x), (16,), torch.from_numpy(weight), torch.from_numpy(bias), 1e-6)
    close(reference.layer_norm(x, weight, bias, 1e-6, reference.exact), expected)


def test_linear_attention():
    qkv = RNG.normal(size=(2, 3, 24, 10))
    qkv[0, 1] = -1  # nothing is left behind ReLU
    expected = specification.relu_linear_attention(torch.from_numpy(qkv), eps=1e-15)
    close(reference.linear_attention(qkv, 1e-15, reference.exact), expected)


def test_activations():
    x = RNG.normal(size=100) * 10
    close(reference.activate(x, "gelu_tanh"), F.gelu(torch.from_numpy(x), approximate="tanh"))
    close(reference.activate(x, "relu6"), F.relu6(torch.from_numpy(x)))
    close(reference.activate(x, "relu"), F.relu(torch.from_numpy(x)))
    assert reference.activate(x, "none") is x
    close(reference.activate(x, "gelu"), F.gelu(torch.from_numpy(x)))
    with pytest.raises(ValueError, match="kind: expected an activation, got swish"):
        reference.activate(x, "swish")  # type: ignore[arg-type]
    for kind in ("gelu_tanh", "gelu", "relu", "relu6"):  # of a stored number that stands for one four times as large
        np.testing.assert_allclose(reference.activate(x / 4, kind, 4.0), reference.activate(x, kind) / 4, rtol=1e-12)


def test_stores():
    x = np.array([1 / 3, 70000.0, 1e-9])
    assert reference.exact(x) is x
    np.testing.assert_array_equal(reference.rounding("float16")(x), [np.float16(1 / 3), np.inf, 0])
