"""Points, boxes and mask prompts: checked, brought to one form, and moved to the 1024 frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam.errors import PromptError
from evsam.transforms import points_to_frame
from evsam.zoo import LOGITS_SIZE

PADDING, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""Labels of prompt points as the prompt encoder knows them."""

BOX_MARGIN = 1.0
"""How far, in pixels, a box may reach beyond the image before it is an error; detectors round and clip loosely."""


@dataclass(frozen=True)
class Prompts:
    """N prompts in the form that engines take.

    Attributes:
        points: float32 (N, T, 2), x and y in pixels of the 1024 frame: clicks, then the padding point or box corners.
        labels: int32 (N, T): -1 padding, 0 background, 1 foreground, 2 and 3 corners of a box.
        masks: logits, float32 (N, 1, 256, 256), or None.
        ambiguous: True if each prompt is a single click and nothing else.
    """

    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    masks: npt.NDArray[np.float32] | None
    ambiguous: bool


def read_prompts(
    original_size: tuple[int, int],
    resized_size: tuple[int, int],
    *,
    points: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    box: npt.ArrayLike | None = None,
    boxes: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
) -> Prompts:
    """Check prompts and bring them to the form that engines take.

    Args:
        original_size: height and width of the original image; coordinates are in its pixels.
        resized_size: height and width of the resized image in the 1024 frame.
        points: (T, 2) for one prompt of T points, or (N, T, 2) for N prompts; x, y with 0 <= x < W and 0 <= y < H.
        labels: (T,) or (N, T), 1 foreground and 0 background; None means that all points are foreground.
        box: (4,): x0, y0, x1, y1 with x0 < x1 and y0 < y1.
        boxes: (N, 4), one box for each prompt. A box may reach up to one pixel beyond the image and is clipped.
        mask: logits of an earlier prediction, floating point: (256, 256) or (1, 256, 256) for one prompt, or
            (N, 256, 256).

    Returns:
        The prompts; corners of boxes stand behind the points, and points without a box get SAM's padding point.

    Raises:
        PromptError: no prompt, an empty one, wrong shape or type, lengths that differ, coordinates that are not finite
            or not inside the image, labels other than 0 and 1, a box without area.

    Example:
        >>> prompts = read_prompts((400, 600), (683, 1024), points=[(300, 200)], labels=[1])
        >>> prompts.points.round(1).tolist(), prompts.labels.tolist()
        ([[[512.0, 341.5], [0.0, 0.0]]], [[1, -1]])
    """
    if box is not None and boxes is not None:
        raise PromptError("box, boxes: expected one of the two, got both")
    if points is None and labels is not None:
        raise PromptError("labels: expected points to label, got labels without points")
    if points is None and box is None and boxes is None and mask is None:
        raise PromptError("points, box, boxes, mask: expected at least one prompt, got none")

    counts: dict[str, int] = {}
    coordinates: list[npt.NDArray[np.float64]] = []
    kinds: list[npt.NDArray[np.int32]] = []
    ambiguous = False
    if points is not None:
        clicks = _read_points(points, original_size)
        counts["points"] = len(clicks)
        coordinates.append(clicks)
        kinds.append(_read_labels(labels, clicks.shape[:2]))
        ambiguous = clicks.shape[1] == 1 and box is None and boxes is None and mask is None
    name, given = ("box", box) if box is not None else ("boxes", boxes)
    if given is not None:
        corners = _read_boxes(name, given, original_size)
        counts[name] = len(corners)
        coordinates.append(corners)
        kinds.append(np.full(corners.shape[:2], (TOP_LEFT, BOTTOM_RIGHT), np.int32))
    masks = None if mask is None else _read_mask(mask)
    if masks is not None:
        counts["mask"] = len(masks)
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{count} from {name}" for name, count in counts.items())
        raise PromptError(f"{', '.join(counts)}: expected the same number of prompts from each, got {got}")

    number = next(iter(counts.values()))
    frame = [points_to_frame(c, original_size, resized_size) for c in coordinates]
    xy = np.concatenate([np.zeros((number, 0, 2), np.float32), *frame], 1)
    kind = np.concatenate([np.zeros((number, 0), np.int32), *kinds], 1)
    if points is not None and box is None and boxes is None:
        xy, kind = pad_points(xy, kind)
    return Prompts(xy, kind, masks, ambiguous)


def pad_points(
    points: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Points (N, T, 2) and labels (N, T) with SAM's padding point, (0, 0) labelled -1, at the end of each prompt."""
    return np.pad(points, ((0, 0), (0, 1), (0, 0))), np.pad(labels, ((0, 0), (0, 1)), constant_values=PADDING)


def _read_numbers(name: str, value: npt.ArrayLike, expected: str) -> npt.NDArray[np.float64]:
    try:
        array = np.asarray(value)
    except ValueError:
        raise PromptError(f"{name}: expected {expected}, got rows of different lengths") from None
    if array.dtype.kind not in "iuf":
        raise PromptError(f"{name}: expected {expected}, got {_describe(array, value)}")
    return array.astype(np.float64)


def _describe(array: npt.NDArray[Any], value: object) -> str:
    if array.ndim == 0 and array.dtype == object:
        return f"{type(value).__module__}.{type(value).__qualname__}"
    return f"shape {array.shape}, dtype {array.dtype}"


def _read_points(value: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    expected = "numbers of shape (T, 2) or (N, T, 2)"
    points = _read_numbers("points", value, expected)
    if points.size == 0:
        raise PromptError(f"points: expected at least one point, got shape {points.shape}")
    if points.ndim not in (2, 3) or points.shape[-1] != 2:
        raise PromptError(f"points: expected {expected}, got shape {points.shape}")
    points = points.reshape(-1, points.shape[-2], 2)
    _check_finite("points", points)
    height, width = size
    outside = ((points < 0) | (points >= (width, height))).any(-1)
    if outside.any():
        x, y = points[outside][0]
        raise PromptError(
            f"points: expected 0 <= x < {width} and 0 <= y < {height}, the image's width and height, got ({x:g}, {y:g})"
        )
    return points


def _read_labels(value: npt.ArrayLike | None, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    if value is None:
        return np.full(shape, FOREGROUND, np.int32)
    try:
        labels = np.asarray(value)
    except ValueError:
        raise PromptError("labels: expected one label for each point, got rows of different lengths") from None
    if labels.shape != shape and (shape[0] != 1 or labels.shape != shape[1:]):
        wanted = f"{shape[1:]}" if shape[0] == 1 else f"{shape}"
        raise PromptError(f"labels: expected one label for each point, shape {wanted}, got shape {labels.shape}")
    if labels.dtype.kind not in "biuf":
        raise PromptError(f"labels: expected 1 (foreground) or 0 (background), got dtype {labels.dtype}")
    wrong = labels[(labels != 0) & (labels != 1)]
    if wrong.size:
        raise PromptError(f"labels: expected 1 (foreground) or 0 (background), got {wrong.flat[0]}")
    return labels.reshape(shape).astype(np.int32)


def _read_boxes(name: str, value: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Corners (N, 2, 2) of boxes, clipped to the image."""
    expected = "numbers x0, y0, x1, y1 of shape (4,)" if name == "box" else "numbers x0, y0, x1, y1 of shape (N, 4)"
    boxes = _read_numbers(name, value, expected)
    if boxes.size == 0:
        raise PromptError(f"{name}: expected at least one box, got shape {boxes.shape}")
    if boxes.shape != (4,) if name == "box" else boxes.ndim != 2 or boxes.shape[1] != 4:
        raise PromptError(f"{name}: expected {expected}, got shape {boxes.shape}")
    boxes = boxes.reshape(-1, 4)
    _check_finite(name, boxes)
    low, high = boxes[:, :2], boxes[:, 2:]
    for box in boxes[(low >= high).any(1)][:1]:
        raise PromptError(f"{name}: expected x0 < x1 and y0 < y1, got {_numbers(box)}")
    height, width = size
    limit = np.array((width, height), np.float64)
    beyond = ((low < -BOX_MARGIN) | (high > limit + BOX_MARGIN)).any(1)
    for box in boxes[beyond][:1]:
        raise PromptError(
            f"{name}: expected a box inside the image, 0 <= x <= {width} and 0 <= y <= {height} "
            f"({BOX_MARGIN:g} pixel beyond is clipped), got {_numbers(box)}"
        )
    corners = np.stack([low, high], 1).clip(0, limit)
    for box in boxes[(corners[:, 0] >= corners[:, 1]).any(1)][:1]:
        raise PromptError(
            f"{name}: expected a box with area inside the image of {width} x {height}, got {_numbers(box)}"
        )
    return corners


def _read_mask(value: npt.ArrayLike) -> npt.NDArray[np.float32]:
    side = LOGITS_SIZE
    expected = f"floating point logits of shape ({side}, {side}) or (N, {side}, {side})"
    try:
        mask = np.asarray(value)
    except ValueError:
        raise PromptError(f"mask: expected {expected}, got rows of different lengths") from None
    if mask.dtype.kind != "f":
        hint = "; give the logits of an earlier prediction, not its mask" if mask.dtype.kind in "biu" else ""
        raise PromptError(f"mask: expected {expected}, got {_describe(mask, value)}{hint}")
    if mask.ndim not in (2, 3) or mask.shape[-2:] != (side, side) or mask.size == 0:
        raise PromptError(f"mask: expected {expected}, got shape {mask.shape}")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is refused as such
        masks = np.array(mask, np.float32, order="C").reshape(-1, 1, side, side)
    _check_finite("mask", masks)
    return masks


def _check_finite(name: str, array: npt.NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        raise PromptError(f"{name}: expected finite numbers, got {array[~np.isfinite(array)].flat[0]}")


def _numbers(values: npt.NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
