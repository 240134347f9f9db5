from __future__ import annotations

import numpy as np

from evsam.overlay import draw_masks, mask_colour


def _grey(height: int = 60, width: int = 90) -> np.ndarray:
    return np.full((height, width, 3), 120, np.uint8)


def test_only_the_mask_changes() -> None:
    image, mask = _grey(), np.zeros((1, 60, 90), bool)
    mask[0, 10:40, 20:70] = True
    drawn = np.asarray(draw_masks(image, mask))
    assert (drawn[~mask[0]] == 120).all()
    assert (drawn[mask[0]] != 120).any(-1).all()
    assert (image == 120).all()


def test_fill_and_outline() -> None:
    mask = np.zeros((1, 60, 90), bool)
    mask[0, 10:40, 20:70] = True
    drawn = np.asarray(draw_masks(_grey(), mask)).astype(int)
    colour = np.array(mask_colour(0))
    assert np.abs(drawn[25, 45] - (0.55 * 120 + 0.45 * colour)).max() <= 1
    for y, x in ((10, 45), (11, 45), (39, 45), (25, 20), (25, 69)):
        assert np.abs(drawn[y, x] - (0.05 * 120 + 0.95 * colour)).max() <= 1


def test_no_outline_along_the_border_of_the_image() -> None:
    mask = np.ones((1, 60, 90), bool)
    drawn = np.asarray(draw_masks(_grey(), mask))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


def test_small_masks_lie_on_top_whatever_their_order() -> None:
    small, large = np.zeros((60, 90), bool), np.zeros((60, 90), bool)
    small[20:30, 20:30] = True
    large[5:55, 5:85] = True
    for masks in (np.stack([small, large]), np.stack([large, small])):
        index = 0 if masks[0].sum() < masks[1].sum() else 1
        drawn = np.asarray(draw_masks(_grey(), masks)).astype(int)
        assert np.abs(drawn[20, 25] - np.array(mask_colour(index))).max() < 10


def test_empty_mask_draws_nothing() -> None:
    assert (np.asarray(draw_masks(_grey(), np.zeros((2, 60, 90), bool))) == 120).all()


def test_tiny_image() -> None:
    assert draw_masks(_grey(1, 1), np.ones((1, 1, 1), bool)).size == (1, 1)


def test_colours_differ() -> None:
    colours = np.array([mask_colour(i) for i in range(12)], int)
    distance = np.abs(colours[:, None] - colours).sum(-1)
    assert (distance[~np.eye(12, dtype=bool)] > 60).all()
