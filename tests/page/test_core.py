"""What the page's modules (page/src/core) make of masks: as Python does, and as the programs read it that it is for.

Their own tests (``npm test`` in ``page``) need no Python.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam.polygons import signed_area, trace_polygons
from evsam.rle import decode_rle, encode_rle
from tests.builds import ROOT, run, tool

TOLERANCES = [0, 0.75, 1.5, 4]
NASTY = '<a & "b">\n\'é😀 ]]>'


def blob(shape: tuple[int, int], seed: int, smooth: float) -> np.ndarray:
    """A mask of parts and holes with round outlines."""
    filters = pytest.importorskip("scipy.ndimage")
    field = filters.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), smooth)
    return np.asarray(field > 0.4 * field.std())


def photos() -> list[dict[str, Any]]:
    """Photos with things that overlap, touch the border, have holes, or are a pixel."""
    y, x = np.mgrid[:97, :131]
    ring = (np.hypot(y - 50, x - 60) < 30) & (np.hypot(y - 50, x - 60) > 12)
    frame = np.ones((97, 131), bool)
    frame[1:-1, 1:-1] = False
    pixel = np.zeros((97, 131), bool)
    pixel[96, 130] = True
    checks = (y + x) % 2 == 0
    large = [np.ones((97, 131), bool), ring, frame, pixel, blob((97, 131), 1, 4), blob((97, 131), 2, 1), checks]
    noise = [np.random.default_rng(3).random((23, 37)) < density for density in (0.03, 0.5, 0.97)]
    return [
        {"name": "folder/a.jpg", "masks": large, "names": ["all", "ring", NASTY, "dot", "ring", "specks", "checks"]},
        {"name": "b.jpg", "masks": noise, "names": ["ring", "noise", "noise"]},
        {"name": "one.png", "masks": [np.ones((1, 1), bool)], "names": ["dot"]},
    ]


@pytest.fixture(scope="module")
def answer(tmp_path_factory) -> dict[str, Any]:
    """What tests/page/exporting.ts says of the photos."""
    node = tool("node", "page")
    bundler = ROOT / "page" / "node_modules" / ".bin" / "rolldown"
    if not bundler.exists():
        pytest.skip("page: its packages are not installed (npm ci in page)")
    script = tmp_path_factory.mktemp("page") / "exporting.mjs"
    run(bundler, Path(__file__).with_name("exporting.ts"), "--platform", "node", "--format", "esm", "--file", script)
    given = [
        {
            "name": photo["name"],
            "width": photo["masks"][0].shape[1],
            "height": photo["masks"][0].shape[0],
            "things": [
                {"name": name, "colour": f"#0000{index:02x}", "mask": "".join(mask.astype(int).astype(str).ravel())}
                for index, (name, mask) in enumerate(zip(photo["names"], photo["masks"], strict=True))
            ],
        }
        for photo in photos()
    ]
    done = subprocess.run(
        [node, script],
        input=json.dumps({"photos": given, "tolerances": TOLERANCES}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def masks() -> list[np.ndarray]:
    return [mask for photo in photos() for mask in photo["masks"]]


def files(answer: dict[str, Any], form: str) -> dict[str, bytes]:
    return {name: base64.b64decode(content) for name, content in answer["files"][form].items()}


def test_run_lengths_are_those_of_pycocotools_and_of_evsam(answer) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    for mask, rle, counts, pixels in zip(masks(), answer["rles"], answer["counts"], answer["decoded"], strict=True):
        theirs = coco.encode(np.asfortranarray(mask.view(np.uint8)))
        assert rle == encode_rle(mask) == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}
        assert np.array_equal(decode_rle({"size": rle["size"], "counts": counts}), mask)
        assert base64.b64decode(pixels) == mask.tobytes()


@pytest.mark.parametrize("place", range(len(TOLERANCES)))
def test_polygons_are_those_of_evsam(answer, place) -> None:
    for mask, found in zip(masks(), answer["polygons"][place], strict=True):
        expected = trace_polygons(mask, TOLERANCES[place])
        assert found == [[np.ravel(ring).tolist() for ring in polygon.tolist()] for polygon in expected]


def test_cocos_json_is_loaded_by_pycocotools(answer, tmp_path) -> None:
    module = pytest.importorskip("pycocotools.coco")
    ((name, content),) = files(answer, "coco").items()
    assert name == "annotations-coco.json"
    path = tmp_path / name
    path.write_bytes(content)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = module.COCO(str(path))
    at = 0
    for photo, image in zip(photos(), coco.loadImgs(coco.getImgIds()), strict=True):
        assert image["file_name"] == photo["name"]
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask = masks()[at]
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
            names = [name for photo in photos() for name in photo["names"]]
            assert coco.loadCats(annotation["category_id"])[0]["name"] == names[at]
            at += 1
    assert at == len(masks())
    assert len(coco.getCatIds()) == 7


def test_label_maps_are_read_by_pillow(answer) -> None:
    found = files(answer, "labels")
    assert list(found) == ["folder/a-labels.png", "b-labels.png", "one-labels.png"]
    for photo, content in zip(photos(), found.values(), strict=True):
        with Image.open(io.BytesIO(content)) as image:
            assert image.mode == "L"
            labels = np.asarray(image)
        expected = np.zeros(photo["masks"][0].shape, int)
        for index in sorted(range(len(photo["masks"])), key=lambda index: -photo["masks"][index].sum()):
            expected[photo["masks"][index]] = index + 1
        assert np.array_equal(labels, expected)


def test_cut_outs_are_read_by_pillow(answer) -> None:
    found = files(answer, "cutout")
    assert len(found) == len(masks())
    for mask, content in zip(masks(), found.values(), strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        y, x = np.mgrid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        inside = mask[y, x]
        expected = np.stack([x % 256, y % 256, x * y % 256, np.full_like(x, 255)], -1) * inside[..., None]
        with Image.open(io.BytesIO(content)) as image:
            assert image.mode == "RGBA"
            assert np.array_equal(np.asarray(image), expected)


def fill(rings: list[np.ndarray], shape: tuple[int, int], winding: bool) -> np.ndarray:
    """Pixels whose middles are inside, by how often a line to the left crosses the rings, or in which direction."""
    height, width = shape
    changes = np.zeros((height, width + 1), int)
    for ring in rings:
        for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, 0), strict=True):
            rows = np.arange(max(0, np.ceil(min(ay, by) - 0.5)), min(height, np.ceil(max(ay, by) - 0.5)), dtype=int)
            if len(rows):
                x = ax + (rows + 0.5 - ay) / (by - ay) * (bx - ax)
                changes[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] += 1 if by > ay or not winding else -1
    crossed = changes.cumsum(1)[:, :width]
    return crossed != 0 if winding else crossed % 2 == 1


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("winding", [False, True])
def test_yolos_polygons_cover_what_the_masks_do(answer, winding) -> None:
    found = files(answer, "yolo")
    assert list(found) == ["labels/folder/a.txt", "labels/b.txt", "labels/one.txt", "classes.txt", "data.yaml"]
    classes = found["classes.txt"].decode().splitlines()
    yaml = pytest.importorskip("yaml")
    names = yaml.safe_load(found["data.yaml"])["names"]
    assert list(names.values()) == classes
    assert classes == ["all", "ring", NASTY.replace("\n", " "), "dot", "specks", "checks", "noise"]
    for photo, content in zip(photos(), found.values(), strict=False):
        lines = content.decode().splitlines()
        for line, mask, name in zip(lines, photo["masks"], photo["names"], strict=True):
            number, *places = line.split()
            assert classes[int(number)] == name.replace("\n", " ")
            ring = np.array(places, float).reshape(-1, 2) * mask.shape[::-1]
            assert len(ring) >= 3
            assert overlap(fill([ring], mask.shape, winding), mask) >= 0.98


def test_yolos_polygons_as_opencv_fills_them(answer) -> None:
    """As Ultralytics does: with whole numbers, and with the outline."""
    cv2 = pytest.importorskip("cv2")
    line = files(answer, "yolo")["labels/folder/a.txt"].decode().splitlines()[1]  # the ring
    mask = photos()[0]["masks"][1]
    ring = np.array(line.split()[1:], float).reshape(-1, 2) * mask.shape[::-1]
    picture = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(picture, [np.asarray(ring, np.int32)], color=1)
    assert overlap(picture == 1, mask) > 0.92  # the outline is a pixel wide, and so is what joins the hole to it


def test_svg_is_parsed(answer) -> None:
    found = files(answer, "svg")
    space = {"svg": "http://www.w3.org/2000/svg"}
    for photo, content in zip(photos(), found.values(), strict=True):
        root = ET.fromstring(content)
        shape = photo["masks"][0].shape
        assert root.get("viewBox") == f"0 0 {shape[1]} {shape[0]}"
        paths = root.findall("svg:path", space)
        order = sorted(range(len(photo["masks"])), key=lambda index: -photo["masks"][index].sum())
        assert [path.get("id") for path in paths] == [f"thing-{index + 1}" for index in order]
        for path, index in zip(paths, order, strict=True):
            title = path.find("svg:title", space)
            assert title is not None
            assert title.text == photo["names"][index].replace("\n", " ")
            assert path.get("fill") == f"#0000{index:02x}"
            rings = [
                np.array([place.split(",") for place in ring.strip("MZ").split()], float)
                for ring in (path.get("d") or "").split("Z")[:-1]
            ]
            drawn = fill(rings, shape, winding=False)
            if photo["names"][index] in ("all", "ring"):
                assert overlap(drawn, photo["masks"][index]) > 0.95


def test_geojsons_rings_are_closed_and_keep_to_the_right_hand_rule(answer) -> None:
    for photo, content in zip(photos(), files(answer, "geojson").values(), strict=True):
        document = json.loads(content)
        assert document["type"] == "FeatureCollection"
        for feature, mask, name in zip(document["features"], photo["masks"], photo["names"], strict=True):
            assert feature["properties"]["name"] == name
            kind, coordinates = feature["geometry"]["type"], feature["geometry"]["coordinates"]
            polygons = [coordinates] if kind == "Polygon" else coordinates
            for outer, *holes in polygons:
                for ring in (outer, *holes):
                    assert ring[0] == ring[-1]
                    corners = [tuple(corner) for corner in ring[1:]]
                    assert len(corners) == len(set(corners)) >= 4  # it does not meet itself
                assert signed_area(np.array(outer[:-1])) > 0
                assert all(signed_area(np.array(hole[:-1])) < 0 for hole in holes)
            rings = [np.array(ring[:-1], float) for polygon in polygons for ring in polygon]
            assert np.array_equal(fill(rings, mask.shape, winding=False), mask)
