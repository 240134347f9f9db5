"""Where photos come from: data directories, COCO and LVIS here, SA-1B in :mod:`evsam.training.data.sa1b`.

A data directory holds ``SPLIT/SET.json`` and ``SPLIT/SET/FILE``. The json is
``{"images": [{"file", "w", "h", ...}], "anns": [{"image": index, "rle", "area", "bbox", "ignore_rle"?}]}`` with masks
in COCO's compressed run-length encoding and boxes as (x, y, width, height).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from evsam.training.config import SourceConfig
from evsam.training.data.records import (
    Annotation,
    BrokenSample,
    DataError,
    Photo,
    Photos,
    PhotoSource,
    Rle,
    as_rle,
    measured,
    read_span,
)
from evsam.training.data.sa1b import Sa1bFolder, Sa1bTars

POLYGON_NUMBERS = 6
"""Three corners. pycocotools takes four numbers for a box, which no annotation means."""


def open_source(config: SourceConfig) -> Photos:
    """The photos of a source.

    Raises:
        DataError: they are not there, or are something else.
    """
    try:
        return _open(config)
    except DataError as error:
        raise DataError(f"source {config.name} ({config.kind}): {error}") from error


def _open(config: SourceConfig) -> Photos:
    match config.kind:
        case "annotated":
            assert config.set is not None
            return read_set(config.path, config.split, config.set)
        case "coco" | "lvis":
            assert config.annotations is not None
            return CocoPhotos(config.path, config.annotations)
        case "sa1b":
            return Sa1bTars(config.path, config.cache)
        case "sa1b-folder":
            return Sa1bFolder(config.path)


class NamedSource(Photos):
    """A source whose keys begin with its name, so that they are unique among several sources.

    Args:
        name: of the source.
        source: its photos.
    """

    def __init__(self, name: str, source: PhotoSource) -> None:
        self.name, self.source = name, source

    def __len__(self) -> int:
        return len(self.source)

    @property
    def groups(self) -> Sequence[int]:
        """As of the source."""
        return self.source.groups if isinstance(self.source, Photos) else super().groups

    def photo(self, index: int) -> Photo:
        """A photo whose key is ``NAME/KEY``.

        Raises:
            BrokenSample: its record cannot be read.
        """
        try:
            photo = self.source[index]
        except BrokenSample as error:
            raise BrokenSample(f"{self.name}/{error.key}", error.reason) from error
        return replace(photo, key=f"{self.name}/{photo.key}")


def open_named(config: SourceConfig) -> NamedSource:
    """The photos of a source under the keys that cached embeddings know them by.

    Raises:
        DataError: there are none where the configuration says.
    """
    return NamedSource(config.name, open_source(config))


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
            photos = [
                [with_slashes(self._folder, image["file"]), found]
                for image, found in zip(content["images"], masks, strict=True)
                if found
            ]
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


class CocoPhotos(Photos):
    """The photos of an annotation file that have at least one mask; masks of crowds are left out.

    Ids match whether they are numbers or text, and file names may have backslashes between folders.

    Args:
        photos: folder of the photos. For LVIS, whose sets mix photos of COCO's, either the folder that holds
            ``train2017`` and ``val2017``, or one with the photos of both.
        annotations: json file such as ``instances_val2017.json`` or ``lvis_v1_train.json``.

    Raises:
        DataError: the folder or the file is missing, the file holds something else, or its annotations are of none of
            its images.
    """

    def __init__(self, photos: Path, annotations: Path) -> None:
        self._folder = photos
        if not photos.is_dir():
            raise DataError(f"path {photos}: expected a folder with photos")
        try:
            content = json.loads(annotations.read_bytes())
            found: defaultdict[str, list[Any]] = defaultdict(list)
            for record in content["annotations"]:
                if not record.get("iscrowd"):
                    found[str(record["image_id"])].append(record["segmentation"])
            kept = [
                [self._file(image), image["height"], image["width"], found[str(image["id"])]]
                for image in content["images"]
                if str(image["id"]) in found
            ]
        except OSError as error:
            raise DataError(f"annotations {annotations}: cannot be read: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"annotations {annotations}: expected json of COCO or LVIS with images and annotations: {error!r}"
            ) from error
        if found and not kept:
            ids = [image["id"] for image in content["images"]]
            raise DataError(
                f"annotations {annotations}: expected each image_id to be the id of an image, got none that is: "
                f"image_id {', '.join(list(found)[:3])}; {len(ids)} images with id {', '.join(map(str, ids[:3]))}"
            )
        self._photos = Packed(kept)

    def __len__(self) -> int:
        return len(self._photos)

    def photo(self, index: int) -> Photo:
        """Photo number ``index``; its key is the path of its file in the folder."""
        file, height, width, segmentations = self._photos[index]
        try:
            rles = [as_mask(segmentation, height, width) for segmentation in segmentations]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BrokenSample(file, f"its annotations cannot be read: {error!r}") from error
        annotations = measured([rle for rle in rles if rle is not None])
        return Photo(file, annotations, partial(read_span, self._folder / file))

    def _file(self, image: dict[str, Any]) -> str:
        if "file_name" in image:
            return with_slashes(self._folder, image["file_name"])
        # LVIS: http://images.cocodataset.org/train2017/000000391895.jpg
        *_, split, name = PurePosixPath(image["coco_url"]).parts
        return f"{split}/{name}" if (self._folder / split).is_dir() else name


def with_slashes(folder: Path, name: str) -> str:
    """A file's path in a folder with the separators of this system, for json that was written on Windows.

    A backslash stays where a file has it in its name.
    """
    return name.replace("\\", "/") if "\\" in name and not (folder / name).exists() else name


def as_mask(segmentation: Any, height: int, width: int) -> Rle | None:
    """One mask from what COCO calls a segmentation: polygons [[x0, y0, x1, y1, ...], ...], or a run-length encoding.

    Returns:
        None where no polygon has an area.
    """
    if isinstance(segmentation, dict):
        return as_rle(segmentation)
    polygons = [polygon for polygon in segmentation if len(polygon) >= POLYGON_NUMBERS]
    if not polygons:
        return None
    merged: Rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return merged


class Packed(Sequence[Any]):
    """Values kept as json text, one after the other, and parsed when they are asked for.

    Python objects would take several times the memory; and worker processes, which share the memory of the process that
    they are forked from, would copy each as soon as they look at it, for its reference count is written.

    Args:
        values: anything that json can hold.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        text, ends = bytearray(), [0]
        for value in values:
            text += json.dumps(value, separators=(",", ":")).encode()
            ends.append(len(text))
        self._text, self._ends = bytes(text), np.array(ends)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return json.loads(self._text[self._ends[index] : self._ends[index + 1]])
