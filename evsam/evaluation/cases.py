"""Objects that an evaluation shows: which ones, and their pictures with masks and prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import _C
from evsam.boxes import bounding_box
from evsam.evaluation.protocols import PhotoProtocol, Row
from evsam.evaluation.truth import Truth
from evsam.overlay import draw_click, draw_masks
from evsam.prompts import PhotoPrompts
from evsam.rle import decode_rle, mask_pixels

if TYPE_CHECKING:
    from evsam.datasets import Photo
    from evsam.sam import Sam

Bool = npt.NDArray[np.bool_]


PICTURE_SIDE = 360
"""Longer side of a picture in pixels; with 85 for JPEG's quality about 20 KB."""
_CONTEXT = 0.35
"""What is shown around an object, in sides of its box."""
_LEAST_CONTEXT = 12
"""The same in pixels, for small objects."""
_OUTLINE, _CLICK = 2.0, 8.0
"""Width of the true outline, and radius of clicks, in pixels of the picture."""


@dataclass(frozen=True)
class Case:
    """An object that is shown.

    Attributes:
        title: what it is an example of.
        caption: which object of which photo it is, and what it scored.
        picture: RGB.
    """

    title: str
    caption: str
    picture: Image.Image


def draw_case(pixels: npt.NDArray[np.uint8], true: Bool, predicted: Bool, prompts: PhotoPrompts | None) -> Image.Image:
    """An object with its surroundings: the predicted mask in blue, the outline of the true one in white, and prompts.

    Args:
        pixels: uint8 RGB (H, W, 3).
        true: bool (H, W).
        predicted: bool (H, W).
        prompts: that the mask is the answer to, one of them; None for none.
    """
    left, top, right, bottom = _window(true, predicted, prompts)
    part = (slice(top, bottom), slice(left, right))
    scale = PICTURE_SIDE / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    photo = np.array(Image.fromarray(pixels[part]).resize(size, Image.Resampling.LANCZOS))
    masks = [np.array(Image.fromarray(mask[part]).resize(size, Image.Resampling.NEAREST)) for mask in (true, predicted)]
    canvas = np.array(draw_masks(photo, [masks[1]], opacity=0.45))
    rings = _C.trace_outlines(mask_pixels(masks[0]), 0.75)[:2]
    _C.stroke_rings(canvas, *rings, _OUTLINE + 2, (0, 0, 0), 0.5)
    _C.stroke_rings(canvas, *rings, _OUTLINE, (255, 255, 255), 1.0)
    if prompts is None:
        return Image.fromarray(canvas)
    boxes = None if prompts.boxes is None else (prompts.boxes - (left, top, left, top)) * scale
    none = np.zeros((1, 0), np.int64)
    picture = draw_masks(canvas, [masks[1] & False], prompts=PhotoPrompts(np.zeros((1, 0, 2)), none, boxes))
    for (x, y), label in zip(prompts.points[0], prompts.labels[0], strict=True):
        if label >= 0:
            draw_click(picture, ((x - left) * scale, (y - top) * scale), _CLICK, foreground=label == 1)
    return picture


def _window(true: Bool, predicted: Bool, prompts: PhotoPrompts | None) -> tuple[int, int, int, int]:
    """What of a photo is shown: around the object and, unless they are far away, the answer and the prompts."""
    height, width = true.shape
    boxes = [np.array(bounding_box(mask), np.float64) for mask in (true, predicted) if mask.any()]
    if prompts is not None:
        boxes += [] if prompts.boxes is None else list(prompts.boxes)
        boxes += [np.tile(xy, 2) for xy, label in zip(prompts.points[0], prompts.labels[0], strict=True) if label >= 0]
    around = np.array(boxes) if boxes else np.array([[0, 0, width, height]])
    (left, top), (right, bottom) = around[:, :2].min(0).tolist(), around[:, 2:].max(0).tolist()
    side = max(right - left, bottom - top)
    side += 2 * max(_LEAST_CONTEXT, _CONTEXT * side)
    (x0, x1), (y0, y1) = _span(left, right, side, width), _span(top, bottom, side, height)
    return x0, y0, x1, y1


def _span(start: float, end: float, length: float, limit: int) -> tuple[int, int]:
    """``length`` pixels around a range, moved into the photo; all of it where it has no more."""
    first = min(max(0, (start + end - length) / 2), max(0, limit - length))
    return math.floor(first), min(limit, math.ceil(first + length))


@dataclass(frozen=True)
class Pick:
    """An object that is to be drawn: how it was asked for, its row, and what it is an example of."""

    protocol: PhotoProtocol
    row: Row
    title: str


def choose_cases(protocols: Sequence[PhotoProtocol], rows: Mapping[str, Sequence[Row]], count: int) -> list[Pick]:
    """The worst and the median objects of each protocol that can keep masks.

    Args:
        protocols: those of an evaluation.
        rows: of one set, by protocol.
        count: so many of both kinds, of photos that differ as long as there are enough.
    """
    picks: list[Pick] = []
    for protocol in protocols:
        if not hasattr(protocol, "keep_masks") or count == 0:
            continue
        found = sorted(rows.get(protocol.name, ()), key=lambda row: (_last(row), row["photo"], row["object"]))
        middle = len(found) // 2
        near = sorted(range(len(found)), key=lambda index: abs(index - middle))
        for title, order in (("Worst", found), ("Median", [found[index] for index in near])):
            picks += [Pick(protocol, row, f"{title}, {protocol.name}") for row in _of_many_photos(order, count)]
    return picks


def _last(row: Row) -> float:
    """IoU, after the last click."""
    value = row["iou"]
    return float(value[-1] if isinstance(value, list) else value)


def _of_many_photos(rows: Sequence[Row], count: int) -> list[Row]:
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row["photo"], row)
        if len(first) == count:
            break
    return list(first.values())


def draw_cases(sam: Sam, picks: Sequence[Pick], photo_of: Callable[[str], Photo]) -> list[Case]:
    """Pictures of objects, which are asked for again.

    Args:
        sam: the model.
        picks: which objects.
        photo_of: the photo of a name.
    """
    drawn: dict[int, Case] = {}
    by_photo: dict[str, list[int]] = {}
    for index, pick in enumerate(picks):
        by_photo.setdefault(pick.row["photo"], []).append(index)
    for key, indices in by_photo.items():
        photo = photo_of(key)
        pixels = photo.pixels()
        truth, embedding = Truth.read(photo, pixels), sam.encode(pixels)
        for index in indices:
            pick = picks[index]
            one = next(o for o in (*truth.objects, *truth.crowds) if o.number == pick.row["object"])
            alone = replace(truth, objects=() if one.crowd else (one,), crowds=(one,) if one.crowd else ())
            (row,) = replace(pick.protocol, keep_masks=True).rows(sam, embedding, alone)  # type: ignore[type-var]
            caption = f"{key}, object {one.number}: IoU {_last(row):.3f}, predicted {_predicted(row):.3f}"
            picture = draw_case(pixels, one.mask, decode_rle(row["mask"]), _prompts(row))
            drawn[index] = Case(pick.title, caption, picture)
    return [drawn[index] for index in range(len(picks))]


def _predicted(row: Row) -> float:
    value = row["predicted_iou"]
    return float(value[-1] if isinstance(value, list) and value else value or 0)


def _prompts(row: Row) -> PhotoPrompts:
    clicks = row.get("clicks", [])
    boxes = np.array([row["box"]]) if "box" in row else None
    points = np.array([[click[:2] for click in clicks]], np.float64).reshape(1, -1, 2)
    return PhotoPrompts(points, np.array([[click[2] for click in clicks]], np.int64), boxes)
