"""Points, boxes and mask prompts: checked, brought to one form, and moved to the 1024 frame.

Here arguments become arrays; the rules for what is in them, and their messages, are those of ``csrc/engine/prompts.h``,
which the C interface has as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evsam import _C
from evsam.errors import EvsamError, PromptError
from evsam.rle import mask_pixels
from evsam.transforms import mask_to_logits
from evsam.zoo import LOGITS_SIZE, MaskPrompt

if TYPE_CHECKING:
    from evsam.engines.base import AnyFeatures, Engine

PADDING, TOP_LEFT, BOTTOM_RIGHT = -1, 2, 3
"""Labels of prompt points as the prompt encoder knows them, besides 1 (foreground) and 0 (background)."""

_AT_ONCE = 64  # prompts that an engine decodes in one call: all four masks of each have 64 MiB of logits


@dataclass(frozen=True)
class PromptGroup:
    """G prompts with as many points and boxes each, in the form that engines take.

    Attributes:
        rows: int64 (G,): which of the given prompts they are.
        points: float32 (G, T, 2), x and y in pixels of the 1024 frame: clicks, then the padding point or box corners.
        labels: int32 (G, T): -1 padding, 0 background, 1 foreground, 2 and 3 corners of a box.
        masks: logits, float32 (G, 1, 256, 256), or None.
    """

    rows: npt.NDArray[np.int64]
    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    masks: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class Prompts:
    """N prompts, each in one group; more than one group where prompts have different numbers of points.

    Attributes:
        groups: from few points to many; none if there are no prompts.
        count: N.
        ambiguous: True if each prompt is a single click and nothing else.
        boxed: True if boxes were given.
    """

    groups: tuple[PromptGroup, ...]
    count: int
    ambiguous: bool
    boxed: bool


@dataclass(frozen=True, eq=False)
class PhotoPrompts:
    """The points and boxes of N prompts as people see them, in pixels of the original image.

    Attributes:
        points: float64 (N, T, 2), x and y; T is 0 where there are no points.
        labels: int64 (N, T): 1 foreground, 0 background, -1 where a prompt has fewer points than others.
        boxes: float64 (N, 4): x0, y0, x1, y1; or None.
    """

    points: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64] | None = None

    def __getitem__(self, rows: slice | npt.NDArray[np.intp]) -> PhotoPrompts:
        """Those of some of the prompts."""
        return PhotoPrompts(self.points[rows], self.labels[rows], None if self.boxes is None else self.boxes[rows])


def photo_prompts(prompts: Prompts, original_size: tuple[int, int], resized_size: tuple[int, int]) -> PhotoPrompts:
    """What :func:`read_prompts` read, back in pixels of the original image, to a hundredth."""
    scale = np.array(original_size[::-1]) / resized_size[::-1]
    clicks = [_clicks(group) for group in prompts.groups]
    most = max(clicks, default=0)
    points, labels = np.zeros((prompts.count, most, 2)), np.full((prompts.count, most), PADDING, np.int64)
    boxes = np.zeros((prompts.count, 4))
    for group, end in zip(prompts.groups, clicks, strict=True):
        pixels = (group.points * scale).round(2)
        points[group.rows, :end], labels[group.rows, :end] = pixels[:, :end], group.labels[:, :end]
        if prompts.boxed:  # those that a variant needs around masks nobody has asked for
            boxes[group.rows] = pixels[:, -2:].reshape(-1, 4)
    return PhotoPrompts(points, labels, boxes if prompts.boxed else None)


def _clicks(group: PromptGroup) -> int:
    """Clicks of each of its prompts; they stand in front of the padding point or the corners of a box."""
    return sum(label in (0, 1) for label in group.labels[0].tolist())


def read_prompts(
    original_size: tuple[int, int],
    resized_size: tuple[int, int],
    *,
    points: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    box: npt.ArrayLike | None = None,
    boxes: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
    mask_prompt: MaskPrompt = "logits",
    copy: bool = True,
) -> Prompts:
    """Check prompts and bring them to the form that engines take.

    Args:
        original_size: height and width of the original image; coordinates are in its pixels.
        resized_size: height and width of the resized image in the 1024 frame.
        points: (T, 2) for one prompt of T points, or (N, T, 2) for N prompts; x, y with 0 <= x < W and 0 <= y < H. Or a
            list of N prompts, (T, 2) each, whose T differ.
        labels: (T,) or (N, T), 1 foreground, 0 background and -1 padding, for prompts with fewer points; or a list like
            that of the points. None means that all points are foreground.
        box: (4,): x0, y0, x1, y1 with x0 < x1 and y0 < y1.
        boxes: (N, 4), one box for each prompt. Boxes are clipped to the image; (0, 4) are no prompts.
        mask: logits of an earlier prediction, floating point: (256, 256) or (1, 256, 256) for one prompt, or
            (N, 256, 256); or masks of the original image, (H, W), (1, H, W) or (N, H, W): bool, or integers that are 0
            and 1 or 0 and 255.
        mask_prompt: what the variant makes of masks, :attr:`evsam.zoo.Variant.mask_prompt`.
        copy: whether masks are the caller's own; False for prompts that are not kept.

    Returns:
        The prompts; corners of boxes stand behind the points, and points without a box get SAM's padding point.

    Raises:
        PromptError: no prompt, an empty one, wrong shape or type, lengths that differ, coordinates that are not finite
            points outside the image, other labels, only padding, a box without area or of which the image has nothing.

    Example:
        >>> (group,) = read_prompts((400, 600), (683, 1024), points=[(300, 200)], labels=[1]).groups
        >>> group.points.round(1).tolist(), group.labels.tolist()
        ([[[512.0, 341.5], [0.0, 0.0]]], [[1, -1]])
    """
    if box is not None and boxes is not None:
        raise PromptError("box, boxes: expected one of the two, got both")
    clicks, kinds = _read_clicks(points, labels)
    name, given = ("box", box) if box is not None else ("boxes", boxes)
    corners = None if given is None else _read_boxes(name, given)
    masks = None if mask is None else _read_mask(mask, original_size, resized_size, copy)
    try:
        groups, ambiguous = _C.read_prompts(
            original_size,
            resized_size,
            points=clicks,
            labels=kinds,
            boxes=corners,
            masks=masks,
            boxes_name=name,
            mask_prompt=mask_prompt,
        )
    except ValueError as error:
        raise PromptError(str(error)) from None
    made = _groups(groups)
    return Prompts(made, _count(made), ambiguous, corners is not None)


def group_prompts(
    points: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int32],
    masks: npt.NDArray[np.float32] | None,
    resized_size: tuple[int, int],
    mask_prompt: MaskPrompt,
) -> tuple[PromptGroup, ...]:
    """The groups of :func:`read_prompts`, for prompts that are in the frame already.

    Args:
        points: (N, T, 2), with the padding point or corners of boxes behind the clicks.
        labels: (N, T).
        masks: logits (N, 1, 256, 256), or None.
        resized_size: height and width of the resized image in the 1024 frame.
        mask_prompt: what the variant makes of masks.
    """
    return _groups(_C.group_prompts(points, labels, masks, resized_size, mask_prompt))


def split_prompts(
    *,
    points: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    box: npt.ArrayLike | None = None,
    boxes: npt.ArrayLike | None = None,
) -> list[dict[str, Any]]:
    """Arguments of :func:`read_prompts`, but for masks, prompt by prompt: plain lists under the same names.

    Raises:
        PromptError: shapes that do not fit; what is in them is checked by :func:`read_prompts`.

    Example:
        >>> split_prompts(points=[[(1, 2)], [(3, 4), (5, 6)]])
        [{'points': [[1.0, 2.0]], 'labels': [1]}, {'points': [[3.0, 4.0], [5.0, 6.0]], 'labels': [1, 1]}]
    """
    if box is not None and boxes is not None:
        raise PromptError("box, boxes: expected one of the two, got both")
    if points is None and labels is not None:
        raise PromptError("labels: expected points too, got none")
    clicks, kinds = _read_clicks(points, labels)
    name, given = ("box", box) if box is not None else ("boxes", boxes)
    corners = None if given is None else _read_boxes(name, given)
    if clicks is not None and corners is not None and len(clicks) != len(corners):
        raise PromptError(f"points, {name}: expected as many of each, got {len(clicks)} and {len(corners)}")
    count = len(clicks) if clicks is not None else 0 if corners is None else len(corners)
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for row, prompt in enumerate(found):
        if clicks is not None:
            own = np.ones(len(clicks[row])) if kinds is None else kinds[row]
            prompt["points"] = clicks[row][own != PADDING].tolist()
            prompt["labels"] = own[own != PADDING].astype(int).tolist()
        if corners is not None:
            prompt["box"] = corners[row].tolist()
    return found


def join_prompts(prompts: Sequence[Prompts]) -> Prompts:
    """Prompts on one image that were read one by one, to be decoded together; their numbers go on from one to the next.

    Example:
        >>> one, two = (read_prompts((40, 60), (683, 1024), box=(0, 0, x, 30)) for x in (20, 40))
        >>> both = join_prompts([one, two])
        >>> both.count, both.groups[0].rows.tolist()
        (2, [0, 1])
    """
    alike: dict[tuple[int, bool], list[PromptGroup]] = {}
    count = 0
    for one in prompts:
        for group in one.groups:
            key = group.points.shape[1], group.masks is None
            alike.setdefault(key, []).append(replace(group, rows=group.rows + count))
        count += one.count
    groups = tuple(_joined(groups) for _, groups in sorted(alike.items()))
    return Prompts(groups, count, all(one.ambiguous for one in prompts), any(one.boxed for one in prompts))


def _joined(groups: list[PromptGroup]) -> PromptGroup:
    if len(groups) == 1:
        return groups[0]
    masks = [group.masks for group in groups if group.masks is not None]
    return PromptGroup(
        np.concatenate([group.rows for group in groups]),
        np.concatenate([group.points for group in groups]),
        np.concatenate([group.labels for group in groups]),
        np.concatenate(masks) if masks else None,
    )


def _groups(found: list[Any]) -> tuple[PromptGroup, ...]:
    return tuple(PromptGroup(*group) for group in found)


def _count(groups: tuple[PromptGroup, ...]) -> int:
    return sum(len(group.rows) for group in groups)


def decode(
    engine: Engine, features: AnyFeatures, groups: tuple[PromptGroup, ...], chosen: slice
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits (N, M, 256, 256) and scores (N, M) of the chosen ones of an engine's four masks.

    Raises:
        EvsamError: one is NaN or infinite. Weights and prompts are checked before they are used, but finite numbers
            that are too large, of a damaged file or embedding, overflow on their way.
    """
    count, masks = _count(groups), chosen.stop - chosen.start
    if len(groups) == 1 and count <= _AT_ONCE:  # all prompts in their order: so many logits are not copied without need
        return _decode_part(engine, features, groups[0], slice(None), chosen)
    logits = np.empty((count, masks, LOGITS_SIZE, LOGITS_SIZE), np.float32)
    scores = np.empty((count, masks), np.float32)
    for group in groups:
        for start in range(0, len(group.rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            logits[group.rows[part]], scores[group.rows[part]] = _decode_part(engine, features, group, part, chosen)
    return logits, scores


def _decode_part(
    engine: Engine, features: AnyFeatures, group: PromptGroup, part: slice, chosen: slice
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    given = None if group.masks is None else group.masks[part]
    logits, scores = engine.decode(features, group.points[part], group.labels[part], given, chosen)
    if not (_all_finite(scores) and _all_finite(logits)):
        raise EvsamError("weights or embedding: expected finite results, got NaN or infinity")
    return np.ascontiguousarray(logits, np.float32), np.ascontiguousarray(scores, np.float32)


def _all_finite(values: npt.NDArray[np.float32]) -> bool:
    """Whether no value is NaN or infinite; a finite sum says so without an array of answers."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def refuse_binary(name: str, logits: npt.NDArray[np.floating[Any]]) -> None:
    """Raise a PromptError where numbers are those of a mask, 0 and 1, which as logits mean nothing."""
    if logits.flat[0] not in (0, 1):  # as nearly all logits are
        return
    if logits.min() == 0 and logits.max() == 1 and np.isin(logits, (0, 1)).all():
        raise PromptError(f"{name}: expected logits, got only 0 and 1; give Sam.predict a mask of the image as bool")


def pad_points(
    points: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Points (N, T, 2) and labels (N, T) with SAM's padding point, (0, 0) labelled -1, at the end of each prompt."""
    return np.pad(points, ((0, 0), (0, 1), (0, 0))), np.pad(labels, ((0, 0), (0, 1)), constant_values=PADDING)


def _as_array(name: str, value: npt.ArrayLike, expected: str) -> npt.NDArray[Any]:
    """The value as an array; tensors of PyTorch also if they need gradients, are bfloat16 or on another device."""
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    try:
        given: Any = value
        if torch is not None and isinstance(given, torch.Tensor):
            given = given.detach().cpu()
            given = given.float() if given.dtype == torch.bfloat16 else given
        return np.asarray(given)
    except ValueError:
        raise PromptError(f"{name}: expected {expected}, got rows of different lengths") from None
    except Exception as error:  # whatever the __array__ of another library raises
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise PromptError(f"{name}: expected {expected}, got {kind}, which NumPy cannot read ({error})") from error


def _read_numbers(name: str, value: npt.ArrayLike, expected: str) -> npt.NDArray[np.float64]:
    array = _as_array(name, value, expected)
    if array.dtype.kind not in "iuf":
        raise PromptError(f"{name}: expected {expected}, got {_describe(array, value)}")
    return array.astype(np.float64)


def _describe(array: npt.NDArray[Any], value: object) -> str:
    if array.ndim == 0 and array.dtype == object:
        return f"{type(value).__module__}.{type(value).__qualname__}"
    return f"shape {array.shape}, dtype {array.dtype}"


def _read_clicks(
    points: npt.ArrayLike | None, labels: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]:
    """Points (N, T, 2) and labels (N, T); prompts with fewer points than others are filled up with padding."""
    if points is None:  # then labels are refused, whatever they are
        return None, None if labels is None else np.zeros(0)
    prompts = _ragged_points(points)
    if prompts is None:
        clicks = _read_points(points)
        return clicks, None if labels is None else _read_labels(labels, clicks.shape[:2])
    lengths = [len(prompt) for prompt in prompts]
    clicks = np.zeros((len(prompts), max(lengths), 2))
    kinds = np.full(clicks.shape[:2], float(PADDING))
    for row, (prompt, own) in enumerate(zip(prompts, _ragged_labels(labels, lengths), strict=True)):
        clicks[row, : len(prompt)], kinds[row, : len(prompt)] = prompt, own
    return clicks, kinds


def _ragged_points(value: Any) -> list[npt.NDArray[np.float64]] | None:
    """The points (T, 2) of each prompt, if it is a list of prompts whose T differ."""
    if not isinstance(value, (list, tuple)):
        return None
    try:
        if len({len(item) for item in value}) < 2:
            return None
    except TypeError:  # a number
        return None
    expected = "numbers of shape (T, 2) for each prompt"
    prompts = [_read_numbers("points", item, expected) for item in value]
    if not all(prompt.size == 0 or (prompt.ndim == 2 and prompt.shape[1] == 2) for prompt in prompts):
        return None
    return [prompt.reshape(-1, 2) for prompt in prompts]


def _ragged_labels(value: Any, lengths: list[int]) -> list[npt.NDArray[np.float64]]:
    """Labels (T,) of each prompt; all foreground without any."""
    if value is None:
        return [np.ones(length) for length in lengths]
    if not isinstance(value, (list, tuple)) or len(value) != len(lengths):
        got = (
            f"{len(value)} rows"
            if isinstance(value, (list, tuple))
            else _describe(_as_array("labels", value, ""), value)
        )
        raise PromptError(f"labels: expected a list of labels for each of {len(lengths)} prompts, got {got}")
    rows = enumerate(zip(value, lengths, strict=True))
    return [_read_labels(own, (1, length), f" in row {row}")[0] for row, (own, length) in rows]


def _read_points(value: npt.ArrayLike) -> npt.NDArray[np.float64]:
    expected = "numbers of shape (T, 2) or (N, T, 2)"
    points = _read_numbers("points", value, expected)
    if points.size == 0:
        raise PromptError(f"points: expected at least one point, got shape {points.shape}")
    if points.ndim not in (2, 3) or points.shape[-1] != 2:
        raise PromptError(f"points: expected {expected}, got shape {points.shape}")
    return points.reshape(-1, points.shape[-2], 2)


def _read_labels(value: npt.ArrayLike, shape: tuple[int, ...], where: str = "") -> npt.NDArray[np.float64]:
    labels = _as_array("labels", value, "one label for each point")
    if labels.shape != shape and (shape[0] != 1 or labels.shape != shape[1:]):
        wanted = f"{shape[1:]}" if shape[0] == 1 else f"{shape}"
        raise PromptError(f"labels: expected one label for each point, shape {wanted}, got shape {labels.shape}{where}")
    if labels.dtype.kind not in "biuf":
        raise PromptError(
            f"labels: expected 1 (foreground), 0 (background) or -1 (padding), got dtype {labels.dtype}{where}"
        )
    return labels.reshape(shape).astype(np.float64)


def _read_boxes(name: str, value: npt.ArrayLike) -> npt.NDArray[np.float64]:
    expected = "numbers x0, y0, x1, y1 of shape (4,)" if name == "box" else "numbers x0, y0, x1, y1 of shape (N, 4)"
    boxes = _read_numbers(name, value, expected)
    if name == "boxes" and boxes.shape == (0,):  # an empty list, of a detector that found nothing
        return boxes.reshape(0, 4)
    if name == "box" and boxes.size == 0:
        raise PromptError(f"{name}: expected a box, got shape {boxes.shape}")
    if boxes.shape != (4,) if name == "box" else boxes.ndim != 2 or boxes.shape[1] != 4:
        raise PromptError(f"{name}: expected {expected}, got shape {boxes.shape}")
    return boxes.reshape(-1, 4)


def _read_mask(
    value: npt.ArrayLike, original_size: tuple[int, int], resized_size: tuple[int, int], copy: bool
) -> npt.NDArray[np.float32]:
    """Logits (N, 1, 256, 256). The dtype decides what they are read from: a photo may have 256 x 256 pixels too."""
    side, (height, width) = LOGITS_SIZE, original_size
    logits = f"floating point logits of shape ({side}, {side}) or (N, {side}, {side})"
    own = f"a bool mask of the image of shape ({height}, {width}) or (N, {height}, {width})"
    mask = _as_array("mask", value, f"{logits}, or {own}")
    is_logits = mask.dtype.kind == "f"
    shape = (side, side) if is_logits else (height, width)
    if mask.dtype.kind not in "biuf" or mask.ndim not in (2, 3) or mask.shape[-2:] != shape or mask.size == 0:
        raise PromptError(f"mask: expected {logits}, or {own}, got {_describe(mask, value)}")
    planes = mask.reshape(-1, *shape)
    if not is_logits:
        try:
            inside = [mask_pixels(plane).view(np.bool_) for plane in planes]
        except ValueError as error:
            raise PromptError(str(error)) from None
        if empty := [row for row, plane in enumerate(inside) if not plane.any()]:
            where = f" in row {empty[0]}" if len(inside) > 1 else ""
            raise PromptError(f"mask: expected pixels of an object, got a mask without any{where}")
        return np.stack([mask_to_logits(plane, resized_size) for plane in inside])[:, None]
    refuse_binary("mask", planes)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is refused as such
        given = np.ascontiguousarray(planes, np.float32)[:, None]
        return given.copy() if copy and np.may_share_memory(given, planes) else given
