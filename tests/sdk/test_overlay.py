from __future__ import annotations

import numpy as np
import pytest

from evsam import EvsamError
from evsam.overlay import draw_masks, mask_colour, outline_width
from evsam.prompts import PhotoPrompts
from evsam.rle import encode_rle

SIZE = (60, 90)


def _grey(height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    return np.full((height, width, 3), 120, np.uint8)


def _block(y0: int, y1: int, x0: int, x1: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def _changed(picture, before: np.ndarray) -> np.ndarray:
    return (np.asarray(picture) != before).any(-1)


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    padded = np.pad(mask, by)
    height, width = mask.shape
    shifts = range(2 * by + 1)
    return np.any([padded[y : y + height, x : x + width] for y in shifts for x in shifts], axis=0)


def test_only_the_mask_and_its_outline_change() -> None:
    image, mask = _grey(), _block(10, 40, 20, 70)
    changed = _changed(draw_masks(image, [mask]), image)
    assert changed[mask].all()
    assert not changed[~_grown(mask, 2)].any()
    assert (image == 120).all()


@pytest.mark.parametrize("opacity", [0.0, 0.4, 0.5, 1.0])
def test_fill_has_the_opacity(opacity: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    drawn = np.asarray(draw_masks(image, [_block(5, 55, 3, 88)], opacity=opacity)).astype(float)
    inside = np.s_[10:50, 8:80]  # more than 48 columns, where blending goes in steps
    expected = (1 - opacity) * image[inside] + opacity * np.array(mask_colour(0))
    assert np.abs(drawn[inside] - expected).max() <= 1.5


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan"), "0.5", None])
def test_other_opacities_are_refused(opacity) -> None:
    with pytest.raises(EvsamError, match="opacity: expected a number from 0 to 1, got"):
        draw_masks(_grey(), [_block(0, 1, 0, 1)], opacity=opacity)


def test_outline_is_centred_on_the_edge() -> None:
    size = (240, 240)  # lines of one pixel, and a dark rim of 0.4 on either side
    drawn = np.asarray(draw_masks(_grey(*size), [_block(100, 200, 100, 200, size)], opacity=0.0)).astype(float)
    assert outline_width(size) == 1
    colour = np.array(mask_colour(0))
    rim = 120 + 0.4 * 0.9 * (0 - 120)  # both pixels at an edge are covered to nine tenths by the line of 1.8, then ...
    for pixel in (drawn[150, 99], drawn[150, 100], drawn[199, 150], drawn[200, 150]):
        assert np.abs(pixel - (0.5 * rim + 0.5 * colour)).max() <= 2  # ... to a half by that of 1
    assert (drawn[150, 103:197] == 120).all()


def test_slanted_outlines_are_smooth() -> None:
    y, x = np.mgrid[:400, :400]
    mask = (x + 2 * y > 500) & (x + y < 700)
    drawn = np.asarray(draw_masks(np.zeros((400, 400, 3), np.uint8), [mask], opacity=0.0)).astype(int)
    line = drawn[120:140].max(-1)  # the edge x + 2 y = 500, every row shifted by two pixels
    rows = [np.roll(row, 2 * i) for i, row in enumerate(line)]
    assert line.max() > 150
    assert max(np.abs(row - rows[0]).max() for row in rows) <= 64


def test_no_outline_along_the_border_of_the_image() -> None:
    drawn = np.asarray(draw_masks(_grey(), [np.ones(SIZE, bool)]))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


def test_small_masks_lie_on_top_whatever_their_order() -> None:
    small, large = _block(20, 40, 20, 40), _block(5, 55, 5, 85)
    for masks in ([small, large], [large, small]):
        index = 0 if masks[0] is small else 1
        drawn = np.asarray(draw_masks(_grey(), masks, opacity=1.0)).astype(int)
        assert np.array_equal(drawn[30, 30], mask_colour(index))
        assert np.array_equal(drawn[50, 70], mask_colour(1 - index))


def test_all_outlines_lie_above_all_fills() -> None:
    below, above = _block(5, 55, 5, 60), _block(15, 40, 30, 85)  # the upper one is smaller
    alone = np.asarray(draw_masks(_grey(), [below], opacity=1.0))
    both = np.asarray(draw_masks(_grey(), [below, above], opacity=1.0)).astype(int)
    assert np.array_equal(both[30, 45], mask_colour(1))
    assert np.abs(both[30, 59] - mask_colour(1)).max() > 40  # the edge of the lower one shows through the upper one
    assert np.array_equal(alone[30, 3], both[30, 3])


def test_empty_mask_draws_nothing() -> None:
    assert (np.asarray(draw_masks(_grey(), np.zeros((2, *SIZE), bool), tags=["one", "two"])) == 120).all()


def test_tiny_image() -> None:
    prompts = PhotoPrompts(np.array([[[0.0, 0.0]]]), np.array([[1]]), np.array([[0.0, 0.0, 1.0, 1.0]]))
    assert draw_masks(_grey(1, 1), np.ones((1, 1, 1), bool), tags=["0.5"], prompts=prompts).size == (1, 1)


def test_masks_of_any_kind() -> None:
    mask = _block(10, 40, 20, 70)
    expected = np.asarray(draw_masks(_grey(), [mask]))
    for form in (encode_rle(mask), mask.astype(np.uint8) * 255, np.asfortranarray(mask)):
        assert np.array_equal(np.asarray(draw_masks(_grey(), [form])), expected)


def test_threads_and_bands_do_not_show() -> None:
    """A large photo is painted in bands by several threads: its parts must be those of smaller photos."""
    rng = np.random.default_rng(3)
    coarse = rng.random((25, 30)) < 0.5
    mask = np.kron(coarse, np.ones((36, 40), bool))
    image = rng.integers(0, 256, (900, 1200, 3), np.uint8)
    whole = np.asarray(draw_masks(image, [mask]))
    fill = (image * 0.6 + 0.4 * np.array(mask_colour(0))).round()
    inner = mask & ~_grown(~mask, 6)
    assert np.abs(whole[inner] - fill[inner]).max() <= 1.5
    outside = ~_grown(mask, 6)
    assert np.array_equal(whole[outside], image[outside])
    band = np.asarray(draw_masks(image[:288], [mask[:288]]))  # one thread; the border is different, and the width
    agree = np.abs(whole[:270].astype(int) - band[:270]).max(-1) <= 1
    assert agree[inner[:270] | outside[:270]].all()


def test_colours_differ() -> None:
    colours = np.array([mask_colour(i) for i in range(255)], int)
    distance = np.abs(colours[:, None] - colours).sum(-1)
    assert (distance[:24, :24][~np.eye(24, dtype=bool)] > 60).all()
    assert (distance[~np.eye(255, dtype=bool)] >= 15).all()
    assert mask_colour(255) == mask_colour(24), "then they repeat"
    assert (colours.max(1) - colours.min(1) > 40).all(), "none is grey"


def _prompts(points=(), labels=(), boxes=None) -> PhotoPrompts:
    points, labels = np.array(points, float).reshape(1, -1, 2), np.array(labels, int).reshape(1, -1)
    return PhotoPrompts(points, labels, None if boxes is None else np.array(boxes, float))


def test_clicks_are_green_and_red_with_a_white_rim() -> None:
    image = _grey(300, 450)
    drawn = np.asarray(draw_masks(image, [], prompts=_prompts([(100, 150), (300, 150), (200, 50)], [1, 0, -1])))
    green, red = drawn[148, 100].astype(int), drawn[148, 300].astype(int)
    assert green.argmax() == 1
    assert red.argmax() == 0
    changed = _changed(drawn, image)
    y, x = np.nonzero(changed & (np.arange(450) < 200))
    assert abs(y.mean() - 150) < 0.5
    assert abs(x.mean() - 100) < 0.5
    assert not changed[20:80].any()  # padding is no click
    for column in (100, 300):
        assert drawn[140:160, column - 10 : column + 10].min(-1).max() > 220  # the rim


def test_clicks_at_the_corners_of_the_photo() -> None:
    image = _grey()
    changed = _changed(draw_masks(image, [], prompts=_prompts([(0, 0), (89, 59)], [1, 1])), image)
    assert changed[0, 0]
    assert changed[-1, -1]
    assert not changed[10:50].any()


def test_boxes_are_dashed_along_their_edges() -> None:
    image = _grey(300, 450)
    drawn = np.asarray(draw_masks(image, [], prompts=_prompts(boxes=[(50, 40, 250.5, 200)])))
    changed = _changed(drawn, image)
    y, x = np.nonzero((drawn == mask_colour(0)).all(-1))
    assert (y.min(), y.max(), x.min(), x.max()) == (40, 199, 50, 250)
    dashes = (drawn[40, 50:251] == mask_colour(0)).all(-1)
    assert 0.5 < dashes.mean() < 0.8
    assert dashes[[0, -1]].all()
    assert not changed[45:195, 56:245].any()


def _of_tags(masks: list[np.ndarray], tags: list[str], size: tuple[int, int]) -> np.ndarray:
    image = np.full((*size, 3), 120, np.uint8)
    with_tags = draw_masks(image, masks, opacity=0.0, tags=tags)
    return _changed(with_tags, np.asarray(draw_masks(image, masks, opacity=0.0)))


def test_tags_stand_at_their_masks_and_apart() -> None:
    size = (400, 600)
    masks = [_block(100, 300, 200, 400, size), _block(104, 296, 204, 396, size), _block(0, 60, 0, 60, size)]
    measure = pytest.importorskip("skimage.measure")
    regions = measure.regionprops(measure.label(_of_tags(masks, ["1  0.50", "2  0.50", "3"], size)))
    boxes = sorted(region.bbox for region in regions if region.area > 40)
    assert len(boxes) == 3
    top, left, _, _ = boxes[0]
    assert (top, left) == (0, 0)  # no room above: within the photo
    assert all(85 <= box[2] <= 320 and box[1] >= 190 for box in boxes[1:])


def test_tags_stand_at_masks_that_are_not_at_the_corner_of_their_box() -> None:
    size = (240, 240)
    y, x = np.mgrid[: size[0], : size[1]]
    mask = (x >= 60) & (x < 200) & (y >= 60) & (y < 200) & (x + y > 330)  # none of it is at the upper left
    image = _grey(*size)
    plain, tagged = (np.asarray(draw_masks(image, [mask], tags=tags)) for tags in ([], ["1"]))
    rows, columns = np.nonzero(_changed(tagged, plain))
    assert (_grown(mask, 8)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]).any()
    assert not _changed(tagged, plain)[:70, :80].any()


def test_tags_keep_off_clicks() -> None:
    size = (400, 600)
    mask, image = _block(100, 300, 200, 400, size), np.full((400, 600, 3), 120, np.uint8)
    clicks = _prompts([(205, 95), (390, 95), (300, 95)], [1, 0, 1])  # where the tag would be, and the next places
    before = np.asarray(draw_masks(image, [mask], prompts=clicks))
    changed = _changed(draw_masks(image, [mask], prompts=clicks, tags=["0.95"]), before)
    assert changed.any()
    assert not changed[80:110].any()


def test_places_of_empty_masks_are_dashed_in_the_colours_of_their_numbers() -> None:
    size = (240, 240)
    image, empty, mask = _grey(*size), np.zeros(size, bool), _block(150, 200, 150, 200, size)
    drawn = np.asarray(draw_masks(image, [empty, mask], opacity=1.0, numbers=[4, 2], places=[(50, 40, 90, 80), None]))
    assert (drawn[41, 50:90] == mask_colour(4)).all(-1).any()
    assert not _changed(drawn, image)[44:76, 54:86].any()
    assert (drawn[160:190, 160:190] == mask_colour(2)).all()
    tagged = np.asarray(
        draw_masks(image, [empty, mask], opacity=1.0, numbers=[4, 2], places=[(50, 40, 90, 80), None], tags=["a", "b"])
    )
    assert _changed(tagged, drawn)[20:40, 45:80].any(), "and have their tags"
    none = np.asarray(draw_masks(image, [empty, mask], opacity=1.0, numbers=[4, 2], places=[None, (0, 0, 9, 9)]))
    assert not _changed(none, image)[:140].any(), "a mask that is there has no place"


@pytest.mark.parametrize("size", [(40, 40), (79, 600)])
def test_photos_too_small_for_text_have_no_tags(size: tuple[int, int]) -> None:
    assert not _of_tags([np.ones(size, bool)], ["1"], size).any()


def test_one_tag_for_each_mask() -> None:
    with pytest.raises(EvsamError, match="tags: expected one for each of 2 masks, got 1"):
        draw_masks(_grey(), [_block(0, 1, 0, 1)] * 2, tags=["a"])


def test_marks_grow_with_the_photo() -> None:
    shares = []
    for side in (500, 2000):
        image = _grey(side, side)
        middle = [(side / 2, side / 2)]
        shares.append(_changed(draw_masks(image, [], prompts=_prompts(middle, [1])), image).mean())
    assert shares[1] == pytest.approx(shares[0], rel=0.25)
