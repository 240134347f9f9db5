"""The box around a mask.

Boxes are x0, y0, x1, y1 in pixels of the photo everywhere in evsam: along the pixels' edges, so that x1 - x0 is the
width, and what is found around a mask serves as box prompt. Only COCO's documents have x, y, width, height.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evsam import _C


def bounding_box(mask: npt.NDArray[Any]) -> tuple[int, int, int, int]:
    """The smallest box that holds all pixels of a mask.

    Args:
        mask: (H, W), bool or numbers that are 0 outside.

    Returns:
        Left, top, right and bottom along the pixels' edges: the last two are one more than the last column and row.
        All four are 0 where the mask is empty.

    Example:
        >>> bounding_box(np.array([[0, 0, 0], [0, 1, 1]]))
        (1, 1, 3, 2)
    """
    inside = np.ascontiguousarray(mask if mask.dtype == bool else mask != 0)
    return _C.mask_extent(inside.view(np.uint8))[1]
