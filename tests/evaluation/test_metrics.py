"""Metrics on small made masks whose answers are derived by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evsam import EvsamError
from evsam.evaluation import metrics


def rectangle(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


ALL = (metrics.iou, metrics.boundary_iou, metrics.boundary_f)


@pytest.mark.parametrize("metric", ALL)
def test_equal_masks_have_one_and_empty_ones_zero(metric) -> None:
    generator = np.random.default_rng(0)
    for mask in (rectangle(3, 4, 40, 30), generator.random((31, 17)) < 0.4, np.ones((9, 9), bool)):
        assert metric(mask, mask) == 1.0
        assert metric(mask.astype(np.uint8), mask) == 1.0
    mask, nothing = rectangle(3, 4, 40, 30), np.zeros((60, 80), bool)
    assert metric(nothing, mask) == 0.0
    assert metric(mask, nothing) == 0.0
    assert metric(nothing, nothing) == 1.0


@pytest.mark.parametrize("metric", ALL)
def test_ignored_pixels_count_nowhere(metric) -> None:
    true = rectangle(0, 0, 40, 60)
    found = true | rectangle(60, 0, 80, 60)
    assert metric(found, true) < 1
    assert metric(found, true, ignore=rectangle(41, 0, 80, 60)) == 1.0
    assert metric(found, true, ignore=np.ones((60, 80), bool)) == 1.0
    assert metric(found, true, ignore=np.zeros((60, 80), bool)) == metric(found, true)


@pytest.mark.parametrize("metric", ALL)
def test_shapes_are_compared(metric) -> None:
    mask = rectangle(0, 0, 4, 4)
    with pytest.raises(EvsamError, match=r"predicted: expected shape \(60, 80\) as the true mask, got \(4, 4\)"):
        metric(mask[:4, :4], mask)
    with pytest.raises(EvsamError, match=r"truth: expected shape \(H, W\), got \(60, 80, 1\)"):
        metric(mask, mask[..., None])


def test_the_size_of_ignored_pixels_is_compared() -> None:
    mask = rectangle(0, 0, 4, 4)
    with pytest.raises(EvsamError, match=r"ignore: expected shape \(60, 80\) as the masks, got \(4, 4\)"):
        metrics.iou(mask, mask, ignore=mask[:4, :4])


def test_iou() -> None:
    a, b = rectangle(0, 0, 30, 10), rectangle(10, 0, 50, 10)
    assert metrics.iou(a, b) == 200 / 500
    assert metrics.iou(a, b, ignore=rectangle(0, 0, 10, 60)) == 200 / 400
    assert metrics.iou(a, b, ignore=rectangle(10, 0, 20, 60)) == 100 / 400


def test_the_boundary_is_a_band_inside_the_mask() -> None:
    # the diagonal of 60 x 80 pixels is 100: two pixels wide
    band = metrics.boundary(rectangle(10, 10, 30, 30))
    np.testing.assert_array_equal(band, rectangle(10, 10, 30, 30) & ~rectangle(12, 12, 28, 28))
    # where the photo ends, the mask does too
    np.testing.assert_array_equal(metrics.boundary(np.ones((60, 80), bool)), ~rectangle(2, 2, 78, 58))
    # never none: at least one pixel
    assert metrics.boundary(np.ones((5, 5), bool)).sum() == 16
    hole = rectangle(0, 0, 80, 60)
    hole[30, 40] = False
    assert metrics.boundary(hole)[28:33, 38:43].sum() == 24


def test_boundary_iou() -> None:
    # bands of two pixels have 20 x 20 - 16 x 16 = 144
    true, found = rectangle(10, 10, 30, 30), rectangle(11, 10, 31, 30)
    both = metrics.boundary(true) & metrics.boundary(found)
    # rows 10, 11, 28, 29: 19 columns each; rows 12 to 27: columns 11 and 29
    assert both.sum() == 4 * 19 + 16 * 2
    assert metrics.boundary_iou(found, true) == 108 / (144 + 144 - 108)
    assert metrics.iou(found, true) == 380 / 420
    wide = metrics.boundary_iou(found, true, ratio=1.0)
    assert wide == 380 / 420, "a band as wide as the mask is the mask"


@pytest.mark.parametrize(("size", "width"), [((80, 110), 3), ((75, 100), 2), ((60, 80), 2), ((20, 20), 1), ((9, 9), 1)])
def test_bands_are_a_fiftieth_of_the_diagonal_wide_rounded(size: tuple[int, int], width: int) -> None:
    # 2.72 pixels, 2.5 of which Python's round makes the even number, 2, 0.57 and 0.25, which are one pixel at least
    band = metrics.boundary(np.ones(size, bool))
    assert band.sum() == size[0] * size[1] - (size[0] - 2 * width) * (size[1] - 2 * width)


def test_the_boundary_f_of_a_shift() -> None:
    size = (60, 80)  # 0.008 of the diagonal of 100 pixels, rounded up: one pixel
    true = rectangle(10, 10, 30, 30, size)
    assert metrics.boundary_f(rectangle(11, 10, 31, 30, size), true) == 1.0
    moved = metrics.boundary_f(rectangle(12, 10, 32, 30, size), true)
    # the outline runs through rows and columns 9 and 29, one pixel up and left of the mask's
    found_line = {(x, y) for x in (11, 31) for y in range(9, 30)} | {(x, y) for y in (9, 29) for x in range(11, 32)}
    true_line = {(x, y) for x in (9, 29) for y in range(9, 30)} | {(x, y) for y in (9, 29) for x in range(9, 30)}

    def near(points: set[tuple[int, int]], others: set[tuple[int, int]]) -> float:
        return sum(any(math.dist(one, other) <= 1 for other in others) for one in points) / len(points)

    precision, recall = near(found_line, true_line), near(true_line, found_line)
    assert moved == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-15)
    assert 0.4 < moved < 0.7
    assert metrics.boundary_f(rectangle(12, 10, 32, 30, size), true, tolerance=0.011) == 1.0, "rounded up: two"
    assert metrics.boundary_f(rectangle(60, 40, 70, 50, size), true) == 0.0


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 8, 20])
def test_lines_are_widened_by_a_disk(distance: int) -> None:
    line = np.zeros((23, 31), bool)
    line[[4, 4, 5, 22], [7, 8, 20, 0]] = True
    y, x = np.mgrid[:23, :31]
    far = [(x - column) ** 2 + (y - row) ** 2 for row, column in zip(*np.nonzero(line), strict=True)]
    np.testing.assert_array_equal(metrics._widened(line, distance), np.min(far, axis=0) <= distance**2)


def test_size_classes() -> None:
    limits = (0.5, 1023.9, 1024, 1024.1, 9215.5, 9216, 9217)
    assert [metrics.size_classes(area) for area in limits] == [
        ("small",), ("small",), ("medium",), ("medium",), ("medium",), ("large",), ("large",),
    ]  # fmt: skip
    assert [metrics.size_classes(area, "authors") for area in limits] == [
        ("small",), ("small",), ("small", "medium"), ("medium",), ("medium",), ("medium", "large"), ("large",),
    ]  # fmt: skip
    with pytest.raises(EvsamError, match="bins: expected coco or authors, got 'own'"):
        metrics.size_classes(3, "own")  # type: ignore[arg-type]


def test_means_by_size() -> None:
    values, areas = [0.5, 1.0, 0.25], [1024, 9216, 10]
    assert metrics.mean_by_size(values, areas) == {"all": 1.75 / 3, "small": 0.25, "medium": 0.5, "large": 1.0}
    found = metrics.mean_by_size(values, areas, "authors")
    assert found == {"all": 1.75 / 3, "small": 0.375, "medium": 0.75, "large": 1.0}
    assert metrics.mean_by_size([], []) == {"all": None, "small": None, "medium": None, "large": None}


def test_means_do_not_depend_on_the_order() -> None:
    values = np.random.default_rng(0).random(1001).tolist()
    expected = metrics.mean(values)
    assert metrics.mean(sorted(values)) == expected == metrics.mean(values[::-1])
    assert metrics.mean([1.0] * 37) == 1.0
    assert metrics.mean([0.1] * 10) == 0.1


def test_number_of_clicks() -> None:
    curves = [[0.79, 0.8, 0.9], [0.9], [0.1] * 20, [0.1] * 19 + [0.85], [0.1] * 20 + [0.99]]
    found = metrics.number_of_clicks(curves)
    # never, at the last click, and after it are 20 all the same
    assert found == {
        "NoC@80": (2 + 1 + 20 + 20 + 20) / 5,
        ">=20@80": 3.0,
        "NoC@85": (3 + 1 + 20 + 20 + 20) / 5,
        ">=20@85": 3.0,
        "NoC@90": (3 + 1 + 20 + 20 + 20) / 5,
        ">=20@90": 3.0,
    }
    assert metrics.number_of_clicks([], [0.925]) == {"NoC@92.5": None, ">=20@92.5": None}
    assert metrics.clicks_needed([0.5, 0.7], 0.9, max_clicks=2) == 2
    assert metrics.clicks_needed([], 0.9) == 20


def test_mean_curves_keep_what_was_reached() -> None:
    assert metrics.mean_curve([[0.5, 1.0], [0.0, 0.5, 0.75]], 4) == [0.25, 0.75, 0.875, 0.875]
    assert metrics.mean_curve([], 2) == [None, None]


def test_statistics_of_frames() -> None:
    # nine frames: quarters of three, which share their ends
    values = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    found = metrics.frame_statistics(values)
    assert found["mean"] == pytest.approx(0.6)
    assert found["recall"] == 5 / 9, "0.5 is not above 0.5"
    assert found["decay"] == pytest.approx(0.9 - 0.3)
    assert metrics.frame_statistics([0.25]) == {"mean": 0.25, "recall": 0.0, "decay": 0.0}
    assert metrics.frame_statistics([]) == {"mean": None, "recall": None, "decay": None}
    # the 2.5th frame is the third: as DAVIS rounds
    assert metrics.frame_statistics([1.0, 0.75, 0.5, 0.25])["decay"] == 0.875 - 0.375


def test_statistics_of_sequences_are_means_over_objects() -> None:
    j = {"a 1": [1.0] * 4, "a 2": [0.5, 0.5], "empty": []}
    f = {"a 1": [1.0] * 4, "a 2": [0.0, 0.0], "empty": []}
    assert metrics.sequence_statistics(j, f) == {
        "J&F": (0.75 + 0.5) / 2, "J mean": 0.75, "J recall": 0.5, "J decay": 0.0,
        "F mean": 0.5, "F recall": 0.5, "F decay": 0.0,
    }  # fmt: skip
    assert set(metrics.sequence_statistics({}, {}).values()) == {None}
    with pytest.raises(EvsamError, match="f: expected the objects of j, got others"):
        metrics.sequence_statistics(j, {})


def test_masks_in_one_piece() -> None:
    body = rectangle(0, 0, 20, 19)  # 380 pixels
    assert metrics.in_one_piece(body | rectangle(40, 0, 60, 1))  # 20 of 400 pixels are apart
    assert not metrics.in_one_piece(body | rectangle(40, 0, 61, 1))
    assert metrics.in_one_piece(body | rectangle(20, 19, 40, 38)), "pieces that touch at a corner are one"
    assert not metrics.in_one_piece(body | rectangle(21, 20, 40, 38))
    assert metrics.in_one_piece(np.zeros((9, 9), bool))


def test_calibration() -> None:
    found = metrics.calibration([0.9, 0.5, 0.25], [0.8, 0.75, 0.25])
    assert found == {
        "mean absolute error": pytest.approx(0.35 / 3),
        "mean difference": pytest.approx(-0.05),
        "masks": 3,
    }
    assert metrics.calibration([], []) == {"mean absolute error": None, "mean difference": None, "masks": 0}


def test_reliability_is_by_tenths_of_the_prediction() -> None:
    found = metrics.reliability([0.31, 0.35, 1.25, -0.5], [0.5, 0.25, 0.75, 0.125])
    names = [f"{n / 10:.1f} to {(n + 1) / 10:.1f}" for n in range(10)]
    assert found["masks"] == dict(zip(names, [1, 0, 0, 2, 0, 0, 0, 0, 0, 1], strict=True))
    assert found["real"] == dict(zip(names, [0.125, None, None, 0.375, *[None] * 5, 0.75], strict=True))
    assert found["predicted"]["0.3 to 0.4"] == pytest.approx(0.33)
    assert found["predicted"]["0.9 to 1.0"] == 1.25, "means are those of the predictions, whatever they are"
