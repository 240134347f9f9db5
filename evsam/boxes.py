"""The box around a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


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
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
