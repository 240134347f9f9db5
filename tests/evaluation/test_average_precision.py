"""AP and AR of small made detections derived by hand, and the same by every package that is installed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from evsam import BackendUnavailable, EvsamError
from evsam.evaluation import average_precision as module
from evsam.evaluation.average_precision import available, average_precision, average_recall
from evsam.rle import encode_rle

pytest.importorskip("pycocotools")

SIDE = 60
COCO = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl")
LVIS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR@300", "ARs", "ARm", "ARl")

OTHERS = [name for name in module.MODULES if name != "pycocotools"]


def box_rle(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + height, x : x + width] = True
    return dict(encode_rle(mask))


def image(number: int, **lists: list[int]) -> dict[str, Any]:
    return {"id": number, "height": SIDE, "width": SIDE, **lists}


def true(image_id: Any, category: Any, box: tuple[int, int, int, int], crowd: int = 0) -> dict[str, Any]:
    area = box[2] * box[3]
    found = {"image_id": image_id, "category_id": category, "bbox": list(box), "area": area, "iscrowd": crowd}
    return {**found, "segmentation": box_rle(*box)}


def detection(image_id: Any, category: Any, box: tuple[int, int, int, int], score: float) -> dict[str, Any]:
    return {
        "image_id": image_id, "category_id": category, "score": score, "bbox": list(box), "segmentation": box_rle(*box),
    }  # fmt: skip


def document(annotations: list[dict[str, Any]], images: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "images": [image(number) for number in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        **more,
    }


SMALL, OTHER, LARGE = (2, 3, 20, 10), (30, 30, 20, 10), (0, 0, 50, 50)

TRUTH = document([true(1, 1, SMALL), true(1, 2, LARGE), true(2, 1, OTHER)])


@pytest.mark.parametrize("kind", ["segm", "bbox", "boundary"])
def test_what_equals_the_truth_has_one_and_nothing_zero(kind) -> None:
    found = [detection(one["image_id"], one["category_id"], tuple(one["bbox"]), 0.5) for one in TRUTH["annotations"]]
    table = average_precision(TRUTH, found, kind=kind)
    assert tuple(table) == COCO
    assert {name: value for name, value in table.items() if value is not None} == {
        name: 1.0 for name in COCO if name not in ("APl", "ARl")
    }
    assert table["APl"] is None, "no object is large"
    assert table["AR@1"] == table["AR@100"] == 1.0
    nothing = average_precision(TRUTH, [], kind=kind)
    assert {name for name, value in nothing.items() if value == 0} == set(COCO) - {"APl", "ARl"}


def test_an_image_without_annotations_changes_nothing_but_by_what_is_found_there() -> None:
    found = [detection(1, 1, (2, 3, 20, 8), 0.5), detection(2, 1, OTHER, 0.7)]
    more = {**TRUTH, "images": [image(number) for number in range(1, 4)]}
    assert average_precision(more, found) == average_precision(TRUTH, found)
    before, false = (average_precision(more, [*found, *one])["AP"] for one in ([], [detection(3, 1, OTHER, 0.9)]))
    assert before is not None
    assert false is not None
    assert false < before
    assert average_precision(document([]), found) == dict.fromkeys(COCO)


def test_ap_by_hand() -> None:
    # IoU 0.8 counts at 0.5, 0.55 ... 0.8: seven of ten thresholds
    found = [detection(1, 1, (2, 3, 20, 8), 0.9), detection(2, 1, OTHER, 0.8), detection(2, 1, SMALL, 0.7)]
    truth = document([true(1, 1, SMALL), true(2, 1, OTHER)])
    table = average_precision(truth, found)
    # up to 0.8 both are found first: precision 1; above it the first is wrong, the second one of two objects: precision
    # 1/2 up to a recall of 1/2, 51 of 101 points
    assert table["AP"] == pytest.approx((7 * 1 + 3 * 0.5 * 51 / 101) / 10, abs=1e-12)
    assert table["AP50"] == table["AP75"] == 1.0
    assert table["AR@100"] == pytest.approx((7 * 1 + 3 * 0.5) / 10, abs=1e-12)


def test_crowds_are_neither_right_nor_wrong() -> None:
    truth = document([true(1, 1, SMALL), true(1, 1, (30, 0, 30, 60), crowd=1)])
    found = [detection(1, 1, (40, 10, 10, 10), 0.9), detection(1, 1, SMALL, 0.5)]
    assert average_precision(truth, found)["AP"] == 1.0
    wrong = average_precision(document([true(1, 1, SMALL)]), found)
    assert wrong["AP"] == pytest.approx(0.5, abs=1e-12)


def test_only_the_best_of_a_category_count() -> None:
    truth = document([true(1, 1, SMALL)])
    found = [detection(1, 1, OTHER, 0.5 + number / 100) for number in range(12)] + [detection(1, 1, SMALL, 0.4)]
    assert average_precision(truth, found, max_detections=12)["AP"] == 0
    assert average_precision(truth, found, max_detections=13)["AP"] == pytest.approx(1 / 13, abs=1e-12)
    assert "AR@13" in average_precision(truth, found, max_detections=13)
    assert [name for name in average_precision(truth, found, max_detections=5) if "@" in name] == ["AR@5"]


def test_boundaries_take_the_smaller_iou() -> None:
    # a 40 x 40 square in a photo with a diagonal of 85 pixels: bands two wide
    truth = document([true(1, 1, (10, 10, 40, 40))])
    found = [detection(1, 1, (10, 10, 38, 40), 0.9)]
    assert average_precision(truth, found, kind="segm")["AP"] == 1.0, "IoU 0.95"
    # the bands have 304 and 296 pixels, and in common the left column's 80, and above and below 36 x 4: 224 of 376
    assert average_precision(truth, found, kind="boundary")["AP"] == pytest.approx(0.2, abs=1e-12), "0.5 and 0.55"
    # a crowd's boundary says nothing
    crowd = document([true(1, 1, SMALL), true(1, 1, (0, 20, 60, 40), crowd=1)])
    inside = [detection(1, 1, SMALL, 0.5), detection(1, 1, (20, 30, 10, 10), 0.9)]
    assert average_precision(crowd, inside, kind="boundary")["AP"] == 1.0


def lvis(annotations: list[dict[str, Any]], **lists: list[int]) -> dict[str, Any]:
    categories = [{"id": number, "name": name, "frequency": name} for number, name in enumerate(("r", "c", "f"), 1)]
    return {"images": [image(1, **lists)], "annotations": annotations, "categories": categories}


def test_lvis_searches_only_for_what_is_annotated() -> None:
    annotations = [true(1, 1, SMALL), true(1, 2, OTHER)]
    found = [detection(1, 1, SMALL, 0.5), detection(1, 2, OTHER, 0.5), detection(1, 3, LARGE, 0.9)]
    table = average_precision(lvis(annotations), found, style="lvis")
    assert tuple(table) == LVIS
    assert table["AP"] == table["APr"] == table["APc"] == 1.0
    assert table["APf"] is None
    false = [*found, detection(1, 1, LARGE, 0.9)]
    assert average_precision(lvis(annotations), false, style="lvis")["APr"] == pytest.approx(0.5, abs=1e-12)
    partly = lvis(annotations, not_exhaustive_category_ids=[1])
    assert average_precision(partly, false, style="lvis")["APr"] == 1.0
    # a false detection of a category that is nowhere is no object's: it takes part in no mean
    absent = lvis(annotations, neg_category_ids=[3])
    assert average_precision(absent, found, style="lvis") == table


def test_lvis_limits_the_detections_of_an_image() -> None:
    annotations = [true(1, 1, SMALL)]
    # of a category that is not searched for, which takes its places all the same
    found = [detection(1, 3, LARGE, 0.9) for _ in range(4)] + [detection(1, 1, SMALL, 0.5)]
    assert average_precision(lvis(annotations), found, style="lvis", max_detections=4)["AP"] == 0
    assert average_precision(lvis(annotations), found, style="lvis", max_detections=5)["AP"] == 1


def test_sizes_share_their_ends_in_coco_alone() -> None:
    square = (4, 4, 32, 32)
    found = [detection(1, 1, square, 0.5)]
    coco = average_precision(document([true(1, 1, square)]), found)
    assert (coco["APs"], coco["APm"]) == (1.0, 1.0)
    table = average_precision(lvis([true(1, 1, square)]), found, style="lvis")
    assert (table["APs"], table["APm"]) == (None, 1.0)


def test_average_recall_of_the_best() -> None:
    truth = document([true(1, 1, SMALL), true(1, 2, OTHER), true(2, 1, SMALL)])
    found = [detection(1, 1, LARGE, 0.9), detection(1, 1, SMALL, 0.8), detection(1, 1, OTHER, 0.7)]
    for one in found:
        del one["category_id"]
    table = average_recall(truth, found, counts=(1, 2, 3))
    assert table == pytest.approx({"AR@1": 0.0, "AR@2": 1 / 3, "AR@3": 2 / 3, "ARs": 2 / 3, "ARm": None, "ARl": None})
    assert average_recall(truth, [], counts=(1,))["AR@1"] == 0
    assert average_recall(document([]), found)["AR@1000"] is None


def made(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects of three categories on 12 images, and detections with scores that are often the same."""
    generator = np.random.default_rng(seed)
    images = [
        image(number, neg_category_ids=[number % 3 + 1], not_exhaustive_category_ids=[(number + 1) % 3 + 1])
        for number in range(1, 13)
    ]
    annotations, found = [], []
    for number in range(1, 13):
        for _ in range(generator.integers(0, 6)):
            x, y = generator.integers(0, SIDE // 2, 2).tolist()
            width, height = generator.integers(1, SIDE // 2, 2).tolist()
            crowd = int(generator.random() < 0.1)
            annotations.append(true(number, int(generator.integers(1, 4)), (x, y, width, height), crowd))
            for _ in range(generator.integers(0, 4)):
                category = annotations[-1]["category_id"] if generator.random() < 0.8 else int(generator.integers(1, 4))
                dx, dy, dw, dh = (generator.random(4) * 4).astype(int).tolist()
                box = (x + dx, y + dy, max(1, width - dw), max(1, height - dh))
                found.append(detection(number, category, box, round(generator.random(), 1)))
    categories = [{"id": 1, "name": "r", "frequency": "r"}, {"id": 2, "name": "c", "frequency": "c"}]
    categories.append({"id": 3, "name": "f", "frequency": "f"})
    return {"images": images, "annotations": annotations, "categories": categories}, found


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("style", ["coco", "lvis"])
@pytest.mark.parametrize("kind", ["segm", "bbox", "boundary"])
def test_packages_agree(backend, style, kind) -> None:
    if backend not in available():
        pytest.skip(f"{backend} is not installed")
    if (backend, kind) == ("hotcoco", "boundary"):
        with pytest.raises(BackendUnavailable, match="expected pycocotools or faster-coco-eval for kind boundary"):
            average_precision(*made(0), kind=kind, backend=backend)
        return
    for seed in range(3):
        truth, found = made(seed)
        if style == "lvis":  # whose documents have no crowds
            truth["annotations"] = [one for one in truth["annotations"] if not one["iscrowd"]]
        before = copy.deepcopy((truth, found))
        expected = average_precision(truth, found, kind=kind, style=style)
        table = average_precision(truth, found, kind=kind, style=style, backend=backend)
        assert (truth, found) == before, "nothing that was given is changed"
        assert table == expected, "to the last bit"


@pytest.mark.parametrize(
    ("backend", "kind"), [("faster-coco-eval", "segm"), ("faster-coco-eval", "boundary"), ("hotcoco", "segm")]
)
def test_packages_agree_on_recall(backend, kind) -> None:
    if backend not in available():
        pytest.skip(f"{backend} is not installed")
    truth, found = made(4)
    table = average_recall(truth, found, kind=kind)
    assert average_recall(truth, found, kind=kind, backend=backend) == table
    masks, boundaries = (average_recall(truth, found, kind=one)["AR@100"] for one in ("segm", "boundary"))
    assert masks is not None
    assert boundaries is not None
    assert 0 < boundaries < masks


def test_pycocotools_own_numbers() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    truth, detections = made(5)
    side = coco.COCO()
    side.dataset = {
        **truth, "annotations": [{**one, "id": number} for number, one in enumerate(truth["annotations"], 1)],
    }  # fmt: skip
    side.createIndex()
    masks = [{key: value for key, value in one.items() if key != "bbox"} for one in detections]
    reference = evaluation.COCOeval(side, side.loadRes(masks), "segm")
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    table = average_precision(truth, detections)
    found = [-1 if value is None else value for value in table.values()]
    np.testing.assert_allclose(found, reference.stats, rtol=0, atol=3e-16)


def test_ids_may_be_text() -> None:
    truth, found = made(6)
    expected = average_precision(truth, found)

    def renamed(record: dict[str, Any]) -> dict[str, Any]:
        names = {"id": "id {:02d}", "image_id": "id {:02d}", "category_id": "id {:02d}"}
        return {key: names[key].format(value) if key in names else value for key, value in record.items()}

    text = {key: [renamed(record) for record in records] for key, records in truth.items()}
    assert average_precision(text, [renamed(record) for record in found]) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 7}, r"detection 0: expected image_id of the truth \(1, 2, \.\.\.\), got 7"),
        ({"category_id": 9}, r"detection 0: expected category_id of the truth \(1, 2, \.\.\.\), got 9"),
        ({"score": float("nan")}, "detection 0: expected a score, got nan"),
        ({"score": None}, "detection 0: expected a score, got None"),
        ({"segmentation": None}, "segmentation: expected run-length encoding with size and counts, got None"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6]]}, "detection 0: expected segmentation as run-length encoding"),
    ],
)
def test_what_does_not_fit_is_named(change, message: str) -> None:
    with pytest.raises(EvsamError, match=message):
        average_precision(TRUTH, [detection(1, 1, SMALL, 0.5) | change])


def test_boxes_and_arguments_are_checked() -> None:
    with pytest.raises(EvsamError, match="detection 0: expected bbox as x, y, width, height, got None"):
        average_precision(TRUTH, [detection(1, 1, SMALL, 0.5) | {"bbox": None}], kind="bbox")
    arguments: list[dict[str, Any]] = [{"kind": "keypoints"}, {"style": "voc"}, {"backend": "own"}]
    for wrong in arguments:
        with pytest.raises(EvsamError, match=f"{next(iter(wrong))}: expected .* or .*, got '"):
            average_precision(TRUTH, [], **wrong)
    twice = {**TRUTH, "images": [image(1), image(1), image(2)]}
    with pytest.raises(EvsamError, match="images: expected an id each, got some twice"):
        average_precision(twice, [])


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setitem(module.MODULES, "hotcoco", "no_such_module")
    assert "hotcoco" not in available()
    with pytest.raises(BackendUnavailable, match="average precision needs hotcoco; use pip install hotcoco"):
        average_precision(TRUTH, [], backend="hotcoco")
