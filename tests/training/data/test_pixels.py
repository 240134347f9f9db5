"""Pixels from run-length encodings, geometry of masks, photos as encoders read them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from evsam.rle import run_ends
from evsam.training.data.pixels import cells_inside, coverage, place, sample_mask
from tests.training.tiny import photo


def rle_of(mask: np.ndarray) -> dict[str, Any]:
    rle: dict[str, Any] = coco_mask.encode(np.asfortranarray(mask))
    return rle


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (7, 5), (33, 57)])
def test_sampled_pixels_are_those_of_the_mask(size: tuple[int, int], share: float) -> None:
    rng = np.random.default_rng(1)
    mask = (rng.random(size) < share).astype(np.uint8)
    ends = run_ends(rle_of(mask))
    for _ in range(10):
        # of all, of some, and with repetitions, as where a photo is enlarged
        rows, columns = (np.sort(rng.integers(0, side, rng.integers(1, 2 * side + 1))) for side in size)
        assert np.array_equal(sample_mask(ends, size[0], rows, columns), mask[rows][:, columns])
    assert np.array_equal(sample_mask(ends, size[0], np.arange(size[0]), np.arange(size[1])), mask)


def test_long_runs() -> None:
    mask = np.zeros((2000, 3000), np.uint8)
    mask[:, 1000:2999] = 1
    mask[500] = 0
    ends = run_ends(rle_of(mask))
    rows, columns = np.arange(0, 2000, 7), np.arange(0, 3000, 11)
    assert np.array_equal(sample_mask(ends, 2000, rows, columns), mask[rows][:, columns])


@pytest.mark.parametrize(("size", "side"), [(8, 4), (9, 4), (6, 8), (7, 7), (768, 256), (640, 256), (97, 256)])
def test_coverage_is_the_mean_over_each_cell(size: int, side: int) -> None:
    mask = (np.random.default_rng(0).random((size, size)) > 0.5).astype(np.uint8)
    found = coverage(mask, side)
    assert found.dtype == np.float16
    # pixels cut into equal parts, so that each cell is a whole number of them; along one axis at a time
    parts, cell = side // math.gcd(side, size), size // math.gcd(side, size)
    mean = np.repeat(mask.astype(np.float64), parts, 0).reshape(side, cell, size).mean(1)
    mean = np.repeat(mean, parts, 1).reshape(side, side, cell).mean(2)
    np.testing.assert_allclose(found, mean, atol=3e-4)
    assert coverage(np.ones_like(mask), side).min() == 1
    assert not coverage(np.zeros_like(mask), side).any()
    one = np.zeros_like(mask)
    one[2, 5] = 1
    assert coverage(one, side).astype(np.float64).sum() == pytest.approx((side / size) ** 2, rel=2e-3)


def test_mirrored_photos_keep_to_the_left() -> None:
    one = photo(0)
    plain, extent = place(one.pixels(), 64)
    mirrored, same = place(one.pixels(), 64, mirrored=True)
    assert extent == same == (38, 64)
    np.testing.assert_array_equal(mirrored[:38], plain[:38, ::-1])
    narrow, extent = place(photo(0, (80, 48)).pixels(), 64, mirrored=True)
    assert extent == (64, 38)
    assert not narrow[:, 38:].any()
    assert narrow[:, 37].any()


def test_cells_inside() -> None:
    inside = cells_inside(torch.tensor([[64, 64], [33, 16], [32, 1]]), 64, (4, 4))
    assert inside.shape == (3, 4, 4)
    assert inside.sum((1, 2)).tolist() == [16, 3 * 1, 2 * 1]
    assert inside[1, :, 0].tolist() == [True, True, True, False]
