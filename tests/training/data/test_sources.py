"""Readers: annotated sets, COCO, LVIS, SA-1B in tars and unpacked, and what is said of damaged ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evsam.boxes import bounding_box
from evsam.training.config import SourceConfig
from evsam.training.data import sa1b
from evsam.training.data import sa1b as tar_module
from evsam.training.data.records import BrokenSample, DataError, Photo, Photos
from evsam.training.data.sa1b import Sa1bFolder, Sa1bTars, index_path
from evsam.training.data.sources import CocoPhotos, list_sets, open_source, read_set
from tests.training.conftest import encode, jpg

SIZE = (40, 60)


def mask_of(number: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[5 + number % 10 : 25, 10 : 30 + number % 20] = 1
    return mask


def pair(number: int) -> tuple[bytes, bytes]:
    """The photo and the json of one of SA-1B's pairs."""
    mask = mask_of(number)
    record = {
        "segmentation": encode(mask),
        "bbox": [10, 5 + number % 10, 20 + number % 20, 20 - number % 10],
        "area": int(mask.sum()),
        "predicted_iou": 0.9,
        "stability_score": 0.97,
        "point_coords": [[20.0, 20.0]],
        "id": number,
    }
    image = {"image_id": number, "width": SIZE[1], "height": SIZE[0], "file_name": f"sa_{number}.jpg"}
    photo = jpg(np.full((*SIZE, 3), number % 256, np.uint8))
    return photo, json.dumps({"image": image, "annotations": [record]}).encode()


def members(numbers: range) -> dict[str, bytes]:
    """Photos first, then the json files in another order: pairs need not be neighbours."""
    pairs = {number: pair(number) for number in numbers}
    photos = {f"./sa_{number}.jpg": photo for number, (photo, _) in pairs.items()}
    return photos | {f"./sa_{number}.json": text for number, (_, text) in reversed(pairs.items())}


def write_tar(path: Path, files: dict[str, bytes], mode: Any = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    folder = tmp_path / "tars"
    folder.mkdir()
    write_tar(folder / "sa_000000.tar", members(range(3)))
    write_tar(folder / "sa_000001.tar", members(range(3, 8)))
    return folder


def check(photo: Photo, number: int) -> None:
    assert photo.key.endswith(f"sa_{number}")
    (annotation,) = photo.annotations
    mask = mask_of(number)
    assert np.array_equal(annotation.decode(), mask)
    assert annotation.area == mask.sum()
    x, y, width, height = annotation.box
    assert bounding_box(mask) == (x, y, x + width, y + height)
    assert np.abs(photo.pixels().astype(int) - number).max() <= 2


# --- SA-1B


def test_tars_are_read_where_they_lie(tars: Path) -> None:
    source = Sa1bTars(tars)
    assert len(source) == 8
    assert source.groups == (3, 5)
    for number in (7, 0, 3, 2, 5):
        check(source[number], number)
    assert source[4].key == "sa_000001/sa_4"
    assert len(Sa1bTars(tars / "sa_000001.tar")) == 5
    assert len(Sa1bTars(tars / "*0.tar")) == 3


def test_sources_and_their_photos_can_be_sent_to_other_processes(tars: Path, data_dir: Path) -> None:
    sources: list[Photos] = [Sa1bTars(tars), read_set(data_dir, "train", "blobs")]
    for source in sources:
        sent = pickle.loads(pickle.dumps(source))
        assert np.array_equal(sent[1].pixels(), source[1].pixels())
        photo = pickle.loads(pickle.dumps(source[2]))
        assert photo.key == source[2].key
        assert np.array_equal(photo.pixels(), source[2].pixels())


def test_a_tar_is_indexed_once_and_again_when_it_has_changed(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Sa1bTars(tars)
    indexed: list[str] = []
    make = tar_module.make_index

    def watch(path: Path) -> Any:
        indexed.append(path.name)
        return make(path)

    monkeypatch.setattr(tar_module, "make_index", watch)
    assert len(Sa1bTars(tars)) == 8
    assert indexed == []
    write_tar(tars / "sa_000001.tar", members(range(3, 6)))
    assert len(Sa1bTars(tars)) == 6
    assert indexed == ["sa_000001.tar"]
    # touched without another size
    os.utime(tars / "sa_000000.tar", ns=(1, 1))
    Sa1bTars(tars)
    assert indexed[1:] == ["sa_000000.tar"]


@pytest.mark.parametrize("content", [b"", b"PK no zip", None], ids=["empty", "text", "half"])
def test_a_damaged_index_is_made_again(content: bytes | None, tars: Path) -> None:
    Sa1bTars(tars)
    path = index_path(tars / "sa_000000.tar", None)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    check(Sa1bTars(tars)[1], 1)
    assert len(path.read_bytes()) == len(whole)
    assert not list(tars.glob("*.part"))


def test_indexes_can_lie_elsewhere(tars: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    check(Sa1bTars(tars, cache)[3], 3)
    assert sorted(path.name for path in tars.iterdir()) == ["sa_000000.tar", "sa_000001.tar"]
    # a tar of the same name from another folder has an index of its own
    other = tmp_path / "other"
    other.mkdir()
    write_tar(other / "sa_000000.tar", members(range(20, 24)))
    assert len(Sa1bTars(other, cache)) == 4
    assert len(Sa1bTars(tars, cache)) == 8
    assert len(list(cache.iterdir())) == 3


def test_an_index_that_cannot_be_written(tars: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"sa_000000\.tar: its index cannot be written .* set the source's cache"):
        Sa1bTars(tars, tmp_path / "file" / "cache")


def test_files_without_a_partner_are_broken(tmp_path: Path) -> None:
    photo, text = pair(1)
    more = {"LICENSE.txt": b"", "._sa_1.json": b"", "sa_3.json": b"{", "sa_3.jpg": photo}
    write_tar(tmp_path / "a.tar", {"sa_1.jpg": photo, "sa_2.json": text, **more})
    write_tar(tmp_path / "b.tar", {"sa_4.jpg": photo[: len(photo) // 2], "sa_4.json": text})
    source = Sa1bTars(tmp_path)
    assert len(source) == 4
    for index, message in ((0, "a/sa_1: there is no json"), (1, "a/sa_2: there is no jpg"), (2, "its json cannot")):
        with pytest.raises(BrokenSample, match=message):
            source[index]
    with pytest.raises(BrokenSample, match="b/sa_4: cannot be read as a photo"):
        source[3].pixels()


def test_tars_that_change_in_use(tars: Path) -> None:
    source = Sa1bTars(tars)
    os.truncate(tars / "sa_000001.tar", 600)
    with pytest.raises(BrokenSample, match="ends at byte"):
        source[7]
    source = Sa1bTars(tars / "sa_00000[0].tar")
    write_tar(tars / "sa_000000.tar", members(range(2)))
    source._held.clear()
    with pytest.raises(DataError, match=r"sa_000000\.tar: expected 3 pairs as at the start, got 2"):
        source[1]


def test_few_indexes_are_held(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sa1b, "INDEXES_HELD", 1)
    source = Sa1bTars(tars)
    for number in (0, 4, 1, 7):
        check(source[number], number)
        assert len(source._held) == 1


def test_tars_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder with \.tar files"):
        Sa1bTars(tmp_path)
    with pytest.raises(DataError, match=r"expected a folder with \.tar files"):
        Sa1bTars(tmp_path / "absent")
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no tar" * 200)
    with pytest.raises(DataError, match=r"bad\.tar: expected an uncompressed tar"):
        Sa1bTars(tmp_path)
    write_tar(bad, members(range(2)), "w:gz")
    with pytest.raises(DataError, match=r"bad\.tar: expected an uncompressed tar"):
        Sa1bTars(tmp_path)
    write_tar(bad, members(range(9)))
    os.truncate(bad, 3000)
    with pytest.raises(DataError, match=r"bad\.tar: .*unexpected end of data; fetch it again"):
        Sa1bTars(tmp_path)
    write_tar(bad, {"readme.txt": b"x"})
    with pytest.raises(DataError, match=r"no pairs of NAME\.jpg and NAME\.json in 1 tars"):
        Sa1bTars(tmp_path)
    (tmp_path / "more").mkdir()
    write_tar(tmp_path / "more" / "bad.tar", members(range(1)))
    with pytest.raises(DataError, match="tars with different names, got 2 with 1 names"):
        Sa1bTars(tmp_path / "**" / "*.tar")


def test_unpacked_pairs(tmp_path: Path) -> None:
    for number, folder in ((4, tmp_path), (9, tmp_path / "sa_000001")):
        folder.mkdir(exist_ok=True)
        photo, text = pair(number)
        (folder / f"sa_{number}.jpg").write_bytes(photo)
        (folder / f"sa_{number}.json").write_bytes(text)
    (tmp_path / "sa_5.jpg").write_bytes(pair(5)[0])
    (tmp_path / "sa_6.json").write_bytes(pair(6)[1])
    source = Sa1bFolder(tmp_path)
    assert len(source) == 4
    check(source[0], 9)
    assert source[0].key == "sa_000001/sa_9"
    check(source[1], 4)
    with pytest.raises(BrokenSample, match="sa_5: its json cannot be read"):
        source[2]
    with pytest.raises(BrokenSample, match="sa_6: cannot be read as a photo"):
        source[3].pixels()
    with pytest.raises(DataError, match="expected a folder with pairs"):
        Sa1bFolder(tmp_path / "absent")


# --- COCO and LVIS

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


# --- annotated sets, and configurations


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
