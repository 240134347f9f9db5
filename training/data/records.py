"""What every source of photos hands out: photos with their masks, made when they are asked for."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from evsam.errors import EvsamError, ImageError
from evsam.images import decode_image
from evsam.rle import compressed

UInt8 = npt.NDArray[np.uint8]

Rle = dict[str, Any]
"""COCO's compressed run-length encoding as pycocotools takes it: ``size`` (height, width) and ``counts`` (bytes)."""


class DataError(EvsamError, ValueError):
    """Training data as a whole that cannot be used; the message says what was expected."""


class BrokenSample(EvsamError, ValueError):  # noqa: N818 - says what is the matter
    """One photo that cannot be used; training goes on without it.

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
class Annotation:
    """One mask of a photo.

    Attributes:
        rle: see :data:`Rle`.
        box: x, y, width, height in pixels.
        area: pixels in the mask.
        ignore: run-length encoding of pixels that belong neither to the object nor to its background, or None.
    """

    rle: Rle
    box: tuple[float, float, float, float]
    area: float
    ignore: Rle | None = None

    def decode(self) -> UInt8:
        """Mask (H, W), 0 or 1."""
        return coco_mask.decode(self.rle)

    def decode_ignore(self) -> UInt8 | None:
        """Ignored pixels (H, W), 0 or 1, or None."""
        return None if self.ignore is None else coco_mask.decode(self.ignore)


@dataclass(frozen=True)
class Photo:
    """A photo and its masks; the file is read when its pixels are asked for.

    Attributes:
        key: name that no other photo of its source has, the same in every run.
        annotations: its masks.
        read: gives the encoded file (JPEG, PNG, ...); can be pickled.
        size: height and width that its record states, which count where there are no masks to say it; None for any.
    """

    key: str
    annotations: tuple[Annotation, ...]
    read: Callable[[], bytes]
    size: tuple[int, int] | None = None

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
        rles = [rle for annotation in self.annotations for rle in (annotation.rle, annotation.ignore) if rle]
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
    """

    @property
    def groups(self) -> Sequence[int]:
        """Sizes of consecutive groups of photos that lie together on disk; together they are the whole source."""
        return (len(self),)

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


def read_span(path: Path, offset: int = 0, size: int | None = None) -> bytes:
    """``size`` bytes of a file from ``offset`` on; the rest of it if ``size`` is None.

    Raises:
        OSError: it cannot be read, or ends before.
    """
    # opened for each photo: no file handles to share between processes, to limit or to close
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        content = file.read(-1 if size is None else size)
        while size is not None and len(content) < size:  # the kernel gives at most 2 GiB at once
            more = file.read(size - len(content))
            if not more:
                raise OSError(f"{path} ends at byte {offset + len(content)}, expected {offset + size}")
            content += more
    return content


def as_rle(record: Any) -> Rle:
    """Run-length encoding as pycocotools takes it from what stands in json: ``counts`` a string, or the lengths.

    Raises:
        ValueError: it is none, or damaged, which pycocotools itself does not notice.
    """
    rle = compressed(record)
    return {"size": rle["size"], "counts": rle["counts"].encode()}


def measured(rles: Sequence[Rle]) -> tuple[Annotation, ...]:
    """Annotations whose boxes and areas are those of the masks themselves."""
    if not rles:
        return ()
    boxes, areas = coco_mask.toBbox(list(rles)).tolist(), coco_mask.area(list(rles)).tolist()
    return tuple(Annotation(rle, tuple(box), float(area)) for rle, box, area in zip(rles, boxes, areas, strict=True))
