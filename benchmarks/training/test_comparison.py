"""The prompts and measures that only comparisons of training runs use."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pydantic")
pytest.importorskip("pycocotools")

from benchmarks.training.comparison import LOOSENESS, background_click, boundary_iou, loosened, rim


def square(left: int, top: int, side: int) -> np.ndarray:
    mask = np.zeros((100, 100), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_a_loose_box_is_always_the_same_and_near_the_true_one() -> None:
    boxes = np.random.default_rng(0).integers(1, 100, (50, 2, 2)).cumsum(1).reshape(50, 4).astype(np.float32)
    for box in boxes:
        loose = loosened(box)
        assert (loose == loosened(box)).all()
        sides = np.tile(box[2:] - box[:2], 2)
        assert (abs(loose - box) <= LOOSENESS * sides + 1e-4).all()
        assert (loose != box).all()


def test_the_rim_is_what_erosions_take_away() -> None:
    assert (rim(square(20, 20, 40), 3) == (square(20, 20, 40) & ~square(23, 23, 34))).all()
    # the photo's edge is a border too
    assert (rim(square(0, 0, 100), 2) == ~square(2, 2, 96)).all()


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (40, 0.0)])
def test_boundary_iou(shift: int, expected: float) -> None:
    everything = np.ones((100, 100), bool)
    assert boundary_iou(square(10, 10, 40), square(10 + shift, 10, 40), everything) == expected


def test_a_wrong_border_costs_more_boundary_iou_than_iou() -> None:
    true, answer = square(20, 20, 60), square(22, 22, 56)
    iou = (true & answer).sum() / (true | answer).sum()
    everywhere = boundary_iou(true, answer, np.ones_like(true))
    assert everywhere < 0.6 * iou
    # what does not count is no error
    assert boundary_iou(true, answer, true & answer) > 1.5 * everywhere


@pytest.mark.parametrize("mask", [square(20, 20, 40), square(0, 0, 95), square(30, 0, 3)])
def test_a_background_click_is_on_background_near_the_object(mask: np.ndarray) -> None:
    x, y = background_click(mask)
    assert not mask[int(y), int(x)]
    grown = np.pad(mask, 1)
    for _ in range(10):
        grown = grown | np.roll(grown, 1, 0) | np.roll(grown, -1, 0) | np.roll(grown, 1, 1) | np.roll(grown, -1, 1)
    assert grown[int(y) + 1, int(x) + 1]
