"""From the original image to the model's frames and back: sizes, pixels, prompt coordinates and mask logits.

Two square frames exist. The *encoder's* image has the side of the variant (512 or 1024 pixels). Prompts and masks live
in the *frame*, 1024 pixels for every variant. The photo is fitted into the upper left of each; the rest is padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import _C
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE, PIXEL_MEAN, PIXEL_STD

BAND_ELEMENTS = 1 << 22
"""Values of full-size mask logits that :func:`masks_from_logits` holds at a time (16 MiB)."""


def fitted_size(size: tuple[int, int], side: int = FRAME_SIZE) -> tuple[int, int]:
    """Height and width of an image after its longer side was scaled to ``side``.

    Rounds half up as SAM does; the shorter side keeps at least one pixel, however extreme the aspect ratio.

    Args:
        size: height and width in pixels.
        side: length of the longer side afterwards, in pixels.

    Example:
        >>> fitted_size((400, 600))
        (683, 1024)
        >>> fitted_size((1, 5000))
        (1, 1024)
    """
    scale = side / max(size)
    height, width = (max(1, int(length * scale + 0.5)) for length in size)
    return height, width


def resize_image(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The image scaled (antialiased bilinear) so that its longer side is ``side``.

    Args:
        image: uint8 (H, W, 3).
        side: in pixels.

    Returns:
        uint8 (h, w, 3) with (h, w) as :func:`fitted_size` says; the input itself if its size is right already.
    """
    height, width = fitted_size(image.shape[:2], side)
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def image_to_pixels(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float32]:
    """What the encoder reads: the image resized, normalised and padded at the bottom or right.

    Args:
        image: uint8 RGB (H, W, 3).
        side: side of the encoder's image in pixels.

    Returns:
        float32 (3, side, side), C order; padding is zero, that is, the mean colour.
    """
    resized = resize_image(image, side)
    height, width = resized.shape[:2]
    pixels = np.zeros((3, side, side), np.float32)
    for channel, (mean, std) in enumerate(zip(PIXEL_MEAN, PIXEL_STD, strict=True)):
        pixels[channel, :height, :width] = (resized[..., channel] - np.float32(mean)) / np.float32(std)
    return pixels


def points_to_frame(
    points: npt.NDArray[np.float64], original_size: tuple[int, int], resized_size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Points in pixels of the original image as points in the 1024 frame.

    Each axis has its own factor, since both sides of the resized image were rounded.

    Args:
        points: (..., 2), x and y in pixels of the original image.
        original_size: its height and width.
        resized_size: height and width of the resized image in the frame.

    Returns:
        float32 (..., 2), x and y in pixels of the frame.
    """
    return _C.points_to_frame(points, original_size, resized_size)


def mask_to_logits(mask: npt.NDArray[np.bool_], resized_size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Low-resolution logits that say the same as a mask of the original image.

    Each speaks for 4 x 4 pixels of the frame: from -10, where none of them is in the mask, to 10, where all are that
    the image has of them. The padding is not in the mask.

    Args:
        mask: bool (H, W), H and W those of the original image.
        resized_size: height and width of the resized image in the frame.

    Returns:
        float32 (256, 256).

    Example:
        >>> mask_to_logits(np.eye(2, dtype=bool), (1024, 1024))[[0, 0, 200], [0, 200, 200]].tolist()
        [10.0, -10.0, 10.0]
    """
    rows = _area_means(mask, resized_size[0])
    inside = _area_means(rows.T, resized_size[1]).T
    return np.asarray(20 * inside - 10, np.float32)


def _area_means(x: npt.NDArray[Any], resized: int) -> npt.NDArray[np.float64]:
    """Means of ``x`` (n, m) over the cells of logits along its first axis, (256, m); 0 in the padding."""
    edges = np.minimum(np.arange(LOGITS_SIZE + 1) * (FRAME_SIZE / LOGITS_SIZE * len(x) / resized), len(x))
    whole = edges.astype(np.intp)
    dtype = np.int32 if x.dtype == bool else np.float64
    sums = np.stack([x[start:stop].sum(0, dtype=dtype) for start, stop in pairwise(whole)])
    part = (edges - whole)[:, None] * x[np.minimum(whole, len(x) - 1)]  # of the row that an edge cuts
    return np.asarray((sums + np.diff(part, axis=0)) / np.maximum(np.diff(edges), 1e-9)[:, None])


def _taps(
    source: int, target: int, start: int = 0, stop: int | None = None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For outputs ``start`` to ``stop`` of a bilinear resize: both neighbours, and the weight of the second."""
    outputs = np.arange(start, target if stop is None else stop)
    position = np.maximum((outputs + 0.5) * (source / target) - 0.5, 0)
    first = position.astype(np.intp)
    return first, np.minimum(first + 1, source - 1), (position - first).astype(np.float32)


def _resize_columns(x: npt.NDArray[np.float32], width: int, keep: int | None = None) -> npt.NDArray[np.float32]:
    first, second, weight = _taps(x.shape[1], width, 0, keep)
    return x[:, first] * (1 - weight) + x[:, second] * weight


def _resize_rows(
    x: npt.NDArray[np.float32], height: int, start: int = 0, stop: int | None = None
) -> npt.NDArray[np.float32]:
    first, second, weight = _taps(x.shape[0], height, start, stop)
    return x[first] * (1 - weight[:, None]) + x[second] * weight[:, None]


def _bands(
    logits: npt.NDArray[np.float32], resized_size: tuple[int, int], original_size: tuple[int, int]
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Full-size logits of one mask (256, 256), a band of rows at a time."""
    height, width = original_size
    frame = _resize_columns(logits, FRAME_SIZE, resized_size[1])
    frame = _resize_rows(frame, FRAME_SIZE, 0, resized_size[0])
    wide = _resize_columns(frame, width)
    rows = max(1, BAND_ELEMENTS // width)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        yield slice(start, stop), _resize_rows(wide, height, start, stop)


def upscale_logits(
    logits: npt.NDArray[np.float32], resized_size: tuple[int, int], original_size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Mask logits at the size of the original image.

    As SAM does it: bilinear to the 1024 frame, padding cropped, bilinear to the original size.

    Args:
        logits: float32 (N, M, 256, 256).
        resized_size: height and width of the resized image in the frame.
        original_size: height and width of the original image.

    Returns:
        float32 (N, M, H, W).
    """
    out = np.empty((*logits.shape[:2], *original_size), np.float32)
    for index in np.ndindex(*logits.shape[:2]):
        for rows, band in _bands(logits[index], resized_size, original_size):
            out[index][rows] = band
    return out


def masks_from_logits(
    logits: npt.NDArray[np.float32], resized_size: tuple[int, int], original_size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Masks at the size of the original image: :func:`upscale_logits` above zero, in bands so that memory stays small.

    Returns:
        bool (N, M, H, W).
    """
    out = np.empty((*logits.shape[:2], *original_size), np.bool_)
    for index in np.ndindex(*logits.shape[:2]):
        for rows, band in _bands(logits[index], resized_size, original_size):
            out[index][rows] = band > 0
    return out
