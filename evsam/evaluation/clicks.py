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
from evsam.boxes import bounding_box

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
    box: tuple[int, int, int, int] | None = None,
) -> Click | None:
    """Where to click next.

    Args:
        truth: the object, bool (H, W).
        predicted: what was predicted of it, bool (H, W); None before the first click.
        ignore: bool (H, W), True where pixels count neither as the object nor as its background; None for nowhere.
        clicks: the clicks so far; no pixel is clicked twice.
        box: around the object, x0, y0, x1, y1, where it is known: it need not be looked for then.

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
    true, found = np.asarray(truth, bool), None if predicted is None else np.asarray(predicted, bool)
    boxes = [bounding_box(true) if box is None else box, (0, 0, 0, 0) if found is None else bounding_box(found)]
    boxes = [one for one in boxes if one[0] < one[2]]
    if not boxes:
        return None
    # beyond both masks nothing is wrong, and the end of a window counts as that does
    left, top = (min(one[axis] for one in boxes) for axis in (0, 1))
    right, bottom = (max(one[axis] for one in boxes) for axis in (2, 3))
    window = (slice(top, bottom), slice(left, right))
    missed, taken = true[window], None
    if found is not None:
        missed, taken = true[window] > found[window], found[window] > true[window]
    if ignore is not None:
        counts = ~np.asarray(ignore, bool)[window]
        missed, taken = missed & counts, None if taken is None else taken & counts
    passed = None
    for click in clicks:
        if left <= click.x < right and top <= click.y < bottom:
            passed = np.zeros(missed.shape, np.uint8) if passed is None else passed
            passed[click.y - top, click.x - left] = 1
    depth, x, y = _C.deepest_pixel(_bytes(missed), passed)
    if taken is not None:
        other, other_x, other_y = _C.deepest_pixel(_bytes(taken), passed)
        if other and other >= depth:
            return Click(left + other_x, top + other_y, 0)
    return Click(left + x, top + y, 1) if depth else None


def _bytes(mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    inside = mask if mask.dtype == bool else np.asarray(mask != 0)
    return np.ascontiguousarray(inside).view(np.uint8)
