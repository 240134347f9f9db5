from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from evsam import ImageError, Prediction
from evsam.rle import decode_rle


@pytest.fixture
def prediction() -> Prediction:
    masks = np.zeros((2, 3, 20, 30), bool)
    masks[0, 1, 5:10, 5:15] = True
    masks[0, 2, 0] = True
    masks[1, 0, 10:12, 20:30] = True
    scores = np.array([[0.1, 0.9, 0.5], [0.8, 0.2, 0.3]], np.float32)
    return Prediction(masks, scores, np.zeros((2, 3, 256, 256), np.float32))


def test_best_has_the_highest_score(prediction) -> None:
    best = prediction.best()
    assert best.shape == (2, 20, 30)
    assert np.array_equal(best[0], prediction.masks[0, 1])
    assert np.array_equal(best[1], prediction.masks[1, 0])


def test_rle_of_the_best_masks(prediction) -> None:
    rles = prediction.to_coco_rle()
    assert [np.array_equal(decode_rle(rle), mask) for rle, mask in zip(rles, prediction.best(), strict=True)] == [
        True
    ] * 2


def test_polygons_of_the_best_masks(prediction) -> None:
    (first,), (second,) = prediction.to_polygons()
    assert first.outer.tolist() == [[5, 5], [15, 5], [15, 10], [5, 10]]
    assert second.outer.tolist() == [[20, 10], [30, 10], [30, 12], [20, 12]]


@pytest.mark.parametrize("form", [np.asarray, lambda a: a[..., 0], Image.fromarray])
def test_overlay(prediction, form) -> None:
    image = np.full((20, 30, 3), 100, np.uint8)
    drawn = prediction.overlay(form(image))
    assert drawn.size == (30, 20)
    assert drawn.mode == "RGB"
    changed = (np.asarray(drawn) != 100).any(-1)
    assert np.array_equal(changed, prediction.best().any(0))


def test_overlay_on_another_image(prediction) -> None:
    with pytest.raises(
        ImageError, match=r"image: expected height and width \(20, 30\) as the masks have, got \(30, 20\)"
    ):
        prediction.overlay(np.zeros((30, 20, 3), np.uint8))


def test_length_pickle_and_repr(prediction) -> None:
    assert len(prediction) == 2
    copy = pickle.loads(pickle.dumps(prediction))
    assert np.array_equal(copy.masks, prediction.masks)
    assert repr(copy) == "<Prediction of 2 x 3 masks for an image of 30 x 20 pixels>"
