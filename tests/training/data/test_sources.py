"""Annotated sets, COCO, LVIS, configured sources, and what is said of damaged ones."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evsam.boxes import bounding_box
from evsam.training.config import SourceConfig
from evsam.training.data.records import BrokenSample, DataError, Photos
from evsam.training.data.sa1b import Sa1bTars
from evsam.training.data.sources import CocoPhotos, Packed, list_sets, open_source, read_set
from tests.training.conftest import encode, jpg
from tests.training.data.pairs import SIZE, mask_of, pair


def test_sources_and_their_photos_can_be_sent_to_other_processes(tars: Path, data_dir: Path) -> None:
    sources: list[Photos] = [Sa1bTars(tars), read_set(data_dir, "train", "blobs")]
    for source in sources:
        sent = pickle.loads(pickle.dumps(source))
        assert np.array_equal(sent[1].pixels(), source[1].pixels())
        photo = pickle.loads(pickle.dumps(source[2]))
        assert photo.key == source[2].key
        assert np.array_equal(photo.pixels(), source[2].pixels())


FILE = "val2017/000000000007.jpg"
URL = f"http://images.cocodataset.org/{FILE}"


def coco_file(folder: Path, **image: Any) -> Path:
    """A photo with a polygon in two parts, an encoding, a crowd and a line; and one with a crowd alone."""
    (folder / "val2017").mkdir()
    (folder / FILE).write_bytes(jpg(np.full((*SIZE, 3), 9, np.uint8)))
    uncompressed = {"size": list(SIZE), "counts": [0, 1200, 1200]}
    images = [{"id": number, "height": SIZE[0], "width": SIZE[1], **image} for number in (7, 8, 9)]
    content = {
        "images": images,
        "annotations": [
            {
                "image_id": 7,
                "segmentation": [[10, 5, 30, 5, 30, 25, 10, 25], [50, 30, 55, 30, 55, 35, 50, 35], [1, 2, 3, 4]],
                "iscrowd": 0,
            },
            {"image_id": 7, "segmentation": encode(mask_of(2))},
            {"image_id": 7, "segmentation": [[1, 2, 3, 4]], "iscrowd": 0},
            {"image_id": 7, "segmentation": uncompressed, "iscrowd": 1},
            {"image_id": 8, "segmentation": uncompressed, "iscrowd": 1},
        ],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("image", [{"file_name": FILE}, {"coco_url": URL}], ids=["coco", "lvis"])
def test_coco_and_lvis(tmp_path: Path, image: dict[str, str]) -> None:
    source = CocoPhotos(tmp_path, coco_file(tmp_path, **image))
    assert len(source) == 1  # neither photos of crowds nor those without masks
    photo = source[0]
    assert photo.key == FILE
    assert photo.pixels().shape == (*SIZE, 3)
    polygon, compressed = photo.annotations
    expected = np.zeros(SIZE, np.uint8)
    expected[5:25, 10:30] = expected[30:35, 50:55] = 1
    assert np.array_equal(polygon.decode(), expected)
    assert polygon.area == 425
    assert polygon.box == (10, 5, 45, 30)
    assert np.array_equal(compressed.decode(), mask_of(2))


def test_photos_of_lvis_may_lie_in_one_folder(tmp_path: Path) -> None:
    annotations = coco_file(tmp_path, coco_url=URL)
    photo = CocoPhotos(tmp_path / "val2017", annotations)[0]
    assert photo.key == "000000000007.jpg"
    assert photo.pixels().shape == (*SIZE, 3)


def test_coco_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(DataError, match=r"annotations .*cannot be read"):
        CocoPhotos(tmp_path, path)
    for text in ('{"images": []}', "[]", "no json", '{"images": 1, "annotations": []}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(DataError, match="expected json of COCO or LVIS"):
            CocoPhotos(tmp_path, path)
    with pytest.raises(DataError, match="expected a folder with photos"):
        CocoPhotos(path, path)


SQUARE = [10, 5, 30, 5, 30, 25, 10, 25]


def square() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[5:25, 10:30] = 1
    return mask


def runs(mask: np.ndarray) -> list[int]:
    """Uncompressed counts, by counting."""
    pixels, counts, value = mask.ravel(order="F").tolist(), [0], 0
    for pixel in pixels:
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def written(folder: Path, annotations: list[Any], **image: Any) -> CocoPhotos:
    """A source with one photo of id 7, whose record may be changed (None takes a value out)."""
    (folder / "photos").mkdir(exist_ok=True)
    (folder / "photos" / "7.jpg").write_bytes(jpg(np.full((*SIZE, 3), 9, np.uint8)))
    record = {"id": 7, "height": SIZE[0], "width": SIZE[1], "file_name": "7.jpg", **image}
    content = {"images": [{k: v for k, v in record.items() if v is not None}], "annotations": annotations}
    (folder / "x.json").write_text(json.dumps(content))
    return CocoPhotos(folder / "photos", folder / "x.json")


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        SQUARE,
        [[[10, 5], [30, 5], [30, 25], [10, 25]]],
        [[float(x) for x in SQUARE], []],
        encode(square()),
        {"size": list(SIZE), "counts": runs(square())},
        {"size": [float(x) for x in SIZE], "counts": [float(x) for x in runs(square())]},
        [encode(square())],
    ],
    ids=["polygons", "flat", "pairs", "floats", "compressed", "uncompressed", "floating", "list of encodings"],
)
@pytest.mark.parametrize(
    "image",
    [
        {},
        {"width": -1, "height": -1},
        {"width": None, "height": None},
        {"width": "60", "height": "40"},
        {"width": 0},
        {"width": "wide"},
        {"width": 10**40},
        {"id": "7"},
        {"id": 7.0},
    ],
    ids=str,
)
def test_segmentations_and_sizes_of_peoples_tools(tmp_path: Path, segmentation: Any, image: dict[str, Any]) -> None:
    photo = written(tmp_path, [{"id": 1, "image_id": 7, "segmentation": segmentation}], **image)[0]
    photo.pixels()
    (annotation,) = photo.annotations
    assert np.array_equal(annotation.decode(), square())
    assert (annotation.box, annotation.area) == ((10, 5, 20, 20), 400)


def test_a_wrong_size_beside_a_right_encoding_does_not_matter(tmp_path: Path) -> None:
    encoded, polygon = ({"id": 1, "image_id": 7, "segmentation": s} for s in (encode(square()), [SQUARE]))
    assert written(tmp_path, [encoded], width=99)[0].pixels().shape == (*SIZE, 3)
    with pytest.raises(BrokenSample, match=r"expected masks of 40 x 60 .*, got size \[40, 99\]"):
        written(tmp_path, [polygon], width=99)[0].pixels()
    line = {"id": 1, "image_id": 7, "segmentation": [[1, 2, 3, 4]]}  # no mask at all
    with pytest.raises(BrokenSample, match=r"expected a record of 40 x 60 .*, got size \[40, 99\]"):
        written(tmp_path, [line], width=99)[0].pixels()
    assert written(tmp_path, [line])[0].pixels().shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("/home/somebody/data/photos/7.jpg", "7.jpg"),
        ("C:\\data\\photos\\7.jpg", "7.jpg"),
        ("photos/7.jpg", "7.jpg"),
        ("./7.jpg", "./7.jpg"),
        ("nested/deep/7.jpg", "nested/deep/7.jpg"),
        ("/data/nested/deep/7.jpg", "nested/deep/7.jpg"),
        ("nested\\deep\\7.jpg", "nested/deep/7.jpg"),
    ],
)
def test_file_names_of_other_machines(tmp_path: Path, name: str, key: str) -> None:
    folder = tmp_path / "photos" / "nested" / "deep"
    folder.mkdir(parents=True)
    (folder / "7.jpg").write_bytes(jpg(np.full((*SIZE, 3), 200, np.uint8)))
    photo = written(tmp_path, [{"id": 1, "image_id": 7, "segmentation": [SQUARE]}], file_name=name)[0]
    assert photo.key == key
    assert photo.pixels().mean().round() == (200 if "nested" in key else 9)


def test_a_file_that_is_nowhere_is_named_as_it_stands(tmp_path: Path) -> None:
    photo = written(tmp_path, [{"id": 1, "image_id": 7, "segmentation": [SQUARE]}], file_name="/a/8.jpg")[0]
    with pytest.raises(BrokenSample, match=r"/a/8\.jpg: cannot be read as a photo"):
        photo.pixels()


def test_what_cannot_be_used_is_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = {"id": 1, "image_id": "7", "segmentation": [SQUARE], "iscrowd": "0"}
    source = written(
        tmp_path,
        [
            good,
            {"id": 2, "image_id": 7},
            {"id": 3, "image_id": 7, "segmentation": []},
            {"id": "4", "image_id": 7, "segmentation": None},
            {"id": 5, "image_id": 7, "segmentation": [[]]},
            {"id": 6, "image_id": 7, "segmentation": {}},
            {"id": 7, "image_id": 7, "segmentation": "text"},
            {"id": 8, "image_id": 99, "segmentation": [SQUARE]},
            {"id": 9, "segmentation": [SQUARE]},
            {"image_id": 7},
            "no object",
            {"id": 10, "image_id": 7, "segmentation": [SQUARE], "iscrowd": True},
        ],
    )
    assert len(source[0].annotations) == 1
    (record,) = caplog.records
    assert record.getMessage() == (
        f"annotations {tmp_path / 'x.json'}: left out: 7 annotations without a segmentation (id 2, 3, 4, 5, 6, ...); "
        "1 annotations whose image_id is the id of no image (id 8); 2 annotations without image_id (id 9, number 10)"
    )
    caplog.clear()
    content = json.loads((tmp_path / "x.json").read_text())
    content["images"] += [{"id": 8}, {"file_name": "9.jpg"}, 3]
    content["annotations"] = [good]
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert len(CocoPhotos(tmp_path / "photos", tmp_path / "x.json")) == 1
    assert "left out: 3 images without id or file_name (id 8, None, 3)" in caplog.text


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [4]}, "expected size as height and width, got"),
        ({"counts": "01"}, "expected size as height and width, got None"),
        ({"size": list(SIZE)}, "expected counts as text, bytes or a list"),
        ({"size": [-40, -60], "counts": [2400]}, "expected size as height and width"),
        ({"size": list(SIZE), "counts": [5, 5]}, "expected counts that add up to 40 x 60, got 10"),
        ({"size": list(SIZE), "counts": [-1, 2401]}, "expected counts that add up to"),
        ({"size": list(SIZE), "counts": [2**63 - 1, 2**63 - 1, 2402]}, "expected counts that add up to"),
        ({"size": list(SIZE), "counts": [10**30]}, "expected counts as text, bytes or a list"),
        ([["a", 1, 2, 3, 4, 5]], "expected a polygon of numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "expected a polygon of pairs"),
        ([[1, 2, 3, 4, 5, 1e30]], "expected a polygon near the photo, got corners up to 1e"),
        ([[1, 2, 3, 4, 5, float("nan")]], "expected a polygon near the photo"),
        ([{"size": list(SIZE), "counts": [5]}], "expected counts that add up to"),
        ([[1, 2, 3, 4, 5, 6], {}], "expected a polygon of numbers"),
    ],
)
def test_damaged_masks_break_their_photo_and_are_named(tmp_path: Path, segmentation: Any, message: str) -> None:
    source = written(tmp_path, [{"id": "a5", "image_id": 7, "segmentation": segmentation}])
    with pytest.raises(BrokenSample, match=f"7.jpg: its annotations cannot be read: annotation a5: .*{message}"):
        source[0]


def test_an_annotation_that_cannot_be_read_breaks_its_photo_alone(tmp_path: Path) -> None:
    annotations = coco_file(tmp_path, file_name=FILE)
    content = json.loads(annotations.read_text())
    content["annotations"][1]["segmentation"] = {"size": [4]}
    annotations.write_text(json.dumps(content))
    source = CocoPhotos(tmp_path, annotations)
    with pytest.raises(BrokenSample, match=r"000000000007\.jpg: its annotations cannot be read"):
        source[0]


def test_sets_are_found_and_read(data_dir: Path) -> None:
    assert list_sets(data_dir, "train") == ["blobs", "more"]
    photos = read_set(data_dir, "train", "blobs")
    assert [photo.key for photo in photos] == ["0.png", "1.png", "2.png"]
    for photo in photos:
        assert photo.pixels().shape == (120, 160, 3)
        for annotation in photo.annotations:
            mask = annotation.decode()
            assert mask.sum() == annotation.area
            x, y, w, h = annotation.box
            assert bounding_box(mask) == (x, y, x + w, y + h)


def test_sets_leave_out_photos_without_masks_and_keep_ignored_pixels(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    annotation = {"image": 1, "rle": encode(mask_of(1)), "area": 5, "bbox": [1, 2, 3, 4]}
    content = {
        "images": [{"file": "a.jpg"}, {"file": "b.jpg"}, {"file": "c.jpg"}],
        "anns": [{**annotation, "ignore_rle": encode(mask_of(3))}, {**annotation, "image": 2, "rle": {}}],
    }
    (tmp_path / "val" / "x.json").write_text(json.dumps(content))
    photos = read_set(tmp_path, "val", "x")
    assert len(photos) == 2
    assert photos[0].key == "b.jpg"
    ignored = photos[0].annotations[0].decode_ignore()
    assert ignored is not None
    assert np.array_equal(ignored, mask_of(3))
    with pytest.raises(BrokenSample, match=r"c\.jpg: its annotations cannot be read"):
        photos[1]


MINUS_ONE = '{"images": [{"file": "a.jpg"}], "anns": [{"image": -1}]}'


def test_sets_that_cannot_be_used(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set blobz: no file .*; sets of split train: blobs, more"):
        read_set(data_dir, "train", "blobz")
    (tmp_path / "val").mkdir()
    for text in ("no json", '{"images": []}', '{"images": [], "anns": [{"image": 0}]}', MINUS_ONE):
        (tmp_path / "val" / "x.json").write_text(text)
        with pytest.raises(DataError, match=r"expected .* as json"):
            read_set(tmp_path, "val", "x")


def test_configurations_open_their_sources(data_dir: Path, tars: Path, tmp_path: Path) -> None:
    annotations = coco_file(tmp_path, coco_url=URL)
    (tmp_path / "pairs").mkdir()
    for name, content in zip(("sa_1.jpg", "sa_1.json"), pair(1), strict=True):
        (tmp_path / "pairs" / name).write_bytes(content)
    configs = [
        SourceConfig(kind="annotated", path=data_dir, set="blobs"),
        SourceConfig(kind="coco", path=tmp_path, annotations=annotations, name="mine"),
        SourceConfig(kind="lvis", path=tmp_path, annotations=annotations),
        SourceConfig(kind="sa1b", path=tars, cache=tmp_path / "cache"),
        SourceConfig(kind="sa1b-folder", path=tmp_path / "pairs"),
    ]
    assert [len(open_source(config)) for config in configs] == [3, 1, 1, 8, 1]
    assert [config.name for config in configs] == ["blobs", "mine", tmp_path.name, "tars", "pairs"]
    for config in configs:
        assert SourceConfig.model_validate(config.model_dump(mode="json")) == config
    with pytest.raises(DataError, match=r"source absent \(sa1b\): path .*absent: expected"):
        open_source(SourceConfig(kind="sa1b", path=tmp_path / "absent"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "coco"}, "annotations: a source of kind coco needs a json file"),
        ({"kind": "annotated"}, "set: a source of kind annotated needs the name of a set"),
        ({"kind": "tar"}, "Input should be 'annotated', 'coco', 'lvis', 'sa1b' or 'sa1b-folder'"),
        ({"kind": "sa1b", "weight": -1}, "greater than or equal to 0"),
        ({"kind": "sa1b", "colour": 1}, "Extra inputs are not permitted"),
    ],
)
def test_incomplete_configurations(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceConfig(path=Path("x"), **values)


def test_packed_values_come_back() -> None:
    values = [["a", 1], {"b": [1.5, None]}, "ü", []]
    packed = Packed(iter(values))
    assert list(packed) == values
    assert list(pickle.loads(pickle.dumps(packed))) == values
    with pytest.raises(IndexError):
        packed[4]
