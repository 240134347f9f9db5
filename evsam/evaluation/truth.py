"""What is known to be on a photo, as protocols ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from evsam.boxes import bounding_box
from evsam.evaluation.metrics import iou
from evsam.rle import decode_rle

if TYPE_CHECKING:
    from evsam.datasets.records import Annotation, Photo

Bool = npt.NDArray[np.bool_]

Id: TypeAlias = "int | str"

Corners: TypeAlias = "tuple[float, float, float, float]"
"""A box: x0, y0, x1, y1 in pixels of the photo."""


@dataclass(frozen=True, eq=False)
class TrueObject:
    """An object of a photo.

    Attributes:
        number: of the object among its photo's, from 0: the same however photos are shared out.
        annotation: as it was read.
        crowd: whether it is a group, which is no object of its own.
    """

    number: int
    annotation: Annotation
    crowd: bool = False

    @cached_property
    def mask(self) -> Bool:
        """Bool (H, W); decoded once, as it is the truth of many prompts."""
        return decode_rle(self.annotation.rle)

    @cached_property
    def ignore(self) -> Bool | None:
        """Bool (H, W), True where pixels count neither as the object nor as its background; or None."""
        ignored = self.annotation.ignore
        return None if ignored is None else decode_rle(ignored)

    @property
    def box(self) -> Corners:
        """The box that the annotations state, or else the mask's."""
        x, y, width, height = self.annotation.stated_box or self.annotation.box
        return x, y, x + width, y + height

    @cached_property
    def mask_box(self) -> tuple[int, int, int, int]:
        """The box around the mask."""
        return bounding_box(self.mask)

    def iou(self, predicted: Bool) -> float:
        """IoU of a mask bool (H, W) with the object, without the pixels that are ignored."""
        return iou(predicted, self.mask, self.ignore, self.mask_box)

    @property
    def area(self) -> float:
        """The area that the annotations state, or else the pixels of the mask."""
        stated = self.annotation.stated_area
        return float(self.annotation.area if stated is None else stated)

    def record(self) -> dict[str, Any]:
        """The object as an annotation of a COCO document."""
        annotation = self.annotation
        counts = annotation.rle["counts"]
        return {
            "id": annotation.id,
            "category_id": annotation.category,
            "bbox": [float(value) for value in annotation.stated_box or annotation.box],
            "area": self.area,
            "iscrowd": int(self.crowd),
            "segmentation": {
                "size": list(annotation.rle["size"]),
                "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
            },
        }


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects of one photo.

    Attributes:
        photo: as it was read.
        size: height and width of the photo in pixels.
        objects: in the order of the annotations; those without a pixel too, which COCO's evaluation counts as missed.
        crowds: groups of objects.
        pixels: uint8 RGB (H, W, 3), for protocols to which the embedding is not enough; or None.
    """

    photo: Photo
    size: tuple[int, int]
    objects: tuple[TrueObject, ...]
    crowds: tuple[TrueObject, ...] = ()
    pixels: npt.NDArray[np.uint8] | None = None

    @classmethod
    def read(cls, photo: Photo, pixels: npt.NDArray[np.uint8]) -> Truth:
        """The truth of a photo.

        Args:
            photo: with its annotations.
            pixels: uint8 RGB (H, W, 3), see :meth:`evsam.datasets.Photo.pixels`, which compares the sizes of masks too.
        """
        objects = [TrueObject(number, one) for number, one in enumerate(photo.annotations)]
        crowds = [TrueObject(len(objects) + number, one, crowd=True) for number, one in enumerate(photo.crowds)]
        return cls(photo, (pixels.shape[0], pixels.shape[1]), tuple(objects), tuple(crowds), pixels)

    def asked(self, crowds: bool = False, min_area: float = 0.0) -> list[TrueObject]:
        """The objects that a model is asked about: those with at least one pixel.

        Args:
            crowds: whether crowds are among them.
            min_area: smallest area, as the annotations state it.
        """
        found = self.objects + self.crowds if crowds else self.objects
        return [one for one in found if one.annotation.area > 0 and one.area >= min_area]

    @property
    def key(self) -> str:
        """Name of the photo in its source."""
        return self.photo.key

    @property
    def image_id(self) -> Id:
        """The photo's id in results, or else its name."""
        return self.photo.key if self.photo.id is None else self.photo.id
