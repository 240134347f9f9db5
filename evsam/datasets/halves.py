"""The photos of a validation set in two halves, once and for all: what is chosen on one is reported on the other."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from evsam.datasets.records import BrokenSample, Category, Id, Photo, Photos

Half: TypeAlias = Literal["select", "report", "all"]

HALVES: tuple[Half, ...] = get_args(Half)


def half_of(key: str) -> Half:
    """Which half a photo belongs to: that for choosing where the CRC-32 of its file's name is even, else the other.

    Example:
        >>> half_of("000000000139.jpg"), half_of("000000000285.jpg")
        ('report', 'select')
    """
    return "report" if zlib.crc32(key.encode()) % 2 else "select"


class HalfOf(Photos):
    """The photos of a source that belong to one half, in the source's order.

    Args:
        source: whose photos.
        half: ``select`` or ``report``; ``all`` leaves nothing out.
    """

    def __init__(self, source: Photos, half: Half) -> None:
        self.source, self.half = source, half
        self.remarks = source.remarks
        self._numbers = [index for index in range(len(source)) if half == "all" or _half_at(source, index) == half]

    def __len__(self) -> int:
        return len(self._numbers)

    def photo(self, index: int) -> Photo:
        """As of the source."""
        return self.source[self._numbers[index]]

    @property
    def ids(self) -> tuple[Id, ...]:
        """As of the source."""
        return tuple(self.source.ids[number] for number in self._numbers) if self.source.ids else ()

    @property
    def categories(self) -> Mapping[Id, Category]:
        """As of the source."""
        return self.source.categories


def _half_at(source: Photos, index: int) -> Half:
    """Of a photo; one whose record cannot be read has a name all the same."""
    try:
        return half_of(source[index].key)
    except BrokenSample as error:
        return half_of(error.key)
