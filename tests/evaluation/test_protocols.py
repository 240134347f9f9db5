"""Protocols: what models are asked, what becomes of their answers, and the tables."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import evsam
from evsam.datasets import Annotation
from evsam.evaluation import protocols
from evsam.evaluation.protocols import Blank, Boxes, Clicks, Ellipses, Masks, inscribed_ellipse, usable_box
from evsam.rle import decode_rle
from evsam.zoo import get_variant
from tests.evaluation.made import EMBEDDING, SIDE, Answering, annotation, rectangle, truth

TRUE = rectangle(0, 0, 200, 100)

ANSWERS = [rectangle(0, 0, right, 100) for right in (20, 60, 140, 180)]
"""IoU 0.1; and 0.3, 0.7 and 0.9."""


def answering(scores: tuple[float, ...] = (0.95, 0.5, 0.8, 0.7)) -> Any:
    return Answering(ANSWERS, scores)


def test_boxes_are_answered_by_the_mask_of_the_highest_predicted_iou() -> None:
    sam, one = answering(), truth(annotation(TRUE, id=7, category=3), id=12)
    (row,) = Boxes(best=True).rows(sam, EMBEDDING, one)
    assert row == {
        "photo": "photo.png", "object": 0, "id": 7, "category": 3, "area": 20000.0, "box": [0.0, 0.0, 200.0, 100.0],
        "iou": 0.7, "predicted_iou": pytest.approx(0.8), "best_iou": 0.9,
    }  # fmt: skip
    (asked,) = sam.asked
    assert (asked["boxes"], asked["multimask"], asked["masks"]) == ([(0, 0, 200, 100)], True, False)
    (row,) = Boxes(multimask=False, best=True).rows(sam, EMBEDDING, one)
    assert (row["iou"], row["predicted_iou"]) == (0.1, pytest.approx(0.95))
    assert "best_iou" not in row


def test_measures_and_masks_are_kept_when_asked_for() -> None:
    (row,) = Boxes(measures=("boundary_iou", "f"), keep_masks=True).rows(
        answering(), EMBEDDING, truth(annotation(TRUE))
    )
    np.testing.assert_array_equal(decode_rle(row["mask"]), ANSWERS[2])
    # bands of seven pixels: 20000 - 186 x 86 and 14000 - 126 x 86; in common are 140 x 7 of the upper and of the lower
    # edge, and 86 x 7 of the left one
    common = 140 * 14 + 86 * 7
    union = 20000 - 186 * 86 + 14000 - 126 * 86 - common
    assert row["boundary_iou"] == common / union
    assert 0 < row["f"] < 1
    json.dumps(row)


def test_frames_of_videos_are_means_of_their_objects() -> None:
    def row(frame: str, number: int, j: Any, f: float) -> dict[str, Any]:
        known = {"photo": f"{frame}.jpg", "object": number, "id": number, "area": 9.0, "sequence": frame[0]}
        return {**known, "iou": j, "predicted_iou": 0.5, "f": f}

    # object 1 of video a in two frames, object 2 in one of them; video b has an object 1 of its own
    rows = [row("a/0", 1, 0.2, 0.4), row("a/1", 1, 0.6, 0.6), row("a/1", 2, 0.9, 1.0), row("b/0", 1, 0.8, 0.5)]
    tables = Boxes(measures=("f",)).summary(rows)
    (frames,) = tables["frames"].values()
    assert frames["J mean"] == pytest.approx((0.4 + 0.9 + 0.8) / 3)
    assert frames["F mean"] == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert frames["J&F"] == pytest.approx((0.7 + 2 / 3) / 2)
    assert frames["objects"] == 3
    clicked = [{**one, "iou": [0.0, one["iou"]]} for one in rows]
    assert Clicks(clicks=2, measures=("f",)).summary(clicked)["frames"] == tables["frames"]
    without = [{name: value for name, value in one.items() if name != "sequence"} for one in rows]
    assert "frames" not in Boxes(measures=("f",)).summary(without)
    assert "frames" not in Boxes().summary([{**one} | {"f": 1.0} for one in without])
    (found,) = Boxes(measures=("f",)).rows(answering(), EMBEDDING, truth(annotation(TRUE), sequence="a"))
    assert found["sequence"] == "a"


def test_ignored_pixels_do_not_count() -> None:
    ignored = annotation(TRUE, ignore=rectangle(140, 0, 200, 100))
    (row,) = Boxes().rows(answering(), EMBEDDING, truth(ignored))
    assert row["iou"] == 1.0


@pytest.mark.parametrize(
    ("source", "stated", "expected"),
    [
        ("annotated", (1.5, 2.5, 100.25, 50.0), (1.5, 2.5, 101.75, 52.5)),
        ("mask", (1.5, 2.5, 100.25, 50.0), (0, 0, 200, 100)),
        ("annotated", None, (0, 0, 200, 100)),
        ("annotated", (-5.0, 3.0, 300.0, 10.0), (0, 3, 256, 13)),
        ("annotated", (300.0, 3.0, 10.0, 10.0), (0, 0, 200, 100)),
        ("annotated", (3.0, 3.0, 0.0, 10.0), (0, 0, 200, 100)),
        ("annotated", (3.0, float("nan"), 3.0, 10.0), (0, 0, 200, 100)),
    ],
    ids=["stated", "mask", "none stated", "clipped", "outside", "no area", "nan"],
)
def test_boxes_are_those_that_are_stated_if_they_can_be_used(source, stated, expected) -> None:
    one = truth(annotation(TRUE, stated_box=stated))
    assert Boxes(source=source).box(one.objects[0], one) == expected


def test_loose_boxes() -> None:
    one = truth(annotation(rectangle(100, 100, 140, 120)))
    assert Boxes(enlarge=0.1).box(one.objects[0], one) == (96, 98, 144, 122)
    jittered = Boxes(jitter=0.1)
    again = truth(annotation(rectangle(100, 100, 140, 120)))
    box = jittered.box(one.objects[0], one)
    assert box == jittered.box(again.objects[0], again), "drawn by names alone"
    assert box != Boxes(jitter=0.1, seed=1).box(one.objects[0], one)
    assert box != (100, 100, 140, 120)
    other = truth(annotation(rectangle(0, 0, 9, 9)), annotation(rectangle(100, 100, 140, 120)))
    assert box != jittered.box(other.objects[1], other)
    # whatever the noise, it is a box in the photo, and no edge moves by more than 20 pixels
    thin = truth(*[annotation(rectangle(200, y, 256, y + 1)) for y in range(200)])
    wild = [Boxes(jitter=5).box(each, thin) for each in thin.objects]
    for each, (x0, y0, x1, y1) in zip(thin.objects, wild, strict=True):
        assert 0 <= x0 < x1 <= SIDE
        assert 0 <= y0 < y1 <= SIDE
        assert abs(x0 - 200) <= 20
        assert abs(y0 - each.mask_box[1]) <= 20
    noise = np.array([Boxes(jitter=0.1).box(each, thin)[0] - 200 for each in thin.objects])
    assert 0.08 * 56 < noise.std() < 0.12 * 56
    assert abs(noise.mean()) < 1.5


def test_usable_boxes() -> None:
    assert usable_box((-3, -4, 500, 5), (10, 20)) == (0, 0, 20, 5)
    assert usable_box((20, 0, 30, 5), (10, 20)) is None
    assert usable_box((0, 0, float("inf"), 5), (10, 20)) is None


def test_many_objects_are_decoded_in_parts(monkeypatch) -> None:
    sam, one = answering(), truth(*[annotation(TRUE)] * 150)
    rows = Boxes().rows(sam, EMBEDDING, one)
    assert [row["object"] for row in rows] == list(range(150))
    assert [len(asked["boxes"]) for asked in sam.asked] == [64, 64, 22]
    monkeypatch.setattr(protocols, "PIXELS_AT_ONCE", 3 * SIDE * SIDE)
    assert Clicks(clicks=2).rows(small := answering(), EMBEDDING, truth(*[annotation(TRUE)] * 4))[3]["object"] == 3
    assert [len(asked["points"]) for asked in small.asked] == [3, 3, 1, 1]


def test_photos_without_objects_have_no_rows() -> None:
    nothing = truth(annotation(np.zeros((SIDE, SIDE), bool)))
    for protocol in (Boxes(), Clicks(), Ellipses()):
        sam = answering()
        assert protocol.rows(sam, EMBEDDING, truth()) == protocol.rows(sam, EMBEDDING, nothing) == []
        assert sam.asked == []
        assert protocol.summary([])["mean"]["objects"] == {"all": 0, "small": 0, "medium": 0, "large": 0}


def test_crowds_count_when_asked_for() -> None:
    one = truth(annotation(TRUE), crowds=(annotation(ANSWERS[2]),))
    assert [row["iou"] for row in Boxes().rows(answering(), EMBEDDING, one)] == [0.7]
    rows = Boxes(crowds=True).rows(answering(), EMBEDDING, one)
    assert [(row["object"], row["iou"]) for row in rows] == [(0, 0.7), (1, 1.0)]


def test_small_objects_can_be_left_out() -> None:
    one = truth(annotation(TRUE, stated_area=0.5), annotation(TRUE, stated_area=1.0))
    for protocol in (Boxes, Clicks, Ellipses):
        rows = [protocol(min_area=area).rows(answering(), EMBEDDING, one) for area in (0.0, 1.0, 2.0)]
        assert [[row["object"] for row in of_area] for of_area in rows] == [[0, 1], [1], []]


@pytest.mark.parametrize(("right", "label", "x"), [(60, 1, 129), (240, 0, 219)])
def test_clicks_go_to_the_deepest_error_and_the_last_mask_is_fed_back(right: int, label: int, x: int) -> None:
    masks = [rectangle(0, 0, 30, 30), rectangle(0, 0, 10, 10), rectangle(0, 0, right, 100), rectangle(0, 0, 20, 20)]
    sam: Any = Answering(masks, [0.99, 0.1, 0.9, 0.2])
    (row,) = Clicks(clicks=2).rows(sam, EMBEDDING, truth(annotation(TRUE)))
    first, second = sam.asked
    assert first["points"] == [[(49.5, 49.5)]]
    assert (first["labels"], first["mask"], first["multimask"]) == ([[1]], None, True)
    assert second["labels"] == [[1, label]]
    assert second["multimask"] is False, "several clicks are not ambiguous"
    np.testing.assert_array_equal(second["mask"], sam.logits[2:3])
    (_, (second_x, second_y)) = second["points"][0]
    depth = 50 if right == 60 else 20
    assert TRUE[int(second_y), int(second_x)] == (label == 1)
    assert masks[2][int(second_y), int(second_x)] == (label == 0)
    assert min(second_y, 100 - second_y) >= depth - 1
    assert abs(second_x - x) < 25
    assert row["clicks"] == [[49, 49, 1], [int(second_x), int(second_y), label]]
    assert row["iou"] == [min(right, 200) / max(right, 200), 0.045]
    assert row["predicted_iou"] == pytest.approx([0.9, 0.99])


def test_clicks_as_the_authors_give_them() -> None:
    sam = answering()
    authors = Clicks(clicks=3, multimask="always", feed_mask=False, pixel="corner")
    (row,) = authors.rows(sam, EMBEDDING, truth(annotation(TRUE)))
    assert [asked["multimask"] for asked in sam.asked] == [True] * 3
    assert [asked["mask"] for asked in sam.asked] == [None] * 3
    assert sam.asked[2]["points"] == [[tuple(map(float, click[:2])) for click in row["clicks"]]]
    assert row["iou"] == [0.7] * 3
    assert len(set(map(tuple, row["clicks"]))) == 3
    never = answering()
    Clicks(clicks=1, multimask="never").rows(never, EMBEDDING, truth(annotation(TRUE)))
    assert never.asked[0]["multimask"] is False


def test_clicks_end_when_nothing_is_wrong() -> None:
    sam = answering()
    rows = Clicks(clicks=4).rows(sam, EMBEDDING, truth(annotation(ANSWERS[2]), annotation(TRUE)))
    assert [len(asked["points"]) for asked in sam.asked] == [2, 1, 1, 1]
    assert rows[0]["iou"] == [1.0]
    tables = Clicks(clicks=4).summary(rows)
    assert tables["mean"]["IoU, 1 click"]["all"] == (1 + 0.7) / 2
    assert tables["mean"]["IoU, 4 clicks"]["all"] == tables["curve"]["IoU"]["4"] == (1 + 0.1) / 2
    assert tables["clicks"]["number of clicks"] == {
        "NoC@80": 2.5, ">=4@80": 1, "NoC@85": 2.5, ">=4@85": 1, "NoC@90": 2.5, ">=4@90": 1,
    }  # fmt: skip
    assert tables["mean"]["objects"]["all"] == 2
    stopped = answering()
    (row,) = Clicks(clicks=4, stop=0.6).rows(stopped, EMBEDDING, truth(annotation(TRUE)))
    assert row["iou"] == [0.7]
    assert len(stopped.asked) == 1


def test_objects_all_of_whose_pixels_are_ignored() -> None:
    sam = answering()
    (row,) = Clicks().rows(sam, EMBEDDING, truth(annotation(TRUE, ignore=TRUE)))
    assert (row["clicks"], row["iou"], sam.asked) == ([], [1.0], [])


def test_clicks_measure_the_last_mask() -> None:
    protocol = Clicks(clicks=2, measures=("boundary_iou",), keep_masks=True)
    (row,) = protocol.rows(answering(), EMBEDDING, truth(annotation(TRUE)))
    np.testing.assert_array_equal(decode_rle(row["mask"]), ANSWERS[0])
    assert protocol.summary([row])["mean"]["Boundary IoU"]["all"] == row["boundary_iou"]


def test_pieces_count_where_the_object_is_in_one() -> None:
    apart = rectangle(0, 0, 50, 50) | rectangle(100, 0, 150, 50)
    sam: Any = Answering([apart, TRUE, TRUE, TRUE], (0.9, 0.5, 0.5, 0.5))
    protocol = Boxes(multimask=False, measures=("pieces",))
    rows = protocol.rows(sam, EMBEDDING, truth(annotation(TRUE), annotation(apart)))
    assert [row.get("pieces") for row in rows] == [1.0, None]
    whole = Boxes(measures=("pieces",)).rows(sam, EMBEDDING, truth(annotation(TRUE)))
    assert protocol.summary([*rows, *whole])["mean"]["in pieces"]["all"] == 0.5


def test_stability_is_that_of_the_chosen_mask() -> None:
    sam = answering()
    sam.logits[2] = np.where(ANSWERS[1], 3.0, np.where(ANSWERS[2], 0.5, -3.0))  # 60 of 140 columns are sure
    measures: Any = ("stability",)
    for protocol in (Boxes(measures=measures), Clicks(clicks=1, measures=measures)):
        (row,) = rows = protocol.rows(sam, EMBEDDING, truth(annotation(TRUE)))
        assert row["stability"] == 60 / 140
        assert protocol.summary(rows)["mean"]["stability"]["all"] == 60 / 140
    sam.logits[:] = -3
    assert Boxes(measures=measures).rows(sam, EMBEDDING, truth(annotation(TRUE)))[0]["stability"] == 1, "surely nothing"


def test_calibration_has_tables_of_its_own() -> None:
    rows = Boxes().rows(answering(), EMBEDDING, truth(annotation(TRUE), annotation(ANSWERS[2])))
    assert set(Boxes().summary(rows)) == {"mean"}
    tables = Boxes(measures=("calibration",)).summary(rows)  # predicted 0.8 twice, real 0.7 and 1
    assert tables["calibration"]["box"]["mean absolute error"] == pytest.approx(0.15)
    assert tables["reliability"]["box, real"]["0.8 to 0.9"] == pytest.approx(0.85)
    assert set(tables["mean"]) == {"IoU", "objects"}
    protocol = Clicks(clicks=2, measures=("calibration",))
    rows = protocol.rows(answering(), EMBEDDING, truth(annotation(TRUE), annotation(ANSWERS[2])))
    found = protocol.summary(rows)["calibration"]
    assert {name: values["masks"] for name, values in found.items()} == {"1 click": 2, "2 clicks": 1}
    assert found["2 clicks"]["mean difference"] == pytest.approx(0.95 - 0.1)


class Echoing(Answering):
    """Gives masks back: as they are where it is asked as its record says, else nothing."""

    engine, fingerprint = None, ""

    def __init__(self, variant: Any, *_: Any) -> None:
        super().__init__(ANSWERS, (0.95, 0.5, 0.8, 0.7))
        self.variant = variant

    def predict(self, embedding: Any, **asked: Any) -> Any:
        shown = asked.pop("mask", None)
        if shown is None:
            return super().predict(embedding, **asked)
        logits = shown if "points" not in asked else np.repeat(self.logits[3:], len(shown), 0)
        if "points" not in asked and self.variant.mask_prompt == "logits":
            logits = -np.abs(shown)
        return SimpleNamespace(logits=logits[:, None], scores=np.ones((len(shown), 1), np.float32))


@pytest.mark.parametrize("kind", ["boxed", "logits"])
def test_masks_are_shown_alone_and_beside_a_click(kind: Any) -> None:
    sam: Any = Echoing(replace(get_variant("nano"), mask_prompt=kind))
    (row,) = rows = Masks().rows(sam, EMBEDDING, truth(annotation(TRUE)))
    assert (row["iou"], row["click"], row["click_and_mask"]) == (0.1, 0.7, 0.9)
    found = {name: row[name] for name in row if name.endswith("back")}
    if kind == "boxed":  # shown as users' masks are, and without what the record adds to them
        assert found == {"box_back": 1, "click_back": 1, "bare_box_back": 0, "bare_click_back": 0}
    else:
        assert found == {"box_back": 0, "click_back": 0}
    table = Masks().summary(rows)["mean"]
    assert table["IoU, click with the box's mask"] == {"all": 0.9, "small": None, "medium": None, "large": 0.9}
    assert len(table) == len(found) + 4


def test_ellipses() -> None:
    mask = inscribed_ellipse((2, 3, 12, 9), (12, 16))
    assert mask.sum() == pytest.approx(np.pi * 5 * 3, rel=0.1)
    assert not mask[:3].any()
    assert not mask[:, 12:].any()
    (row,) = Ellipses().rows(answering(), EMBEDDING, truth(annotation(rectangle(20, 20, 120, 220))))
    assert row["iou"] == pytest.approx(np.pi / 4, abs=0.01)


@pytest.mark.parametrize("protocol", [Boxes(measures=("f",)), Clicks(clicks=2), Ellipses()], ids=lambda one: one.name)
def test_tables_do_not_depend_on_who_computed_the_rows(protocol) -> None:
    generator = np.random.default_rng(0)
    rows = []
    for key in "abc":
        corners = generator.integers(0, 120, (20, 4))
        masks = [rectangle(x, y, x + width + 1, y + height + 1) for x, y, width, height in corners.tolist()]
        rows += protocol.rows(answering(), EMBEDDING, truth(*map(annotation, masks), key=key))
    expected = json.dumps(protocol.summary(rows))
    for seed in range(3):
        shuffled = json.loads(json.dumps(rows))
        random.Random(seed).shuffle(shuffled)
        assert json.dumps(protocol.summary(shuffled)) == expected
    more = protocol.rows(answering(), EMBEDDING, truth(key="empty"))
    assert json.dumps(protocol.summary([*rows, *more])) == expected


def test_tables_by_size() -> None:
    one = truth(annotation(TRUE, stated_area=1024.0), annotation(ANSWERS[2]))
    rows = Boxes(best=True).rows(answering(), EMBEDDING, one)
    assert Boxes(best=True).summary(rows)["mean"] == {
        "IoU": {"all": 0.85, "small": None, "medium": 0.7, "large": 1.0},
        "IoU, best of three": {"all": 0.95, "small": None, "medium": 0.9, "large": 1.0},
        "objects": {"all": 2, "small": 0, "medium": 1, "large": 1},
    }
    found = Boxes(bins="authors").summary(rows)["mean"]
    assert found["IoU"] == {"all": 0.85, "small": 0.7, "medium": 0.7, "large": 1.0}
    assert found["objects"] == {"all": 2, "small": 1, "medium": 1, "large": 1}


def test_nano_finds_what_a_box_is_drawn_around(photo) -> None:
    """A real model and a photo: predictions become rows whose masks are those of ``predict``."""
    pixels = photo("coffee.png")
    with evsam.load("nano", threads=1) as sam:
        embedding = sam.encode(pixels)
        cup = sam.predict(embedding, box=(150, 60, 470, 330)).masks[0, 0]
        other = sam.predict(embedding, box=(400, 200, 590, 395), multimask=True).best()[0]
        annotations: list[Annotation] = [annotation(cup, stated_box=(150.0, 60.0, 320.0, 270.0)), annotation(other)]
        one = truth(*annotations, size=pixels.shape[:2])
        rows = Boxes(multimask=False, keep_masks=True).rows(sam, embedding, one)
        assert rows[0]["iou"] == 1.0
        np.testing.assert_array_equal(decode_rle(rows[0]["mask"]), cup)
        clicked = Clicks(clicks=3).rows(sam, embedding, one)
        x, y, _ = clicked[1]["clicks"][0]
        first = sam.predict(embedding, points=[(x + 0.5, y + 0.5)], labels=[1])
    assert clicked[1]["predicted_iou"][0] == pytest.approx(float(first.scores.max()), abs=1e-5)
    assert [len(row["iou"]) for row in clicked] == [3, 3]


def test_the_best_of_three_masks_of_a_click_tells_what_the_choice_costs() -> None:
    sam = answering()
    (row,) = Clicks(clicks=2, best=True).rows(sam, EMBEDDING, truth(annotation(TRUE)))
    assert (row["iou"][0], row["best_iou"]) == (0.7, [0.9]), "the second click is answered by one mask"
    table = Clicks(clicks=2, best=True).summary([row])["mean"]
    assert table["IoU, 1 click, best of three"]["all"] == 0.9
    assert "IoU, 2 clicks, best of three" not in table
    assert "best_iou" not in Clicks(clicks=1).rows(sam, EMBEDDING, truth(annotation(TRUE)))[0]


def test_objects_whose_clicks_ended_keep_the_best_of_their_last_masks() -> None:
    ended = {"photo": "a", "object": 0, "area": 1.0, "iou": [1.0], "best_iou": [1.0]}
    other = {"photo": "a", "object": 1, "area": 1.0, "iou": [0.5, 0.5], "best_iou": [0.5, 0.5]}
    table = Clicks(clicks=2, best=True, multimask="always").summary([ended, other])["mean"]
    assert table["IoU, 2 clicks"]["all"] == table["IoU, 2 clicks, best of three"]["all"] == 0.75


def test_a_blank_photo_is_asked_about_the_same_objects() -> None:
    sam = evsam.load("nano", threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    one = truth(annotation(TRUE))
    embedding = sam.encode(pixels)
    (blank,) = Blank(Boxes(multimask=False)).rows(sam, embedding, one)
    grey = sam.encode(np.full((SIDE, SIDE, 3), 128, np.uint8))
    assert [blank] == Boxes(multimask=False).rows(sam, grey, one)
    assert [blank] != Boxes(multimask=False).rows(sam, embedding, one)
    assert Blank(Boxes()).summary([blank]) == Boxes().summary([blank])
