"""Photos of COCO and LVIS, whose masks are polygons or run-length encodings."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pycocotools import mask as coco_mask

from evsam.training.data.packed import Packed
from evsam.training.data.records import BrokenSample, DataError, Photo, Photos, Rle, as_rle, measured, read_span

POLYGON_NUMBERS = 6
"""Three corners. pycocotools takes four numbers for a box, which no annotation means."""


class CocoPhotos(Photos):
    """The photos of an annotation file that have at least one mask; masks of crowds are left out.

    Args:
        photos: folder of the photos. For LVIS, whose sets mix photos of COCO's, either the folder that holds
            ``train2017`` and ``val2017``, or one with the photos of both.
        annotations: json file such as ``instances_val2017.json`` or ``lvis_v1_train.json``.

    Raises:
        DataError: the folder or the file is missing, or the file holds something else.
    """

    def __init__(self, photos: Path, annotations: Path) -> None:
        self._folder = photos
        if not photos.is_dir():
            raise DataError(f"path {photos}: expected a folder with photos")
        try:
            content = json.loads(annotations.read_bytes())
            found: defaultdict[int, list[Any]] = defaultdict(list)
            for record in content["annotations"]:
                if not record.get("iscrowd"):
                    found[record["image_id"]].append(record["segmentation"])
            kept = [
                [self._file(image), image["height"], image["width"], found[image["id"]]]
                for image in content["images"]
                if image["id"] in found
            ]
        except OSError as error:
            raise DataError(f"annotations {annotations}: cannot be read: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"annotations {annotations}: expected json of COCO or LVIS with images and annotations: {error!r}"
            ) from error
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
            name: str = image["file_name"]
            return name
        # LVIS: http://images.cocodataset.org/train2017/000000391895.jpg
        *_, split, name = PurePosixPath(image["coco_url"]).parts
        return f"{split}/{name}" if (self._folder / split).is_dir() else name


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
