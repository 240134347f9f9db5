"""Annotation files of COCO and LVIS, and what people's tools write in their form."""

from __future__ import annotations

import logging
import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsam.datasets.files import Counted, find_file, read_span, reason
from evsam.datasets.packed import Packed, Part, json_parts, json_text
from evsam.datasets.records import (
    Annotation,
    Box,
    BrokenSample,
    Category,
    DataError,
    Id,
    Photo,
    Photos,
    Rle,
    as_id,
    as_rle,
    measured,
)
from evsam.errors import BackendUnavailable

_log = logging.getLogger(__name__)

LARGEST_SIDE = 1 << 20
"""Pixels; what is said to be larger is no photo."""

FAR = 16
"""Sides of the photo that a corner of a polygon may be away."""

POLYGON_NUMBERS = 6
"""Three corners. pycocotools takes four numbers for a box, which no annotation means."""

_UNKNOWN = (math.nan,) * 4
"""A box that is none."""


class CocoPhotos(Photos):
    """The photos of an annotation file, with their masks.

    What people's tools write is taken as far as it can be used: ids as numbers or as text; paths with backslashes or of
    another machine; no ``iscrowd``; polygons as a list of numbers or of pairs; sizes that are missing or -1, for which
    the photo's own is taken. Annotations without a segmentation or an image, and images without an id or a name, are
    left out; of a category or a box that cannot be, the annotation is used without it. :attr:`remarks` counts all of
    them and names some. A mask that is damaged breaks its photo.

    Args:
        photos: folder of the photos. For LVIS, whose sets mix photos of COCO's, either the folder that holds
            ``train2017`` and ``val2017``, or one with the photos of both.
        annotations: json file such as ``instances_val2017.json`` or ``lvis_v1_train.json``.
        empty: whether photos without a mask, or with masks of crowds alone, belong to it too: average precision counts
            what is found there.

    Raises:
        DataError: the folder or the file is missing, the file holds something else, its annotations are of none of
            its images, it has no annotations, or several images of one id.
    """

    def __init__(self, photos: Path, annotations: Path, *, empty: bool = False) -> None:
        self._folder = photos
        if not photos.is_dir():
            raise DataError(f"path {photos}: expected a folder with photos")
        try:
            text = json_text(annotations)
            scan = _Scan(text)
        except OSError as error:
            raise DataError(f"annotations {annotations}: cannot be read: {error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            hint = "; a list, as results of a detector are" if text[:1] == b"[" else ""
            raise DataError(
                f"annotations {annotations}: expected json of COCO or LVIS with images and annotations: {reason(error)}"
                f"{hint}"
            ) from error
        try:
            found = scan.by_image()
        except DataError as error:
            raise DataError(f"annotations {annotations}: {error}") from error
        self._categories = scan.categories
        self.remarks = scan.remarks()
        for remark in self.remarks:
            _log.warning("annotations %s: %s", annotations, remark)
        kept = {name: image for name, image in scan.images.items() if empty or name in scan.with_objects}
        files = Counter(image.file for image in kept.values())
        files.update(_last(image.file) for image in kept.values() if _last(image.file) != image.file)
        self._repeated = frozenset(file for file, times in files.items() if times > 1)
        self._photos = Packed(text, ((image.span, *found.get(name, ())) for name, image in kept.items()))
        self._ids = tuple(kept)

    def __len__(self) -> int:
        return len(self._photos)

    @property
    def ids(self) -> tuple[Id, ...]:
        """The images' ids, in the order of the photos."""
        return self._ids

    @property
    def categories(self) -> Mapping[Id, Category]:
        """What annotations can be of, by id."""
        return MappingProxyType(self._categories)

    def photo(self, index: int) -> Photo:
        """Photo number ``index``; its key is the path of its file in the folder, and the id where several have it."""
        image, *records = self._photos[index]
        size, stated, name = _size(image), _file(image), as_id(image["id"])
        file = find_file(self._folder, stated if isinstance(image.get("file_name"), str) else self._of_lvis(stated))
        # paths that differ may end at the same file, where leading folders had to be left out
        shared = stated in self._repeated or (file != stated and _last(stated) in self._repeated)
        photo = Photo(
            key=f"{file}#{name}" if shared else file,
            annotations=(),
            read=partial(read_span, self._folder / file),
            size=size,
            id=name,
            not_exhaustive=_ids(image.get("not_exhaustive_category_ids")),
            negative=_ids(image.get("neg_category_ids")),
        )
        boxes = _usable([_box(record) or _UNKNOWN for record in records], [size] * len(records))
        annotations: list[Annotation] = []
        crowds: list[Annotation] = []
        for record, has_box in zip(records, boxes, strict=True):
            segmentation = record["segmentation"]
            if size is None and not isinstance(segmentation, dict):
                height, width = photo.pixels().shape[:2]
                size = height, width
            try:
                annotation = self._annotation(record, size, has_box)
            except (TypeError, ValueError) as error:
                what = f"its annotations cannot be read: annotation {record.get('id')}: {error}"
                raise BrokenSample(photo.key, what) from error
            if annotation is not None:
                (crowds if _is_crowd(record) else annotations).append(annotation)
        return replace(photo, annotations=tuple(annotations), crowds=tuple(crowds))

    def _annotation(self, record: dict[str, Any], size: tuple[int, int] | None, has_box: bool) -> Annotation | None:
        mask = as_mask(record["segmentation"], *(size or (0, 0)))
        if mask is None:
            return None
        category = as_id(record["category_id"]) if "category_id" in record else None
        return measured(
            mask,
            id=as_id(record["id"]) if "id" in record else None,
            category=category if category in self._categories or not self._categories else None,
            stated_box=_box(record) if has_box else None,
            stated_area=_area(record),
        )

    def _of_lvis(self, stated: str) -> str:
        """``train2017/000000391895.jpg`` where there is such a folder, else the name alone."""
        split, _, name = stated.rpartition("/")
        return stated if (self._folder / split).is_dir() else name


class _Image(NamedTuple):
    span: tuple[int, int]
    size: tuple[int, int] | None
    file: str


class _Scan:
    """What stands where in an annotation file; images and annotations come in any order.

    Args:
        text: json.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """

    def __init__(self, text: bytes) -> None:
        self.images: dict[Id, _Image] = {}
        self.categories: dict[Id, Category] = {}
        self.with_objects: set[Id] = set()
        self._left_out, self._noted = Counted("id"), Counted("id")
        self._owners: list[Id] = []  # of annotation number i: its image, and so on
        self._names: list[object] = []
        self._of: list[Id | None] = []
        self._crowd = bytearray()
        self._spans, self._boxes, self._with_box = array("q"), array("d"), array("q")
        self._annotated = 0
        adding = {"images": self._add_image, "annotations": self._add_annotation, "categories": self._add_category}
        missing = {"images", "annotations"}
        for part in json_parts(text, adding):
            missing.discard(part.name)
            if part.element:
                adding[part.name](part)
        if missing:
            raise KeyError(*sorted(missing))

    def _add_image(self, part: Part) -> None:
        image = part.value
        named = isinstance(image, dict) and any(isinstance(image.get(key), str) for key in ("file_name", "coco_url"))
        if not named or "id" not in image:
            name = as_id(image.get("id")) if isinstance(image, dict) else repr(image)[:20]
            self._left_out.add("images without id or file_name", name)
            return
        name, new = as_id(image["id"]), _Image((part.begin, part.end), _size(image), _file(image))
        before = self.images.get(name)
        if before is None:
            self.images[name] = new
        elif before.file == new.file:
            self._left_out.add("images that an earlier one repeats", name)
        else:
            raise ValueError(f"expected images with different ids, got id {name} for {before.file} and {new.file}")

    def _add_annotation(self, part: Part) -> None:
        record = part.value
        name = as_id(record["id"]) if isinstance(record, dict) and "id" in record else f"number {self._annotated}"
        self._annotated += 1
        if not isinstance(record, dict) or "image_id" not in record:
            self._left_out.add("annotations without image_id", name)
            return
        if not _is_segmentation(record.get("segmentation")):
            self._left_out.add("annotations without a segmentation", name)
            return
        box = _box(record)
        if box is not None:
            self._with_box.append(len(self._owners))
            self._boxes.extend(box)
        self._owners.append(as_id(record["image_id"]))
        self._names.append(name)
        self._of.append(as_id(record["category_id"]) if "category_id" in record else None)
        self._crowd.append(_is_crowd(record))
        self._spans.extend((part.begin, part.end))

    def _add_category(self, part: Part) -> None:
        record = part.value
        if not isinstance(record, dict) or "id" not in record:
            self._left_out.add("categories without id", repr(record)[:20])
            return
        name, frequency = as_id(record["id"]), record.get("frequency")
        self.categories[name] = Category(
            name, str(record.get("name", name)), frequency if isinstance(frequency, str) else ""
        )

    def by_image(self) -> dict[Id, list[tuple[int, int]]]:
        """Where the annotations of each image stand, of those that can be used.

        Raises:
            DataError: there are no images, or no annotations of them.
        """
        found: defaultdict[Id, list[tuple[int, int]]] = defaultdict(list)
        strangers: list[Id] = []
        seen: set[object] = set()
        spans = zip(self._spans[0::2], self._spans[1::2], strict=True)
        for owner, name, category, crowd, span in zip(
            self._owners, self._names, self._of, self._crowd, spans, strict=True
        ):
            if owner not in self.images:
                strangers.append(owner)
                self._left_out.add("annotations whose image_id is the id of no image", name)
                continue
            if name in seen:
                self._noted.add("annotations with the id of an earlier one", name)
            seen.add(name)
            if self.categories and category not in self.categories:
                self._noted.add("annotations whose category_id is the id of no category", name)
            found[owner].append(span)
            if not crowd:
                self.with_objects.add(owner)
        if not self.images:
            raise DataError("expected images, got none")
        if strangers and not found:
            raise DataError(
                "expected each image_id to be the id of an image, got none that is: "
                f"image_id {', '.join(map(str, strangers[:3]))}; {len(self.images)} images with id "
                f"{', '.join(map(str, list(self.images)[:3]))}"
            )
        if not found:
            raise DataError(f"expected annotations with a segmentation, got none; left out: {self._left_out}")
        self._check_boxes()
        return dict(found)

    def _check_boxes(self) -> None:
        owners = [self._owners[number] for number in self._with_box]
        sizes = [self.images[owner].size if owner in self.images else None for owner in owners]
        boxes = np.frombuffer(self._boxes, np.float64).reshape(-1, 4) if self._boxes else np.empty((0, 4))
        for number in np.flatnonzero(~_usable(boxes, sizes)):
            self._noted.add(
                "annotations whose bbox is none, or outside of its image (the mask's is taken)",
                self._names[self._with_box[number]],
            )

    def remarks(self) -> tuple[str, ...]:
        """What was left out, and what was taken otherwise than it stands there."""
        return tuple(
            f"{title}: {counted}"
            for title, counted in (("left out", self._left_out), ("noted", self._noted))
            if counted
        )


def _usable(
    boxes: npt.NDArray[np.float64] | Sequence[Box], sizes: Sequence[tuple[int, int] | None]
) -> npt.NDArray[np.bool_]:
    """Which boxes (N, 4) hold a part of their images of these sizes (height, width); None is any size."""
    x, y, width, height = np.asarray(boxes, np.float64).reshape(-1, 4).T
    limits = np.array([size or (math.inf, math.inf) for size in sizes], np.float64).reshape(-1, 2)
    inside = (x < limits[:, 1]) & (y < limits[:, 0]) & (x + width > 0) & (y + height > 0)
    usable: npt.NDArray[np.bool_] = inside & (width > 0) & (height > 0) & np.isfinite(x + y + width + height)
    return usable


def _box(record: dict[str, Any]) -> Box | None:
    """The box that an annotation states, NaN where it is none; None where it states nothing."""
    box = record.get("bbox")
    if box is None or box == []:
        return None
    try:
        x, y, width, height = map(float, box)
    except (TypeError, ValueError, OverflowError):
        return _UNKNOWN
    return x, y, width, height


def _area(record: dict[str, Any]) -> float | None:
    try:
        area = float(record["area"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return area if 0 <= area < math.inf else None


def _ids(values: Any) -> tuple[Id, ...]:
    return tuple(as_id(value) for value in values) if isinstance(values, list) else ()


def _file(image: dict[str, Any]) -> str:
    if isinstance(image.get("file_name"), str):
        return str(image["file_name"])
    # LVIS: http://images.cocodataset.org/train2017/000000391895.jpg
    return "/".join(PurePosixPath(image["coco_url"]).parts[-2:])


def _last(file: str) -> str:
    """The name of a file without its folders, whatever separates them."""
    return file.replace("\\", "/").rpartition("/")[2]


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


def coco_mask() -> Any:
    """The module that fills polygons as COCO does.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        return import_module("pycocotools.mask")
    except ImportError as error:
        raise BackendUnavailable("evsam.datasets needs pycocotools; use pip install 'evsam[eval]'") from error


def as_mask(segmentation: Any, height: int, width: int) -> Mapping[str, Any] | None:
    """One mask from what COCO calls a segmentation: polygons [[x0, y0, x1, y1, ...], ...], or a run-length encoding.

    Polygons are filled as COCO does, which takes pycocotools; an encoding stays as it is, for its reader to check.

    A single polygon may stand there without the outer list, corners may be pairs, and encodings may stand in a list.

    Returns:
        None where no polygon has an area.

    Raises:
        ValueError: it is neither, or damaged.
    """
    if isinstance(segmentation, dict):
        return segmentation
    if not isinstance(segmentation, list):
        raise ValueError(f"expected polygons or a run-length encoding, got {type(segmentation).__name__}")
    if segmentation and all(isinstance(part, dict) for part in segmentation):
        merged: Rle = coco_mask().merge([as_rle(part) for part in segmentation])
        return merged
    parts = segmentation if all(isinstance(part, list) for part in segmentation) else [segmentation]
    polygons = [polygon for polygon in (_polygon(part, max(height, width)) for part in parts) if polygon]
    if not polygons:
        return None
    tools = coco_mask()
    polygon_mask: Rle = tools.merge(tools.frPyObjects(polygons, height, width))
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
