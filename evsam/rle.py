"""COCO's compressed run-length encoding of masks, without pycocotools.

A mask is read column by column; the lengths of its alternating runs, zeros first, are the *counts*. In the compressed
form each count from the fourth on is written as its difference to the count two before, and every number is written in
groups of five bits, lowest first, as characters from ``chr(48)``: bit 5 says that more follow, and bit 4 of the last
group is the sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from evsam import _C

_LONGEST = 2**31 - 1
"""Pixels of a side of a mask."""


class Rle(TypedDict):
    """A mask as COCO's tools and JSON files have it: ``size`` [H, W] and the compressed ``counts``."""

    size: list[int]
    counts: str


MaskLike: TypeAlias = "npt.NDArray[Any] | Rle | Mapping[str, Any]"
"""A mask (H, W), bool, 0 and 1, or 0 and 255; or its RLE."""


Box: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1 along the edges of pixels, see :mod:`evsam.boxes`."""


class MaskWindow(NamedTuple):
    """The part of a mask that lies in the box around it.

    Attributes:
        pixels: uint8 (h, w) of 0 and 1, C order; without rows where the mask is empty.
        box: where the part lies: x0, y0, x1, y1 with w = x1 - x0 and h = y1 - y0; four zeros where the mask is empty.
        area: pixels of the mask.
    """

    pixels: npt.NDArray[np.uint8]
    box: Box
    area: int


def encode_rle(mask: npt.NDArray[Any]) -> Rle:
    """COCO's compressed RLE of one mask.

    Args:
        mask: bool (H, W), or numbers (H, W) that are 0 where the mask is not and, where it is, all 1 or all 255.

    Raises:
        ValueError: another number of axes, or other values.

    Example:
        >>> encode_rle(np.eye(3, dtype=bool))
        {'size': [3, 3], 'counts': '013000'}
    """
    pixels = mask_pixels(np.asarray(mask))
    return Rle(size=list(pixels.shape), counts=_C.counts_text(_C.count_runs(pixels)))


def decode_rle(rle: Rle | Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """The mask (H, W), bool, of an RLE in any of the forms that :func:`run_ends` reads.

    Raises:
        ValueError: the counts are damaged or do not fill the size.

    Example:
        >>> decode_rle({"size": [3, 3], "counts": "013000"}).astype(int).tolist()
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    return _fill(rle).view(np.bool_)


def run_ends(rle: Rle | Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Where the runs of an RLE end, for those who need few of its pixels.

    Args:
        rle: ``counts`` compressed, as a string or as bytes (pycocotools), or the numbers themselves (crowds in COCO's
            files).

    Returns:
        int64 (R,), in pixels from the start, column by column: runs of zeros and ones in turns, zeros first. The last
        end is the number of pixels.

    Raises:
        ValueError: the counts are damaged or do not fill the size.

    Example:
        >>> run_ends({"size": [3, 3], "counts": "013000"})
        array([0, 1, 4, 5, 8, 9])
    """
    height, width = rle_size(rle)
    counts = rle.get("counts")
    if isinstance(counts, str):
        counts = counts.encode(errors="surrogatepass")
    if isinstance(counts, bytes):
        return _C.run_ends(counts, height, width)
    counts = _numbers(counts)
    ends = counts.cumsum()
    # each alone too, for a sum of huge ones can overflow to the right one
    if counts.min() < 0 or counts.max() > height * width or ends[-1] != height * width:
        raise ValueError(f"rle: expected counts that add up to {height} x {width}, got {ends[-1]}")
    return ends


def rle_size(rle: Any) -> tuple[int, int]:
    """Height and width of an RLE, 0 or more.

    Raises:
        ValueError: it is no mapping, or its size is not two of such numbers.
    """
    if not isinstance(rle, Mapping):
        raise ValueError(f"rle: expected a mapping with size and counts, got {type(rle).__name__}")
    size = rle.get("size")
    try:
        lengths = np.asarray([] if size is None else size)
    except ValueError:
        lengths = np.empty(0)
    whole = lengths.shape == (2,) and lengths.dtype.kind in "iuf"
    if not whole or not all(0 <= length <= _LONGEST and length == int(length) for length in lengths.tolist()):
        raise ValueError(f"rle: expected size as height and width, got {size!r:.100}")
    return int(lengths[0]), int(lengths[1])


def compressed(rle: Mapping[str, Any], ends: npt.NDArray[np.int64] | None = None) -> Rle:
    """An RLE of any form, checked, in the compressed one.

    Args:
        rle: see :func:`run_ends`.
        ends: what that function says of it, where it was asked before.

    Raises:
        ValueError: see :func:`run_ends`.
    """
    ends, counts = run_ends(rle) if ends is None else ends, rle["counts"]
    if not isinstance(counts, str):
        counts = counts.decode("ascii") if isinstance(counts, bytes) else _C.counts_text(np.diff(ends, prepend=0))
    return Rle(size=list(rle_size(rle)), counts=counts)


def mask_pixels(mask: MaskLike) -> npt.NDArray[np.uint8]:
    """A mask as compiled code takes it: uint8 (H, W) of 0 and 1, C order; may share memory with a bool array.

    Raises:
        ValueError: another number of axes, other values, or a damaged RLE.
    """
    if isinstance(mask, Mapping):
        return _fill(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask: expected shape (H, W), got {mask.shape}")
    if mask.dtype == bool:
        return np.ascontiguousarray(mask).view(np.uint8)
    inside = np.asarray(mask != 0)
    values = np.unique(mask[inside])
    if values.size > 1 or (values.size == 1 and values[0] not in (1, 255)):
        shown = ", ".join(str(value) for value in values[:3])
        raise ValueError(f"mask: expected bool, 0 and 1, or 0 and 255, got also {shown}: compare with a threshold")
    return np.ascontiguousarray(inside).view(np.uint8)


def mask_extent(mask: MaskLike, ends: npt.NDArray[np.int64] | None = None) -> tuple[int, Box]:
    """Pixels of a mask, and the box around it (four zeros where it is empty); an RLE is not unpacked for it.

    Args:
        mask: see :data:`MaskLike`.
        ends: what :func:`run_ends` says of an RLE, where it was asked before.

    Raises:
        ValueError: see :func:`mask_pixels`.

    Example:
        >>> mask_extent({"size": [3, 3], "counts": [3, 2, 4]})
        (2, (1, 0, 2, 2))
    """
    if not isinstance(mask, Mapping):
        return _C.mask_extent(mask_pixels(mask))
    return _C.runs_extent(run_ends(mask) if ends is None else ends, rle_size(mask)[0])


def mask_window(mask: MaskLike) -> MaskWindow:
    """The part of a mask in the box around it: most masks are small parts of large photos.

    Raises:
        ValueError: see :func:`mask_pixels`.
    """
    ends = run_ends(mask) if isinstance(mask, Mapping) else None
    area, box = mask_extent(mask, ends)
    x0, y0, x1, y1 = box
    if area == 0:
        return MaskWindow(np.zeros((0, 0), np.uint8), box, 0)
    if not isinstance(mask, Mapping) or ends is None:
        return MaskWindow(np.ascontiguousarray(mask_pixels(mask)[y0:y1, x0:x1]), box, area)
    first, past = ends[: len(ends) // 2 * 2].reshape(-1, 2).T
    inside = first < past
    full, height = rle_size(mask)[0], y1 - y0
    moved = np.zeros(2 * np.count_nonzero(inside) + 1, np.int64)
    moved[:-1:2], moved[1::2] = (
        at // full * height + at % full - x0 * height - y0 for at in (first[inside], past[inside] - 1)
    )
    moved[1::2] += 1
    moved[-1] = height * (x1 - x0)
    return MaskWindow(_C.fill_runs(moved, height, x1 - x0), box, area)


def _fill(rle: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    height, width = rle_size(rle)
    return _C.fill_runs(run_ends(rle), height, width)


def _numbers(counts: Sequence[int] | npt.NDArray[np.integer] | None) -> npt.NDArray[np.int64]:
    try:
        numbers = np.asarray(counts)
    except ValueError:  # lists of different lengths
        numbers = np.empty(0)
    if numbers.dtype.kind == "f" and (numbers == np.floor(numbers)).all() and np.abs(numbers).max(initial=0) < 2**53:
        numbers = numbers.astype(np.int64)
    if numbers.ndim != 1 or numbers.size == 0 or numbers.dtype.kind not in "iu":
        raise ValueError("rle: expected counts as text, bytes or a list of integers, got something else")
    return numbers.astype(np.int64)
