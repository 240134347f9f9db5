"""Tars in the shape of SA-1B's: photos of its size, with as many masks, under its names."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

DIFFERENT = 5
"""Pairs that are made; tars repeat them under other names, for making one takes longer than reading it."""


@dataclass(frozen=True)
class Shape:
    """What a pair is like.

    Attributes:
        height: of the photo in pixels.
        width: of the photo in pixels.
        masks: of the photo.
    """

    height: int = 1500
    width: int = 2000
    masks: int = 60


def make_pair(shape: Shape, rng: np.random.Generator) -> tuple[bytes, dict[str, Any]]:
    """A JPEG of soft shapes and noise, and json that describes ellipses in it, from tiny ones to half of the photo."""
    size = (shape.width, shape.height)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse).astype(np.int16) + rng.integers(-12, 13, (shape.height, shape.width, 1))
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    annotations = []
    for number in range(shape.masks):
        a, b = np.exp(rng.uniform(np.log(6), np.log(min(size) / 3), 2))
        centre_x, centre_y = rng.uniform(0, shape.width), rng.uniform(0, shape.height)
        left, top = max(0, int(centre_x - 1.1 * a)), max(0, int(centre_y - 1.1 * b))
        y, x = np.ogrid[
            top : min(shape.height, int(centre_y + 1.1 * b)), left : min(shape.width, int(centre_x + 1.1 * a))
        ]
        ripple = 1 + 0.1 * np.sin(x / 7.0) * np.cos(y / 5.0)  # borders as uneven as real ones
        found = (((x - centre_x) / a) ** 2 + ((y - centre_y) / b) ** 2) * ripple <= 1
        mask = np.zeros((shape.height, shape.width), np.uint8, order="F")
        mask[top : top + found.shape[0], left : left + found.shape[1]] = found
        rle = coco_mask.encode(mask)
        annotations.append(
            {
                "id": number,
                "segmentation": {"size": [shape.height, shape.width], "counts": rle["counts"].decode()},
                "area": int(mask.sum()),
                "bbox": coco_mask.toBbox(rle).tolist(),
                "predicted_iou": 0.95,
                "stability_score": 0.97,
                "point_coords": [[centre_x, centre_y]],
                "crop_box": [0, 0, shape.width, shape.height],
            }
        )
    return file.getvalue(), {"annotations": annotations}


def make_tars(folder: Path, tars: int, pairs: int, shape: Shape, seed: int = 0) -> list[tuple[bytes, dict[str, Any]]]:
    """Write ``tars`` tars of ``pairs`` pairs each into a new folder; returns the pairs that they repeat in turns."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    made = [make_pair(shape, rng) for _ in range(min(DIFFERENT, pairs))]
    for tar in range(tars):
        write_tar(folder / f"sa_{tar:06d}.tar", _named(made, range(tar * pairs, (tar + 1) * pairs), shape))
    return made


def make_small_tars(folder: Path, tars: int, pairs: int) -> None:
    """Write tars of as many pairs, but with hardly anything in them: enough to index."""
    folder.mkdir(parents=True)
    for tar in range(tars):
        numbers = range(tar * pairs, (tar + 1) * pairs)
        files = ((f"sa_{number}{suffix}", b"x") for number in numbers for suffix in (".jpg", ".json"))
        write_tar(folder / f"sa_{tar:06d}.tar", files)


def write_tar(path: Path, files: Iterator[tuple[str, bytes]]) -> None:
    """Write named files into a tar."""
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _named(made: list[tuple[bytes, dict[str, Any]]], numbers: range, shape: Shape) -> Iterator[tuple[str, bytes]]:
    for number in numbers:
        photo, record = made[number % len(made)]
        name = f"sa_{number}"
        image = {"image_id": number, "width": shape.width, "height": shape.height, "file_name": f"{name}.jpg"}
        yield f"{name}.jpg", photo
        yield f"{name}.json", json.dumps({"image": image, **record}).encode()
