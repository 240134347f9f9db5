"""Pairs of SA-1B, and tars of them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

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
