"""Small pieces and holes of masks, against scipy's components and segment_anything's function for the same."""

from __future__ import annotations

import numpy as np
import pytest

from evsam import _C
from evsam.polygons import trace_polygons


def _masks() -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    masks = [rng.random(rng.integers(1, 40, 2)) < density for density in np.linspace(0, 1, 80)]
    y, x = np.mgrid[:97, :131]
    spiral = (np.hypot(y - 48, x - 65) / 4 + np.arctan2(y - 48, x - 65) / np.pi * 0.5) % 2 < 1  # long, winding pieces
    comb = (x % 2 == 0) | (y == 0)
    return [*masks, spiral, comb, ~comb, np.eye(30, dtype=bool), np.zeros((1, 1), bool), np.ones((3, 1), bool)]


def _clean(mask: np.ndarray, min_area: int, fill_holes: int, corners: bool = False) -> np.ndarray:
    return _C.clean_mask(np.ascontiguousarray(mask).view(np.uint8), min_area, fill_holes, corners).view(bool)


def _components(mask: np.ndarray, corners: bool = True) -> tuple[np.ndarray, np.ndarray]:
    ndimage = pytest.importorskip("scipy.ndimage")
    labels, _ = ndimage.label(mask, ndimage.generate_binary_structure(2, 2 if corners else 1))
    return labels, np.bincount(labels.ravel())[1:]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("area", [1, 2, 3, 8, 40, 10**6])
def test_pieces(area: int, corners: bool) -> None:
    kept_largest = 0
    for mask in _masks():
        labels, areas = _components(mask, corners)
        keep = np.flatnonzero(areas >= area) + 1
        cleaned = _clean(mask, area, 0, corners)
        if len(areas) and not len(keep):  # the largest one stays: which one of several does not matter
            kept_largest += 1
            (label,) = np.unique(labels[cleaned])
            assert areas[label - 1] == areas.max()
            keep = np.array([label])
        assert np.array_equal(cleaned, np.isin(labels, keep))
    assert (kept_largest > 0) == (area > 1)


@pytest.mark.parametrize("area", [1, 2, 3, 8, 40, 10**6])
def test_holes(area: int) -> None:
    for mask in _masks():
        labels, areas = _components(~mask)
        assert np.array_equal(_clean(mask, 0, area), mask | np.isin(labels, np.flatnonzero(areas < area) + 1))


def test_all_holes() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    for mask in _masks():  # scipy's structure is that of the gaps
        assert np.array_equal(_clean(mask, 0, -1), ndimage.binary_fill_holes(mask, np.ones((3, 3))))
        assert not any(polygon.holes for polygon in trace_polygons(_clean(mask, 0, -1)))


def test_holes_are_filled_before_pieces_are_removed() -> None:
    ring = np.zeros((9, 9), bool)
    ring[1:4, 1:4] = ring[5:8, 5:9] = True
    ring[2, 2] = False  # 8 pixels, 9 once the hole is filled
    assert _clean(ring, 9, 2).sum() == 9 + 12
    assert _clean(ring, 9, 0).sum() == 12


def test_as_segment_anything_does() -> None:
    pytest.importorskip("cv2")
    amg = pytest.importorskip("segment_anything.utils.amg")
    for mask in _masks():
        for area in (3, 10):
            theirs, _ = amg.remove_small_regions(mask, area, "holes")
            theirs, _ = amg.remove_small_regions(theirs, area, "islands")
            ours = _clean(mask, area, area, corners=True)
            assert theirs.sum() == ours.sum()
            if _components(ours)[1].size and _components(ours)[1].max() >= area:
                assert np.array_equal(ours, theirs)


def test_no_polygon_of_a_clean_mask_is_small() -> None:
    for mask in _masks():
        polygons = trace_polygons(_clean(mask, 8, 8))
        assert len(polygons) < 2 or min(polygon.area for polygon in polygons) >= 8


def test_the_mask_given_stays_as_it_is() -> None:
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    before = mask.copy()
    _clean(mask, 5, 5)
    assert np.array_equal(mask, before)
