"""Simulated clicks on made masks whose deepest pixels are derived by hand or by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from evsam import _C
from evsam.evaluation.clicks import Click, middle, next_click


def rectangle(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def deepest(mask: np.ndarray, passed: np.ndarray | None = None) -> tuple[int, int, int]:
    """Every set pixel against every unset one, and those around the mask."""
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    best = (0, 0, 0)
    for y, x in np.argwhere(mask):
        squared = int(((outside - (y, x)) ** 2).sum(1).min())
        if squared > best[0] and not (passed is not None and passed[y, x]):
            best = squared, int(x), int(y)
    return best


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (17, 23), (40, 31)])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98, 1.0])
def test_the_deepest_pixel(shape, share: float) -> None:
    generator = np.random.default_rng(shape[0] * 100 + shape[1])
    for _ in range(4):
        mask = generator.random(shape) < share
        passed = generator.random(shape) < 0.1
        assert _C.deepest_pixel(mask.view(np.uint8)) == deepest(mask)
        assert _C.deepest_pixel(mask.view(np.uint8), passed.view(np.uint8)) == deepest(mask, passed)


def test_the_deepest_pixel_of_large_shapes() -> None:
    y, x = np.mgrid[:90, :120]
    disk = (x - 70) ** 2 + (y - 40) ** 2 <= 30**2
    assert _C.deepest_pixel(disk.view(np.uint8))[1:] == (70, 40)
    for mask in (disk & ~rectangle(60, 30, 75, 55, (90, 120)), disk | rectangle(0, 0, 15, 90, (90, 120))):
        assert _C.deepest_pixel(mask.view(np.uint8)) == deepest(mask)


def test_masks_are_checked() -> None:
    with pytest.raises(ValueError, match="passed: expected the height and width of the mask"):
        _C.deepest_pixel(np.ones((3, 4), np.uint8), np.ones((4, 3), np.uint8))
    with pytest.raises(ValueError, match="mask: expected pixels of an object, got a mask without any"):
        middle(np.zeros((3, 4), bool))


def test_the_first_click_is_in_the_middle() -> None:
    # 9 rows: five deep from row 14 on, first at the left
    assert next_click(rectangle(10, 10, 40, 19)) == Click(14, 14, 1)
    assert next_click(rectangle(10, 10, 40, 19), np.zeros((40, 60), bool)) == Click(14, 14, 1)
    assert middle(rectangle(10, 10, 40, 19).astype(np.uint8)) == (14.5, 14.5)
    # the photo's border is the object's too
    assert next_click(rectangle(0, 0, 60, 40)) == Click(19, 19, 1)


def test_the_next_click_is_in_the_deepest_error() -> None:
    true = rectangle(0, 0, 30, 40)
    # 10 columns too few, or 11 too many
    assert next_click(true, rectangle(0, 0, 20, 40)) == Click(24, 4, 1)
    assert next_click(true, rectangle(0, 0, 41, 40)) == Click(35, 5, 0)
    # both: depth decides, not the number of pixels; 40 x 7 pixels against a square of 9
    both = rectangle(7, 0, 30, 40) | rectangle(40, 10, 49, 19)
    assert next_click(true, both) == Click(44, 14, 0)
    # as deep as each other: background
    assert next_click(true, rectangle(9, 0, 39, 40)) == Click(34, 4, 0)


@pytest.mark.parametrize(("x", "y"), [(3, 2), (0, 0), (9, 7)])
def test_the_middle_of_a_single_pixel(x: int, y: int) -> None:
    mask = np.zeros((8, 10), bool)
    mask[y, x] = True
    assert middle(mask) == (x + 0.5, y + 0.5)


def test_the_middle_is_inside_a_ring() -> None:
    y, x = np.mgrid[:41, :41] - 20
    ring = (x**2 + y**2 <= 400) & (x**2 + y**2 >= 150)
    mx, my = middle(ring)
    assert ring[int(my), int(mx)]


def test_a_perfect_answer_needs_no_click() -> None:
    true = rectangle(5, 5, 9, 9)
    assert next_click(true, true) is None
    assert next_click(true, true | rectangle(20, 20, 30, 30), ignore=rectangle(20, 20, 60, 40)) is None
    assert next_click(true, ignore=true) is None


def test_ignored_pixels_are_not_clicked_and_end_an_error() -> None:
    true = rectangle(0, 0, 60, 40)
    assert next_click(true, ignore=rectangle(0, 0, 50, 40)) == Click(54, 4, 1)


def test_no_pixel_is_clicked_twice() -> None:
    true = rectangle(10, 10, 13, 13)
    clicks: list[Click] = []
    while (click := next_click(true, clicks=clicks)) is not None:
        assert true[click.y, click.x]
        clicks.append(click)
    assert clicks[0] == (11, 11, 1)
    assert len(set(clicks)) == 9
    assert clicks[1:] == sorted(clicks[1:], key=lambda one: (one.y, one.x)), "all others are one deep: row by row"
