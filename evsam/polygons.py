"""Outlines of masks as polygons that follow the edges of the pixels; csrc/masks/outlines.cpp traces them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam import _C
from evsam.arguments import shown
from evsam.errors import EvsamError
from evsam.rle import MaskLike, mask_window

Ring = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected region (through pixel sides, not corners) of a mask.

    Coordinates are edges of pixels of the original image: the pixel in column x and row y is the square from (x, y) to
    (x + 1, y + 1). Filling the outer ring and emptying the holes gives the region back exactly, unless a tolerance let
    corners go. Programs whose integer coordinates mean pixel centres want 0.5 less.

    Attributes:
        outer: int32 (K, 2), x and y of the corners, clockwise as seen on a screen, not closed.
        holes: the same for each hole, anticlockwise.
    """

    outer: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def area(self) -> int | float:
        """Pixels inside; a tolerance may leave half of one."""
        area = float(sum(signed_area(ring) for ring in (self.outer, *self.holes)))
        return int(area) if area.is_integer() else area

    def tolist(self) -> list[list[list[int]]]:
        """Rings as lists of [x, y], the outer one first: plain numbers, as JSON takes them."""
        return [ring.tolist() for ring in (self.outer, *self.holes)]


def trace_polygons(mask: MaskLike, tolerance: float = 0.0) -> list[Polygon]:
    """All regions of a mask, in the order of their topmost leftmost corners.

    Args:
        mask: (H, W), bool, 0 and 1, or 0 and 255; or an RLE.
        tolerance: how far, in pixels, corners that are left out may be from the lines that replace them (Douglas and
            Peucker). 0 keeps the edges of the pixels; from 0.71 on the steps of slanted edges become straight; 1 to 2
            suit editors. Every ring keeps at least three corners, so no region and no hole is lost, and
            lines do not cross.

    Raises:
        EvsamError: tolerance is no finite number from 0 up.

    Example:
        >>> mask = np.zeros((5, 6), bool)
        >>> mask[1:4, 2:5] = True
        >>> mask[2, 3] = False
        >>> polygon, = trace_polygons(mask)
        >>> polygon.tolist()
        [[[2, 1], [5, 1], [5, 4], [2, 4]], [[3, 2], [3, 3], [4, 3], [4, 2]]]
        >>> polygon.area
        8
    """
    given: object = tolerance
    if not (isinstance(given, (int, float, np.number)) and 0 <= given < math.inf):
        raise EvsamError(f"tolerance: expected a finite number of pixels, 0 or more, got {shown(given)}")
    pixels, (left, top, _, _), _ = mask_window(mask)
    corners, ends, outer_of = _C.trace_outlines(pixels, float(tolerance))
    corners += np.array([left, top], np.int32)
    holes: dict[int, list[Ring]] = {}
    rings = np.split(corners, ends[:-1]) if len(ends) else []
    for index, outer in enumerate(outer_of.tolist()):
        if outer == index:
            holes[index] = []
        else:
            holes[outer].append(rings[index])
    return [Polygon(rings[index], tuple(inner)) for index, inner in holes.items()]


def signed_area(ring: npt.NDArray[Any]) -> float:
    """Area inside a ring (K, 2); below 0 where it runs anticlockwise as seen on a screen, as holes do."""
    x, y = ring.astype(np.float64).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
