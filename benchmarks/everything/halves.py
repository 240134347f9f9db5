"""Photos of a data directory by half (evsam/datasets/halves.py), and the arguments that say which.

`python -m benchmarks.everything.halves --data DATA` prints names of photos by set and half, as they are written down in
docs/nano/halves.json.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from evsam.cli.arguments import whole
from evsam.datasets import Photo, read_set
from evsam.datasets.halves import HALVES, Half, half_of


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


def photos(data: Path, split: str, name: str, half: Half, most: int | None = None, skip: int = 0) -> Iterator[Photo]:
    """Photos of one set and half, at most so many, without the first `skip`.

    They come in the order of their CRC-32, so that fewer are part of more, and what was looked at can be left out.
    """
    every = read_set(data, split, name)
    chosen = [i for i in range(len(every)) if half in ("all", half_of(every[i].key))]
    chosen.sort(key=lambda i: zlib.crc32(every[i].key.encode()))
    for i in chosen[skip:][:most]:
        yield every[i]


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m benchmarks.everything.halves`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory as docs/nano.md describes")
    parser.add_argument("--split", default="val")
    parser.add_argument("--set", nargs="+", default=["coco", "ccp", "bsds"])
    chosen = parser.parse_args(argv)
    told: dict[str, object] = {"rule": "select where the CRC-32 of the file's name is even, else report"}
    for name in chosen.set:
        keys = sorted(photo.key for photo in read_set(chosen.data, chosen.split, name))
        told[name] = {half: [key for key in keys if half_of(key) == half] for half in HALVES if half != "all"}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
