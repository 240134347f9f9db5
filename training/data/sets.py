"""Annotated photo sets on disk.

A data directory holds ``SPLIT/SET.json`` and ``SPLIT/SET/FILE``. The json is
``{"images": [{"file", "w", "h", ...}], "anns": [{"image": index, "rle", "area", "bbox", "ignore_rle"?}]}`` with masks
in COCO's compressed run-length encoding and boxes as (x, y, width, height).
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from evsam.training.data.packed import Packed
from evsam.training.data.records import Annotation, BrokenSample, DataError, Photo, Photos, as_rle, read_span


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
            content = json.loads(path.read_bytes())
            masks: list[list[dict[str, Any]]] = [[] for _ in content["images"]]
            for record in content["anns"]:
                masks[record["image"]].append(record)
            photos = [[image["file"], found] for image, found in zip(content["images"], masks, strict=True) if found]
        except FileNotFoundError as error:
            sets = ", ".join(list_sets(root, split)) or "none"
            raise DataError(f"set {name}: no file {path}; sets of split {split}: {sets}") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(f'{path}: expected {{"images": [...], "anns": [...]}} as json: {error!r}') from error
        self._photos = Packed(photos)

    def __len__(self) -> int:
        return len(self._photos)

    def photo(self, index: int) -> Photo:
        """Photo number ``index``; its key is the name of its file."""
        file, records = self._photos[index]
        try:
            annotations = tuple(_annotation(record) for record in records)
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenSample(file, f"its annotations cannot be read: {error!r}") from error
        return Photo(file, annotations, partial(read_span, self._folder / file))


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
