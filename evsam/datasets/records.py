"""What every source of photos hands out: photos with their masks, made when they are asked for."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from evsam.errors import EvsamError, ImageError
from evsam.images import decode_image
from evsam.rle import compressed, decode_rle, mask_extent, run_ends

UInt8 = npt.NDArray[np.uint8]

Rle = dict[str, Any]
"""COCO's compressed run-length encoding as pycocotools takes it: ``size`` (height, width) and ``counts`` (bytes)."""

Box: TypeAlias = "tuple[float, float, float, float]"
"""x, y, width, height in pixels, as COCO's files have boxes."""

Id: TypeAlias = "int | str"
"""Of an image, an annotation or a category; see :func:`as_id`."""


class DataError(EvsamError, ValueError):
    """Annotated photos as a whole that cannot be used; the message says what was expected."""


class BrokenSample(EvsamError, ValueError):  # noqa: N818 - says what is the matter
    """One photo that cannot be used; training and evaluation go on without it.

    Args:
        key: of the photo.
        reason: what is wrong with it.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)  # both, or it could not come back from a worker process
        self.key, self.reason = key, reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(frozen=True)
class Category:
    """What an annotation is of.

    Attributes:
        id: as the annotations have it.
        name: for people.
        frequency: of LVIS, in how many images it is: ``r`` (rare), ``c`` (common) or ``f`` (frequent); else empty.
    """

    id: Id
    name: str
    frequency: str = ""


@dataclass(frozen=True)
class Annotation:
    """One mask of a photo.

    Attributes:
        rle: see :data:`Rle`.
        box: x, y, width, height in pixels.
        area: pixels in the mask.
        ignore: run-length encoding of pixels that belong neither to the object nor to its background, or None.
        id: the file's, or None where it has none.
        category: id of its :class:`Category`, or None.
        stated_box: the box that the file states, as ``box``, which may differ from the mask's by parts of a pixel; None
            where it states none that can be used. COCO's protocols prompt with it.
        stated_area: the area that the file states (of its polygons), by which COCO's protocols sort objects into small,
            medium and large; None where it states none.
    """

    rle: Rle
    box: Box
    area: float
    ignore: Rle | None = None
    id: Id | None = None
    category: Id | None = None
    stated_box: Box | None = None
    stated_area: float | None = None

    def decode(self) -> UInt8:
        """Mask (H, W), 0 or 1."""
        return decode_rle(self.rle).view(np.uint8)

    def decode_ignore(self) -> UInt8 | None:
        """Ignored pixels (H, W), 0 or 1, or None."""
        return None if self.ignore is None else decode_rle(self.ignore).view(np.uint8)


@dataclass(frozen=True)
class Photo:
    """A photo and its masks; the file is read when its pixels are asked for.

    Attributes:
        key: name that no other photo of its source has, the same in every run.
        annotations: its masks, one for each object.
        read: gives the encoded file (JPEG, PNG, ...); can be pickled.
        size: height and width that its record states, which count where there are no masks to say it; None for any.
        id: COCO's image id, which results name it by; None where the source has none.
        crowds: masks of groups (``iscrowd``), which are not objects: what is found there counts neither as right nor as
            wrong.
        sequence: of a frame, the name of its video; frames of one follow each other. Else empty.
        not_exhaustive: of LVIS, categories of which it may hold more objects than are annotated.
        negative: of LVIS, categories that are known not to be in it. What is found of a category that is neither here
            nor annotated counts neither as right nor as wrong.
        licence: as its record states it, for humans; empty where it states none.
    """

    key: str
    annotations: tuple[Annotation, ...]
    read: Callable[[], bytes]
    size: tuple[int, int] | None = None
    id: Id | None = None
    crowds: tuple[Annotation, ...] = ()
    sequence: str = ""
    not_exhaustive: tuple[Id, ...] = ()
    negative: tuple[Id, ...] = ()
    licence: str = ""

    def content(self) -> bytes:
        """The encoded file.

        Raises:
            BrokenSample: it cannot be read.
        """
        try:
            return self.read()
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL or half of a surrogate pair
            raise BrokenSample(self.key, f"cannot be read as a photo: {error}") from error

    def pixels(self, content: bytes | None = None) -> UInt8:
        """RGB (H, W, 3), uint8, by the rules of :func:`evsam.images.decode_image`.

        EXIF orientation is applied, as ``Sam.encode`` and annotation tools do: masks are those of the photo as seen.

        Args:
            content: of :meth:`content`, where it was read already.

        Raises:
            BrokenSample: the file cannot be read or decoded, or has another size than its masks or its record.
        """
        try:
            pixels = decode_image(io.BytesIO(self.content() if content is None else content))
        except ImageError as error:
            raise BrokenSample(self.key, f"cannot be read as a photo: {error}") from error
        height, width = pixels.shape[:2]
        masks = (*self.annotations, *self.crowds)
        rles = [rle for annotation in masks for rle in (annotation.rle, annotation.ignore) if rle]
        stated = [rle["size"] for rle in rles] if rles else [self.size] if self.size else []
        for size in stated:
            if tuple(size) != (height, width):
                raise BrokenSample(
                    self.key,
                    f"expected {'masks' if rles else 'a record'} of {height} x {width} pixels (height x width) as the "
                    f"photo, upright by its EXIF orientation, got size {list(size)}",
                )
        return pixels


class PhotoSource(Protocol):
    """Photos by number. What is not photos by number, such as how they lie on disk, is in :class:`Photos`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Photo: ...


class Photos(Sequence[Photo]):
    """Base of sources that make each photo when it is asked for.

    Sources can be pickled, hold little in memory however many photos they have, and change nothing after they are made.

    Attributes:
        remarks: what was left out, or taken otherwise than it stands there; each was also logged as a warning.
    """

    remarks: tuple[str, ...] = ()

    @property
    def groups(self) -> Sequence[int]:
        """Sizes of consecutive groups of photos that lie together on disk; together they are the whole source."""
        return (len(self),)

    @property
    def ids(self) -> tuple[Id, ...]:
        """The images' ids, in the photos' order; empty where the source has none, or knows each with its photo."""
        return ()

    @property
    def categories(self) -> Mapping[Id, Category]:
        """What annotations can be of, by id; empty where the source has no categories."""
        return MappingProxyType({})

    @abstractmethod
    def photo(self, index: int) -> Photo:
        """Photo number ``index``, from 0 to below the length.

        Raises:
            BrokenSample: what describes it cannot be read.
        """

    @overload
    def __getitem__(self, index: int, /) -> Photo: ...

    @overload
    def __getitem__(self, index: slice, /) -> list[Photo]: ...

    def __getitem__(self, index: int | slice, /) -> Photo | list[Photo]:
        if isinstance(index, slice):
            return [self.photo(number) for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        return self.photo(index % len(self))


class Some(Photos):
    """Some of the photos of a source.

    Args:
        source: of all of them.
        numbers: which, in which order.
    """

    def __init__(self, source: Photos, numbers: Sequence[int]) -> None:
        self.source, self.numbers = source, tuple(numbers)
        self.remarks = source.remarks

    def __len__(self) -> int:
        return len(self.numbers)

    def photo(self, index: int) -> Photo:
        """As of the source."""
        return self.source[self.numbers[index]]

    @property
    def ids(self) -> tuple[Id, ...]:
        """As of the source."""
        every = self.source.ids
        return tuple(every[number] for number in self.numbers) if every else ()

    @property
    def categories(self) -> Mapping[Id, Category]:
        """As of the source."""
        return self.source.categories


def as_id(value: object) -> Id:
    """An id by which a number, the same number as text, and 7.0 and 7 are equal; other text stands for itself.

    Example:
        >>> as_id(7), as_id("7"), as_id(7.0), as_id("007"), as_id("a7")
        (7, 7, 7, '007', 'a7')
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    return int(text) if text.isdecimal() and text.isascii() and (text == "0" or text[0] != "0") else text


def as_rle(record: Any) -> Rle:
    """Run-length encoding as pycocotools takes it from what stands in json: ``counts`` a string, or the lengths.

    Raises:
        ValueError: it is none, or damaged, which pycocotools itself does not notice.
    """
    rle = compressed(record)
    return {"size": rle["size"], "counts": rle["counts"].encode()}


def measured(record: Any, **more: Any) -> Annotation:
    """An annotation whose box and area are those of the mask itself.

    Args:
        record: run-length encoding in any form, see :func:`as_rle`.
        **more: of its other attributes.

    Raises:
        ValueError: it is none, or damaged.
    """
    ends = run_ends(record)
    rle = compressed(record, ends)
    area, (x0, y0, x1, y1) = mask_extent(record, ends)
    box = float(x0), float(y0), float(x1 - x0), float(y1 - y0)
    return Annotation({"size": rle["size"], "counts": rle["counts"].encode()}, box, float(area), **more)
