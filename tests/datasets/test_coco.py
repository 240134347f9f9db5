"""Files of COCO and LVIS, and what is said of damaged ones."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evsam.datasets.coco import CocoPhotos
from evsam.datasets.records import BrokenSample, Category, DataError
from evsam.errors import BackendUnavailable
from tests.datasets.made import COCO_FILE as FILE
from tests.datasets.made import COCO_URL as URL
from tests.datasets.made import SIZE, coco_file, encode, jpg, mask_of


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
    assert polygon.box == (10.0, 5.0, 45.0, 30.0)
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
    for text, reason in (
        ('{"images": []}', "no annotations"),
        ("{}", "no annotations, images"),
        ("[]", "byte 0: expected {, got "),
        ("no json", "byte 0: expected {, got n"),
        ('{"images": 1, "annotations": []}', "images: expected an array"),
        ('{"images": ' + "[" * 100_000, "RecursionError"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=f"expected json of COCO or LVIS with images and annotations: {reason}"):
            CocoPhotos(tmp_path, path)
    with pytest.raises(DataError, match="expected a folder with photos"):
        CocoPhotos(path, path)


def write_photo(path: Path) -> None:
    path.write_bytes(jpg(np.full((*SIZE, 3), 9, np.uint8)))


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
    write_photo(folder / "photos" / "7.jpg")
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
        "2 annotations without image_id (id 9, number 10); 1 annotations whose image_id is the id of no image (id 8)"
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


CATEGORIES = [{"id": 1, "name": "cat", "frequency": "r"}, {"id": "2", "name": "dog"}, {"id": 4}]


def made(folder: Path, images: list[Any], annotations: list[Any], categories: list[Any] | None = None) -> Path:
    content = {"annotations": annotations, "images": images}  # LVIS has the annotations first
    path = folder / "x.json"
    path.write_text(json.dumps(content if categories is None else {**content, "categories": categories}))
    return path


def image(number: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "height": SIZE[0], "width": SIZE[1], "file_name": f"{number}.jpg", **more}


def annotation(number: Any, image_id: Any = 7, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "segmentation": [SQUARE], "category_id": 1, **more}


def test_what_evaluation_needs(tmp_path: Path) -> None:
    crowd = annotation(3, iscrowd=1, category_id=2, segmentation={"size": list(SIZE), "counts": runs(square())})
    images = [image(7, neg_category_ids=[2], not_exhaustive_category_ids=["4"]), image(8), image("b9")]
    records = [
        annotation(5, bbox=[9.5, 5, 20.5, 20], area=399.5),
        annotation("a6", "b9", category_id="2"),
        crowd,
        annotation(9, "b9", iscrowd=1),
    ]
    path = made(tmp_path, images, records, CATEGORIES)
    source = CocoPhotos(tmp_path, path, empty=True)
    assert [photo.id for photo in source] == [7, 8, "b9"] == list(source.ids)
    assert source.categories == {1: Category(1, "cat", "r"), 2: Category(2, "dog"), 4: Category(4, "4")}
    assert source.remarks == ()
    first, second, third = source
    assert (first.negative, first.not_exhaustive) == ((2,), (4,))
    (one,) = first.annotations
    assert (one.id, one.category, one.stated_box, one.stated_area) == (5, 1, (9.5, 5, 20.5, 20), 399.5)
    assert (one.box, one.area) == ((10, 5, 20, 20), 400)
    (group,) = first.crowds
    assert (group.id, group.category, group.stated_box, group.stated_area, group.area) == (3, 2, None, None, 400)
    assert np.array_equal(group.decode(), square())
    assert (second.annotations, second.crowds, second.size) == ((), (), SIZE)
    assert [one.category for one in third.annotations] == [2]
    assert len(third.crowds) == 1
    assert [photo.id for photo in CocoPhotos(tmp_path, path)] == [7, "b9"]
    for sent in (source, CocoPhotos(tmp_path, path)):
        assert pickle.loads(pickle.dumps(sent))[0].annotations == first.annotations


def test_categories_and_boxes_that_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes: list[Any] = [
        [58, 38, 9, 9],  # its corner is in the photo of 60 x 40
        [-5, -5, 6, 6],
        [60, 0, 5, 5],
        [0, 40, 5, 5],
        [-5, 0, 5, 5],
        [1, 1, 0, 5],
        [1, 1, -3, 5],
        [1, 1, 5],
        [1, 1, None, 5],
        [1, 1, float("nan"), 5],
        [1, 1, float("inf"), 5],
        "text",
        7,
        [],
    ]
    records = [annotation(number, bbox=box) for number, box in enumerate(boxes)]
    records += [annotation(20, category_id=3), annotation(21, category_id="cat")]
    records += [{name: value for name, value in annotation(22).items() if name != "category_id"}]
    records += [annotation(23 + number, area=area) for number, area in enumerate((-1, "wide", float("nan")))]
    source = CocoPhotos(tmp_path, made(tmp_path, [image(7)], records, CATEGORIES))
    found = source[0].annotations
    assert [one.stated_box for one in found[:2]] == [(58, 38, 9, 9), (-5, -5, 6, 6)]
    assert {one.stated_box for one in found[2:]} == {None}
    assert {one.box for one in found} == {(10, 5, 20, 20)}
    assert [one.category for one in found[14:]] == [None, None, None, 1, 1, 1]
    assert {one.stated_area for one in found} == {None}
    (remark,) = source.remarks
    assert remark == (
        "noted: 3 annotations whose category_id is the id of no category (id 20, 21, 22); "
        "11 annotations whose bbox is none, or outside of its image (the mask's is taken) (id 2, 3, 4, 5, 6, ...)"
    )
    assert remark in caplog.text
    # a photo whose size is not known may hold any box; and without categories all of them can be
    source = CocoPhotos(tmp_path, made(tmp_path, [image(7, width=-1)], [annotation(1, bbox=[60, 0, 5, 5])]))
    write_photo(tmp_path / "7.jpg")
    assert [(one.stated_box, one.category) for one in source[0].annotations] == [((60, 0, 5, 5), 1)]
    assert source.remarks == ()


def test_ids_that_occur_twice(tmp_path: Path) -> None:
    again = CocoPhotos(tmp_path, made(tmp_path, [image(7), image("7"), image(8)], [annotation(1), annotation(1.0)]))
    assert again.remarks == (
        "left out: 1 images that an earlier one repeats (id 7)",
        "noted: 1 annotations with the id of an earlier one (id 1)",
    )
    assert [len(photo.annotations) for photo in again] == [2]
    with pytest.raises(DataError, match=r"expected images with different ids, got id 7 for 7\.jpg and other\.jpg"):
        CocoPhotos(tmp_path, made(tmp_path, [image(7), image(7, file_name="other.jpg")], [annotation(1)]))


def test_images_that_share_a_file_have_keys_of_their_own(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    images = [image(number, file_name="a.jpg") for number in (7, 8)] + [image(9)]
    source = CocoPhotos(tmp_path, made(tmp_path, images, [annotation(1), annotation(2, 8), annotation(3, 9)]))
    assert [photo.key for photo in source] == ["a.jpg#7", "a.jpg#8", "9.jpg"]
    assert source[1].pixels().shape == (*SIZE, 3)
    write_photo(tmp_path / "9.jpg")
    images = [image(7, file_name="a.jpg"), image(8, file_name="C:\\there\\a.jpg"), image(9, file_name="/here/9.jpg")]
    source = CocoPhotos(tmp_path, made(tmp_path, images, [annotation(1), annotation(2, 8), annotation(3, 9)]))
    assert [photo.key for photo in source] == ["a.jpg#7", "a.jpg#8", "9.jpg"], "though they are stated otherwise"


@pytest.mark.parametrize("name", ["a" * 5000 + ".jpg", "a\0.jpg", ""])
def test_names_that_no_file_can_have_break_their_photo_alone(tmp_path: Path, name: str) -> None:
    write_photo(tmp_path / "8.jpg")
    annotations = [annotation(1), annotation(2, 8)]
    source = CocoPhotos(tmp_path, made(tmp_path, [image(7, file_name=name), image(8)], annotations))
    with pytest.raises(BrokenSample, match="cannot be read as a photo"):
        source[0].pixels()
    assert source[1].pixels().shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([], [annotation(1)], "expected images, got none"),
        ([{"id": 7}], [annotation(1)], "expected images, got none"),
        ([image(7)], [], "expected annotations with a segmentation, got none; left out: none"),
        ([image(7)], [{"id": 1, "image_id": 7}], r"got none; left out: 1 annotations without a segmentation \(id 1\)"),
        ([image(7)], [annotation(1, 8)], "expected each image_id to be the id of an image, .*: image_id 8; 1 images"),
    ],
)
def test_files_without_images_or_annotations(
    tmp_path: Path, images: list[Any], annotations: list[Any], message: str
) -> None:
    path = made(tmp_path, images, annotations)
    for empty in (False, True):
        with pytest.raises(DataError, match=message):
            CocoPhotos(tmp_path, path, empty=empty)


def test_results_in_place_of_annotations(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"image_id": 7}]')
    with pytest.raises(DataError, match=r"expected json of COCO or LVIS .*; a list, as results of a detector are"):
        CocoPhotos(tmp_path, tmp_path / "x.json")


def test_crowds_alone(tmp_path: Path) -> None:
    path = made(tmp_path, [image(7)], [annotation(1, iscrowd=1)])
    assert len(CocoPhotos(tmp_path, path)) == 0
    (photo,) = CocoPhotos(tmp_path, path, empty=True)
    assert (len(photo.annotations), len(photo.crowds)) == (0, 1)


def test_a_photo_of_another_size_than_a_crowd_is_broken(tmp_path: Path) -> None:
    write_photo(tmp_path / "7.jpg")
    crowd = annotation(1, iscrowd=1, segmentation={"size": [2, 2], "counts": [4]})
    photo = CocoPhotos(tmp_path, made(tmp_path, [image(7)], [crowd]), empty=True)[0]
    with pytest.raises(BrokenSample, match=r"expected masks of 40 x 60 pixels .*got size \[2, 2\]"):
        photo.pixels()


def test_without_pycocotools_polygons_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = CocoPhotos(tmp_path, made(tmp_path, [image(7)], [annotation(1, segmentation=encode(square()))]))
    polygons = CocoPhotos(tmp_path, made(tmp_path, [image(7)], [annotation(1)]))
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    assert np.array_equal(encoded[0].annotations[0].decode(), square())
    with pytest.raises(BackendUnavailable, match=r"needs pycocotools; use pip install 'evsam\[eval\]'"):
        polygons[0]
