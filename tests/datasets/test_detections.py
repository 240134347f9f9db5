"""Results of detectors, and what is said of those that do not fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from evsam.datasets import Category, DataError, Detection, read_detections


def result(**changed: Any) -> dict[str, Any]:
    """One result; a value of None takes it out."""
    record = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.5, **changed}
    return {name: value for name, value in record.items() if value is not None}


def written(folder: Path, records: Any) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(records))
    return path


CATEGORIES: dict[int | str, Category] = {1: Category(1, "cat"), 2: Category(2, "dog"), "sky": Category("sky", "sky")}


def test_detections_by_image_the_surest_first(tmp_path: Path) -> None:
    mask = {"segmentation": {"size": [2, 2], "counts": "04"}}  # of ViTDet's results, not needed
    path = written(
        tmp_path,
        [
            result(score=0.25),
            result(image_id=9, score=1),
            result(category_id="2", score=0.75, **mask),
            result(image_id="a", category_id="sky"),
            result(image_id="7", category_id=2, score=0.25),
            result(image_id=7.0, score=0.5, bbox=[0, 0, 0, 0]),
        ],
    )
    found = pickle.loads(pickle.dumps(read_detections(path, [7, 9, "a", 10], CATEGORIES)))
    assert dict(found) == {
        7: (
            Detection(2, 0.75, (1, 2, 3.5, 4)),
            Detection(1, 0.5, (0, 0, 0, 0)),
            Detection(1, 0.25, (1, 2, 3.5, 4)),  # equal scores as in the file
            Detection(2, 0.25, (1, 2, 3.5, 4)),
        ),
        9: (Detection(1, 1.0, (1, 2, 3.5, 4)),),
        "a": (Detection("sky", 0.5, (1, 2, 3.5, 4)),),
    }
    assert (len(found), found.total, found.remarks, found.get(10, ())) == (3, 6, (), ())


def test_what_cannot_be_used_is_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [
        result(),
        result(image_id=8),
        *[result(image_id=number) for number in range(100, 106)],
        result(category_id=3),
        result(score=float("nan")),
        result(score=None),
        result(score="0.5"),
        result(bbox=[1, 2, 3]),
        result(bbox=[1, 2, float("nan"), 4]),
        result(bbox=[1, 2, float("inf"), 4]),
        result(bbox=[1, 2, -3, 4]),
        result(bbox=[1, 2, 10**400, 4]),
        result(bbox=[1, 2, True, 4]),
        result(bbox=None),
        result(category_id=None),
        "text",
    ]
    found = read_detections(written(tmp_path, records), [7], CATEGORIES)
    assert found.total == 1
    (remark,) = found.remarks
    assert remark == (
        "left out: 7 results of other images (image_id 8, 100, 101, 102, 103, ...); "
        "1 results of categories that there are not (image_id 7); "
        "3 results without a finite score (image_id 7, 7, 7); "
        "7 results without a finite bbox of x, y, width and height (image_id 7, 7, 7, 7, 7, ...); "
        "2 results without image_id and category_id (image_id of number 19, of number 20)"
        "; category_id 3"
    )
    assert remark in caplog.text


def test_without_photos_or_categories_everything_is_taken(tmp_path: Path) -> None:
    path = written(tmp_path, [result(category_id=99), result(image_id="x", category_id=0)])
    assert list(read_detections(path)) == list(read_detections(path, (), {})) == [7, "x"]
    assert len(read_detections(written(tmp_path, []))) == 0


def test_results_of_other_photos_or_with_other_categories(tmp_path: Path) -> None:
    path = written(tmp_path, [result(), result(image_id=8)])
    with pytest.raises(DataError, match=r"results\.json: expected results for these photos, got none; left out: 2"):
        read_detections(path, [70])
    numbered = written(tmp_path, [result(category_id=0), result(category_id=1)])
    found = read_detections(numbered, [7], {1: Category(1, "cat"), 2: Category(2, "dog")})
    assert "category_id 0: categories numbered from 0, where those of the annotations begin with 1" in found.remarks[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "byte 0: expected \\[, got the end"),
        ("[{}", "byte 3: expected , or ], got the end"),
        ("[] x", "byte 3: expected the end"),
        ('{"images": []}', "byte 0: expected \\[, got {; an object, as annotations are"),
        ("no json", "expected json with a list of results"),
        ("[" * 100_000, "expected json with a list of results"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_detections(tmp_path / "x.json")
    with pytest.raises(DataError, match=r"absent\.json: cannot be read"):
        read_detections(tmp_path / "absent.json")
