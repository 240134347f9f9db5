"""Pixels of a mask straight from its run-length encoding.

Decoding a mask of a 3-megapixel photo takes milliseconds, and SA-1B has dozens of them in each photo, while a sample
needs far fewer pixels: here the cost is that of the runs and of the pixels asked for.

The encoding (COCO's): masks are read column by column as runs of zeros and ones in turns, beginning with zeros. From
the fourth on, each run's length is stored as the difference to the length two before. Numbers are written in
characters of five bits, least significant first, offset by 48; 32 in a character says that another one follows, and 16
in the last one that the number is negative.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evsam.training.data.records import Rle, UInt8

Indices = npt.NDArray[np.int64]

OFFSET, MORE, SIGN, BITS = 48, 32, 16, 5


def run_ends(rle: Rle) -> Indices:
    """Where each run ends, in pixels from the start, column by column; the last end is the number of pixels.

    Raises:
        ValueError: the encoding does not describe a mask of its size.
    """
    height, width = rle["size"]
    characters = np.frombuffer(rle["counts"], np.uint8).astype(np.int64) - OFFSET
    last = np.flatnonzero((characters & MORE) == 0)
    if not len(last) or last[-1] != len(characters) - 1 or characters.min() < 0 or characters.max() >= 2 * MORE:
        raise ValueError("no run-length encoding")
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(characters)) - np.repeat(first, last - first + 1)
    if place.max() > 7:  # 40 bits: no photo has runs as long
        raise ValueError("no run-length encoding")
    lengths = np.add.reduceat((characters & (MORE - 1)) << (BITS * place), first)
    lengths -= np.where(characters[last] & SIGN, np.int64(1) << (BITS * (place[last] + 1)), 0)
    lengths[1::2] = np.cumsum(lengths[1::2])
    lengths[2::2] = np.cumsum(lengths[2::2])
    ends = np.cumsum(lengths)
    if lengths.min() < 0 or ends[-1] != height * width:
        raise ValueError(f"run-length encoding of {ends[-1]} pixels, expected {height} x {width}")
    return ends


def sample_mask(ends: Indices, height: int, rows: Indices, columns: Indices) -> UInt8:
    """Some pixels of a mask.

    Args:
        ends: of its runs, see :func:`run_ends`.
        height: of the mask.
        rows: which rows, ascending; repetitions are fine.
        columns: which columns, likewise.

    Returns:
        uint8 (rows, columns), 0 or 1, Fortran order: ``mask[rows][:, columns]``.
    """
    column, row = np.divmod(ends, height)
    different, places = np.unique(columns, return_inverse=True)
    # the pixels asked for, column by column, are a mask too: find where in it each run ends
    before = np.searchsorted(different, column)
    through = np.searchsorted(different, column, "right")
    lengths = np.diff(before * len(rows) + (through - before) * np.searchsorted(rows, row), prepend=0)
    values = (np.arange(len(ends)) & 1).astype(np.uint8)
    return np.repeat(values, lengths).reshape(len(different), len(rows))[places].T
