"""What detectors find, as results of COCO: the form that ViTDet, YOLO's exports and Grounding DINO write."""

from __future__ import annotations

import logging
import math
import os
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evsam.datasets.files import Counted
from evsam.datasets.packed import json_elements, json_text
from evsam.datasets.records import Box, Category, DataError, Id, as_id

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection:
    """What a detector found in a photo.

    Attributes:
        category: id of the :class:`evsam.datasets.Category` that it takes it for.
        score: how sure it is.
        box: x, y, width, height in pixels.
    """

    category: Id
    score: float
    box: Box


class Detections(Mapping[Id, Sequence[Detection]]):
    """Detections by image id, of each image the surest first; see :func:`read_detections`.

    Args:
        images: of each detection.
        categories: likewise.
        scores: likewise.
        boxes: likewise, four numbers each.
        remarks: what was left out.
    """

    def __init__(
        self,
        images: Sequence[Id],
        categories: Sequence[Id],
        scores: Sequence[float],
        boxes: Sequence[float],
        remarks: tuple[str, ...] = (),
    ) -> None:
        self.remarks = remarks
        # arrays, for there may be millions, in processes that share them
        numbers = {image: number for number, image in enumerate(dict.fromkeys(images))}
        owners = np.fromiter((numbers[image] for image in images), np.int64, len(images))
        values = np.array(scores, np.float64)
        order = np.lexsort((-values, owners))  # stable: equal scores stay in the order of the file
        self._scores, self._boxes = values[order], np.array(boxes, np.float64).reshape(-1, 4)[order]
        self._names = tuple(dict.fromkeys(categories))
        codes = {name: code for code, name in enumerate(self._names)}
        self._codes = np.fromiter((codes[name] for name in categories), np.int64, len(categories))[order]
        self._ends = np.searchsorted(owners[order], np.arange(len(numbers) + 1))
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Id]:
        return iter(self._numbers)

    def __getitem__(self, image: Id) -> tuple[Detection, ...]:
        number = self._numbers[image]
        span = slice(self._ends[number], self._ends[number + 1])
        rows = zip(self._codes[span].tolist(), self._scores[span].tolist(), self._boxes[span].tolist(), strict=True)
        return tuple(Detection(self._names[code], score, (x, y, w, h)) for code, score, (x, y, w, h) in rows)

    @property
    def total(self) -> int:
        """Detections of all images together."""
        return len(self._scores)


def read_detections(
    path: str | os.PathLike[str],
    images: Collection[Id] | None = None,
    categories: Mapping[Id, Category] | None = None,
) -> Detections:
    """The boxes that a detector found, from a file of results in COCO's form.

    That is a json list of ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``; whatever else stands
    there, such as masks, does not matter. Detections of an image or category that there is not, and those without a
    finite box or score, are left out, with one warning that counts them and names some
    (:attr:`Detections.remarks`).

    Args:
        path: the file.
        images: ids of the photos, such as :attr:`evsam.datasets.Photos.ids`; None or none for any.
        categories: of the photos, :attr:`evsam.datasets.Photos.categories`; None or none for any.

    Raises:
        DataError: the file cannot be read or is something else, or not one of its detections can be used.

    Example:
        >>> path = folder / "results.json"
        >>> _ = path.write_text('[{"image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.9}]')
        >>> read_detections(path)[7]
        (Detection(category=1, score=0.9, box=(1.0, 2.0, 30.0, 40.0)),)
    """
    source = Path(path)
    text = b""
    try:
        text = json_text(source)
        reading = _Reading(text, frozenset(images or ()), categories or {})
    except OSError as error:
        raise DataError(f"detections {source}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        hint = "; an object, as annotations are" if text[:1] == b"{" else ""
        raise DataError(
            f"detections {source}: expected json with a list of results (image_id, category_id, bbox, score): "
            f"{error}{hint}"
        ) from error
    left_out = f"left out: {reading.left_out}{reading.hint()}" if reading.left_out else ""
    if left_out and not reading.images:
        raise DataError(f"detections {source}: expected results for these photos, got none; {left_out}")
    if left_out:
        _log.warning("detections %s: %s", source, left_out)
    return Detections(
        reading.images, reading.categories, reading.scores, reading.boxes, (left_out,) if left_out else ()
    )


class _Reading:
    """The results in a json text that can be used, in their order."""

    def __init__(self, text: bytes, known: frozenset[Id], names: Mapping[Id, Category]) -> None:
        self.images: list[Id] = []
        self.categories: list[Id] = []
        self.scores, self.boxes = array("d"), array("d")
        self.left_out = Counted("image_id")
        self._names, self._seen = names, set[Id]()
        self._known = known
        for number, part in enumerate(json_elements(text)):
            self._add(part.value, number)

    def _add(self, record: Any, number: int) -> None:
        if not isinstance(record, dict) or not {"image_id", "category_id"} <= record.keys():
            self.left_out.add("results without image_id and category_id", f"of number {number}")
            return
        image, category = as_id(record["image_id"]), as_id(record["category_id"])
        self._seen.add(category)
        score, box = _number(record.get("score")), _four(record.get("bbox"))
        if self._known and image not in self._known:
            self.left_out.add("results of other images", image)
        elif self._names and category not in self._names:
            self.left_out.add("results of categories that there are not", image)
        elif not math.isfinite(score):
            self.left_out.add("results without a finite score", image)
        elif not all(map(math.isfinite, box)) or min(box[2:]) < 0:
            self.left_out.add("results without a finite bbox of x, y, width and height", image)
        else:
            self.images.append(image)
            self.categories.append(category)
            self.scores.append(score)
            self.boxes.extend(box)

    def hint(self) -> str:
        """What is probably meant by categories that there are not."""
        strangers = [name for name in self._seen if self._names and name not in self._names]
        if not strangers:
            return ""
        shown = ", ".join(sorted(map(str, strangers))[:5])
        numbered = self._seen <= set(range(len(self._names))) and 0 not in self._names
        return f"; category_id {shown}" + (
            f": categories numbered from 0, where those of the annotations begin with {min(map(str, self._names))}"
            if numbered
            else ""
        )


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf


def _four(box: Any) -> Box:
    if not isinstance(box, list) or len(box) != 4:
        return (math.nan,) * 4
    x, y, width, height = map(_number, box)
    return x, y, width, height
