"""Outlines of masks as polygons that follow the edges of the pixels.

Every lattice point where an outline turns is a corner: the 2 x 2 pixels around it hold one or three mask pixels, or two
that touch only diagonally (there two outlines meet, and the corner is listed twice). Along a lattice line outlines run
between consecutive corners, so sorting the corners by row pairs them up horizontally, sorting them by column pairs them
up vertically, and walking alternately along the two pairings traces the rings. Only this walk is a loop in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected region (through pixel sides, not corners) of a mask.

    Coordinates are edges of pixels of the original image: the pixel in column x and row y is the square from (x, y) to
    (x + 1, y + 1). Filling the outer ring and emptying the holes gives the region back exactly. Programs whose integer
    coordinates mean pixel centres want 0.5 less.

    Attributes:
        outer: int32 (K, 2), x and y of the corners, clockwise as seen on a screen, not closed.
        holes: the same for each hole, anticlockwise.
    """

    outer: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def area(self) -> int:
        """Pixels inside."""
        return round(sum(_signed_area(ring) for ring in (self.outer, *self.holes)))


def trace_polygons(mask: npt.NDArray[np.bool_]) -> list[Polygon]:
    """All regions of a mask, in the order of their topmost leftmost corners.

    Args:
        mask: bool (H, W).

    Example:
        >>> mask = np.zeros((5, 6), bool)
        >>> mask[1:4, 2:5] = True
        >>> mask[2, 3] = False
        >>> polygon, = trace_polygons(mask)
        >>> polygon.outer.tolist(), polygon.holes[0].tolist()
        ([[2, 1], [5, 1], [5, 4], [2, 4]], [[3, 2], [3, 3], [4, 3], [4, 2]])
        >>> polygon.area
        8
    """
    padded = np.pad(mask, 1)
    y, x, along_row, along_column = _corners(padded)
    rings, ring_of = _walk(along_row, along_column)
    outlines = [np.stack([x[ring], y[ring]], 1).astype(np.int32) for ring in rings]

    vertical = np.lexsort((np.arange(len(x)), y, x))  # only the upper ends of vertical edges are looked up below
    keys = x[vertical].astype(np.int64) * padded.shape[0] + y[vertical]
    outer_of: list[int] = []
    holes: dict[int, list[Ring]] = {}
    for index, outline in enumerate(outlines):
        left, top = outline[0]
        if padded[top + 1, left + 1]:  # the pixel below and right of the first corner
            outer_of.append(index)
            holes[index] = []
            continue
        # The run of mask pixels left of the hole ends at an edge of the same region: of its outer ring, or of a hole
        # that starts further left or higher and so has found its region already.
        run_start = left - int(np.argmin(padded[top + 1, left::-1]))
        edge = vertical[np.searchsorted(keys, run_start * padded.shape[0] + top, side="right") - 1]
        outer_of.append(outer_of[ring_of[edge]])
        holes[outer_of[index]].append(np.concatenate([outline[:1], outline[:0:-1]]))
    return [Polygon(outlines[index], tuple(rings)) for index, rings in holes.items()]


def _corners(
    padded: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Corners sorted by row and column: y, x, and for each the index of its partner along the row and the column."""
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    crossing = (nw == se) & (ne == sw) & (nw != ne)
    y, x = np.nonzero((nw ^ ne ^ sw ^ se) | crossing)
    twice = crossing[y, x]
    falling = nw[y, x] & twice  # the mask pixels of the crossing are the upper left and the lower right one
    index = np.repeat(np.arange(len(y)), np.where(twice, 2, 1))
    second = np.zeros(len(index), bool)
    second[1:] = index[1:] == index[:-1]

    # At a crossing the first entry owns the edge to the left and the second the one to the right. The two mask pixels
    # are kept apart, so on a falling diagonal the first entry, corner of the upper left one, also has the edge upwards.
    y, x, falling, twice = y[index], x[index], falling[index], twice[index]
    lower = np.where(falling, second, twice & ~second)
    by_column = np.lexsort((lower, y, x))

    along_row = np.arange(len(y)) ^ 1
    along_column = np.empty(len(y), np.intp)
    along_column[by_column] = by_column[np.arange(len(y)) ^ 1]
    return y, x, along_row, along_column


def _walk(along_row: npt.NDArray[np.intp], along_column: npt.NDArray[np.intp]) -> tuple[list[list[int]], list[int]]:
    """Rings as lists of corners, each from its topmost leftmost corner to the right, and the ring of each corner."""
    rows, columns = along_row.tolist(), along_column.tolist()
    ring_of = [-1] * len(rows)
    rings: list[list[int]] = []
    for start in range(len(rows)):
        if ring_of[start] >= 0:
            continue
        ring: list[int] = []
        corner = start
        while ring_of[corner] < 0:
            across = rows[corner]
            ring_of[corner] = ring_of[across] = len(rings)
            ring += (corner, across)
            corner = columns[across]
        rings.append(ring)
    return rings, ring_of


def _signed_area(ring: npt.NDArray[Any]) -> float:
    x, y = ring.astype(np.float64).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
