from __future__ import annotations

import json

import numpy as np
import pytest

from evsam import EvsamError
from evsam.polygons import Polygon, trace_polygons


def fill(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels inside by the even-odd rule: every vertical edge toggles what lies to its right."""
    toggles = np.zeros(shape, int)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
            if x0 == x1:
                toggles[min(y0, y1) : max(y0, y1), x0:] += 1
    return toggles % 2 == 1


def signed_area(ring: np.ndarray) -> float:
    x, y = ring.astype(float).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def check(mask: np.ndarray) -> list[Polygon]:
    """What must hold for any mask; regions are compared with scikit-image's."""
    measure = pytest.importorskip("skimage.measure")
    polygons = trace_polygons(mask)
    labels, count = measure.label(mask, connectivity=1, return_num=True)
    assert len(polygons) == count
    assert np.array_equal(fill([r for p in polygons for r in (p.outer, *p.holes)], mask.shape), mask)
    seen = set()
    for polygon in polygons:
        region = fill([polygon.outer, *polygon.holes], mask.shape)
        (label,) = np.unique(labels[region])
        assert np.array_equal(region, labels == label)
        seen.add(int(label))
        assert polygon.area == region.sum()
        assert signed_area(polygon.outer) > 0
        assert all(signed_area(hole) < 0 for hole in polygon.holes)
        for ring in (polygon.outer, *polygon.holes):
            assert ring.dtype == np.int32
            steps = np.roll(ring, -1, 0) - ring
            assert ((steps == 0).sum(1) == 1).all()  # along the axes, no corner twice in a row
            horizontal = steps[:, 1] == 0
            assert (horizontal != np.roll(horizontal, 1)).all()  # a turn at every corner
    assert seen == set(range(1, count + 1))
    return polygons


def picture(text: str) -> np.ndarray:
    return np.array([[c == "#" for c in line] for line in text.split()])


def test_empty() -> None:
    assert trace_polygons(np.zeros((4, 5), bool)) == []


def test_full() -> None:
    (polygon,) = check(np.ones((4, 5), bool))
    assert polygon.outer.tolist() == [[0, 0], [5, 0], [5, 4], [0, 4]]
    assert polygon.holes == ()


def test_one_pixel() -> None:
    (polygon,) = check(np.ones((1, 1), bool))
    assert polygon.outer.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]


@pytest.mark.parametrize("diagonal", [[".#", "#."], ["#.", ".#"]])
def test_pixels_that_touch_at_a_corner_are_apart(diagonal) -> None:
    assert len(check(picture(" ".join(diagonal)))) == 2


def test_hole_with_an_island_with_a_hole() -> None:
    mask = picture("""
        #########
        #.......#
        #.#####.#
        #.#...#.#
        #.#.#.#.#
        #.#...#.#
        #.#####.#
        #.......#
        #########""")
    polygons = check(mask)
    assert [len(p.holes) for p in polygons] == [1, 1, 0]
    assert [p.area for p in polygons] == [32, 16, 1]


def test_holes_side_by_side_belong_to_the_same_region() -> None:
    (polygon,) = check(picture("####### #.#.#.# ####### #..#..# #######"))
    assert len(polygon.holes) == 5


def test_holes_of_two_regions() -> None:
    polygons = check(picture("###.### #.#.#.# ###.###"))
    assert [len(p.holes) for p in polygons] == [1, 1]


def test_gap_at_a_corner_opens_a_hole() -> None:
    (polygon,) = check(picture(".### #..# ####"))  # the background is connected through corners
    assert polygon.holes == ()


def test_shapes() -> None:
    y, x = np.mgrid[:97, :131]
    disc = (y - 40) ** 2 + (x - 60) ** 2 < 30**2
    check(disc)
    check(~disc)
    check((np.hypot(y - 48, x - 65) / 6).astype(int) % 2 == 0)
    check((y + x) % 2 == 0)


@pytest.mark.parametrize("density", [0.1, 0.4, 0.5, 0.6, 0.9])
def test_noise(density) -> None:
    rng = np.random.default_rng(7)
    for _ in range(60):
        check(rng.random(rng.integers(1, 20, 2)) < density)


def distances(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Of each point to the nearest side of a ring."""
    a, b = ring.astype(float), np.roll(ring, -1, 0).astype(float)
    along = ((points[:, None] - a) * (b - a)).sum(-1) / np.maximum(((b - a) ** 2).sum(-1), 1e-9)
    nearest = a + np.clip(along, 0, 1)[..., None] * (b - a)
    return np.sqrt(((points[:, None] - nearest) ** 2).sum(-1)).min(1)


def shapes() -> list[np.ndarray]:
    y, x = np.mgrid[:97, :131]
    disc = (y - 40) ** 2 + (x - 60) ** 2 < 30**2
    rings = (np.hypot(y - 48, x - 65) / 6).astype(int) % 2 == 0
    rng = np.random.default_rng(5)
    wild = rng.random((70, 90)) < 0.6
    return [disc, ~disc, rings, wild, *(rng.random((30, 40)) < density for density in (0.1, 0.5, 0.9))]


@pytest.mark.parametrize("tolerance", [0.5, 0.75, 1, 2.0, 5, np.float32(3)])
def test_no_corner_is_further_than_the_tolerance(tolerance) -> None:
    fewer = 0
    for mask in shapes():
        exact, simple = trace_polygons(mask), trace_polygons(mask, tolerance)
        assert [len(p.holes) for p in simple] == [len(p.holes) for p in exact]
        for whole, part in zip(exact, simple, strict=True):
            for ring, kept in zip((whole.outer, *whole.holes), (part.outer, *part.holes), strict=True):
                assert 3 <= len(kept) <= len(ring)
                corners = iter(ring.tolist())
                assert all(corner in corners for corner in kept.tolist())  # those of the ring, in its order
                assert distances(ring, kept).max() <= tolerance + 1e-9
                fewer += len(ring) - len(kept)
    assert fewer > 0 or tolerance < 0.7


def crossings(rings: list[np.ndarray]) -> int:
    """Pairs of sides of any of the rings that cross."""
    a = np.concatenate(rings).astype(np.int64)
    b = np.concatenate([np.roll(ring, -1, 0) for ring in rings]).astype(np.int64)

    def turn(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        x, y = (q - p)[..., 0] * (r - p)[..., 1], (q - p)[..., 1] * (r - p)[..., 0]
        return np.sign(x - y)

    first, second = (a[:, None], b[:, None]), (a[None], b[None])
    apart = turn(*first, second[0]) * turn(*first, second[1]) < 0
    return int((apart & (turn(*second, first[0]) * turn(*second, first[1]) < 0)).sum()) // 2


def test_lines_do_not_cross() -> None:
    rng = np.random.default_rng(2)
    coarse = [rng.random((20, 25)) < density for density in (0.3, 0.5, 0.7)]
    masks = [*shapes(), *(np.kron(mask, np.ones((5, 4), bool)) for mask in coarse)]
    for mask in masks:
        for tolerance in (1, 2.5, 6, 20):
            rings = [ring for p in trace_polygons(mask, tolerance) for ring in (p.outer, *p.holes)]
            assert crossings(rings) == 0


def test_slanted_edges_lose_their_steps() -> None:
    mask = np.tri(50, dtype=bool)  # a triangle
    (exact,), (simple,) = trace_polygons(mask), trace_polygons(mask, 0.75)
    assert len(exact.outer) == 102
    assert len(simple.outer) <= 5
    assert abs(simple.area - mask.sum()) <= 26  # half of each step


def test_a_straight_edge_keeps_its_corners() -> None:
    mask = np.zeros((40, 50), bool)
    mask[5:30, 7:40] = True
    (polygon,) = trace_polygons(mask, 2)
    assert polygon.outer.tolist() == [[7, 5], [40, 5], [40, 30], [7, 30]]
    assert polygon.area == mask.sum()
    assert type(polygon.area) is int


def test_a_winding_ring_of_many_corners_is_quick() -> None:
    y, x = np.mgrid[:1500, :1500]
    mask = (np.hypot(y - 750, x - 750) / 8 + np.arctan2(y - 750, x - 750) / np.pi) % 2 < 1  # one spiral
    exact = sum(len(ring) for polygon in trace_polygons(mask) for ring in polygon.tolist())
    simple = sum(len(ring) for polygon in trace_polygons(mask, 1) for ring in polygon.tolist())
    assert exact > 200_000
    assert simple < exact / 8


def test_polygons_as_plain_numbers() -> None:
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1:8] = True
    mask[3:5, 3:5] = False
    (polygon,) = trace_polygons(mask, 1)
    rings = json.loads(json.dumps(polygon.tolist()))
    assert [np.array_equal(ring, of) for ring, of in zip(rings, (polygon.outer, *polygon.holes), strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize("tolerance", [-1, -0.1, float("nan"), float("inf"), "1", None, [1]])
def test_other_tolerances_are_refused(tolerance) -> None:
    with pytest.raises(EvsamError, match="tolerance: expected a finite number of pixels, 0 or more, got"):
        trace_polygons(np.ones((2, 2), bool), tolerance)
