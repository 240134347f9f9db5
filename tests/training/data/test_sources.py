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
    for text in ('{"images": []}', "[]", "no json", '{"images": [{"id": 1}], "annotations": [{"image_id": 1}]}'):
        path.write_text(text)
        with pytest.raises(DataError, match="expected json of COCO or LVIS"):
            CocoPhotos(tmp_path, path)
    with pytest.raises(DataError, match="expected a folder with photos"):
        CocoPhotos(path, path)


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


def test_sets_that_cannot_be_used(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set blobz: no file .*; sets of split train: blobs, more"):
        read_set(data_dir, "train", "blobz")
    (tmp_path / "val").mkdir()
    for text in ("no json", '{"images": []}', '{"images": [], "anns": [{"image": 0}]}'):
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
