"""Annotated photo sets on disk.

A data directory holds ``SPLIT/SET.json`` and ``SPLIT/SET/FILE``. The json is
``{"images": [{"file", "w", "h", ...}], "anns": [{"image": index, "rle", "area", "bbox", "ignore_rle"?}]}`` with masks
in COCO's compressed run-length encoding and boxes as (x, y, width, height).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Annotation:
    """One mask of a photo.

    Attributes:
        rle: COCO compressed run-length encoding, as pycocotools takes it.
        box: x, y, width, height in pixels.
        area: pixels in the mask.
        ignore: run-length encoding of pixels that belong neither to the object nor to its background, or None.
    """

    rle: dict[str, Any]
    box: tuple[float, float, float, float]
    area: float
    ignore: dict[str, Any] | None = None

    def decode(self) -> UInt8:
        """Mask (H, W), 0 or 1."""
        return coco_mask.decode(self.rle)

    def decode_ignore(self) -> UInt8 | None:
        """Ignored pixels (H, W), 0 or 1, or None."""
        return None if self.ignore is None else coco_mask.decode(self.ignore)


@dataclass(frozen=True)
class Photo:
    """A photo's file and its masks."""

    path: Path
    annotations: tuple[Annotation, ...]

    def pixels(self) -> UInt8:
        """RGB (H, W, 3)."""
        with Image.open(self.path) as image:
            return np.asarray(image.convert("RGB"))


def _rle(record: dict[str, Any]) -> dict[str, Any]:
    counts = record["counts"]
    return {"size": record["size"], "counts": counts.encode() if isinstance(counts, str) else counts}


def read_set(root: Path, split: str, name: str) -> list[Photo]:
    """The photos of one set that have at least one mask.

    Args:
        root: data directory.
        split: ``train`` or ``val``.
        name: name of the set.
    """
    content = json.loads((root / split / f"{name}.json").read_text())
    masks: list[list[Annotation]] = [[] for _ in content["images"]]
    for record in content["anns"]:
        ignore = record.get("ignore_rle")
        masks[record["image"]].append(
            Annotation(
                rle=_rle(record["rle"]),
                box=tuple(record["bbox"]),
                area=float(record["area"]),
                ignore=None if ignore is None else _rle(ignore),
            )
        )
    folder = root / split / name
    return [
        Photo(folder / image["file"], tuple(found))
        for image, found in zip(content["images"], masks, strict=True)
        if found
    ]


def list_sets(root: Path, split: str) -> list[str]:
    """Names of the sets of a split, sorted."""
    return sorted(path.stem for path in (root / split).glob("*.json"))
