"""Annotated photos made for tests: sets of a data directory, pairs of SA-1B and tars of them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam.boxes import bounding_box

SIZE = (40, 60)


def encode(mask: np.ndarray) -> dict[str, object]:
    """Run-length encoding of a mask (H, W) as json can hold it."""
    coco_mask = pytest.importorskip("pycocotools.mask")
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """A photo (H, W, 3) as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, quality=95)
    return file.getvalue()


def jpg(pixels: np.ndarray) -> bytes:
    """A photo (H, W, 3) as the bytes of a JPEG file."""
    return png(pixels, "JPEG")


def _write_set(root: Path, split: str, name: str, photos: int, rng: np.random.Generator) -> None:
    folder = root / split / name
    folder.mkdir(parents=True)
    images, annotations = [], []
    for index in range(photos):
        height, width = 120, 160
        pixels = rng.integers(90, 140, (height, width, 3)).astype(np.uint8)
        y, x = np.mgrid[:height, :width]
        for _ in range(3):
            centre_x, centre_y, radius = rng.uniform(40, 120), rng.uniform(30, 90), rng.uniform(12, 28)
            mask = ((x - centre_x) / radius) ** 2 + ((y - centre_y) / (0.7 * radius)) ** 2 <= 1
            pixels[mask] = rng.integers(0, 256, 3)
            x0, y0, x1, y1 = bounding_box(mask)
            annotations.append(
                {
                    "image": index,
                    "rle": encode(mask),
                    "area": int(mask.sum()),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "kind": "object",
                }
            )
        file = f"{index}.png"
        Image.fromarray(pixels).save(folder / file)
        images.append({"file": file, "w": width, "h": height})
    (root / split / f"{name}.json").write_text(json.dumps({"images": images, "anns": annotations}))


def write_data_dir(root: Path) -> Path:
    """``train`` with the sets blobs and more, ``val`` with blobs: coloured ellipses on noise."""
    rng = np.random.default_rng(0)
    _write_set(root, "train", "blobs", 3, rng)
    _write_set(root, "train", "more", 2, rng)
    _write_set(root, "val", "blobs", 2, rng)
    return root


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


COCO_FILE = "val2017/000000000007.jpg"
COCO_URL = f"http://images.cocodataset.org/{COCO_FILE}"


def coco_file(folder: Path, **image: Any) -> Path:
    """A photo with a polygon in two parts, an encoding, a crowd and a line; and one with a crowd alone."""
    (folder / "val2017").mkdir()
    (folder / COCO_FILE).write_bytes(jpg(np.full((*SIZE, 3), 9, np.uint8)))
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
