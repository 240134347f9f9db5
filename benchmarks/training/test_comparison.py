"""The prompts and measures that only comparisons of training runs use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydantic")
pytest.importorskip("pycocotools")

from benchmarks.training.comparison import (
    LOOSENESS,
    PROMPTS,
    background_click,
    loosened,
    score,
)
from evsam.training.model import load_model
from tests.datasets.made import write_data_dir


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


@pytest.mark.parametrize("mask", [square(20, 20, 40), square(0, 0, 95), square(30, 0, 3)])
def test_a_background_click_is_on_background_near_the_object(mask: np.ndarray) -> None:
    x, y = background_click(mask)
    assert not mask[int(y), int(x)]
    grown = np.pad(mask, 1)
    for _ in range(10):
        grown = grown | np.roll(grown, 1, 0) | np.roll(grown, -1, 0) | np.roll(grown, 1, 1) | np.roll(grown, -1, 1)
    assert grown[int(y) + 1, int(x) + 1]


def test_scores_have_all_prompts(tmp_path: Path) -> None:
    found = score(load_model("nano"), write_data_dir(tmp_path), ["blobs"])
    assert list(found["blobs"]) == list(PROMPTS)
    assert all(0 <= value <= 1 for value in found["blobs"].values())
    assert found["blobs"]["box_border"] != found["blobs"]["box"] != found["blobs"]["loose_box"]
