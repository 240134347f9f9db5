"""Mask prompts: a mask of the image as logits, and what variants make of logits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import evsam
from evsam.compat import SamPredictor
from evsam.errors import PromptError
from evsam.prompts import read_prompts
from evsam.transforms import fitted_size, masks_from_logits, upscale_logits
from evsam.zoo import VARIANTS
from tests.golden.nano import BOXES

SIZE = (400, 600)


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return np.asarray((x + 0.5 - centre[0]) ** 2 + (y + 0.5 - centre[1]) ** 2 < radius**2)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def groups_of(size: tuple[int, int] = SIZE, **prompt: Any) -> Any:
    return read_prompts(size, fitted_size(size), **prompt).groups


def only(mask_prompt: str = "logits", size: tuple[int, int] = SIZE, **prompt: Any) -> Any:
    (group,) = groups_of(size, mask_prompt=mask_prompt, **prompt)
    return group


class TestMasksOfTheImage:
    @pytest.mark.parametrize("size", [(400, 600), (2000, 2000), (256, 256), (30, 1500), (1500, 30), (64, 48), (1, 1)])
    def test_logits_are_shares_of_the_cells(self, size) -> None:
        """Each logit against 64 samples of its cell that lie in the image."""
        mask = np.random.default_rng(0).random(size) < 0.5
        mask[0, 0] = True  # a mask of nothing is refused
        resized = fitted_size(size)
        group = only(size=size, mask=mask)
        assert group.masks.shape == (1, 1, 256, 256)
        rng = np.random.default_rng(1)
        for row, column in rng.integers(0, 256, (100, 2)) // [1 + 256 // resized[0], 1 + 256 // resized[1]]:
            y, x = (np.mgrid[:64, :64] + 0.5) / 16 + np.array([row, column])[:, None, None] * 4
            inside = (y < resized[0]) & (x < resized[1])
            values = mask[
                np.minimum(y * size[0] / resized[0], size[0] - 1).astype(int),
                np.minimum(x * size[1] / resized[1], size[1] - 1).astype(int),
            ][inside]
            expected = 20 * values.mean() - 10 if inside.any() else -10
            assert group.masks[0, 0, row, column] == pytest.approx(expected, abs=0.8)

    @pytest.mark.parametrize("size", [(400, 600), (3000, 2000), (90, 120)])
    def test_logits_give_the_mask(self, size) -> None:
        mask = disc(size, (0.4 * size[1], 0.6 * size[0]), 0.3 * min(size))
        resized = fitted_size(size)
        group = only(size=size, mask=mask)
        assert iou(masks_from_logits(group.masks, resized, size)[0, 0], mask) > 0.985
        assert upscale_logits(group.masks, resized, size).min() == pytest.approx(-10)

    @pytest.mark.parametrize("form", ["bool", "255", "int", "batch"])
    def test_forms(self, form) -> None:
        mask = disc(SIZE, (200, 150), 80)
        given = {"bool": mask, "255": mask * np.uint8(255), "int": mask.astype(int), "batch": mask[None]}[form]
        expected = only(mask=mask).masks
        assert np.array_equal(only(mask=given).masks, expected)
        assert np.array_equal(only(mask=np.stack([mask, ~mask])).masks[:1], expected)
        assert np.array_equal(only(mask=mask.tolist()).masks, expected)

    def test_tensors(self) -> None:
        torch = pytest.importorskip("torch")
        mask = disc(SIZE, (200, 150), 80)
        assert np.array_equal(only(mask=torch.from_numpy(mask)).masks, only(mask=mask).masks)
        with pytest.raises(
            PromptError, match=r"^mask: expected floating point .*, got torch.Tensor, which NumPy cannot"
        ):
            only(mask=torch.zeros(256, 256, device="meta"))
        with pytest.raises(PromptError, match=r"^labels: expected one label .*, got torch.Tensor, which NumPy cannot"):
            only(points=[(1, 2)], labels=torch.ones(1, device="meta"))

    def test_dtype_decides_for_a_photo_of_the_size_of_logits(self) -> None:
        mask = disc((256, 256), (100, 120), 50)
        logits = np.where(mask, 3.5, -2).astype(np.float32)
        for given, values in ((logits, {3.5, -2}), (mask, {10, -10})):
            assert set(np.unique(only(size=(256, 256), mask=given).masks)) == values

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (
                disc((256, 256), (99, 99), 50).astype(np.float32),
                "got only 0 and 1; give Sam.predict a mask of the image",
            ),
            (disc(SIZE, (99, 99), 50).astype(np.float32), "a bool mask of the image of shape (400, 600) or (N, 400, 6"),
            (np.zeros((256, 256), bool), "of shape (400, 600) or (N, 400, 600), got shape (256, 256), dtype bool"),
            (np.zeros((1, 1, 400, 600), bool), "got shape (1, 1, 400, 600), dtype bool"),
            (np.zeros((0, 400, 600), bool), "got shape (0, 400, 600), dtype bool"),
            (np.arange(240000).reshape(SIZE) % 3, "mask: expected bool, 0 and 1, or 0 and 255, got also 1, 2"),
            (np.array([[0, 255], [1, 0]], np.uint8).repeat(200, 0).repeat(300, 1), "mask: expected bool, 0 and 1, or"),
            ("mask.png", "got shape (), dtype <U8"),
            (np.zeros(SIZE, bool), "mask: expected pixels of an object, got a mask without any"),
            (np.stack([disc(SIZE, (99, 99), 50), np.zeros(SIZE, bool)]), "got a mask without any in row 1"),
        ],
    )
    def test_refused(self, mask, message) -> None:
        with pytest.raises(PromptError, match=re.escape(message)):
            only(mask=mask)


class TestBoxed:
    """What is added to masks for variants that cannot find an object by its mask."""

    LOGITS = np.full((256, 256), -1, np.float32)
    LOGITS[20:60, 30:100] = 0.5  # the object: x from 120 to 400, y from 80 to 240 in the frame
    LOGITS[100:105, 200:203] = 2  # strays
    LOGITS[0, 0] = 9
    LOGITS[180:, 200:] = 5  # in the padding
    BOX = (120.0, 80.0, 400.0, 240.0)

    def test_a_mask_alone(self) -> None:
        group = only("boxed", mask=self.LOGITS)
        assert group.labels.tolist() == [[2, 3]]
        assert group.points.ravel().tolist() == list(self.BOX)
        assert np.array_equal(group.masks[0, 0], np.where(self.LOGITS > 0, 10, -10))

    def test_regions_that_are_not_small_count(self) -> None:
        logits = self.LOGITS.copy()
        logits[140:160, 10:45] = 1  # a quarter of the object's area
        assert only("boxed", mask=logits).points.ravel().tolist() == [40, 80, 400, 640]
        logits[159, 10] = -1
        assert only("boxed", mask=logits).points.ravel().tolist() == list(self.BOX)

    def test_boxes_end_with_the_image(self) -> None:
        logits = np.ones((256, 256), np.float32)
        assert only("boxed", mask=logits).points.ravel().tolist() == [0, 0, 1024, 683]

    @pytest.mark.parametrize(
        ("click", "label", "box"),
        [
            ((300.0, 200.0), 0, BOX),  # background on the mask
            ((500.0, 600.0), 0, BOX),  # background elsewhere
            ((500.0, 600.0), 1, (120.0, 80.0, 500.0, 600.0)),  # what the mask missed
        ],
    )
    def test_clicks_that_do_not_tell_where_the_object_is(self, click, label, box) -> None:
        x, y = click[0] * 600 / 1024, click[1] * 400 / 683
        group = only("boxed", mask=self.LOGITS, points=[(x, y)], labels=[label])
        assert group.labels.tolist() == [[label, 2, 3]]
        np.testing.assert_allclose(group.points[0], [click, box[:2], box[2:]], rtol=1e-6)
        assert np.abs(group.masks).min() == 10

    @pytest.mark.parametrize("prompt", [{"points": [(150, 100)]}, {"box": (1, 2, 300, 40)}], ids=["click", "box"])
    def test_what_tells_where_the_object_is(self, prompt) -> None:
        for ours, theirs in zip(
            (only("boxed", mask=self.LOGITS, **prompt), only(mask=self.LOGITS, **prompt)),
            (only(**prompt), only("boxed", **prompt)),
            strict=True,
        ):
            assert np.array_equal(ours.masks[0, 0], self.LOGITS)
            assert np.array_equal(ours.points, theirs.points)
            assert np.array_equal(ours.labels, theirs.labels)

    def test_nothing_to_draw_a_box_around(self) -> None:
        logits = np.where(np.arange(256)[:, None] < 171, -3, 3 * np.ones((256, 256))).astype(np.float32)
        group = only("boxed", mask=logits)
        assert group.labels.shape == (1, 0)
        assert np.array_equal(group.masks[0, 0], logits)

    def test_prompts_of_one_call_do_not_share_their_boxes(self) -> None:
        empty = np.full((256, 256), -1, np.float32)
        none, boxed = groups_of(mask=np.stack([self.LOGITS, empty, self.LOGITS]), mask_prompt="boxed")
        assert (none.rows.tolist(), boxed.rows.tolist()) == ([1], [0, 2])
        assert np.array_equal(none.masks[0, 0], empty)
        assert boxed.points.reshape(2, 4).tolist() == [list(self.BOX)] * 2


def test_a_prediction_knows_the_prompts_that_were_asked_for(nano, image) -> None:
    """And not the boxes around masks."""
    masks = np.stack([disc(image.shape[:2], (60, 40), 20)] * 3)
    points, labels = [[(60, 40), (5, 5)], [(100, 70), (0, 0)], [(60, 41), (0, 0)]], [[1, 0], [0, -1], [0, -1]]
    given = nano.predict(image, mask=masks, points=points, labels=labels).prompts
    assert given.boxes is None
    assert given.labels.tolist() == labels
    real = np.array(labels) >= 0
    np.testing.assert_allclose(given.points[real], np.array(points)[real], atol=0.01)
    assert nano.predict(image, mask=masks).prompts.boxes is None


LEAST = {"cat": 0.95, "face": 0.95, "cup": 0.92, "rocket": 0.9}
"""IoU of a mask with what nano makes of it alone, by the object whose box it is of."""


@pytest.fixture(scope="module")
def nano() -> evsam.Sam:
    return evsam.load("nano", threads=1)


@pytest.mark.parametrize("name", LEAST)
def test_nano_gives_masks_back(nano, photo, name) -> None:
    (file, box), least = BOXES[name], LEAST[name]
    embedding = nano.encode(photo(file))
    first = nano.predict(embedding, box=box)
    mask = first.masks[0, 0]
    for given in (first.logits[0, 0], mask, mask * np.uint8(255)):
        again = nano.predict(embedding, mask=given)
        assert again.masks.shape == first.masks.shape
        assert iou(again.masks[0, 0], mask) > least

    predictor = SamPredictor(nano)
    predictor.set_embedding(embedding)
    masks, _, logits = predictor.predict(mask_input=first.logits[0], multimask_output=False)
    assert np.array_equal(logits, nano.predict(embedding, mask=first.logits[0]).logits[0])
    assert iou(masks[0], mask) > least


def test_nano_takes_a_click_that_mends_a_mask(nano, photo) -> None:
    """A click without those that made the mask had made it forget the object."""
    embedding = nano.encode(photo("chelsea.png"))
    first = nano.predict(embedding, box=BOXES["cat"][1])
    beside = (440, 290)
    assert not first.masks[0, 0, beside[1], beside[0]]
    again = nano.predict(embedding, points=[beside], labels=[0], mask=first.logits[0, 0])
    assert iou(again.masks[0, 0], first.masks[0, 0]) > 0.9


def test_other_variants_read_logits_as_they_are(seeded_weights, image, monkeypatch) -> None:
    """To the bit, by predict and by compat."""
    assert {v.name for v in VARIANTS.values() if v.mask_prompt == "logits"} == {"l0", "l1", "l2", "xl0", "xl1"}
    seen = []
    with evsam.load(seeded_weights("l0")) as sam:
        embedding = sam.encode(image)

        def decode(features, points, labels, masks, chosen):
            seen.append((points, labels, masks))
            each = chosen.stop - chosen.start
            return np.zeros((len(points), each, 256, 256), np.float32), np.zeros((len(points), each), np.float32)

        monkeypatch.setattr(sam.engine, "decode", decode)
        logits = np.random.default_rng(0).standard_normal((2, 256, 256)).astype(np.float32)
        sam.predict(embedding, mask=logits)
        predictor = SamPredictor(sam)
        predictor.set_embedding(embedding)
        predictor.predict(mask_input=logits[:1])
    for (points, labels, masks), count in zip(seen, (2, 1), strict=True):
        assert points.shape == (count, 0, 2)
        assert labels.shape == (count, 0)
        assert masks[:, 0].tobytes() == logits[:count].tobytes()
