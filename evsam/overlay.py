"""Masks drawn over the photo they belong to."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.boxes import bounding_box

FILL_OPACITY = 0.45
OUTLINE_OPACITY = 0.95
OUTLINE_WIDTH = 1 / 250
"""Width of the outline as a part of the image's shorter side; at least two pixels."""


def mask_colour(index: int) -> tuple[int, int, int]:
    """A vivid colour for the mask of number ``index``; neighbouring numbers get hues far apart.

    Hues step by the golden ratio, which never repeats and leaves the largest gaps between any few of them.
    """
    hue = (0.58 + index * 0.6180339887) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.88, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_masks(image: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]) -> Image.Image:
    """The image with every mask filled in its own colour and outlined inside its border; larger masks lie below.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        masks: bool (N, H, W).
    """
    canvas = image.copy()
    width = max(2, round(min(image.shape[:2]) * OUTLINE_WIDTH))
    areas = masks.sum((1, 2))
    for index in np.argsort(-areas, kind="stable"):
        if areas[index] == 0:
            continue
        left, top, right, bottom = bounding_box(masks[index])
        window = slice(top, bottom), slice(left, right)
        mask = masks[index][window]
        outline = mask & ~_eroded(mask, width, _touching(window, image.shape[:2]))
        opacity = (mask * np.float32(FILL_OPACITY))[..., None]
        opacity[outline] = OUTLINE_OPACITY
        colour = np.array(mask_colour(int(index)), np.float32)
        blended = canvas[window] * (1 - opacity) + colour * opacity
        canvas[window] = (blended + 0.5).astype(np.uint8)
    return Image.fromarray(canvas)


def _touching(window: tuple[slice, slice], size: tuple[int, ...]) -> tuple[tuple[bool, bool], ...]:
    """For each axis, whether the window touches the image's first and last line: no outline is drawn there."""
    return tuple((part.start == 0, part.stop == length) for part, length in zip(window, size, strict=True))


def _eroded(
    mask: npt.NDArray[np.bool_], radius: int, open_sides: tuple[tuple[bool, bool], ...]
) -> npt.NDArray[np.bool_]:
    """Pixels whose neighbours up to ``radius`` away (a diamond) are all set; beyond open sides all count as set."""
    for _ in range(radius):
        padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.bool_)
        padded[1:-1, 1:-1] = mask
        (top, bottom), (left, right) = open_sides
        if top:
            padded[0] = padded[1]
        if bottom:
            padded[-1] = padded[-2]
        if left:
            padded[:, 0] = padded[:, 1]
        if right:
            padded[:, -1] = padded[:, -2]
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask
