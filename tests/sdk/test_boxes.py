from __future__ import annotations

import numpy as np
import pytest

from evsam.boxes import bounding_box


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_the_box_is_the_smallest_that_holds_all_pixels(dtype) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        height, width = rng.integers(1, 12, 2)
        mask = (rng.random((height, width)) < 0.1).astype(dtype)
        pixels = [(x, y) for y in range(height) for x in range(width) if mask[y, x]]
        if not pixels:
            assert bounding_box(mask) == (0, 0, 0, 0)
            continue
        xs, ys = zip(*pixels, strict=True)
        assert bounding_box(mask) == (min(xs), min(ys), max(xs) + 1, max(ys) + 1)


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, ::-2], np.s_[2:7, 3:4]])
def test_strides_do_not_matter(view) -> None:
    mask = np.zeros((9, 11), bool)
    mask[3:5, 2:9] = True
    assert bounding_box(mask[view]) == bounding_box(mask[view].copy())


def test_the_numbers_are_pythons_own() -> None:
    assert {type(number) for number in bounding_box(np.ones((2, 3), np.uint8))} == {int}
