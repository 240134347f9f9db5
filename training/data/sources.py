"""Where photos come from: data directories, COCO and LVIS here, SA-1B in :mod:`evsam.training.data.sa1b`.

A data directory holds ``SPLIT/SET.json`` and ``SPLIT/SET/FILE``. The json is
``{"images": [{"file", "w", "h", ...}], "anns": [{"image": index, "rle", "area", "bbox", "ignore_rle"?}]}`` with masks
in COCO's compressed run-length encoding and boxes as (x, y, width, height).
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
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

_log = logging.getLogger(__name__)

NAMED = 5
"""Ids that a message names before it only counts."""

LARGEST_SIDE = 1 << 20
"""Pixels; what is said to be larger is no photo."""

FAR = 16
"""Sides of the photo that a corner of a polygon may be away."""

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
                if record["image"] < 0:
                    raise IndexError(f"image {record['image']}")
                masks[record["image"]].append(record)
            photos = [
                [str(image["file"]), found] for image, found in zip(content["images"], masks, strict=True) if found
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
        stated, records = self._photos[index]
        file = find_file(self._folder, stated)
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

    What people's tools write is taken as far as it can be used: ids as numbers or as text; paths with backslashes or of
    another machine; no ``iscrowd``; polygons as a list of numbers or of pairs; sizes that are missing or -1, for which
    the photo's own is taken. Annotations without a segmentation or an image, and images without an id or a name, are
    left out, with one warning that counts them and names some. A mask that is damaged breaks its photo.

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
            images, records = list(content["images"]), list(content["annotations"])
        except OSError as error:
            raise DataError(f"annotations {annotations}: cannot be read: {error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"annotations {annotations}: expected json of COCO or LVIS with images and annotations: {error!r}"
            ) from error
        left_out = LeftOut()
        known = {_id(image["id"]): image for image in images if _has_name(image, left_out)}
        found, strangers = _by_image(records, known, left_out)
        if strangers and not found:
            raise DataError(
                f"annotations {annotations}: expected each image_id to be the id of an image, got none that is: "
                f"image_id {', '.join(strangers[:3])}; {len(known)} images with id {', '.join(list(known)[:3])}"
            )
        if left_out.texts:
            _log.warning("annotations %s: left out: %s", annotations, left_out)
        self._photos = Packed(
            [self._file(image), _size(image), found[number]] for number, image in known.items() if number in found
        )

    def __len__(self) -> int:
        return len(self._photos)

    def photo(self, index: int) -> Photo:
        """Photo number ``index``; its key is the path of its file in the folder."""
        stated, size, records = self._photos[index]
        file = find_file(self._folder, stated)
        photo = Photo(file, (), partial(read_span, self._folder / file), None if size is None else (size[0], size[1]))
        rles = []
        for name, segmentation in records:
            if size is None and not isinstance(segmentation, dict):
                size = photo.pixels().shape[:2]
            try:
                rle = as_mask(segmentation, *(size or (0, 0)))
            except (TypeError, ValueError) as error:
                raise BrokenSample(file, f"its annotations cannot be read: annotation {name}: {error}") from error
            if rle is not None:
                rles.append(rle)
        return replace(photo, annotations=measured(rles))

    def _file(self, image: dict[str, Any]) -> str:
        if isinstance(image.get("file_name"), str):
            return str(image["file_name"])
        # LVIS: http://images.cocodataset.org/train2017/000000391895.jpg
        *_, split, name = PurePosixPath(image["coco_url"]).parts
        return f"{split}/{name}" if (self._folder / split).is_dir() else name


class LeftOut:
    """What is not used of an annotation file: counted by reason, and the first few by name."""

    def __init__(self) -> None:
        self.texts: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, name: str) -> None:
        """Count one more."""
        self.texts[reason].append(name)

    def __str__(self) -> str:
        return "; ".join(
            f"{len(names)} {reason} (id {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
            for reason, names in self.texts.items()
        )


def _by_image(
    records: Sequence[Any], images: Container[str], left_out: LeftOut
) -> tuple[dict[str, list[list[Any]]], list[str]]:
    """Name and segmentation of the annotations that can be used, by the id of their image; ids of images unknown."""
    found: defaultdict[str, list[list[Any]]] = defaultdict(list)
    strangers: list[str] = []
    for index, record in enumerate(records):
        name = _id(record["id"]) if isinstance(record, dict) and "id" in record else f"number {index}"
        if not isinstance(record, dict) or "image_id" not in record:
            left_out.add("annotations without image_id", name)
        elif (image := _id(record["image_id"])) not in images:
            strangers.append(image)
            left_out.add("annotations whose image_id is the id of no image", name)
        elif _is_crowd(record):
            continue
        elif not _is_segmentation(record.get("segmentation")):
            left_out.add("annotations without a segmentation", name)
        else:
            found[image].append([name, record["segmentation"]])
    return found, strangers


def _id(value: Any) -> str:
    """Ids match whether they are numbers or text, and 7.0 is 7."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _has_name(image: Any, left_out: LeftOut) -> bool:
    named = isinstance(image, dict) and any(isinstance(image.get(key), str) for key in ("file_name", "coco_url"))
    if named and "id" in image:
        return True
    left_out.add(
        "images without id or file_name", _id(image.get("id")) if isinstance(image, dict) else repr(image)[:20]
    )
    return False


def _is_crowd(record: dict[str, Any]) -> bool:
    return str(record.get("iscrowd", 0)).lower() in ("1", "1.0", "true")


def _is_segmentation(segmentation: Any) -> bool:
    """Whether there is one at all; whether it can be read is seen when its photo is."""
    return isinstance(segmentation, (list, dict)) and bool(segmentation) and segmentation != [[]]


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width, or None where they are missing or cannot be."""
    size = image.get("height"), image.get("width")
    try:
        height, width = (int(length) for length in size)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return (height, width) if min(height, width) > 0 and max(height, width) <= LARGEST_SIDE else None


def find_file(folder: Path, name: str) -> str:
    """A file's path in a folder, for json that was written elsewhere.

    Backslashes are separators unless a file has them in its name; of a path that is not there, such as an absolute one
    of another machine, leading folders are left out until it is.

    Returns:
        The path, with the separators of this system; where nothing is there, as it was given.
    """
    if (folder / name).exists():
        return name
    slashed = name.replace("\\", "/")
    parts = PurePosixPath(slashed).parts
    tails = [slashed, *("/".join(parts[first:]) for first in range(1, len(parts)))]
    return next((tail for tail in tails if (folder / tail).exists()), slashed)


def as_mask(segmentation: Any, height: int, width: int) -> Rle | None:
    """One mask from what COCO calls a segmentation: polygons [[x0, y0, x1, y1, ...], ...], or a run-length encoding.

    A single polygon may stand there without the outer list, corners may be pairs, and encodings may stand in a list.

    Returns:
        None where no polygon has an area.

    Raises:
        ValueError: it is neither, or damaged.
    """
    if isinstance(segmentation, dict):
        return as_rle(segmentation)
    if not isinstance(segmentation, list):
        raise ValueError(f"expected polygons or a run-length encoding, got {type(segmentation).__name__}")
    if segmentation and all(isinstance(part, dict) for part in segmentation):
        merged: Rle = coco_mask.merge([as_rle(part) for part in segmentation])
        return merged
    parts = segmentation if all(isinstance(part, list) for part in segmentation) else [segmentation]
    polygons = [polygon for polygon in (_polygon(part, max(height, width)) for part in parts) if polygon]
    if not polygons:
        return None
    polygon_mask: Rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return polygon_mask


def _polygon(numbers: list[Any], side: int) -> list[float]:
    """x0, y0, x1, y1, ...; empty where there are fewer than three corners."""
    try:
        corners = np.array(numbers, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected a polygon of numbers, got {numbers!r:.60}") from error
    if corners.ndim > 2 or corners.size % 2 or (corners.ndim == 2 and corners.shape[1] != 2):
        raise ValueError(f"expected a polygon of pairs x, y, got an array of shape {corners.shape}")
    if not (np.abs(corners) <= FAR * max(side, 1)).all():  # or NaN; pycocotools would walk all the way there
        raise ValueError(f"expected a polygon near the photo, got corners up to {np.abs(corners).max()}")
    flat: list[float] = corners.ravel().tolist()
    return flat if len(flat) >= POLYGON_NUMBERS else []


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
