"""Pixels of a mask straight from its run-length encoding.

Decoding a mask of a 3-megapixel photo takes milliseconds, and SA-1B has dozens of them in each photo, while a sample
needs far fewer pixels: here the cost is that of the runs and of the pixels asked for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evsam.training.data.records import UInt8

Indices = npt.NDArray[np.int64]


def sample_mask(ends: Indices, height: int, rows: Indices, columns: Indices) -> UInt8:
    """Some pixels of a mask.

    Args:
        ends: of its runs, see :func:`evsam.rle.run_ends`.
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
