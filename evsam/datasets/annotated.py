"""Data directories: ``SPLIT/SET.json`` and ``SPLIT/SET/FILE``.

The json is ``{"images": [{"file", "w", "h", "license"?, ...}], "anns": [{"image": index, "rle", "area", "bbox",
"ignore_rle"?}]}``
with masks in COCO's compressed run-length encoding and boxes as (x, y, width, height).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from evsam.datasets.files import find_file, read_span, reason
from evsam.datasets.packed import Packed, json_parts, json_text
from evsam.datasets.records import Annotation, BrokenSample, DataError, Photo, Photos, as_rle


class AnnotatedSet(Photos):
    """The photos of one set that have at least one mask.

    Args:
        root: data directory.
        split: ``train`` or ``val``.
        name: name of the set.

    Raises:
        DataError: there is no such set, or its json is none.
    """

    def __init__(self, root: Path, split: str, name: str) -> None:
        self._folder = root / split / name
        path = root / split / f"{name}.json"
        try:
            text = json_text(path)
            self._photos = Packed(text, _by_photo(text))
        except FileNotFoundError as error:
            sets = ", ".join(list_sets(root, split)) or "none"
            raise DataError(f"set {name}: no file {path}; sets of split {split}: {sets}") from error
        except OSError as error:
            raise DataError(f"set {name}: {path} cannot be read: {error}") from error
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise DataError(f'{path}: expected {{"images": [...], "anns": [...]}} as json: {reason(error)}') from error

    def __len__(self) -> int:
        return len(self._photos)

    def photo(self, index: int) -> Photo:
        """Photo number ``index``; its key is the name of its file."""
        image, *records = self._photos[index]
        file = find_file(self._folder, str(image["file"]))
        try:
            annotations = tuple(_annotation(record) for record in records)
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenSample(file, f"its annotations cannot be read: {reason(error)}") from error
        licence = str(image.get("license") or "")
        return Photo(file, annotations, partial(read_span, self._folder / file), licence=licence)


def _by_photo(text: bytes) -> list[list[tuple[int, int]]]:
    """Of each photo with masks: where its record and those of its masks stand."""
    photos: list[list[tuple[int, int]]] = []
    masks: list[tuple[int, tuple[int, int]]] = []
    missing = {"images", "anns"}
    for part in json_parts(text, ("images", "anns")):
        missing.discard(part.name)
        span = part.begin, part.end
        if not part.element:
            continue
        if part.name == "images":
            part.value["file"]
            photos.append([span])
        else:
            masks.append((part.value["image"], span))
    if missing:
        raise KeyError(*sorted(missing))
    for index, span in masks:
        if index < 0:
            raise IndexError(f"image {index}")
        photos[index].append(span)
    return [spans for spans in photos if len(spans) > 1]


def _annotation(record: dict[str, Any]) -> Annotation:
    ignore = record.get("ignore_rle")
    x, y, width, height = record["bbox"]
    return Annotation(
        rle=as_rle(record["rle"]),
        box=(x, y, width, height),
        area=float(record["area"]),
        ignore=None if ignore is None else as_rle(ignore),
    )


def read_set(root: Path, split: str, name: str) -> AnnotatedSet:
    """The photos of one set that have at least one mask; see :class:`AnnotatedSet`."""
    return AnnotatedSet(root, split, name)


def list_sets(root: Path, split: str) -> list[str]:
    """Names of the sets of a split, sorted."""
    return sorted(path.stem for path in (root / split).glob("*.json"))
