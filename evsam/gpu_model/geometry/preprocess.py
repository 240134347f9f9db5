"""The launches of preprocess, for each photo: the tables of both axes, then a block for each tile of the image."""

from __future__ import annotations

from math import ceil

from evsam.costs import FP16, Preprocess
from evsam.gpu_model.launches import Launch
from evsam.transforms import fitted_size

__all__ = ["CHANNELS", "preprocess"]

THREADS = 256
TILE_ROWS, TILE_COLUMNS = 16, 32
SHARED_BYTES = 4 * 32 * TILE_COLUMNS

CHANNELS = 8
"""Of the image as the first convolution reads it; those after the third are zero."""


def preprocess(op: Preprocess, _multiprocessors: int) -> list[Launch]:
    """Two launches for each photo."""
    height, width = fitted_size((op.height, op.width), op.side)
    # Half the width of the filter, in pixels of the photo.
    row_reach, column_reach = max(op.height / height, 1.0), max(op.width / width, 1.0)
    tables = 4 * sum(
        length * (2 + 2 * ceil(reach) + 1) for length, reach in ((width, column_reach), (height, row_reach))
    )
    weights = Launch("i32_preprocess_weights__sm80", (-(-(width + height) // THREADS), 1, 1), THREADS, 0, 0, 0, tables)

    macs = round(3 * width * (op.height * 2 * column_reach + height * 2 * row_reach))
    moved = 3 * op.height * op.width + tables + FP16 * op.side**2 * CHANNELS
    grid = (-(-op.side // TILE_COLUMNS), -(-op.side // TILE_ROWS), 1)
    return [weights, Launch("f16_preprocess__sm80", grid, THREADS, SHARED_BYTES, 0, macs, moved)] * op.batch
