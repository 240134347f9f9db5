"""Photos of a data directory in two halves, once and for all: what is chosen on one is reported on the other."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from evsam.cli.arguments import whole
from evsam.datasets import Photo, read_set

Half: TypeAlias = Literal["select", "report", "all"]

HALVES: tuple[Half, ...] = get_args(Half)


def add_arguments(parser: argparse.ArgumentParser, sets: Sequence[str], half: Half) -> None:
    """Add the arguments that say which photos, and with which model they are segmented."""
    parser.add_argument("--data", type=Path, required=True, help="directory as docs/nano.md describes")
    parser.add_argument("--split", default="val")
    parser.add_argument("--set", nargs="+", default=list(sets))
    parser.add_argument("--half", choices=HALVES, default=half, help=f"of each set (default: {half})")
    parser.add_argument("--photos", type=whole(1), help="at most so many of each set (default: all)")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--threads", type=whole(1), default=2)
    parser.add_argument("--points-per-side", type=whole(1), default=32)


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
