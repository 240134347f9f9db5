"""What prompts Python takes, and the messages of those it does not; the rules are tested in C++ by the same cases."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from evsam import PromptError
from evsam.prompts import read_prompts
from tests.sdk.prompt_cases import ORIGINAL, RESIZED, PromptCase, prompt_cases

X, Y = 1024 / 600, 683 / 400
MASK = np.zeros((256, 256), np.float32)


def read(**prompt):
    return read_prompts(ORIGINAL, RESIZED, **prompt)


def group(**prompt):
    """The only one."""
    (only,) = read(**prompt).groups
    return only


def forms(case: PromptCase) -> list[dict[str, Any]]:
    """The arguments, and once more with ``box`` where there is a single one."""
    both = [case.given]
    if len(case.given.get("boxes", ())) == 1:
        both.append({**case.given, "box": case.given["boxes"][0]})
        del both[1]["boxes"]
    return both


@pytest.mark.parametrize("case", [c for c in prompt_cases() if c.message is None], ids=lambda case: case.line)
def test_good_cases(case) -> None:
    for given in forms(case):
        prompts = read(**given)
        assert prompts.count == len(case.prompts)
        assert prompts.ambiguous is case.ambiguous
        lengths = [len(prompt) for prompt in case.prompts]
        assert [list(some.rows) for some in prompts.groups] == [
            [row for row, other in enumerate(lengths) if other == length] for length in sorted(set(lengths))
        ]
        for some in prompts.groups:
            assert some.points.dtype == np.float32
            assert some.labels.dtype == np.int32
            expected = np.stack([case.prompts[row] for row in some.rows])
            np.testing.assert_allclose(some.points, expected[..., :2], rtol=1e-6)
            assert some.points.shape == expected[..., :2].shape
            assert np.array_equal(some.labels, expected[..., 2])
            if "mask" in given:
                assert some.masks.dtype == np.float32
                assert np.array_equal(some.masks[:, 0], given["mask"][some.rows])
            else:
                assert some.masks is None


@pytest.mark.parametrize("case", [c for c in prompt_cases() if c.message is not None], ids=lambda case: case.line)
def test_bad_cases(case) -> None:
    for given in forms(case):
        expected = re.sub(r"\bmasks\b", "mask", case.message)
        if not given:
            expected = expected.replace("boxes", "box, boxes")
        elif "box" in given:
            expected = re.sub(r"\bboxes\b", "box", expected)
        with pytest.raises(PromptError) as caught:
            read(**given)
        assert str(caught.value) == expected
        assert isinstance(caught.value, ValueError)


def test_cases_are_read() -> None:
    assert len(prompt_cases()) > 40


def test_axes_have_their_own_factor() -> None:
    (some,) = read_prompts((3, 1000), (3, 1024), points=[(500, 1)]).groups
    np.testing.assert_allclose(some.points[0, 0], [512, 1])


def test_points_of_several_prompts() -> None:
    some = group(points=np.arange(12).reshape(3, 2, 2), labels=[[1, 0], [0, 1], [1, 1]])
    assert some.labels.tolist() == [[1, 0, -1], [0, 1, -1], [1, 1, -1]]
    np.testing.assert_allclose(some.points[2, 1], [10 * X, 11 * Y], rtol=1e-6)


@pytest.mark.parametrize("shape", [(256, 256), (1, 256, 256)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_mask_alone(shape, dtype) -> None:
    some = group(mask=np.full(shape, 2.5, dtype))
    assert some.masks.shape == (1, 1, 256, 256)
    assert some.masks.dtype == np.float32
    assert some.masks.min() == 2.5
    assert some.points.shape == (1, 0, 2)
    assert some.labels.shape == (1, 0)


def test_mask_with_others() -> None:
    assert group(mask=MASK, points=[(1, 2)], labels=[1]).labels.tolist() == [[1, -1]]
    assert group(mask=np.stack([MASK] * 3), boxes=[(1, 2, 3, 4)] * 3).masks.shape == (3, 1, 256, 256)


def test_mask_is_copied() -> None:
    mask = MASK.copy()
    some = group(mask=mask)
    mask += 1
    assert some.masks.max() == 0


@pytest.mark.parametrize("batch", [1, 4])
def test_single_clicks_are_ambiguous(batch) -> None:
    assert read(points=np.full((batch, 1, 2), 5), labels=np.ones((batch, 1))).ambiguous
    assert not read(points=np.full((batch, 2, 2), 5)).ambiguous


@pytest.mark.parametrize("labels", [[1, 0], [True, False], [1.0, 0.0], np.array([1, 0], np.uint8), ([1, 0],)])
def test_label_types(labels) -> None:
    assert group(points=[(1, 2), (3, 4)], labels=labels).labels.tolist() == [[1, 0, -1]]


@pytest.mark.parametrize("point", [(0, 0), (599, 399), (599.9, 399.9), (np.float16(3), 4), (-0.0, 0)])
def test_points_inside(point) -> None:
    read(points=[point])


RAGGED = [[(1, 2)], [(3, 4), (5, 6)]]

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "box and boxes": ({"box": (1, 2, 3, 4), "boxes": [(1, 2, 3, 4)]}, "box, boxes: expected one of the two, got both"),
    # points
    "no points": ({"points": []}, "points: expected at least one point, got shape (0,)"),
    "no points (0, 2)": ({"points": np.zeros((0, 2))}, "points: expected at least one point, got shape (0, 2)"),
    "no prompts": ({"points": np.zeros((0, 3, 2))}, "points: expected at least one point, got shape (0, 3, 2)"),
    "prompts without points": ({"points": np.zeros((3, 0, 2))}, "points: expected at least one point"),
    "flat point": ({"points": (1, 2)}, "points: expected numbers of shape (T, 2) or (N, T, 2), got shape (2,)"),
    "three coordinates": ({"points": [(1, 2, 3)]}, "got shape (1, 3)"),
    "four axes": ({"points": np.zeros((1, 1, 1, 2))}, "got shape (1, 1, 1, 2)"),
    "ragged points": ({"points": [(1, 2), (3, 4, 5)]}, "expected numbers of shape (T, 2) or (N, T, 2), got rows"),
    "ragged coordinates": ({"points": [[(1, 2)], [(3, 4), (5,)]]}, "points: expected numbers of shape (T, 2) for each"),
    "ragged texts": ({"points": [[(1, 2)], "abc"]}, "points: expected numbers of shape (T, 2) for each prompt, got"),
    "ragged and empty": ({"points": [[(1, 2)], []]}, "expected a point in each prompt that has no box or mask, got"),
    "flat labels of rows": ({"points": RAGGED, "labels": [1, 0]}, "shape (1,), got shape () in row 0"),
    "labels of other rows": ({"points": RAGGED, "labels": [[1, 0], [1, 0]]}, "shape (1,), got shape (2,) in row 0"),
    "labels of fewer rows": ({"points": RAGGED, "labels": [[1]]}, "labels for each of 2 prompts, got 1 rows"),
    "labels in an array": ({"points": RAGGED, "labels": np.ones((2, 2))}, "for each of 2 prompts, got shape (2, 2)"),
    "label of a row": ({"points": RAGGED, "labels": [[1], [1, 7]]}, "labels: expected 1 (foreground), 0 (background)"),
    "text": ({"points": [("1", "2")]}, "points: expected numbers of shape (T, 2) or (N, T, 2), got shape (1, 2)"),
    "bool points": ({"points": [(True, False)]}, "dtype bool"),
    "complex points": ({"points": [(1j, 2)]}, "dtype complex128"),
    "None inside": ({"points": [(1, None)]}, "dtype object"),
    "mapping": ({"points": {"x": 1}}, "shape (T, 2) or (N, T, 2), got builtins.dict"),
    # labels
    "label 0.5": ({"points": [(1, 2)], "labels": [0.5]}, "got 0.5"),
    "label nan": ({"points": [(1, 2)], "labels": [np.nan]}, "got nan"),
    "label text": ({"points": [(1, 2)], "labels": ["1"]}, "labels: expected 1 (foreground), 0 (background) or -1"),
    "too few labels": ({"points": [(1, 2)] * 2, "labels": [1]}, "shape (2,), got shape (1,)"),
    "too many labels": ({"points": [(1, 2)], "labels": [1, 1]}, "expected one label for each point, shape (1,)"),
    "scalar label": ({"points": [(1, 2)], "labels": 1}, "got shape ()"),
    "flat labels": ({"points": np.zeros((2, 1, 2)), "labels": [1, 1]}, "shape (2, 1), got shape (2,)"),
    "ragged labels": ({"points": np.zeros((2, 2, 2)), "labels": [[1], [1, 0]]}, "labels: expected one label for each"),
    # boxes
    "box of two": ({"box": (1, 2)}, "box: expected numbers x0, y0, x1, y1 of shape (4,), got shape (2,)"),
    "nested box": ({"box": [(1, 2, 3, 4)]}, "got shape (1, 4)"),
    "empty box": ({"box": ()}, "box: expected a box, got shape (0,)"),
    "flat boxes": ({"boxes": (1, 2, 3, 4)}, "boxes: expected numbers x0, y0, x1, y1 of shape (N, 4), got shape (4,)"),
    "boxes of five": ({"boxes": [(1, 2, 3, 4, 5)]}, "got shape (1, 5)"),
    "no boxes of five": ({"boxes": np.zeros((0, 5))}, "of shape (N, 4), got shape (0, 5)"),
    "points without boxes": ({"points": [(1, 2)], "boxes": []}, "1 from points, 0 from boxes"),
    "ragged boxes": ({"boxes": [(1, 2, 3, 4), (1, 2)]}, "boxes: expected numbers"),
    "text box": ({"box": "1234"}, "box: expected numbers"),
    # masks
    "mask shape": ({"mask": np.zeros((64, 64))}, "logits of shape (256, 256) or (N, 256, 256), or a bool mask of the"),
    "mask rank": ({"mask": np.zeros((1, 1, 256, 256))}, "got shape (1, 1, 256, 256)"),
    "empty mask": ({"mask": np.zeros((0, 256, 256))}, "got shape (0, 256, 256)"),
    "ragged mask": ({"mask": [[1.0], [1.0, 2.0]]}, "mask: expected floating point logits"),
    "mask overflow": ({"mask": MASK.astype(np.float64) + 1e300}, "mask: expected finite numbers, got inf"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_prompts(name) -> None:
    prompt, message = BAD[name]
    with pytest.raises(PromptError) as caught:
        read(**prompt)
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4), np.float32)], ids=["list", "array"])
def test_no_boxes_are_no_prompts(boxes) -> None:
    prompts = read(boxes=boxes)
    assert prompts.count == 0
    assert prompts.groups == ()


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    box = torch.tensor([8.0, 16.0, 32.0, 64.0])
    expected = group(box=box.numpy()).points
    for tensor in (box.bfloat16(), box.half(), box.clone().requires_grad_()):
        assert np.array_equal(group(box=tensor).points, expected)
        assert np.array_equal(group(points=tensor.reshape(2, 2)).points[0, :2], expected[0])
    assert group(points=[(1, 2)], labels=torch.tensor([0.0]).bfloat16()).labels.tolist() == [[0, -1]]
    assert group(mask=torch.ones(256, 256).bfloat16().requires_grad_()).masks.min() == 1
    with pytest.raises(PromptError, match=r"^box: expected numbers .*, got torch.Tensor, which NumPy cannot read"):
        read(box=box.to("meta"))


def test_inputs_are_not_changed() -> None:
    points, box = np.array([[1.0, 2.0]]), np.array([-1.0, 2.0, 3.0, 4.0])
    for array in (points, box):
        array.setflags(write=False)
    read(points=points, box=box)
    assert points.tolist() == [[1, 2]]
    assert box.tolist() == [-1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["lists", "arrays", "tensors"])
@pytest.mark.parametrize("labels", [None, [[0], [1, 0]]])
def test_lists_of_different_lengths(kind, labels) -> None:
    points: Any = RAGGED
    if kind == "arrays":
        points = tuple(np.array(prompt, np.float32) for prompt in RAGGED)
    elif kind == "tensors":
        torch = pytest.importorskip("torch")
        points = [torch.tensor(prompt).float().requires_grad_() for prompt in RAGGED]
        labels = None if labels is None else [torch.tensor(own) for own in labels]
    prompts = read(points=points, labels=labels)
    assert not prompts.ambiguous
    padded = [[1, -1], [1, 1]] if labels is None else [[0, -1], [1, 0]]
    expected = read(points=[[(1, 2), (9, 9)], [(3, 4), (5, 6)]], labels=padded)
    for ours, theirs in zip(prompts.groups, expected.groups, strict=True):
        assert np.array_equal(ours.rows, theirs.rows)
        assert np.array_equal(ours.points, theirs.points)
        assert np.array_equal(ours.labels, theirs.labels)


def test_an_empty_list_of_points_goes_with_a_box() -> None:
    box_alone, clicked = read(points=[[], [(1, 2)]], boxes=[(1, 2, 3, 4)] * 2).groups
    assert box_alone.labels.tolist() == [[2, 3]]
    assert clicked.labels.tolist() == [[1, 2, 3]]
