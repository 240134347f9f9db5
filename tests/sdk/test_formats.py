"""Documents as the programs read them that they are for; labelme's reading is written out here by its documentation."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from evsam import EvsamError
from evsam.formats import coco_document, join_coco, label_map, label_picture, labelme_document, svg_document
from evsam.overlay import mask_colour
from evsam.rle import encode_rle

SIZE = (60, 80)


def _masks() -> list[np.ndarray]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = (y - 30) ** 2 + (x - 40) ** 2 < 400
    two = np.zeros(SIZE, bool)
    two[2:12, 3:20] = two[40:55, 60:80] = True
    ring = disc & ~((y - 30) ** 2 + (x - 40) ** 2 < 100)
    return [disc, two, ring, np.zeros(SIZE, bool)]


@pytest.fixture(params=["arrays", "rle"])
def masks(request) -> list[Any]:
    return [encode_rle(mask) for mask in _masks()] if request.param == "rle" else _masks()


def _load_coco(document: dict[str, Any], path):
    coco = pytest.importorskip("pycocotools.coco")
    path.write_text(json.dumps(document))
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = coco.COCO(str(path))
        results = loaded.loadRes(document["annotations"])
    return loaded, results


@pytest.mark.parametrize("tolerance", [None, 0.0])
def test_coco_loads_the_document(masks, tmp_path, tolerance) -> None:
    names = ["cat", "dog", "cat", "bird"]
    document = coco_document(
        masks, SIZE, scores=np.array([0.5, 0.25, 1, 0], np.float32), file_name="a.jpg", image_id=9, names=names,
        tolerance=tolerance,
    )  # fmt: skip
    loaded, results = _load_coco(document, tmp_path / "coco.json")
    assert loaded.loadImgs(9) == [{"id": 9, "file_name": "a.jpg", "height": 60, "width": 80}]
    assert [loaded.cats[i]["name"] for i in sorted(loaded.cats)] == ["cat", "dog", "bird"]
    annotations = loaded.loadAnns(loaded.getAnnIds(9))
    assert [loaded.cats[a["category_id"]]["name"] for a in annotations] == names[:3]
    assert [a["score"] for a in annotations] == [0.5, 0.25, 1]
    for annotation, mask in zip(annotations, _masks(), strict=False):
        assert np.array_equal(loaded.annToMask(annotation), mask)
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
        assert annotation["bbox"] == box
        assert annotation["area"] == mask.sum()
    assert len(results.anns) == 3
    kinds = [type(a["segmentation"]) for a in document["annotations"]]
    assert kinds == ([dict] * 3 if tolerance is None else [list, list, dict])  # the ring has a hole


def test_one_coco_document_of_several_photos(tmp_path) -> None:
    disc, two, ring, empty = _masks()
    documents = [
        coco_document([disc, empty, two], SIZE, file_name="a.jpg", image_id=1, names=["cat", "cat", "dog"]),
        coco_document([], SIZE, file_name="b.jpg", image_id=2),
        coco_document([ring, two], SIZE, file_name="c.jpg", image_id=3, names=["bird", "cat"]),
    ]
    before = json.dumps(documents)
    loaded, _ = _load_coco(join_coco(documents), tmp_path / "coco.json")
    assert json.dumps(documents) == before
    assert {i: image["file_name"] for i, image in loaded.imgs.items()} == {1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}
    told = [(i, a["image_id"], loaded.cats[a["category_id"]]["name"]) for i, a in sorted(loaded.anns.items())]
    assert told == [(1, 1, "cat"), (2, 1, "dog"), (3, 3, "bird"), (4, 3, "cat")]
    assert np.array_equal(loaded.annToMask(loaded.anns[3]), ring)
    assert join_coco([]) == {"images": [], "annotations": [], "categories": []}


def test_coco_polygons_with_a_tolerance_stay_close(tmp_path) -> None:
    document = coco_document(_masks()[:2], SIZE, tolerance=1.0)
    loaded, _ = _load_coco(document, tmp_path / "coco.json")
    assert all("score" not in annotation for annotation in document["annotations"])
    assert len(document["annotations"][0]["segmentation"][0]) < 60
    for annotation, mask in zip(document["annotations"], _masks(), strict=False):
        other = loaded.annToMask(annotation).astype(bool)
        assert (other & mask).sum() / (other | mask).sum() > 0.95


def _from_labelme(document: dict[str, Any], shape: dict[str, Any]) -> np.ndarray:
    mask = Image.new("1", (document["imageWidth"], document["imageHeight"]))
    if shape["shape_type"] == "polygon":  # corners of pixels; Pillow's polygons have the pixels' middles as corners
        large = Image.new("1", (mask.width * 8, mask.height * 8))
        ImageDraw.Draw(large).polygon([(8 * x, 8 * y) for x, y in shape["points"]], fill=1)
        return np.asarray(large)[4::8, 4::8]
    (x0, y0), (x1, y1) = np.array(shape["points"]).astype(int)
    part = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
    assert part.shape == (y1 - y0 + 1, x1 - x0 + 1)
    pixels = np.zeros((mask.height, mask.width), bool)
    pixels[y0 : y1 + 1, x0 : x1 + 1] = part
    return pixels


def test_labelme_shapes_are_the_masks(masks) -> None:
    document = labelme_document(
        masks, SIZE, "../a.jpg", names=["a", "b", "c", "d"], scores=[0.5, 0.25, 1, 0], tolerance=0
    )
    assert json.loads(json.dumps(document)) == document
    assert (document["imagePath"], document["imageHeight"], document["imageWidth"]) == ("../a.jpg", 60, 80)
    assert document["imageData"] is None
    assert [(s["label"], s["group_id"], s["shape_type"]) for s in document["shapes"]] == [
        ("a", None, "polygon"),
        ("b", 2, "polygon"),
        ("b", 2, "polygon"),
        ("c", None, "mask"),
    ]
    assert document["shapes"][1]["description"] == "score 0.250"
    for index, label in enumerate("abc"):
        drawn = [_from_labelme(document, shape) for shape in document["shapes"] if shape["label"] == label]
        assert np.array_equal(np.any(drawn, axis=0), _masks()[index])


def test_svg_has_a_path_for_each_mask(masks) -> None:
    text = svg_document(masks, SIZE, titles=["a <1>", "b", "c", "d"], photo="a&b.jpg", opacity=0.3, tolerance=0)
    root: Any = ET.fromstring(text)
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("80", "60", "0 0 80 60")
    name = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{name}image").get("href") == "a&b.jpg"
    paths = root.findall(f"{name}path")
    assert [path.get("id") for path in paths] == ["mask-1", "mask-3", "mask-2"]  # by area
    assert paths[0].find(f"{name}title").text == "a <1>"
    for path in paths:
        index = int(path.get("id")[-1]) - 1
        drawn = np.zeros(SIZE, bool)
        for ring in path.get("d").removesuffix("Z").split("Z"):
            large = Image.new("1", (80 * 8, 60 * 8))
            corners = [tuple(8 * int(n) for n in pair.split(",")) for pair in ring.removeprefix("M").split()]
            ImageDraw.Draw(large).polygon(corners, fill=1)
            drawn ^= np.asarray(large)[4::8, 4::8]
        assert np.array_equal(drawn, _masks()[index])
        assert path.get("fill") == "#{:02x}{:02x}{:02x}".format(*mask_colour(index))
        assert (path.get("fill-opacity"), path.get("fill-rule")) == ("0.3", "evenodd")


def test_label_map_gives_smaller_masks_the_pixels(masks) -> None:
    disc, two, ring, _ = _masks()
    expected = np.zeros(SIZE, int)
    for number, mask in ((1, disc), (3, ring), (2, two)):
        expected[mask] = number
    labels = label_map(masks, SIZE)
    assert labels.dtype == np.int32
    assert np.array_equal(labels, expected)
    assert np.array_equal(np.asarray(label_picture(masks, SIZE)), expected)


def test_label_maps_have_the_numbers_that_are_given() -> None:
    left, right = np.eye(2, dtype=np.bool_)[:, None]
    for numbers, mode in (((4, 1), "P"), ((1, 256), "I;16"), ((65535, 2), "I;16")):
        picture = label_picture([left, right], (1, 2), numbers=numbers)
        assert picture.mode == mode
        assert np.asarray(picture).tolist() == [list(numbers)]
    with pytest.raises(EvsamError, match="at most 65535 for a picture, got 65536"):
        label_picture([left], (1, 2), numbers=[65536])


def test_label_pictures_in_a_viewer(tmp_path) -> None:
    disc, two, _, _ = _masks()
    label_picture([disc], SIZE).save(tmp_path / "one.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png").convert("L")), 255 * disc)
    label_picture([disc, two & ~disc], SIZE).save(tmp_path / "two.png")
    seen = np.asarray(Image.open(tmp_path / "two.png").convert("RGB"))
    assert (seen[disc] == mask_colour(0)).all()
    assert (seen[two & ~disc] == mask_colour(1)).all()
    assert (seen[~disc & ~two] == 0).all()


def test_label_map_of_many_masks(tmp_path) -> None:
    masks = np.zeros((300, 20, 20), bool)
    masks.reshape(300, -1)[np.arange(300), np.arange(300)] = True
    label_picture(masks, (20, 20)).save(tmp_path / "many.png")
    labels = np.asarray(Image.open(tmp_path / "many.png")).ravel()
    assert np.array_equal(labels[:300], np.arange(1, 301))
    assert (labels[300:] == 0).all()


@pytest.mark.parametrize(
    ("photo", "url"),
    [
        ("in/a b.jpg", "in/a%20b.jpg"),
        ("50% #1?.jpg", "50%25%20%231%3F.jpg"),
        ("\u00e4\udcff\n.jpg", "%C3%A4%FF%0A.jpg"),  # in Latin-1 on the disk, and with an end of line
        (Path("a&'\".jpg"), "a&%27%22.jpg"),
        ("https://host/a%20b.jpg?x=1&y=2#z", "https://host/a%20b.jpg?x=1&y=2#z"),
        ("data:image/png;base64,AA+/=", "data:image/png;base64,AA+/="),
    ],
)
def test_svg_finds_the_photo(photo, url) -> None:
    root: Any = ET.fromstring(svg_document([], SIZE, photo=photo).encode())
    (image,) = root
    assert image.get("href") == url


@pytest.mark.parametrize("names", [["a"], ["a", 1], [], 5 * ["a"]])
def test_one_name_for_each_mask(names) -> None:
    for write in (
        lambda masks: coco_document(masks, SIZE, names=names),
        lambda masks: labelme_document(masks, SIZE, "a.jpg", names=names),
    ):
        with pytest.raises(EvsamError, match="names: expected a text, or one for each of 2 masks, got"):
            write(_masks()[:2])
