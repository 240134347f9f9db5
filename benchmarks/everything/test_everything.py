"""What the benchmarks of everything mode compute, on made masks, and one small contest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from evsam.everything import Segment, Segments
from evsam.rle import encode_rle

pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("pycocotools")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from benchmarks.everything import __main__ as contest
from benchmarks.everything import halves, memory, recall, thresholds
from benchmarks.everything.halves import photos
from benchmarks.everything.records import Records, compare, share_found
from benchmarks.everything.thresholds import Candidates
from benchmarks.models.inputs import Scores, write_weights
from evsam.datasets.halves import half_of
from evsam.weights import load_weights
from evsam.zoo import get_variant

SIZE = (40, 60)


def block(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def segment(box: tuple[int, int, int, int], iou: float = 0.9, point: tuple[float, float] = (5.0, 5.0)) -> Segment:
    x0, y0, x1, y1 = box
    area = (x1 - x0) * (y1 - y0)
    return Segment(encode_rle(block(*box)), box, area, iou, 0.97, point, (0, 0, SIZE[1], SIZE[0]))


def theirs(box: tuple[int, int, int, int], iou: float = 0.9, point: tuple[float, float] = (5.0, 5.0)) -> dict[str, Any]:
    """The record that segment_anything makes of the same mask."""
    flat = block(*box).T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    x0, y0, x1, y1 = box
    return {
        "segmentation": {"size": list(SIZE), "counts": [0, *counts] if flat[0] else counts},
        "bbox": [x0, y0, x1 - 1 - x0, y1 - 1 - y0],
        "predicted_iou": iou,
        "stability_score": 0.97,
        "point_coords": [list(point)],
    }


def test_records_of_both_are_the_same() -> None:
    boxes = [(0, 0, 9, 7), (10, 5, 30, 40), (0, 0, 60, 40)]
    ours = Records.of_segments(Segments([segment(box) for box in boxes], SIZE))
    other = Records.of_segment_anything([theirs(box) for box in boxes])
    np.testing.assert_array_equal(ours.numbers, other.numbers)
    np.testing.assert_array_equal(ours.runs, other.runs)
    assert [rle["counts"].decode() for rle in ours.rles(SIZE)] == [encode_rle(block(*box))["counts"] for box in boxes]


def test_no_records() -> None:
    none = Records.of_segment_anything([])
    some = Records.of_segments(Segments([segment((1, 1, 5, 5))], SIZE))
    assert none.rles(SIZE) == []
    assert vars(compare(none, some, SIZE)) | {"theirs": 0} == vars(compare(none, none, SIZE))
    assert compare(some, none, SIZE).ours == 1


def test_compare_tells_apart() -> None:
    ours = Records.of_segments(
        Segments(
            [segment((0, 0, 50, 20)), segment((0, 0, 50, 20), point=(9, 5)), segment((20, 30, 25, 35), iou=0.7)], SIZE
        )
    )
    other = Records.of_segment_anything(
        [theirs((0, 0, 50, 20), iou=0.875), theirs((0, 0, 50, 19), point=(9, 5)), theirs((20, 30, 25, 34), iou=0.7)]
    )
    found = compare(ours, other, SIZE)
    assert (found.both, found.ours, found.theirs) == (1, 2, 2), "19 of 20 rows are not the same mask, nor 4 of 5"
    assert (found.least_iou, found.edges) == (1.0, 0.0)
    assert found.scores == pytest.approx(0.025, rel=1e-2)


def test_share_found() -> None:
    wanted = [encode_rle(block(*box)) for box in [(0, 0, 20, 10), (30, 0, 50, 10), (0, 20, 20, 30)]]
    found = [encode_rle(block(*box)) for box in [(0, 0, 20, 9), (30, 0, 50, 8)]]
    assert share_found(wanted, found) == 1, "nine of ten rows count, eight do not"
    assert share_found(wanted, []) == 0
    assert share_found([], found) == 0


def test_thresholds_are_judged() -> None:
    ious = np.array([[1.0, 0.0], [0.6, 0.0], [0.0, 0.52]])
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
    photo = Candidates(boxes, np.array([[0.9, 0.95], [0.8, 0.9], [0.7, 0.6]]), ious)
    assert photo.kept(0.5, 0.5).tolist() == [0, 2], "the second is a double of the first"
    assert photo.kept(0.5, 0.9).tolist() == [0]
    assert photo.kept(0.9, 0.5).tolist() == [], "predicted IoU must be above its threshold"
    assert photo.kept(0.5, 0.95).tolist() == [0], "stability may be equal"
    scores = thresholds.judge([photo], 0.5, 0.5)
    assert scores == pytest.approx({"masks": 2, "recall": 0.55, "precision": 0.55, "f": 0.55})
    assert thresholds.judge([photo], 0.95, 0.5) == {"masks": 0, "recall": 0, "precision": 0, "f": 0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six photos of a bright block, with its mask."""
    (tmp_path / "val" / "made").mkdir(parents=True)
    images, masks = [], []
    for i in range(1, 7):
        pixels = np.full((*SIZE, 3), 30, np.uint8)
        pixels[10:30, 15:45] = 80 + 25 * i
        Image.fromarray(pixels).save(tmp_path / "val" / "made" / f"{'x' * i}.png")
        images.append({"file": f"{'x' * i}.png", "w": SIZE[1], "h": SIZE[0]})
        rle = encode_rle(block(15, 10, 45, 30))
        masks.append({"image": i - 1, "rle": rle, "area": 600, "bbox": [15, 10, 30, 20]})
    (tmp_path / "val" / "made.json").write_text(json.dumps({"images": images, "anns": masks}))
    return tmp_path


def test_halves(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = {photo.key for photo in photos(data, "val", "made", "all")}
    select, report = ([photo.key for photo in photos(data, "val", "made", half)] for half in ("select", "report"))
    assert len(every) == 6
    assert set(select) | set(report) == every
    assert not set(select) & set(report)
    assert select
    assert report
    assert all(half_of(key) == "select" for key in select)
    assert [photo.key for photo in photos(data, "val", "made", "select", 1)] == select[:1]
    capsys.readouterr()
    halves.main(["--data", str(data), "--set", "made"])
    assert json.loads(capsys.readouterr().out)["made"] == {"select": sorted(select), "report": sorted(report)}
    # for ever: what was chosen on one half must not be reported on it later
    assert half_of("000000000139.jpg") == "report"
    assert half_of("000000000285.jpg") == "select"


def test_recall_and_thresholds(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", str(data), "--set", "made", "--points-per-side", "2", "--photos", "1"]
    assert recall.main([*given, "--pred-iou-thresh", "0.1", "--stability-score-thresh", "0.1"]) == 0
    cells = capsys.readouterr().out.splitlines()[-1].split("|")
    assert cells[1].strip() == "made, report"
    assert int(cells[4]) >= 1
    assert cells[5].strip() == "**100.0%**", "with two points a side fast mode asks them all"
    assert cells[6] == cells[7]
    assert thresholds.main([*given, "--best", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "photos: made 1; of each set: masks of a photo, recall, precision"
    assert len(lines) == 5


def test_seeded_scores_are_made_like_a_models() -> None:
    rng = np.random.default_rng(0)
    points = np.repeat(np.arange(contest.GRID**2), 3)
    model = contest.Scored(rng.uniform(0.2, 0.9, points.size), rng.uniform(0.5, 1, points.size), points)
    seeded = contest.Scored(rng.normal(0.01, 0.002, points.size), rng.uniform(0.1, 0.4, points.size), points)
    scores = contest.scores_like(model, seeded)
    like = contest.Scored(scores.scale * seeded.iou + scores.shift, seeded.stability, points)
    np.testing.assert_allclose([like.iou.mean(), like.iou.std()], [model.iou.mean(), model.iou.std()])

    found = contest.thresholds_like(model, like)
    own = get_variant(contest.MODEL).everything
    for wanted, got in (
        (model.best() > own.pred_iou_thresh, like.best() > found["pred_iou_thresh"]),
        (
            model.stability[model.iou > own.pred_iou_thresh] >= own.stability_score_thresh,
            like.stability[like.iou > found["pred_iou_thresh"]] >= found["stability_score_thresh"],
        ),
    ):
        assert 0.1 < wanted.mean() < 0.95
        assert got.mean() == pytest.approx(wanted.mean(), abs=0.01)


def test_scores_of_seeded_weights(tmp_path: Path) -> None:
    """The same masks, and another number for each."""
    found = {}
    for scores in (Scores(), Scores(3.0, 0.5)):
        path = tmp_path / f"{scores.scale}.safetensors"
        write_weights(path, "nano", scores)
        found[scores.scale] = load_weights(path).tensors
    name = "mask_decoder.iou_prediction_head.layers.2"
    np.testing.assert_allclose(found[3.0][f"{name}.bias"], 3 * found[1.0][f"{name}.bias"] + 0.5, rtol=1e-6)
    np.testing.assert_allclose(found[3.0][f"{name}.weight"], 3 * found[1.0][f"{name}.weight"], rtol=1e-6)


def test_points_without_a_mask_have_none_that_passes() -> None:
    scored = contest.Scored(np.array([0.2, 0.7, 0.4]), np.ones(3), np.array([3, 3, 5]))
    best = scored.best()
    assert best[3] == 0.7
    assert best[5] == 0.4
    assert np.isneginf(np.delete(best, [3, 5])).all()


def test_contest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exact mode against segment_anything's own generator on onnxruntime, with few points."""
    pytest.importorskip("segment_anything")
    pytest.importorskip("skimage")
    given = ["--peers", str(tmp_path), "--variant", "nano", "--points-per-side", "3", "--rounds", "1"]
    only = ["--only", "evsam exact", "evsam fast", "onnxruntime"]
    assert contest.main([*given, *only, "--pred-iou-thresh", "0.3", "--stability-score-thresh", "0.5"]) == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    by_name = {row[3]: row for row in rows[2:]}
    exact, fast, peer = (by_name[name] for name in ("evsam exact", "evsam fast", "onnxruntime"))
    assert exact[1] == "coffee.png 600 x 400"
    assert int(exact[8]) >= 3
    assert peer[9] == f"{exact[8]} as evsam exact, 0 others, 0 missing"
    assert fast[9] == "100.0% of exact's masks"
    assert exact[7].endswith("(onnxruntime)")


def test_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage")
    given = ["--peers", str(tmp_path), "--variant", "nano", "--mode", "exact", "--crop-n-layers", "0"]
    assert memory.main([*given, "--points-per-side", "2", "--size", "400", "300"]) == 0
    cells = capsys.readouterr().out.splitlines()[-1].split()
    assert cells[:3] == ["nano", "exact", "0"]
    loaded, peak, above = map(int, cells[3:])
    assert 20 < loaded < peak < 2000
    assert abs(peak - loaded - above) <= 1
