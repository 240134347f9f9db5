"""Mask upsampling: the compiled op against :mod:`evsam.transforms`, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from evsam import _C
from evsam.transforms import fitted_size, masks_from_logits, upscale_logits


def random_logits(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((*shape, 256, 256), dtype=np.float32)


@pytest.mark.parametrize(
    "size",
    [(720, 1280), (1280, 720), (1024, 1024), (683, 1024), (1, 1), (1, 5000), (5000, 1), (37, 2999), (1500, 2000)],
)
def test_same_bits(size: tuple[int, int]) -> None:
    resized = fitted_size(size)
    logits = random_logits(2, 1)
    np.testing.assert_array_equal(_C.upscale_logits(logits, resized, size), upscale_logits(logits, resized, size))
    masks = _C.mask_upsample(logits, resized, size)
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(masks, masks_from_logits(logits, resized, size))


def test_random_sizes() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        height, width = (int(side) for side in rng.integers(1, 400, 2))
        resized = fitted_size((height, width))
        logits = random_logits(1, 1 + seed % 3, seed=seed)
        expected = masks_from_logits(logits, resized, (height, width))
        got = _C.mask_upsample(logits, resized, (height, width), threads=1 + seed % 4)
        np.testing.assert_array_equal(got, expected)


def test_not_finite() -> None:
    logits = random_logits(1, 1)
    logits[0, 0, 100, 100] = np.nan
    logits[0, 0, 10, 10] = np.inf
    logits[0, 0, 200, 30] = -np.inf
    with np.errstate(invalid="ignore"):
        expected = masks_from_logits(logits, (1024, 700), (500, 342))
    np.testing.assert_array_equal(_C.mask_upsample(logits, (1024, 700), (500, 342)), expected)


def test_no_masks() -> None:
    assert _C.mask_upsample(random_logits(0, 3), (1024, 512), (20, 10)).shape == (0, 3, 20, 10)


@pytest.mark.parametrize(
    ("logits", "resized", "original", "error", "message"),
    [
        (np.zeros((1, 1, 256, 256)), (4, 4), (4, 4), TypeError, "logits: expected float32, got float64"),
        (
            random_logits(1),
            (4, 4),
            (4, 4),
            ValueError,
            r"logits: expected shape \(N, M, 256, 256\), got \(1, 256, 256\)",
        ),
        (random_logits(1, 2)[:, ::2, ::-1], (4, 4), (4, 4), ValueError, "logits: expected a contiguous array"),
        (random_logits(1, 1), (4, 2000), (4, 4), ValueError, "resized_size: expected 1 to 1024 pixels a side"),
        (random_logits(1, 1), (4, 4), (0, 4), ValueError, "original_size: expected 1 to"),
    ],
)
def test_errors(
    logits: np.ndarray, resized: tuple[int, int], original: tuple[int, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _C.mask_upsample(logits, resized, original)
