"""Simulated clicks: where somebody who sees the object, and what was predicted of it, clicks next.

The rule is RITM's (Sofiiuk et al., arXiv 2102.06583), which the interactive segmentation benchmarks and SAM's tables
use: of all pixels that the prediction got wrong, the one that lies deepest, furthest from the end of what was missed
or of what was taken too much. It is a foreground click where the object was missed, and a background click, also if
both are as deep, where too much was taken. The first click, with nothing predicted, is the object's middle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsam import _C

Bool = npt.NDArray[np.bool_]


class Click(NamedTuple):
    """A click on a pixel.

    Attributes:
        x: column of the pixel.
        y: row of the pixel.
        label: 1 on the object, 0 beside it.
    """

    x: int
    y: int
    label: int

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the pixel, x and y."""
        return self.x + 0.5, self.y + 0.5


def middle(mask: npt.NDArray[Any]) -> tuple[float, float]:
    """The pixel of a mask that is furthest from its border: x and y of the pixel's centre.

    Args:
        mask: bool (H, W), or uint8 of 0 and 1, with at least one pixel set. Beyond the photo nothing is set.

    Raises:
        ValueError: the mask is empty.

    Example:
        >>> middle(np.ones((3, 5), bool))
        (1.5, 1.5)
    """
    squared, x, y = _C.deepest_pixel(_bytes(mask))
    if squared == 0:
        raise ValueError("mask: expected pixels of an object, got a mask without any")
    return Click(x, y, 1).centre


def next_click(
    truth: npt.NDArray[Any],
    predicted: npt.NDArray[Any] | None = None,
    ignore: npt.NDArray[Any] | None = None,
    clicks: Iterable[Click] = (),
) -> Click | None:
    """Where to click next.

    Args:
        truth: the object, bool (H, W).
        predicted: what was predicted of it, bool (H, W); None before the first click.
        ignore: bool (H, W), True where pixels count neither as the object nor as its background; None for nowhere.
        clicks: the clicks so far; no pixel is clicked twice.

    Returns:
        The click, or None if nothing is wrong, or nothing that was not clicked before.

    Example:
        >>> truth = np.zeros((7, 20), bool)
        >>> truth[:, :9] = True
        >>> next_click(truth)
        Click(x=3, y=3, label=1)
        >>> next_click(truth, np.ones((7, 20), bool))
        Click(x=12, y=3, label=0)
    """
    true = np.asarray(truth, bool)
    missed, taken = true, None
    if predicted is not None:
        found = np.asarray(predicted, bool)
        missed, taken = true > found, found > true
    if ignore is not None:
        counts = ~np.asarray(ignore, bool)
        missed, taken = missed & counts, None if taken is None else taken & counts
    passed = None
    for click in clicks:
        passed = np.zeros(true.shape, np.uint8) if passed is None else passed
        passed[click.y, click.x] = 1
    depth, x, y = _C.deepest_pixel(_bytes(missed), passed)
    if taken is not None:
        other, other_x, other_y = _C.deepest_pixel(_bytes(taken), passed)
        if other and other >= depth:
            return Click(other_x, other_y, 0)
    return Click(x, y, 1) if depth else None


def _bytes(mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    inside = mask if mask.dtype == bool else np.asarray(mask != 0)
    return np.ascontiguousarray(inside).view(np.uint8)
