from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evsam import PromptError
from evsam.prompts import read_prompts

SIZE, RESIZED = (400, 600), (683, 1024)
X, Y = 1024 / 600, 683 / 400
MASK = np.zeros((256, 256), np.float32)


def read(**prompt):
    return read_prompts(SIZE, RESIZED, **prompt)


def test_click_gets_the_padding_point() -> None:
    prompts = read(points=[(30, 20)], labels=[1])
    assert prompts.points.dtype == np.float32
    assert prompts.labels.dtype == np.int32
    np.testing.assert_allclose(prompts.points, [[[30 * X, 20 * Y], [0.0, 0.0]]], rtol=1e-6)
    assert prompts.labels.tolist() == [[1, -1]]
    assert prompts.masks is None
    assert prompts.ambiguous


def test_axes_have_their_own_factor() -> None:
    prompts = read_prompts((3, 1000), (3, 1024), points=[(500, 1)])
    np.testing.assert_allclose(prompts.points[0, 0], [512, 1])


def test_labels_default_to_foreground() -> None:
    assert read(points=[(1, 2), (3, 4)]).labels.tolist() == [[1, 1, -1]]


def test_points_of_several_prompts() -> None:
    prompts = read(points=np.arange(12).reshape(3, 2, 2), labels=[[1, 0], [0, 1], [1, 1]])
    assert prompts.labels.tolist() == [[1, 0, -1], [0, 1, -1], [1, 1, -1]]
    np.testing.assert_allclose(prompts.points[2, 1], [10 * X, 11 * Y], rtol=1e-6)
    assert not prompts.ambiguous


def test_box() -> None:
    prompts = read(box=(10, 20, 30, 40))
    np.testing.assert_allclose(prompts.points, [[[10 * X, 20 * Y], [30 * X, 40 * Y]]], rtol=1e-6)
    assert prompts.labels.tolist() == [[2, 3]]
    assert not prompts.ambiguous


def test_boxes() -> None:
    prompts = read(boxes=[(10, 20, 30, 40), (0, 0, 600, 400)])
    assert prompts.labels.tolist() == [[2, 3], [2, 3]]
    np.testing.assert_allclose(prompts.points[1], [[0, 0], [1024, 683]], rtol=1e-6)


def test_corners_stand_behind_the_points_without_padding() -> None:
    prompts = read(points=[(1, 2)], labels=[0], box=(10, 20, 30, 40))
    assert prompts.labels.tolist() == [[0, 2, 3]]
    assert not prompts.ambiguous
    prompts = read(points=[[(1, 2)], [(3, 4)]], labels=[[0], [1]], boxes=[(10, 20, 30, 40), (1, 2, 3, 4)])
    assert prompts.labels.tolist() == [[0, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("shape", [(256, 256), (1, 256, 256)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_mask_alone(shape, dtype) -> None:
    prompts = read(mask=np.full(shape, 2.5, dtype))
    assert prompts.masks.shape == (1, 1, 256, 256)
    assert prompts.masks.dtype == np.float32
    assert prompts.masks.min() == 2.5
    assert prompts.points.shape == (1, 0, 2)
    assert prompts.labels.shape == (1, 0)
    assert not prompts.ambiguous


def test_mask_with_others() -> None:
    prompts = read(mask=MASK, points=[(1, 2)], labels=[1])
    assert prompts.labels.tolist() == [[1, -1]]
    assert not prompts.ambiguous
    assert read(mask=np.stack([MASK] * 3), boxes=[(1, 2, 3, 4)] * 3).masks.shape == (3, 1, 256, 256)


def test_mask_is_copied() -> None:
    mask = MASK.copy()
    prompts = read(mask=mask)
    mask += 1
    assert prompts.masks.max() == 0


@pytest.mark.parametrize("batch", [1, 4])
def test_single_clicks_are_ambiguous(batch) -> None:
    assert read(points=np.full((batch, 1, 2), 5), labels=np.ones((batch, 1))).ambiguous
    assert not read(points=np.full((batch, 2, 2), 5)).ambiguous


@pytest.mark.parametrize("labels", [[1, 0], [True, False], [1.0, 0.0], np.array([1, 0], np.uint8), ([1, 0],)])
def test_label_types(labels) -> None:
    assert read(points=[(1, 2), (3, 4)], labels=labels).labels.tolist() == [[1, 0, -1]]


@pytest.mark.parametrize("point", [(0, 0), (599, 399), (599.9, 399.9), (np.float16(3), 4), (-0.0, 0)])
def test_points_inside(point) -> None:
    read(points=[point])


def test_boxes_are_clipped_to_the_image() -> None:
    prompts = read(box=(-1, -0.5, 601, 400.7))
    np.testing.assert_allclose(prompts.points, [[[0, 0], [1024, 683]]])


def test_thin_box() -> None:
    prompts = read(box=(10, 10, 10.01, 300))
    assert prompts.points[0, 1, 0] > prompts.points[0, 0, 0]


RAGGED = [[(1, 2)], [(3, 4), (5, 6)]]

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "points, box, boxes, mask: expected at least one prompt, got none"),
    "box and boxes": ({"box": (1, 2, 3, 4), "boxes": [(1, 2, 3, 4)]}, "box, boxes: expected one of the two, got both"),
    "labels alone": ({"labels": [1]}, "labels: expected points to label"),
    "labels with box": ({"labels": [1], "box": (1, 2, 3, 4)}, "labels: expected points to label"),
    # points
    "no points": ({"points": []}, "points: expected at least one point, got shape (0,)"),
    "no points (0, 2)": ({"points": np.zeros((0, 2))}, "points: expected at least one point, got shape (0, 2)"),
    "no prompts": ({"points": np.zeros((0, 3, 2))}, "points: expected at least one point, got shape (0, 3, 2)"),
    "prompts without points": ({"points": np.zeros((3, 0, 2))}, "points: expected at least one point"),
    "flat point": ({"points": (1, 2)}, "points: expected numbers of shape (T, 2) or (N, T, 2), got shape (2,)"),
    "three coordinates": ({"points": [(1, 2, 3)]}, "got shape (1, 3)"),
    "four axes": ({"points": np.zeros((1, 1, 1, 2))}, "got shape (1, 1, 1, 2)"),
    "ragged points": ({"points": RAGGED}, "points: expected numbers of shape (T, 2) or (N, T, 2), got rows"),
    "text": ({"points": [("1", "2")]}, "points: expected numbers of shape (T, 2) or (N, T, 2), got shape (1, 2)"),
    "bool points": ({"points": [(True, False)]}, "dtype bool"),
    "complex points": ({"points": [(1j, 2)]}, "dtype complex128"),
    "None inside": ({"points": [(1, None)]}, "dtype object"),
    "mapping": ({"points": {"x": 1}}, "shape (T, 2) or (N, T, 2), got builtins.dict"),
    "nan": ({"points": [(1, np.nan)]}, "points: expected finite numbers, got nan"),
    "inf": ({"points": [(np.inf, 1)]}, "points: expected finite numbers, got inf"),
    "left": ({"points": [(-0.1, 5)]}, "0 <= x < 600 and 0 <= y < 400, the image's width and height, got (-0.1, 5)"),
    "above": ({"points": [(5, -1)]}, "got (5, -1)"),
    "right": ({"points": [(1, 1), (600, 5)]}, "got (600, 5)"),
    "below": ({"points": [(5, 400)]}, "got (5, 400)"),
    "swapped axes": ({"points": [(200, 500)]}, "expected 0 <= x < 600 and 0 <= y < 400"),
    # labels
    "label 2": ({"points": [(1, 2)], "labels": [2]}, "labels: expected 1 (foreground) or 0 (background), got 2"),
    "label -1": ({"points": [(1, 2)], "labels": [-1]}, "got -1"),
    "label 0.5": ({"points": [(1, 2)], "labels": [0.5]}, "got 0.5"),
    "label nan": ({"points": [(1, 2)], "labels": [np.nan]}, "got nan"),
    "label text": ({"points": [(1, 2)], "labels": ["1"]}, "labels: expected 1 (foreground) or 0 (background), got"),
    "too few labels": ({"points": [(1, 2)] * 2, "labels": [1]}, "shape (2,), got shape (1,)"),
    "too many labels": ({"points": [(1, 2)], "labels": [1, 1]}, "expected one label for each point, shape (1,)"),
    "scalar label": ({"points": [(1, 2)], "labels": 1}, "got shape ()"),
    "flat labels": ({"points": np.zeros((2, 1, 2)), "labels": [1, 1]}, "shape (2, 1), got shape (2,)"),
    "ragged labels": ({"points": np.zeros((2, 2, 2)), "labels": [[1], [1, 0]]}, "labels: expected one label for each"),
    # boxes
    "box of two": ({"box": (1, 2)}, "box: expected numbers x0, y0, x1, y1 of shape (4,), got shape (2,)"),
    "nested box": ({"box": [(1, 2, 3, 4)]}, "got shape (1, 4)"),
    "empty box": ({"box": ()}, "box: expected at least one box, got shape (0,)"),
    "flat boxes": ({"boxes": (1, 2, 3, 4)}, "boxes: expected numbers x0, y0, x1, y1 of shape (N, 4), got shape (4,)"),
    "boxes of five": ({"boxes": [(1, 2, 3, 4, 5)]}, "got shape (1, 5)"),
    "no boxes": ({"boxes": []}, "boxes: expected at least one box, got shape (0,)"),
    "no boxes (0, 4)": ({"boxes": np.zeros((0, 4))}, "got shape (0, 4)"),
    "ragged boxes": ({"boxes": [(1, 2, 3, 4), (1, 2)]}, "boxes: expected numbers"),
    "text box": ({"box": "1234"}, "box: expected numbers"),
    "box nan": ({"box": (1, 2, np.nan, 4)}, "box: expected finite numbers, got nan"),
    "box inf": ({"boxes": [(1, 2, 3, np.inf)]}, "boxes: expected finite numbers, got inf"),
    "no width": ({"box": (5, 5, 5, 9)}, "box: expected x0 < x1 and y0 < y1, got (5, 5, 5, 9)"),
    "no height": ({"boxes": [(1, 2, 3, 4), (5, 5, 9, 5)]}, "boxes: expected x0 < x1 and y0 < y1, got (5, 5, 9, 5)"),
    "swapped x": ({"box": (9, 5, 5, 9)}, "box: expected x0 < x1 and y0 < y1"),
    "swapped y": ({"box": (5, 9, 9, 5)}, "box: expected x0 < x1 and y0 < y1"),
    "box left": ({"box": (-1.5, 5, 9, 9)}, "box: expected a box inside the image, 0 <= x <= 600 and 0 <= y <= 400"),
    "box above": ({"box": (5, -2, 9, 9)}, "expected a box inside the image"),
    "box right": ({"box": (5, 5, 602, 9)}, "expected a box inside the image"),
    "box below": ({"boxes": [(5, 5, 9, 402)]}, "got (5, 5, 9, 402)"),
    "box in the margin": ({"box": (-1, 5, 0, 9)}, "box: expected a box with area inside the image of 600 x 400"),
    "box in the right margin": ({"box": (600, 5, 601, 9)}, "expected a box with area inside the image"),
    # masks
    "mask shape": ({"mask": np.zeros((64, 64))}, "logits of shape (256, 256) or (N, 256, 256), got shape (64, 64)"),
    "mask rank": ({"mask": np.zeros((1, 1, 256, 256))}, "got shape (1, 1, 256, 256)"),
    "empty mask": ({"mask": np.zeros((0, 256, 256))}, "got shape (0, 256, 256)"),
    "bool mask": ({"mask": MASK > 0}, "dtype bool; give the logits of an earlier prediction, not its mask"),
    "uint8 mask": ({"mask": MASK.astype(np.uint8)}, "dtype uint8; give the logits"),
    "ragged mask": ({"mask": [[1.0], [1.0, 2.0]]}, "mask: expected floating point logits"),
    "mask nan": ({"mask": MASK + np.nan}, "mask: expected finite numbers, got nan"),
    "mask inf": ({"mask": MASK - np.inf}, "mask: expected finite numbers, got -inf"),
    "mask overflow": ({"mask": MASK.astype(np.float64) + 1e300}, "mask: expected finite numbers, got inf"),
    # numbers of prompts
    "points for boxes": (
        {"points": [(1, 2)], "boxes": [(1, 2, 3, 4)] * 2},
        "points, boxes: expected the same number of prompts from each, got 1 from points, 2 from boxes",
    ),
    "boxes for points": ({"points": np.zeros((2, 1, 2)), "box": (1, 2, 3, 4)}, "got 2 from points, 1 from box"),
    "masks for boxes": ({"mask": [MASK] * 3, "boxes": [(1, 2, 3, 4)] * 2}, "got 2 from boxes, 3 from mask"),
    "mask for points": ({"mask": MASK, "points": np.zeros((2, 1, 2))}, "got 2 from points, 1 from mask"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_prompts(name) -> None:
    prompt, message = BAD[name]
    with pytest.raises(PromptError) as caught:
        read(**prompt)
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_inputs_are_not_changed() -> None:
    points, box = np.array([[1.0, 2.0]]), np.array([-1.0, 2.0, 3.0, 4.0])
    for array in (points, box):
        array.setflags(write=False)
    read(points=points, box=box)
    assert points.tolist() == [[1, 2]]
    assert box.tolist() == [-1, 2, 3, 4]
