"""Protocols that search: detections and everything, on a model with known answers."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

import evsam
from evsam import EvsamError
from evsam.datasets import Category, Detection
from evsam.evaluation.average_precision import available
from evsam.evaluation.search import DetectedBoxes, Everything
from evsam.everything import Segment
from evsam.rle import decode_rle, encode_rle
from tests.evaluation.made import EMBEDDING, SIDE, Answering, annotation, rectangle, truth

pytest.importorskip("pycocotools")

LEFT, RIGHT = rectangle(0, 0, 100, 100), rectangle(128, 0, 228, 100)

CATEGORIES = (Category(1, "cat", "r"), Category(2, "dog", "f"))


class Filling(Answering):
    """A model that answers a box by filling it."""

    def predict(self, embedding: Any, **asked: Any) -> Any:
        masks = [rectangle(*(round(edge) for edge in box)) for box in asked["boxes"]]
        result = super().predict(embedding, **asked)
        result.logits = np.stack(masks)[:, None].astype(np.float32) * 20 - 10
        result.scores = result.scores[:, :1]
        return result


def filling() -> Any:
    return Filling([LEFT] * 4, [0.5] * 4)


ONE = truth(annotation(LEFT, id=5, category=1), annotation(RIGHT, id=6, category=2), id=3)


def test_detected_boxes_become_masks() -> None:
    found = {3: [Detection(1, 0.9, (0.0, 0.0, 100.0, 100.0)), Detection(2, 0.25, (128.0, 0.0, 100.0, 50.0))], 4: []}
    protocol = DetectedBoxes(found, CATEGORIES, kinds=("segm", "bbox", "boundary"))
    sam = filling()
    (row,) = protocol.rows(sam, EMBEDDING, ONE)
    assert sam.asked[0]["boxes"] == [(0, 0, 100, 100), (128, 0, 228, 50)]
    assert sam.asked[0]["multimask"] is True
    assert (row["photo"], row["image_id"], row["size"]) == ("photo.png", 3, [SIDE, SIDE])
    assert [one["bbox"] for one in row["truth"]] == [[0, 0, 100, 100], [128, 0, 100, 100]]
    first, second = row["detections"]
    assert (first["category_id"], first["score"], first["predicted_iou"]) == (1, 0.9, 0.5)
    np.testing.assert_array_equal(decode_rle(first["segmentation"]), LEFT)
    assert second["bbox"] == [128, 0, 100, 50]
    tables = protocol.summary(json.loads(json.dumps([row])))
    assert list(tables["AP"]) == ["masks", "boxes", "boundaries"]
    # 1 for the cats; the dog's IoU is 0.5, which counts at 0.5 alone
    assert tables["AP"]["masks"]["AP"] == tables["AP"]["boxes"]["AP"] == pytest.approx((1 + 0.1) / 2)
    assert tables["AP"]["masks"]["AP75"] == 0.5
    assert tables["detections"]["detections"] == {"all": 2, "outside their photo": 0}


def test_boxes_outside_are_wrong_and_counted() -> None:
    found = {3: [Detection(1, 0.9, (300.0, 0.0, 10.0, 10.0)), Detection(1, 0.5, (0.0, 0.0, 100.0, 100.0))]}
    protocol = DetectedBoxes(found, CATEGORIES)
    rows = protocol.rows(filling(), EMBEDDING, ONE)
    tables = protocol.summary(rows)
    assert tables["AP"]["masks"]["AP"] == pytest.approx((0.5 + 0) / 2)
    assert tables["detections"]["detections"] == {"all": 2, "outside their photo": 1}
    nothing: Any = object()
    (row,) = DetectedBoxes({3: found[3][:1]}, CATEGORIES).rows(nothing, EMBEDDING, ONE)
    assert not decode_rle(row["detections"][0]["segmentation"]).any()


def test_photos_without_detections_or_objects() -> None:
    nothing: Any = object()
    protocol = DetectedBoxes({}, CATEGORIES)
    rows = protocol.rows(nothing, EMBEDDING, ONE)
    assert protocol.summary(rows)["AP"]["masks"]["AP"] == 0
    empty = protocol.rows(nothing, EMBEDDING, truth(id=9, key="empty.png"))
    assert protocol.summary([*rows, *empty]) == protocol.summary(rows)
    assert protocol.summary(empty)["AP"]["masks"]["AP"] is None


def test_objects_without_a_pixel_are_missed() -> None:
    empty = annotation(np.zeros((SIDE, SIDE), bool), category=1, stated_area=2.0, stated_box=(3.0, 3.0, 1.0, 1.0))
    one = truth(annotation(LEFT, category=1), empty, id=3)
    protocol = DetectedBoxes({3: [Detection(1, 0.9, (0.0, 0.0, 100.0, 100.0))]}, CATEGORIES, kinds=("segm", "boundary"))
    tables = protocol.summary(protocol.rows(filling(), EMBEDDING, one))
    assert [table["AR@100"] for table in tables["AP"].values()] == [0.5, 0.5]


def test_without_categories_all_are_of_one() -> None:
    found = {3: [Detection(17, 0.9, (0.0, 0.0, 100.0, 100.0)), Detection("", 0.25, (128.0, 0.0, 100.0, 100.0))]}
    protocol = DetectedBoxes(found)
    assert protocol.summary(protocol.rows(filling(), EMBEDDING, ONE))["AP"]["masks"]["AP"] == 1.0
    wrong = DetectedBoxes(found, CATEGORIES)
    with pytest.raises(EvsamError, match=r"detection 0: expected category_id of the truth \(1, 2, ...\), got 17"):
        wrong.summary(wrong.rows(filling(), EMBEDDING, ONE))


def test_lvis_lists_travel_in_the_rows() -> None:
    # what is found of dogs, which are not annotated, counts only where it is known that there are none
    cat, dog = Detection(1, 0.5, (0.0, 0.0, 100.0, 100.0)), Detection(2, 0.9, (0.0, 0.0, 50.0, 50.0))
    truths = [truth(annotation(LEFT, category=1), id=1, key="a"), truth(annotation(RIGHT, category=2), id=2, key="b")]
    right = Detection(2, 0.5, (128.0, 0.0, 100.0, 100.0))

    def dogs(**lists: Any) -> float | None:
        first = truth(annotation(LEFT, category=1), id=1, key="a", **lists)
        protocol = DetectedBoxes({1: [cat, dog], 2: [right]}, CATEGORIES, style="lvis")
        rows = [row for one in (first, truths[1]) for row in protocol.rows(filling(), EMBEDDING, one)]
        return protocol.summary(rows)["AP"]["masks"]["APf"]

    assert dogs() == 1.0
    assert dogs(negative=(2,)) == pytest.approx(0.5)
    assert dogs(negative=(2,), not_exhaustive=(2,)) == 1.0


def test_crowds_and_stated_areas_are_part_of_the_truth() -> None:
    one = truth(
        annotation(LEFT, category=1, stated_area=100.0, stated_box=(1.0, 2.0, 3.0, 4.0)),
        crowds=(annotation(RIGHT, category=1),),
        id="text",
    )
    protocol = DetectedBoxes({"text": [Detection(1, 0.9, (130.0, 5.0, 50.0, 50.0))]}, CATEGORIES)
    (row,) = protocol.rows(filling(), EMBEDDING, one)
    assert [(record["iscrowd"], record["area"]) for record in row["truth"]] == [(0, 100.0), (1, 10000.0)]
    assert row["truth"][0]["bbox"] == [1, 2, 3, 4]
    assert protocol.summary([row])["AP"]["masks"]["AP"] == 0, "what is in the crowd is not wrong"
    assert protocol.summary([row])["AP"]["masks"]["APs"] == 0
    assert protocol.summary([row])["AP"]["masks"]["APl"] is None


class Searching:
    """A model that finds the same segments everywhere."""

    def __init__(self, *found: tuple[np.ndarray, float, float]) -> None:
        self.found, self.asked = found, []  # type: ignore[var-annotated]

    def segment_everything(self, image: Any, **settings: Any) -> list[Segment]:
        self.asked.append((image, settings))
        whole = (0, 0, SIDE, SIDE)
        return [
            Segment(encode_rle(mask), whole, 0, iou, stability, (0, 0), whole) for mask, iou, stability in self.found
        ]


def test_everything_is_ranked_by_predicted_iou_and_stability() -> None:
    sam: Any = Searching((LEFT | RIGHT, 0.9, 0.6), (LEFT, 0.7, 0.9), (RIGHT, 0.1, 0.1))
    protocol = Everything(settings={"points_per_side": 8}, counts=(1, 2, 10))
    rows = protocol.rows(sam, EMBEDDING, ONE)
    assert sam.asked == [(EMBEDDING, {"points_per_side": 8})]
    assert [one["score"] for one in rows[0]["segments"]] == pytest.approx([0.75, 0.8, 0.1])
    tables = protocol.summary(json.loads(json.dumps(rows)))
    # the mask of both has an IoU of 0.5 with each
    recall = tables["AR"]["masks"]
    assert (recall["AR@1"], recall["AR@2"], recall["AR@10"]) == pytest.approx((0.5, 0.55, 1.0))
    assert tables["segments"]["segments"] == {"all": 3, "per photo": 3.0}


def test_crops_are_of_the_photo() -> None:
    sam: Any = Searching()
    Everything(settings={"crop_n_layers": 1}).rows(sam, EMBEDDING, ONE)
    Everything(settings={"crop_n_layers": 0}).rows(sam, EMBEDDING, ONE)
    assert [image is ONE.pixels for image, _ in sam.asked] == [True, False]
    assert Everything().summary([])["segments"]["segments"] == {"all": 0, "per photo": None}


def test_nano_searches_a_photo(photo) -> None:
    """A real model: what it finds by itself is what the rows have, and as truth it is found again."""
    pixels = photo("coffee.png")
    with evsam.load("nano", threads=1) as sam:
        embedding = sam.encode(pixels)
        settings: dict[str, Any] = {"points_per_side": 4, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.5}
        segments = sam.segment_everything(embedding, **settings)
        one = truth(*[annotation(segment.mask) for segment in segments], size=pixels.shape[:2])
        (row,) = Everything(settings=settings).rows(sam, embedding, one)
    assert len(segments) > 2
    assert [found["segmentation"] for found in row["segments"]] == [segment.rle for segment in segments]
    x0, y0, x1, y1 = segments[0].box
    assert row["segments"][0]["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert Everything().summary([row])["AR"]["masks"]["AR@1000"] == 1.0


@pytest.mark.parametrize("backend", available())
def test_tables_do_not_depend_on_who_computed_the_rows(backend) -> None:
    generator = np.random.default_rng(0)
    boxes = {number: generator.integers(1, 100, (12, 4)).tolist() for number in range(8)}
    found: dict[Any, list[Detection]] = {
        number: [
            Detection(
                int(generator.integers(1, 3)), round(generator.random(), 1), (x + 3.0, y - 1.0, float(w), float(h))
            )
            for x, y, w, h in of_photo
        ]
        for number, of_photo in boxes.items()
    }
    truths = [
        truth(
            *[
                annotation(rectangle(x, y, x + w, y + h), category=index % 2 + 1)
                for index, (x, y, w, h) in enumerate(of_photo)
            ],
            id=number,
            key=f"{9 - number}.png",
        )
        for number, of_photo in boxes.items()
    ]
    search: Any = Searching((LEFT, 0.5, 0.5), (RIGHT, 0.5, 0.5))
    protocols: list[Any] = [DetectedBoxes(found, CATEGORIES, backend=backend), Everything(backend=backend)]
    for protocol, sam in zip(protocols, (filling(), search), strict=True):
        rows = [row for one in truths for row in protocol.rows(sam, EMBEDDING, one)]
        expected = json.dumps(protocol.summary(rows))
        for seed in range(3):
            shuffled = json.loads(json.dumps(rows))
            random.Random(seed).shuffle(shuffled)
            assert json.dumps(protocol.summary(shuffled)) == expected
