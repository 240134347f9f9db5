"""Photos of a data directory in two halves, once and for all: what is chosen on one is reported on the other."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from evsam.datasets import Photo, read_set

Half: TypeAlias = Literal["select", "report", "all"]

HALVES: tuple[Half, ...] = get_args(Half)


def half_of(key: str) -> Half:
    """Which half a photo belongs to: that for choosing where the CRC-32 of its file's name is even, else the other."""
    return "report" if zlib.crc32(key.encode()) % 2 else "select"


def photos(data: Path, split: str, name: str, half: Half, most: int | None = None, skip: int = 0) -> Iterator[Photo]:
    """Photos of one set and half, at most so many, without the first `skip`.

    They come in the order of their CRC-32, so that fewer are part of more, and what was looked at can be left out.
    """
    every = read_set(data, split, name)
    chosen = [i for i in range(len(every)) if half in ("all", half_of(every[i].key))]
    chosen.sort(key=lambda i: zlib.crc32(every[i].key.encode()))
    for i in chosen[skip:][:most]:
        yield every[i]
