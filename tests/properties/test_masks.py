"""Masks as RLE, polygons, boxes, label maps and files: there and back, and against NumPy, SciPy and pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from evsam import Segments
from evsam.boxes import bounding_box
from evsam.errors import ResultIndexError
from evsam.formats import coco_document, geojson_document, label_map, label_picture
from evsam.masks import chosen_rows
from evsam.overlay import draw_masks
from evsam.polygons import trace_polygons
from evsam.rle import compressed, decode_rle, encode_rle, mask_extent, mask_window, run_ends
from evsam.transforms import fitted_size, mask_to_logits, masks_from_logits, upscale_logits
from tests.properties.strategies import JUNK, PROPERTY, SIZES, Mask, best, mask_lists, masks, or_refused, predictions

coco_masks = pytest.importorskip("pycocotools.mask")

BESIDE_CORNERS = np.ones((3, 3), int)


def extent(mask: Mask) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 around a mask, by NumPy."""
    y, x = np.nonzero(mask)
    return (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1) if len(x) else (0, 0, 0, 0)


def pieces(mask: Mask) -> tuple[np.ndarray, int]:
    labels, count = ndimage.label(mask)
    return labels, count


def filled(rings: list[Any], size: tuple[int, int]) -> Mask:
    """Pixels whose middles lie inside an odd number of rings."""
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0])[:, None] + 0.5
    inside = np.zeros(size, bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if y0 != y1:
                crosses = (y > min(y0, y1)) & (y < max(y0, y1))
                inside ^= crosses & (x > x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


@PROPERTY
@given(masks())
def test_rle_there_and_back(mask: Mask) -> None:
    rle = encode_rle(mask)
    reference = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle == {"size": list(mask.shape), "counts": reference["counts"].decode()}
    assert np.array_equal(decode_rle(rle), mask)
    assert np.array_equal(decode_rle(reference), mask)
    uncompressed = {"size": list(mask.shape), "counts": np.diff(run_ends(rle), prepend=0).tolist()}
    assert np.array_equal(decode_rle(uncompressed), mask)
    assert compressed(uncompressed) == rle
    assert np.array_equal(coco_masks.decode(rle), mask)


@PROPERTY
@given(st.one_of(st.text(max_size=12), st.lists(st.integers(-5, 2**62), max_size=6), JUNK), SIZES)
def test_any_counts_are_a_mask_or_refused(counts: Any, size: tuple[int, int]) -> None:
    with or_refused(ValueError, "rle: "):
        mask = decode_rle({"size": size, "counts": counts})
        assert mask.shape == size
        assert np.array_equal(decode_rle(encode_rle(mask)), mask)


@PROPERTY
@given(JUNK)
def test_any_size_is_read_or_refused(size: Any) -> None:
    with or_refused(ValueError, "rle: "):
        mask_extent({"size": size, "counts": [0]})


@PROPERTY
@given(masks())
def test_boxes_and_areas(mask: Mask) -> None:
    expected = int(mask.sum()), extent(mask)
    rle = encode_rle(mask)
    for form in (mask, mask.astype(np.uint8), mask.astype(np.int64) * 255, rle):
        assert mask_extent(form) == expected
        window = mask_window(form)
        x0, y0, x1, y1 = window.box
        assert (window.area, window.box) == expected
        assert np.array_equal(window.pixels, mask[y0:y1, x0:x1][: y1 - y0 if mask.any() else 0])
    assert bounding_box(mask) == expected[1]
    assert int(coco_masks.area(rle)) == expected[0]


@PROPERTY
@given(masks())
def test_polygons_there_and_back(mask: Mask) -> None:
    polygons = trace_polygons(mask)
    assert np.array_equal(filled([ring for polygon in polygons for ring in polygon.tolist()], mask.shape), mask)
    labels, count = pieces(mask)
    assert sorted(polygon.area for polygon in polygons) == sorted(np.bincount(labels.ravel(), minlength=count + 1)[1:])
    gaps = ndimage.label(np.pad(~mask, 1, constant_values=True), BESIDE_CORNERS)[1]
    assert sum(len(polygon.holes) for polygon in polygons) == gaps - 1  # the outside is none


@PROPERTY
@given(masks(), st.floats(0, 50))
def test_a_tolerance_loses_no_ring(mask: Mask, tolerance: float) -> None:
    exact, loose = trace_polygons(mask), trace_polygons(mask, tolerance)
    assert [len(polygon.holes) for polygon in loose] == [len(polygon.holes) for polygon in exact]
    for before, after in zip(exact, loose, strict=True):
        for old, new in zip(before.tolist(), after.tolist(), strict=True):
            assert 3 <= len(new) <= len(old)
            assert all(corner in old for corner in new)


@PROPERTY
@given(predictions(), st.integers(0, 40), st.one_of(st.booleans(), st.integers(0, 40)))
def test_clean(result: Any, min_area: int, fill_holes: int | bool) -> None:
    cleaned = result.clean(min_area, fill_holes)
    assert result.clean().masks.tolist() == result.masks.tolist()
    assert np.array_equal(cleaned.clean(min_area, fill_holes).masks, cleaned.masks)
    without_holes = result.clean(fill_holes=fill_holes).masks
    assert (without_holes >= result.masks).all()
    assert (cleaned.masks <= without_holes).all()
    for old, new in zip(result.masks.reshape(-1, *result.size), cleaned.masks.reshape(-1, *result.size), strict=True):
        labels, count = pieces(new)
        assert count <= pieces(old)[1]
        assert bool(new.any()) == bool(old.any())
        areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        assert count <= 1 or (areas >= min_area).all()


@PROPERTY
@given(mask_lists())
def test_label_map(drawn: tuple[list[Mask], tuple[int, int]]) -> None:
    found, size = drawn
    expected = np.zeros(size, np.int32)
    for y, x in np.ndindex(size):
        here = [(mask.sum(), -index) for index, mask in enumerate(found) if mask[y, x]]
        expected[y, x] = 1 - min(here)[1] if here else 0
    assert np.array_equal(label_map(found, size), expected)
    assert np.array_equal(np.asarray(label_picture(found, size)), expected)
    assert np.array_equal(label_map([encode_rle(mask) for mask in found], size), expected)


@PROPERTY
@given(mask_lists(), st.one_of(st.none(), st.floats(0, 3)))
def test_coco_there_and_back(drawn: tuple[list[Mask], tuple[int, int]], tolerance: float | None) -> None:
    found, size = drawn
    document = coco_document(
        found, size, names=[f"kind {index % 2}" for index in range(len(found))], tolerance=tolerance
    )
    assert json.loads(json.dumps(document)) == document
    there = [index for index, mask in enumerate(found) if mask.any()]
    assert [annotation["id"] - 1 for annotation in document["annotations"]] == there
    for annotation in document["annotations"]:
        mask = found[annotation["id"] - 1]
        x0, y0, x1, y1 = extent(mask)
        assert annotation["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert annotation["area"] == mask.sum()
        if isinstance(annotation["segmentation"], dict):
            assert np.array_equal(coco_masks.decode(annotation["segmentation"]), mask)
        elif tolerance == 0:
            rings = [list(zip(ring[::2], ring[1::2], strict=True)) for ring in annotation["segmentation"]]
            assert np.array_equal(filled(rings, size), mask)


def is_affine(six: tuple[int, ...]) -> bool:
    """Whether it is not refused: no line, and not as a map that is not turned has it in the order of GDAL."""
    a, b, c, d, e, _ = six
    return a * e != b * d and not (a and d and c == e == 0)


@PROPERTY
@given(mask_lists(), st.tuples(*[st.integers(-9, 9)] * 6).filter(is_affine))
def test_geojson_there_and_back(drawn: tuple[list[Mask], tuple[int, int]], transform: Any) -> None:
    found, size = drawn
    a, b, c, d, e, f = transform
    turned = np.linalg.inv([[a, b], [d, e]])
    for given_transform in (None, transform):
        document = geojson_document(found, transform=given_transform)
        assert json.loads(json.dumps(document)) == document
        drawn_ids = [index + 1 for index, mask in enumerate(found) if mask.any()]
        assert [feature["id"] for feature in document["features"]] == drawn_ids  # nothing is no geometry
        for feature in document["features"]:
            mask = found[feature["id"] - 1]
            geometry = feature["geometry"]
            assert feature["properties"]["area"] == mask.sum()
            many = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
            rings = [np.array(ring) for polygon in many for ring in polygon]
            assert all((ring[0] == ring[-1]).all() for ring in rings)
            if given_transform is not None:
                rings = [np.round((ring - (c, f)) @ turned.T) for ring in rings]
            assert np.array_equal(filled([ring[:-1].tolist() for ring in rings], size), mask)


@PROPERTY
@given(predictions())
def test_predictions_and_their_files(result: Any) -> None:
    chosen = best(result)
    assert result.boxes.tolist() == [list(extent(mask)) for mask in chosen]
    assert result.areas.tolist() == [mask.sum() for mask in chosen]
    assert all(np.array_equal(decode_rle(rle), mask) for rle, mask in zip(result.to_coco_rle(), chosen, strict=True))
    with TemporaryDirectory() as name:
        files = {kind: Path(name) / f"masks.{kind}" for kind in ("png", "json", "geojson", "svg", "npz")}
        for path in files.values():
            result.save(path)
        with Image.open(files["png"]) as picture:
            assert np.array_equal(np.asarray(picture), result.label_map())
        assert json.loads(files["json"].read_text()) == result.to_coco()
        assert json.loads(files["geojson"].read_text()) == result.to_geojson()
        assert ET.fromstring(files["svg"].read_text()).tag.endswith("svg")
        with np.load(files["npz"], allow_pickle=False) as content:
            assert all(np.array_equal(content[key], getattr(result, key)) for key in ("masks", "scores", "logits"))


@PROPERTY
@given(predictions(), st.floats(0, 1))
def test_overlay_colours_masks_alone(result: Any, opacity: float) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*result.size, 3), np.uint8)
    before = photo.copy()
    picture = np.asarray(result.overlay(photo, opacity=opacity, tags=False))
    assert np.array_equal(photo, before)
    assert picture.shape == photo.shape
    near = ndimage.binary_dilation(np.any(best(result), axis=0), BESIDE_CORNERS, 3)  # lines have a width
    assert np.array_equal(picture[~near], photo[~near])
    assert np.array_equal(np.asarray(draw_masks(photo, [], opacity=opacity)), photo)


@PROPERTY
@given(mask_lists(), st.data())
def test_segments_there_and_back(drawn: tuple[list[Mask], tuple[int, int]], data: st.DataObject) -> None:
    found, size = drawn
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(found), max_size=len(found)))
    records = [
        {"segmentation": mask, "predicted_iou": score, "stability_score": 1 - score, "point_coords": [[0.5, 0.5]]}
        for mask, score in zip(found, scores, strict=True)
    ]
    records = [{**record, "crop_box": [0, 0, size[1], size[0]]} for record in records]
    segments = Segments.from_records(records, size)
    assert segments.areas.tolist() == [mask.sum() for mask in found]
    assert segments.boxes.tolist() == [list(extent(mask)) for mask in found]
    assert Segments.from_records(segments.records("binary_mask"), size) == segments
    for mode in ("coco_rle", "uncompressed_rle"):
        assert Segments.from_records(json.loads(json.dumps(segments.records(mode))), size) == segments
    by_score = segments.sort_by("predicted_iou")
    assert by_score.predicted_iou.tolist() == sorted(scores, reverse=True)


@PROPERTY
@given(st.integers(0, 5), st.one_of(JUNK, st.lists(st.integers(-6, 6), max_size=4), st.slices(5)))
def test_rows_are_chosen_as_numpy_does(count: int, index: Any) -> None:
    rows = np.arange(count)
    with or_refused(ResultIndexError, "index: "):
        chosen = rows[chosen_rows(index, count, "prompts")]
        wanted = index if isinstance(index, slice) else np.asarray(index)
        nothing = not isinstance(wanted, slice) and wanted.shape == (0,)  # of any dtype, as an empty list is of floats
        expected = rows[:0] if nothing else np.atleast_1d(rows[wanted])
        assert np.array_equal(chosen, expected)


@PROPERTY
@given(st.tuples(st.integers(1, 20000), st.integers(1, 20000)), st.sampled_from([512, 1024]))
def test_fitted_size(size: tuple[int, int], side: int) -> None:
    fitted = fitted_size(size, side)
    assert max(fitted) == side
    for length, new in zip(size, fitted, strict=True):
        assert new == 1 or abs(new - length * side / max(size)) <= 0.5
    assert fitted_size(fitted, side) == fitted


@PROPERTY
@given(mask_lists(least=2))
def test_logits_of_masks(drawn: tuple[list[Mask], tuple[int, int]]) -> None:
    (first, second, *_), size = drawn
    resized = fitted_size(size)
    of_first, of_both = mask_to_logits(first, resized), mask_to_logits(first | second, resized)
    assert of_first.shape == (256, 256)
    assert -10 <= of_first.min() <= of_first.max() <= 10
    assert (of_first <= of_both + 1e-5).all()
    logits = of_both[None, None]
    assert np.array_equal(masks_from_logits(logits, resized, size), upscale_logits(logits, resized, size) > 0)
