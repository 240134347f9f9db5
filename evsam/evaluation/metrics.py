"""Metrics of masks, and of the numbers they give.

A mask is bool (H, W), or uint8 of 0 and 1. Where pixels are *ignored*, they count neither as the object nor as its
background. All metrics are from 0 to 1; a mask that equals the truth has exactly 1, also where both are empty, and an
empty one exactly 0 where the truth is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from evsam import _C
from evsam.arguments import shown
from evsam.boxes import bounding_box
from evsam.errors import EvsamError

Bool: TypeAlias = npt.NDArray[np.bool_]
MaskArray: TypeAlias = npt.NDArray[Any]

SizeBins: TypeAlias = Literal["coco", "authors"]
"""Who says what a small, medium or large object is; see :func:`size_classes`."""

SIZES = ("small", "medium", "large")

SMALL, LARGE = 32**2, 96**2
"""Areas in pixels of the photo between small and medium, and between medium and large objects."""

BOUNDARY_RATIO = 0.02
"""Width of the band that Boundary IoU looks at, in diagonals of the photo (arXiv 2103.16562)."""

BOUNDARY_TOLERANCE = 0.008
"""How far apart lines may be that DAVIS's F takes for the same, in diagonals of the photo (Perazzi et al. 2016)."""

NOC_THRESHOLDS = (0.80, 0.85, 0.90)

MAX_CLICKS = 20
"""Clicks after which interactive segmentation gives up, and what an object counts that never gets there."""

WHOLE = 0.95
"""Part of a mask's pixels that its largest piece has if the mask counts as one piece."""

_DECAY_PARTS = 4


def iou(
    predicted: MaskArray,
    truth: MaskArray,
    ignore: MaskArray | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> float:
    """Intersection over union of two masks; DAVIS calls it J.

    Args:
        predicted: bool (H, W).
        truth: bool (H, W).
        ignore: bool (H, W), True where pixels do not count; None for nowhere.
        box: that holds all of ``truth``, x0, y0, x1, y1, where it is known: it need not be looked for then.

    Raises:
        EvsamError: the shapes differ.

    Example:
        >>> a, b = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 0]], bool)
        >>> round(iou(a, b), 3), iou(a, b, ignore=np.array([[0, 0, 1, 0]], bool))
        (0.333, 0.5)
    """
    found, true = _counted(predicted, truth, ignore)
    left, top, right, bottom = bounding_box(true) if box is None else box  # most objects are small
    inside = true[top:bottom, left:right]
    common = int(np.count_nonzero(found[top:bottom, left:right] & inside))
    union = int(np.count_nonzero(found)) + int(np.count_nonzero(inside)) - common
    return common / union if union else 1.0


def boundary(mask: MaskArray, ratio: float = BOUNDARY_RATIO) -> Bool:
    """The pixels of a mask that are near its boundary: the band that Boundary IoU compares.

    A pixel belongs to the band if a square of ``2 d + 1`` pixels around it leaves the mask, or the photo, where d is
    ``ratio`` times the photo's diagonal, rounded, and at least 1.

    Args:
        mask: bool (H, W).
        ratio: of the band's width to the diagonal.

    Returns:
        bool (H, W).

    Example:
        >>> boundary(np.ones((5, 7), bool)).astype(int).tolist()[2]
        [1, 0, 0, 0, 0, 0, 1]
    """
    mask = _as_bool("mask", mask)
    distance = max(1, round(ratio * math.hypot(*mask.shape)))
    left, top, right, bottom = bounding_box(mask)
    part = mask[top:bottom, left:right]
    band: Bool = mask.copy()
    # the square leaves the mask's box nearer than it leaves the photo, so the photo's border needs no care
    band[top:bottom, left:right] &= ~_narrowed(_narrowed(part, distance).T, distance).T
    return band


def _narrowed(mask: Bool, distance: int) -> Bool:
    """Pixels whose ``distance`` neighbours above and below are in the mask too; beyond the array there is none."""
    window = 2 * distance + 1
    run, length = np.pad(mask, ((distance, distance), (0, 0))), 1
    while length < window:  # runs of `length` pixels make runs of up to twice that
        step = min(length, window - length)
        run = run[:-step] & run[step:]
        length += step
    return run


def boundary_iou(
    predicted: MaskArray, truth: MaskArray, ignore: MaskArray | None = None, *, ratio: float = BOUNDARY_RATIO
) -> float:
    """Boundary IoU (Cheng et al., arXiv 2103.16562): IoU of the bands inside the boundaries of two masks.

    Args:
        predicted: bool (H, W).
        truth: bool (H, W).
        ignore: bool (H, W), True where pixels do not count.
        ratio: see :func:`boundary`.

    Raises:
        EvsamError: the shapes differ.
    """
    found, true = _pair(predicted, truth)
    return iou(boundary(found, ratio), boundary(true, ratio), ignore)


def boundary_f(
    predicted: MaskArray,
    truth: MaskArray,
    ignore: MaskArray | None = None,
    *,
    tolerance: float = BOUNDARY_TOLERANCE,
) -> float:
    """DAVIS's F: how well the outlines of two masks agree.

    Precision is the part of the predicted outline that is near the true one, recall the part of the true one that is
    near the predicted one; F is their harmonic mean. Near is within ``tolerance`` times the photo's diagonal, rounded
    up.

    Args:
        predicted: bool (H, W).
        truth: bool (H, W).
        ignore: bool (H, W), True where both masks are taken to end.
        tolerance: in diagonals.

    Raises:
        EvsamError: the shapes differ.
    """
    found, true = _counted(predicted, truth, ignore)
    distance = math.ceil(tolerance * math.hypot(*found.shape))
    found_line, true_line = _outline(found), _outline(true)
    count, true_count = int(np.count_nonzero(found_line)), int(np.count_nonzero(true_line))
    if count == 0 or true_count == 0:
        return float(count == true_count)
    # all that matters is inside the box around both lines
    left, top, right, bottom = bounding_box(found_line | true_line)
    found_line, true_line = found_line[top:bottom, left:right], true_line[top:bottom, left:right]
    precision = int(np.count_nonzero(found_line & _widened(true_line, distance))) / count
    recall = int(np.count_nonzero(true_line & _widened(found_line, distance))) / true_count
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _outline(mask: Bool) -> Bool:
    """Pixels that differ from the next one to the right, below, or both: one pixel wide, as DAVIS draws them."""
    line = np.zeros_like(mask)
    line[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    line[:-1] |= mask[:-1] ^ mask[1:]
    line[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return line


def _widened(line: Bool, distance: int) -> Bool:
    """Pixels within ``distance`` of a line: its dilation by a disk."""
    height = line.shape[0]
    wide = np.zeros_like(line)
    reached, row = -1, line
    # the widest rows of the disk are its middle ones: begin with the narrowest, so that each row grows from the last
    for dy in range(distance, -1, -1):
        reach = math.isqrt(distance**2 - dy**2)
        for dx in range(reached + 1, reach + 1):
            if dx == 0:
                row = line.copy()
            else:
                row[:, dx:] |= line[:, :-dx]
                row[:, :-dx] |= line[:, dx:]
        reached = reach
        if dy < height:
            wide[dy:] |= row[: height - dy]
            wide[: height - dy] |= row[dy:]
    return wide


def in_one_piece(mask: MaskArray) -> bool:
    """Whether the largest piece of a mask holds at least ``WHOLE`` of its pixels, which touch at sides or corners.

    An empty mask is in one piece.

    Args:
        mask: bool (H, W).

    Example:
        >>> in_one_piece(np.array([[1, 1, 0, 0]], bool)), in_one_piece(np.array([[1, 1, 0, 1]], bool))
        (True, False)
    """
    left, top, right, bottom = bounding_box(mask)
    pixels = np.ascontiguousarray(mask[top:bottom, left:right], np.uint8)
    # pieces of less than all pixels go; where that is all of them, the largest stays
    largest = _C.clean_mask(pixels, min_area=pixels.size + 1, fill_below=0, corners=True)
    return int(np.count_nonzero(largest)) >= WHOLE * int(np.count_nonzero(pixels))


def size_classes(area: float, bins: SizeBins = "coco") -> tuple[str, ...]:
    """Small, medium or large, by the area of an object in pixels of its photo.

    Args:
        area: in pixels.
        bins: ``coco``: small is below 32², large from 96² on. ``authors``: as EfficientViT-SAM's evaluation counts,
            whose bins hold both of their ends, so that areas of exactly 32² and 96² are in two of them.

    Raises:
        EvsamError: other bins.

    Example:
        >>> size_classes(1024), size_classes(1024, "authors")
        (('medium',), ('small', 'medium'))
    """
    if bins == "coco":
        return (SIZES[(area >= SMALL) + (area >= LARGE)],)
    if bins == "authors":
        ends = ((-math.inf, SMALL), (SMALL, LARGE), (LARGE, math.inf))
        return tuple(name for name, (low, high) in zip(SIZES, ends, strict=True) if low <= area <= high)
    raise EvsamError(f"bins: expected coco or authors, got {shown(bins)}")


def mean(values: Sequence[float]) -> float | None:
    """The mean, the same to the last bit in whatever order the values are; None of none."""
    return math.fsum(values) / len(values) if values else None


def mean_by_size(values: Sequence[float], areas: Sequence[float], bins: SizeBins = "coco") -> dict[str, float | None]:
    """Mean of all objects, and of the small, medium and large ones.

    Args:
        values: of the objects, such as IoU.
        areas: of the objects, in pixels.
        bins: see :func:`size_classes`.

    Returns:
        ``all``, ``small``, ``medium`` and ``large``; None where there is no such object.

    Example:
        >>> mean_by_size([1.0, 0.5], [100, 20000])
        {'all': 0.75, 'small': 1.0, 'medium': None, 'large': 0.5}
    """
    found: dict[str, list[float]] = {"all": list(values), **{name: [] for name in SIZES}}
    for value, area in zip(values, areas, strict=True):
        for name in size_classes(area, bins):
            found[name].append(value)
    return {name: mean(of_size) for name, of_size in found.items()}


def calibration(predicted: Sequence[float], real: Sequence[float]) -> dict[str, float | None]:
    """How far predicted IoU are from the real ones.

    Args:
        predicted: of N masks.
        real: likewise.

    Returns:
        ``mean absolute error``; ``mean difference``, above 0 where too much is promised; ``masks``, how many.

    Example:
        >>> calibration([0.5, 1.0], [0.75, 0.5])
        {'mean absolute error': 0.375, 'mean difference': 0.125, 'masks': 2.0}
    """
    differences = [a - b for a, b in zip(predicted, real, strict=True)]
    return {
        "mean absolute error": mean([abs(value) for value in differences]),
        "mean difference": mean(differences),
        "masks": float(len(differences)),
    }


def reliability(predicted: Sequence[float], real: Sequence[float]) -> dict[str, dict[str, float | None]]:
    """Means of the masks whose predicted IoU are nearly the same: in tenths, beyond 0 and 1 as in the first and last.

    Args:
        predicted: of N masks.
        real: likewise.

    Returns:
        ``predicted``, ``real`` and ``masks`` (how many), each by tenth, such as ``0.1 to 0.2``. None of no masks.
    """
    tenths = [min(max(math.floor(10 * value), 0), 9) for value in predicted]
    found: dict[str, dict[str, float | None]] = {"predicted": {}, "real": {}, "masks": {}}
    for tenth in range(10):
        name = f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}"
        here = [index for index, value in enumerate(tenths) if value == tenth]
        found["predicted"][name] = mean([predicted[index] for index in here])
        found["real"][name] = mean([real[index] for index in here])
        found["masks"][name] = float(len(here))
    return found


def clicks_needed(curve: Sequence[float], threshold: float, max_clicks: int = MAX_CLICKS) -> int:
    """The first click after which an object's IoU is at least ``threshold``, from 1; ``max_clicks`` if none is.

    Args:
        curve: IoU after each click.
        threshold: IoU that is enough.
        max_clicks: clicks that were allowed; later ones are not looked at.
    """
    for number, value in enumerate(curve[:max_clicks], 1):
        if value >= threshold:
            return number
    return max_clicks


def number_of_clicks(
    curves: Sequence[Sequence[float]],
    thresholds: Sequence[float] = NOC_THRESHOLDS,
    max_clicks: int = MAX_CLICKS,
) -> dict[str, float | None]:
    """NoC: clicks that objects need on average, counted as interactive segmentation counts them (RITM, SBD, DAVIS).

    Args:
        curves: of each object, its IoU after each click; a curve may end where all thresholds were reached.
        thresholds: IoU that are enough.
        max_clicks: clicks that were allowed, which objects that never get there count.

    Returns:
        ``NoC@80`` and so on; and ``>=20@80``: how many objects took all of the clicks, whether or not the last one was
        enough. None where there are no objects.

    Example:
        >>> number_of_clicks([[0.5, 0.86], [0.95], [0.1]], thresholds=[0.85])
        {'NoC@85': 7.666666666666667, '>=20@85': 1.0}
    """
    result: dict[str, float | None] = {}
    for threshold in thresholds:
        needed = [clicks_needed(curve, threshold, max_clicks) for curve in curves]
        name = f"{round(100 * threshold, 2):g}"
        result[f"NoC@{name}"] = mean(needed)
        result[f">={max_clicks}@{name}"] = float(needed.count(max_clicks)) if needed else None
    return result


def mean_curve(curves: Sequence[Sequence[float]], clicks: int) -> list[float | None]:
    """Mean IoU after each of so many clicks; objects whose clicks ended earlier keep their last IoU.

    Args:
        curves: of each object, its IoU after each click.
        clicks: how many.
    """
    return [mean([curve[min(click, len(curve) - 1)] for curve in curves if curve]) for click in range(clicks)]


def frame_statistics(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, recall and decay of J or F over the frames of one object, as DAVIS defines them.

    Args:
        values: of the frames, in their order. DAVIS leaves out the first frame, which is given, and the last.

    Returns:
        ``mean``; ``recall``, the part of the frames that are above 0.5; ``decay``, how much less the last quarter of
        the frames has than the first. None where there are no frames.

    Example:
        >>> frame_statistics([1.0, 0.75, 0.5, 0.25])
        {'mean': 0.625, 'recall': 0.5, 'decay': 0.5}
    """
    if not values:
        return {"mean": None, "recall": None, "decay": None}
    # quarters share their end frames, and halves are rounded up
    ends = [math.floor(1 + part * (len(values) - 1) / _DECAY_PARTS + 0.5) - 1 for part in range(_DECAY_PARTS + 1)]
    first, last = values[ends[0] : ends[1] + 1], values[ends[-2] : ends[-1] + 1]
    return {
        "mean": mean(values),
        "recall": mean([float(value > 0.5) for value in values]),
        "decay": math.fsum(first) / len(first) - math.fsum(last) / len(last),
    }


def sequence_statistics(j: Mapping[str, Sequence[float]], f: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    """DAVIS's table: J&F, and mean, recall and decay of J and F, each averaged over objects.

    Args:
        j: J of the frames of each object of each sequence, by any name.
        f: F likewise.

    Raises:
        EvsamError: J and F are of different objects.
    """
    if set(j) != set(f):
        raise EvsamError(f"f: expected the objects of j, got others: {shown(sorted(set(j) ^ set(f)))}")
    found: dict[str, float | None] = {}
    for name, values in (("J", j), ("F", f)):
        objects = [frame_statistics(frames) for frames in values.values() if frames]
        for key in ("mean", "recall", "decay"):
            found[f"{name} {key}"] = mean([value for one in objects if (value := one[key]) is not None])
    means = found["J mean"], found["F mean"]
    both = None if means[0] is None or means[1] is None else (means[0] + means[1]) / 2
    return {"J&F": both, **found}


def _counted(predicted: MaskArray, truth: MaskArray, ignore: MaskArray | None) -> tuple[Bool, Bool]:
    """Both masks without the pixels that do not count."""
    found, true = _pair(predicted, truth)
    if ignore is None:
        return found, true
    if ignore.shape != true.shape:
        raise EvsamError(f"ignore: expected shape {true.shape} as the masks, got {ignore.shape}")
    counts = ~_as_bool("ignore", ignore)
    return found & counts, true & counts


def _pair(predicted: MaskArray, truth: MaskArray) -> tuple[Bool, Bool]:
    found, true = _as_bool("predicted", predicted), _as_bool("truth", truth)
    if found.shape != true.shape:
        raise EvsamError(f"predicted: expected shape {true.shape} as the true mask, got {found.shape}")
    return found, true


def _as_bool(name: str, mask: MaskArray) -> Bool:
    if mask.ndim != 2:
        raise EvsamError(f"{name}: expected shape (H, W), got {mask.shape}")
    return mask if mask.dtype == bool else np.asarray(mask != 0)
