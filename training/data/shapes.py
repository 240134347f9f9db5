"""Geometry of masks: their middle, and how much of a coarser grid they cover."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from evsam.boxes import bounding_box
from evsam.training.data.records import UInt8


def middle(mask: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The pixel (x, y of its centre) of a non-empty mask that lies furthest from the mask's border."""
    left, top, right, bottom = bounding_box(mask)
    crop = np.pad(mask[top:bottom, left:right], 1)
    y, x = np.unravel_index(ndimage.distance_transform_edt(crop).argmax(), crop.shape)
    return float(left + x - 0.5), float(top + y - 0.5)


def coverage(mask: UInt8, side: int) -> npt.NDArray[np.float16]:
    """Part of each cell that a mask covers.

    Args:
        mask: (S, S), 0 or 1.
        side: cells along each side. Where they do not divide S, border pixels count by the part that is in the cell.

    Returns:
        float16 (side, side), 0 to 1.
    """
    pixels = mask.shape[0]
    overlaps = _overlaps(pixels, side)
    columns = np.flatnonzero(mask.max(0))
    if not len(columns):
        return np.zeros((side, side), np.float16)
    # most masks are small: only columns with something in them are added up
    used = slice(columns[0], columns[-1] + 1)
    turned = np.zeros((pixels, side), np.float32)
    turned[used] = (overlaps @ mask[:, used].astype(np.float32)).T
    # sums of whole numbers below 2 ** 24, hence exact
    total = (overlaps @ turned).T
    return (total / np.float32((pixels // math.gcd(pixels, side)) ** 2)).astype(np.float16)


@lru_cache(maxsize=16)
def _overlaps(pixels: int, cells: int) -> sparse.csr_array:
    """(cells, pixels): how much of each cell each pixel fills along one axis, in the largest unit that divides both."""
    unit = math.gcd(pixels, cells)
    pixel, cell = cells // unit, pixels // unit  # their lengths
    starts, first = np.arange(pixels) * pixel, np.arange(cells) * cell
    overlap = np.minimum(first[:, None] + cell, starts + pixel) - np.maximum(first[:, None], starts)
    return sparse.csr_array(np.maximum(overlap, 0).astype(np.float32))
