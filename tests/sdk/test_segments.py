"""Found segments as users hold them, made by hand: no model runs here."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam import EvsamError, ImageError, Prediction, Segment, Segments
from evsam.errors import ResultIndexError
from evsam.formats import geojson_document, read_transform, read_world_file
from evsam.rle import decode_rle, encode_rle, mask_extent

SIZE = (40, 60)
BOXES = [(5, 5, 30, 35), (10, 10, 20, 20), (40, 0, 60, 12), (55, 30, 60, 40)]


def _mask(box: tuple[int, int, int, int]) -> np.ndarray:
    x0, y0, x1, y1 = box
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def _segment(mask: np.ndarray, number: int = 0) -> Segment:
    area, box = mask_extent(mask)
    return Segment(
        encode_rle(mask), box, area, 0.9 - 0.1 * number, 0.8 + 0.05 * number, (number + 0.5, 2.0), (0, 0, 60, 40)
    )


@pytest.fixture
def masks() -> list[np.ndarray]:
    found = [_mask(box) for box in BOXES]
    found[0][12:15, 22:26] = False  # a hole
    found[0][10:20, 10:20] = True
    return found


@pytest.fixture
def segments(masks) -> Segments:
    return Segments([_segment(mask, number) for number, mask in enumerate(masks)], SIZE)


@pytest.fixture
def empty() -> Segments:
    return Segments([], SIZE)


class TestSequence:
    def test_items(self, segments, masks) -> None:
        assert len(segments) == 4
        assert isinstance(segments[1], Segment)
        assert segments[-1] is segments[3]
        assert [segment.box for segment in segments] == BOXES
        for segment, mask in zip(segments, masks, strict=True):
            assert np.array_equal(segment.mask, mask)
            assert segment.area == mask.sum()

    @pytest.mark.parametrize(
        ("index", "numbers"),
        [
            (slice(1, 3), [1, 2]),
            (slice(None, None, -1), [3, 2, 1, 0]),
            ([2, 0, 2], [2, 0, 2]),
            (np.array([True, False, False, True]), [0, 3]),
            ([], []),
        ],
    )
    def test_several(self, segments, index, numbers) -> None:
        assert segments[index] == Segments([segments[i] for i in numbers], SIZE)
        assert isinstance(segments[index], Segments)

    @pytest.mark.parametrize("index", [4, -5, "a", 1.5, None, [7], [True], slice("a", None)])
    def test_others_are_refused(self, segments, index) -> None:
        with pytest.raises(ResultIndexError, match="index: expected"):
            segments[index]

    def test_arrays(self, segments, empty) -> None:
        assert segments.boxes.tolist() == [list(box) for box in BOXES]
        assert segments.areas.tolist() == [738, 100, 240, 50]
        assert segments.predicted_iou.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
        assert segments.stability_score.dtype == np.float64
        assert [a.shape for a in (empty.boxes, empty.areas, empty.predicted_iou)] == [(0, 4), (0,), (0,)]

    def test_copies(self, segments) -> None:
        other = pickle.loads(pickle.dumps(segments))
        assert other == segments
        assert other != segments[:2]
        assert other != list(segments)
        assert "4 masks of an image of 60 x 40" in repr(segments)
        assert "738 pixels" in repr(segments[0])

    def test_masks_of_another_size_are_refused(self, segments) -> None:
        with pytest.raises(EvsamError, match=r"segments: expected masks of size \(4, 6\), got one of \[40, 60\]"):
            Segments(segments, (4, 6))


class TestSortAndFilter:
    def test_sort(self, segments) -> None:
        assert segments.sort_by("area").areas.tolist() == [738, 240, 100, 50]
        assert segments.sort_by("area", descending=False).areas.tolist() == [50, 100, 240, 738]
        assert segments.sort_by("stability_score")[0] is segments[3]
        assert segments.sort_by(lambda segment: segment.box[0])[0] is segments[3]
        assert segments.areas.tolist() == [738, 100, 240, 50], "not changed"

    def test_equal_ones_keep_their_order(self, segments) -> None:
        assert segments.sort_by(lambda _: 1) == segments

    @pytest.mark.parametrize("key", ["score", None, 3, ["area"], np.array(["area", "area"])])
    def test_other_keys(self, segments, key) -> None:
        with pytest.raises(EvsamError, match="key: expected area, predicted_iou, stability_score, or a function, got"):
            segments.sort_by(key)

    @pytest.mark.parametrize(
        ("conditions", "numbers"),
        [
            ({}, [0, 1, 2, 3]),
            ({"min_area": 100}, [0, 1, 2]),
            ({"min_area": 100, "max_area": 240}, [1, 2]),
            ({"min_predicted_iou": 0.75}, [0, 1]),
            ({"min_stability_score": 0.9}, [2, 3]),
            ({"inside": (5, 5, 30, 35)}, [0, 1]),
            ({"inside": (5.5, 5, 30, 35)}, [1]),
            ({"touching": (30, 0, 41, 40)}, [2]),
            ({"touching": (22, 12, 26, 15)}, []),  # the hole
            ({"touching": (21.5, 12, 26, 15)}, [0]),
            ({"touching": (-1e12, -5, 1e12, 1e12)}, [0, 1, 2, 3]),
            ({"at": (15, 15)}, [0, 1]),
            ({"at": (59.9, 39.9)}, [3]),
            ({"at": (60, 39)}, []),
            ({"function": lambda segment: segment.point[0] > 2}, [2, 3]),
            ({"function": lambda segment: segment.point[0] > 2, "max_area": 60}, [3]),
        ],
    )
    def test_filter(self, segments, conditions, numbers) -> None:
        assert segments.filter(**conditions) == segments[numbers]

    @pytest.mark.parametrize(
        ("conditions", "message"),
        [
            ({"min_area": "a"}, "min_area: expected a number, got 'a'"),
            ({"max_area": float("nan")}, "max_area: expected a number, got nan"),
            ({"min_predicted_iou": True}, "min_predicted_iou: expected a number, got True"),
            ({"inside": (1, 2, 3)}, "inside: expected x0, y0, x1, y1 in pixels of the photo, got"),
            ({"touching": (5, 5, 5, 9)}, "touching: expected .* with x0 < x1 and y0 < y1, got"),
            ({"touching": (5, 5, "b", 9)}, "touching: expected"),
            ({"at": (1, float("inf"))}, "at: expected x, y in pixels of the photo, got"),
            ({"function": 3}, "function: expected a function of a segment, got 3"),
        ],
    )
    def test_what_is_refused(self, segments, conditions, message) -> None:
        with pytest.raises(EvsamError, match=message):
            segments.filter(**conditions)


class TestRecords:
    def test_binary_masks(self, segments, masks) -> None:
        records = segments.records()
        assert [list(record) for record in records] == [
            ["segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"]
        ] * 4
        for record, mask in zip(records, masks, strict=True):
            assert record["segmentation"].dtype == bool
            assert np.array_equal(record["segmentation"], mask)
        assert records[1]["bbox"] == [10, 10, 9, 9]
        assert records[1]["crop_box"] == [0, 0, 60, 40]
        assert records[1]["point_coords"] == [[1.5, 2.0]]

    def test_rles(self, segments) -> None:
        for mode in ("uncompressed_rle", "coco_rle"):
            records = segments.records(mode)
            assert json.loads(json.dumps(records)) == records
            for record, segment in zip(records, segments, strict=True):
                assert np.array_equal(decode_rle(record["segmentation"]), segment.mask)
        assert isinstance(segments.records("coco_rle")[0]["segmentation"]["counts"], str)
        assert isinstance(segments.records("uncompressed_rle")[0]["segmentation"]["counts"], list)

    @pytest.mark.parametrize("mode", ["binary_mask", "uncompressed_rle", "coco_rle"])
    def test_back_again(self, segments, mode) -> None:
        assert Segments.from_records(segments.records(mode)) == segments
        assert Segments.from_records(iter(segments.records(mode)), SIZE) == segments
        assert Segments.from_records(segments.to_coco()["annotations"]) == segments
        assert Segments.from_records([], SIZE) == Segments([], SIZE)

    def test_records_that_are_none(self, segments) -> None:
        with pytest.raises(EvsamError, match="size: expected height and width where there are no records, got None"):
            Segments.from_records([])
        good = segments.records("coco_rle")[0]
        for change in (
            {"segmentation": [[1, 2, 3, 4]]},
            {"segmentation": {"size": [40, 60], "counts": "abc"}},
            {"point_coords": [1, 2]},
            {"crop_box": None},
            {"predicted_iou": "high"},
        ):
            with pytest.raises(EvsamError, match=r"records: expected segmentation, .* in record 1, got"):
                Segments.from_records([good, {**good, **change}])
        with pytest.raises(EvsamError, match=r"in record 0, got \{\} \('segmentation'\)"):
            Segments.from_records([{}])
        with pytest.raises(EvsamError, match="segments: expected masks of size"):
            Segments.from_records([good], (1, 2))

    def test_another_mode(self, segments) -> None:
        with pytest.raises(EvsamError, match="output_mode: expected binary_mask, uncompressed_rle, coco_rle, got"):
            segments.records("png")


class TestDocuments:
    def test_label_map(self, segments) -> None:
        labels = segments.label_map()
        assert labels.dtype == np.int32
        assert labels[15, 15] == 2, "the smaller one lies above"
        assert (labels[6, 6], labels[13, 24], labels[0, 50], labels[39, 59]) == (1, 0, 3, 4)

    def test_coco(self, segments, masks, tmp_path) -> None:
        document = segments.to_coco("a.jpg", image_id=7)
        first = document["annotations"][0]
        assert (first["score"], first["predicted_iou"], first["stability_score"]) == (0.9, 0.9, 0.8)
        assert first["bbox"] == [5, 5, 25, 30]
        coco = pytest.importorskip("pycocotools.coco")
        (tmp_path / "a.json").write_text(json.dumps(document))
        with contextlib.redirect_stdout(io.StringIO()):
            loaded = coco.COCO(str(tmp_path / "a.json"))
        for annotation, mask in zip(loaded.loadAnns(loaded.getAnnIds(7)), masks, strict=True):
            assert np.array_equal(loaded.annToMask(annotation), mask)

    def test_others(self, segments) -> None:
        assert len(segments.to_labelme("a.jpg")["shapes"]) == 4
        assert segments.to_svg().count("<path") == 4
        assert "<title>2  0.80</title>" in segments.to_svg()
        assert segments.to_coco_rle() == [segment.rle for segment in segments]
        assert [len(polygons) for polygons in segments.to_polygons()] == [1] * 4

    @pytest.mark.parametrize("name", ["a.png", "a.json", "a.geojson", "a.svg", "a.npz"])
    @pytest.mark.parametrize("what", ["segments", "empty"])
    def test_save(self, request, tmp_path, what, name) -> None:
        found: Segments = request.getfixturevalue(what)
        found.save(tmp_path / "new" / name, file_name="b.jpg")
        content = (tmp_path / "new" / name).read_bytes()
        if name == "a.png":
            assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / name)), found.label_map())
        elif name == "a.json":
            assert json.loads(content) == found.to_coco("b.jpg")
        elif name == "a.geojson":
            assert json.loads(content) == found.to_geojson()
        elif name == "a.svg":
            assert content.decode() == found.to_svg()
        else:
            with np.load(tmp_path / "new" / name) as arrays:
                for index, segment in enumerate(found):
                    counts = arrays["counts"][arrays["starts"][index] : arrays["starts"][index + 1]]
                    assert np.array_equal(decode_rle({"size": arrays["size"], "counts": counts}), segment.mask)
                assert np.array_equal(arrays["boxes"], found.boxes)
                assert np.array_equal(arrays["predicted_iou"], found.predicted_iou)

    def test_many_labels_in_a_picture(self, tmp_path) -> None:
        pixels = np.eye(300, dtype=bool)
        found = Segments((_segment(np.diag(row)) for row in pixels), (300, 300))
        found.save(tmp_path / "a.png")
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), found.label_map())

    def test_nothing_found(self, empty) -> None:
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
        assert np.array_equal(np.asarray(empty.overlay(image)), image)
        assert np.array_equal(np.asarray(empty.overlay(image, tags=True)), image)
        assert not empty.label_map().any()
        assert empty.to_coco()["annotations"] == []
        assert empty.to_geojson() == {"type": "FeatureCollection", "features": []}
        assert empty.to_labelme("a.jpg")["shapes"] == []
        assert empty.records() == empty.to_polygons() == empty.to_coco_rle() == []
        assert empty.sort_by("area") == empty.filter(min_area=1) == empty[:] == empty
        assert "<path" not in empty.to_svg()

    def test_masks_are_unpacked_one_at_a_time(self) -> None:
        side = 1000
        mask = np.zeros((side, side), bool)
        mask[200:800, 300:700] = True
        area, box = mask_extent(mask)
        one = Segment(encode_rle(mask), box, area, 0.9, 0.9, (1.0, 1.0), (0, 0, side, side))
        found = Segments([one] * 40, (side, side))
        image = np.zeros((side, side, 3), np.uint8)
        tracemalloc.start()
        try:
            for work in (found.label_map, found.to_coco, found.to_geojson, found.to_svg, lambda: found.overlay(image)):
                work()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 15 * side * side, "40 masks, in bytes, would be more"


class TestOverlay:
    def test_notebooks_show_the_overlay_on_grey(self, segments, empty) -> None:
        ground = np.asarray(Image.open(io.BytesIO(empty._repr_png_())))
        assert ground.shape == (*SIZE, 3)
        assert len(np.unique(ground)) == 1
        shown = np.asarray(Image.open(io.BytesIO(segments._repr_png_())))
        assert np.array_equal(shown, np.asarray(segments.overlay(ground)))
        assert (shown != ground).any(-1)[segments.label_map() > 0].all()

    def test_each_pixel_has_the_colour_of_the_uppermost_mask(self, segments) -> None:
        image = np.full((*SIZE, 3), 100, np.uint8)
        drawn = np.asarray(segments.overlay(image, opacity=0.5)).astype(int)
        alone = [np.asarray(segments[[i]].overlay(image, opacity=0.5)).astype(int) for i in range(4)]
        assert np.array_equal(drawn[30, 15], alone[0][30, 15])
        assert not np.array_equal(drawn[15, 15], drawn[30, 15])
        assert np.array_equal(drawn[25, 40], [100] * 3)

    def test_smaller_masks_cover_the_outlines_of_larger_ones(self) -> None:
        left, upper = _mask((0, 0, 30, 40)), _mask((20, 10, 40, 25))
        image = np.full((*SIZE, 3), 100, np.uint8)
        drawn = np.asarray(Segments([_segment(left), _segment(upper)], SIZE).overlay(image)).astype(int)
        assert np.array_equal(drawn[17, 30], drawn[17, 36]), "inside the upper one nothing shows of the edge below"
        assert np.abs(drawn[5, 30] - drawn[5, 26]).max() > 20

    def test_tags(self, segments) -> None:
        image = np.full((*SIZE, 3), 100, np.uint8)
        assert segments.overlay(image).size == (60, 40)
        with pytest.raises(EvsamError, match="tags: expected a text, or one for each of 4 masks, got"):
            segments.overlay(image, tags=["a"])

    def test_another_photo(self, segments) -> None:
        with pytest.raises(ImageError, match=r"image: expected height and width \(40, 60\) as the masks have, got"):
            segments.overlay(np.zeros((41, 60, 3), np.uint8))


def _turned(ring: list[list[float]]) -> float:
    """Twice the area, above 0 for anticlockwise in a plane whose y points up."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring))


def _noise() -> list[np.ndarray]:
    """Masks with pixels that touch at corners alone: outlines that meet themselves, holes in holes."""
    rng = np.random.default_rng(5)
    return [rng.random((12, 15)) < density for density in np.linspace(0.1, 0.97, 60)]


class TestGeoJson:
    @pytest.mark.parametrize("transform", [None, (2, 0, 10, 0, 3, 20), (2, 0.5, 10, -0.25, -3, 20)])
    def test_rings_are_closed_and_turn_as_rfc_7946_says(self, segments, transform) -> None:
        document = segments.to_geojson(transform)
        assert json.loads(json.dumps(document)) == document
        assert [feature["geometry"]["type"] for feature in document["features"]] == ["Polygon"] * 4
        outer, hole = document["features"][0]["geometry"]["coordinates"]
        assert outer[0] == outer[-1]
        assert _turned(outer) > 0
        assert _turned(hole) < 0
        scale = 1 if transform is None else abs(transform[0] * transform[4] - transform[1] * transform[3])
        assert (_turned(outer) + _turned(hole)) / 2 == pytest.approx(scale * 738)

    def test_properties(self, segments) -> None:
        (first, *_) = segments.to_geojson()["features"]
        assert first["id"] == 1
        assert first["properties"] == {
            "id": 1,
            "area": 738,
            "predicted_iou": 0.9,
            "point_coords": [[0.5, 2.0]],
            "stability_score": 0.8,
            "crop_box": [0, 0, 60, 40],
        }

    @pytest.mark.parametrize("transform", [None, (2, 0, 10, 0, 3, 20), (2, 0.5, 10, -0.25, -3, 20)])
    def test_polygons_are_valid_and_have_the_pixels(self, transform) -> None:
        shapely: Any = pytest.importorskip("shapely")
        kinds = set()
        for mask in _noise():
            (feature,) = geojson_document([mask], transform=transform)["features"]
            geometry = shapely.geometry.shape(feature["geometry"])
            kinds.add(geometry.geom_type)
            assert geometry.is_valid, shapely.is_valid_reason(geometry)
            y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
            a, b, c, d, e, f = transform or (1, 0, 0, 0, 1, 0)
            inside = shapely.contains_xy(geometry, a * x + b * y + c, d * x + e * y + f)
            assert np.array_equal(inside, mask)
            assert geometry.area == pytest.approx(mask.sum() * abs(a * e - b * d))
        assert kinds == {"Polygon", "MultiPolygon"}

    def test_empty_masks_have_no_feature(self) -> None:
        document = geojson_document([np.zeros(SIZE, bool), _mask(BOXES[1])])
        assert [feature["id"] for feature in document["features"]] == [2]

    def test_of_a_prediction(self) -> None:
        masks = np.stack([_mask(BOXES[0]), _mask(BOXES[1])])[:, None]
        result = Prediction(masks, np.array([[0.5], [0.25]], np.float32), np.zeros((2, 1, 256, 256), np.float32))
        features = result.to_geojson()["features"]
        assert [feature["properties"]["score"] for feature in features] == [0.5, 0.25]
        assert result.label_map()[15, 15] == 2

    def test_transforms(self) -> None:
        class Affine(tuple[float, ...]):
            """As rasterio's: nine numbers, row by row."""

            __slots__ = ()

        north_up = (0.5, 0.0, 100.0, 0.0, -0.5, 60.0)
        assert read_transform(north_up) == north_up
        assert read_transform(Affine((*north_up, 0.0, 0.0, 1.0))) == north_up
        assert read_transform(np.array(north_up)) == north_up

    @pytest.mark.parametrize(
        "transform", [(1, 2, 3), "abcdef", None, 5, (1, 0, 0, 0, 0, 1), (1, 0, 0, 0, float("nan"), 1), (*range(9),)]
    )
    def test_what_is_no_transform(self, transform) -> None:
        with pytest.raises(EvsamError, match="transform: expected six numbers a, b, c, d, e, f"):
            read_transform(transform)

    def test_the_order_of_gdal_is_noticed(self) -> None:
        with pytest.raises(EvsamError, match="got GDAL's order"):
            read_transform((100, 0.5, 0, 60, 0, -0.5))
        assert read_transform((0, 0.5, 0, -0.5, 0, 60)) == (0, 0.5, 0, -0.5, 0, 60), "turned by a quarter"

    def test_world_files(self, tmp_path) -> None:
        (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n100.25\n59.75\n")
        assert read_world_file(tmp_path / "a.pgw") == (0.5, 0, 100, 0, -0.5, 60)
        for content in ("", "1 2 3", "0.5 0 0 -0.5 a 1", "0 0 0 0 1 1", "1 0 0 1 5 5 5"):
            (tmp_path / "b.pgw").write_text(content)
            with pytest.raises(EvsamError, match=r"b\.pgw: expected a world file of six numbers, got"):
                read_world_file(tmp_path / "b.pgw")
        with pytest.raises(FileNotFoundError):
            read_world_file(Path(tmp_path / "none.pgw"))
