"""The photos of a validation set in two halves, once and for all: what is chosen on one is reported on the other."""

from __future__ import annotations

import zlib
from typing import Literal, TypeAlias, get_args

from evsam.datasets.records import BrokenSample, Photos, Some

Half: TypeAlias = Literal["select", "report", "all"]

HALVES: tuple[Half, ...] = get_args(Half)


def half_of(key: str) -> Half:
    """Which half a photo belongs to: that for choosing where the CRC-32 of its file's name is even, else the other.

    Example:
        >>> half_of("000000000139.jpg"), half_of("000000000285.jpg")
        ('report', 'select')
    """
    return "report" if zlib.crc32(key.encode()) % 2 else "select"


def half(source: Photos, which: Half) -> Photos:
    """The photos of a source that belong to one half, in the source's order; ``all`` leaves nothing out."""
    if which == "all":
        return source
    return Some(source, [index for index in range(len(source)) if _half_at(source, index) == which])


def _half_at(source: Photos, index: int) -> Half:
    """Of a photo; one whose record cannot be read has a name all the same."""
    try:
        return half_of(source[index].key)
    except BrokenSample as error:
        return half_of(error.key)
