"""Folders are recognised by what lies in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evsam.datasets import CocoPhotos, DataError, MaskPhotos, Sa1bFolder, Sa1bTars, open_photos
from evsam.datasets.opening import KINDS
from tests.datasets.made import SIZE, encode, jpg, mask_of, pair, png

PHOTO = jpg(np.full((*SIZE, 3), 9, np.uint8))
MASK = png(mask_of(1) * 255)


def write(path: Path, content: bytes = PHOTO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_coco(path: Path, file: str = "7.jpg", **image: Any) -> Path:
    """Two images, the second without annotations."""
    images = [{"id": number, "height": SIZE[0], "width": SIZE[1], "file_name": file, **image} for number in (7, 8)]
    images[1]["file_name"] = "8.jpg"
    annotations = [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": encode(mask_of(1))}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "cat"}]}
    return write(path, json.dumps(content).encode())


def test_a_folder_of_photos_with_annotations(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "7.jpg")
    annotations = write_coco(tmp_path / "mine.json")
    for kind in ("auto", "coco", "lvis"):
        ((name, source),) = open_photos(tmp_path / "photos", kind, annotations=annotations).items()
        assert (name, len(source), source.categories[3].name) == ("mine", 2, "cat")
        assert source[0].pixels().shape == (*SIZE, 3)
    ((_, source),) = open_photos(str(tmp_path / "photos"), annotations=str(annotations), empty=False).items()
    assert len(source) == 1


@pytest.mark.parametrize("photos", ["val2017", "images/val2017", "images"])
def test_a_folder_of_coco(tmp_path: Path, photos: str) -> None:
    write(tmp_path / photos / "7.jpg")
    write_coco(tmp_path / "annotations" / "instances_val2017.json")
    write_coco(tmp_path / "annotations" / "instances_train2017.json")
    write_coco(tmp_path / "annotations" / "person_keypoints_val2017.json")
    for path in (tmp_path, tmp_path / "annotations" / "instances_val2017.json"):
        ((name, source),) = open_photos(path).items()
        assert (name, source[0].pixels().shape) == ("instances_val2017", (*SIZE, 3))


@pytest.mark.parametrize("folder", ["", "annotations"])
def test_a_folder_of_lvis(tmp_path: Path, folder: str) -> None:
    write(tmp_path / "train2017" / "7.jpg")
    write_coco(tmp_path / folder / "lvis_v1_val.json", file_name=None, coco_url="http://a.b/train2017/7.jpg")
    content = json.loads((tmp_path / folder / "lvis_v1_val.json").read_text())
    content["images"][0] = {**content["images"][0], "neg_category_ids": [3, 4], "not_exhaustive_category_ids": [5]}
    write(tmp_path / folder / "lvis_v1_val.json", json.dumps(content).encode())
    ((name, source),) = open_photos(tmp_path).items()
    assert name == "lvis_v1_val"
    assert (source[0].negative, source[0].not_exhaustive) == ((3, 4), (5,))
    assert source[0].pixels().shape == (*SIZE, 3)


@pytest.mark.parametrize("name", ["_annotations_min1cat.coco.json", "_annotations.coco.json"])
def test_sets_in_folders(tmp_path: Path, name: str) -> None:
    for data_set in ("Cows", "Airplane-Parts"):
        for split in ("valid", "train"):
            write(tmp_path / data_set / split / "7.jpg")
            write_coco(tmp_path / data_set / split / name)
    (tmp_path / "notes").mkdir()
    sets = open_photos(tmp_path)
    assert list(sets) == ["Airplane-Parts", "Cows"]
    assert sets["Cows"][0].pixels().shape == (*SIZE, 3)
    assert list(open_photos(tmp_path, "sginw", sets=["Cows"])) == ["Cows"]
    for path in (tmp_path / "Cows", tmp_path / "Cows" / "valid"):
        assert list(open_photos(path)) == ["Cows"]
    assert list(open_photos(tmp_path, split="train")) == ["Airplane-Parts", "Cows"]
    with pytest.raises(DataError, match=r"sets: expected some of .*Cows.*, got Dogs"):
        open_photos(tmp_path, sets=["Dogs"])
    with pytest.raises(DataError, match="found none of it"):
        open_photos(tmp_path, split="test")


def test_the_set_whose_categories_begin_with_1_counts(tmp_path: Path) -> None:
    write(tmp_path / "valid" / "7.jpg")
    write_coco(tmp_path / "valid" / "_annotations_min1cat.coco.json")
    write(tmp_path / "valid" / "_annotations.coco.json", b"{}")
    assert len(open_photos(tmp_path)[tmp_path.name]) == 2


@pytest.mark.parametrize(
    ("photos", "masks"),
    [
        ("images", "masks"),
        ("data_GT", "boundary_GT"),
        ("img", "gt"),
        ("JPEGImages/480p", "Annotations/480p"),
        ("JPEGImages", "SegmentationObject"),
        ("val/images", "val/masks"),
    ],
)
def test_folders_of_photos_and_masks(tmp_path: Path, photos: str, masks: str) -> None:
    for name in ("7", "8"):
        write(tmp_path / photos / f"{name}.jpg")
        write(tmp_path / masks / f"{name}.png", MASK)
    ((name, source),) = open_photos(tmp_path).items()
    assert isinstance(source, MaskPhotos)
    assert (name, len(source), source[0].pixels().shape) == (tmp_path.name, 2, (*SIZE, 3))
    assert np.array_equal(source[0].annotations[0].decode(), mask_of(1))
    write(tmp_path / "ImageSets" / "2017" / "val.txt", b"8\n")
    if not photos.startswith("val/"):
        assert [photo.key for photo in open_photos(tmp_path)[tmp_path.name]] == ["8.jpg"]
        assert len(open_photos(tmp_path, split="train")[tmp_path.name]) == 2
    ((_, source),) = open_photos(tmp_path / photos, masks=tmp_path / masks, objects="one", ignore=255).items()
    assert source[0].annotations == ()


def test_data_directories_and_pairs(data_dir: Path, tars: Path, tmp_path: Path) -> None:
    assert {name: len(source) for name, source in open_photos(data_dir).items()} == {"blobs": 2}
    assert {name: len(source) for name, source in open_photos(data_dir, split="train").items()} == {
        "blobs": 3,
        "more": 2,
    }
    for path, name, count in (
        (tars, "tars", 8),
        (tars / "sa_000001.tar", "sa_000001", 5),
        (tars / "sa_*0.tar", "tars", 3),
    ):
        ((found, source),) = open_photos(path, cache=tmp_path / "cache").items()
        assert isinstance(source, Sa1bTars)
        assert (found, len(source)) == (name, count)
    folder = tmp_path / "pairs"
    photo, record = pair(4)
    write(folder / "a" / "sa_4.jpg", photo)
    write(folder / "a" / "sa_4.json", record)
    ((_, source),) = open_photos(folder).items()
    assert isinstance(source, Sa1bFolder)
    assert source[0].id == 4
    write(folder / "a" / "sa_4.json", b'{"shapes": []}')  # of an editor
    with pytest.raises(DataError, match="found none of it"):
        open_photos(folder)
    assert len(open_photos(folder, "sa1b-folder")["pairs"]) == 1


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"path .*absent: expected annotated photos, got nothing"):
        open_photos(tmp_path / "absent")
    with pytest.raises(DataError, match=r"kind: expected auto, coco, .*sa1b-folder, got 'voc'"):
        open_photos(tmp_path, "voc")
    with pytest.raises(DataError, match=r"expected a folder of photos with .*; or tars .*found none of it"):
        open_photos(tmp_path)
    with pytest.raises(DataError, match=r"expected val/SET\.json with val/SET; found none"):
        open_photos(tmp_path, "annotated")
    with pytest.raises(DataError, match="annotations: expected none for photos of kind masks, got x"):
        open_photos(tmp_path, "masks", annotations="x")
    with pytest.raises(DataError, match="masks: expected none for photos of kind coco, got x"):
        open_photos(tmp_path, "coco", masks="x")
    for kind in KINDS:
        with pytest.raises(DataError, match="expected"):
            open_photos(tmp_path, kind)


def test_coco_without_the_photos_of_one_file(tmp_path: Path) -> None:
    write(tmp_path / "val2017" / "7.jpg")
    for year in (2014, 2017):
        write_coco(tmp_path / "annotations" / f"instances_val{year}.json")
    assert list(open_photos(tmp_path)) == ["instances_val2017"]
    shutil.rmtree(tmp_path / "val2017")
    with pytest.raises(DataError, match="found none of it"):
        open_photos(tmp_path)
    source = open_photos(tmp_path / "annotations" / "instances_val2017.json")["instances_val2017"]
    assert isinstance(source, CocoPhotos)  # the json is there: its photos are missed one by one
