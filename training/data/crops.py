"""A window of a photo, scaled and perhaps mirrored: its pixels and its masks."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from evsam.rle import run_ends
from evsam.training.data.records import Annotation, BrokenSample, Photo, UInt8
from evsam.training.data.runs import Indices, sample_mask
from evsam.training.images import FILL


@dataclass(frozen=True)
class Crop:
    """A square window of a photo.

    The photo's part of the window is mirrored in place, so that a photo at the top left stays there.

    Attributes:
        size: side of the crop in its own pixels.
        photo: height and width of the photo.
        start: left and top of the window in pixels of the photo; negative outside of it.
        scale: pixels of the crop in a pixel of the photo, along x and y.
        mirrored: whether left and right are exchanged.
    """

    size: int
    photo: tuple[int, int]
    start: tuple[float, float]
    scale: tuple[float, float]
    mirrored: bool

    @property
    def covered(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of what the photo covers of the window, in pixels of the photo."""
        (left, top), (height, width) = self.start, self.photo
        return (
            max(left, 0.0),
            max(top, 0.0),
            min(left + self.size / self.scale[0], width),
            min(top + self.size / self.scale[1], height),
        )

    def _places(self) -> tuple[int, int, int, int]:
        """The same in pixels of the crop, rounded as at inference; at least one pixel each way."""
        edges = []
        for axis, (low, high) in enumerate(zip(self.covered[:2], self.covered[2:], strict=True)):
            first, last = (int((edge - self.start[axis]) * self.scale[axis] + 0.5) for edge in (low, high))
            first = min(first, self.size - 1)
            edges.append((first, min(max(last, first + 1), self.size)))
        (left, right), (top, bottom) = edges
        return left, top, right, bottom

    def image(self, pixels: UInt8) -> UInt8:
        """Pixels (S, S, 3) of the crop from those (H, W, 3) of the photo."""
        left, top, right, bottom = self._places()
        size = (right - left, bottom - top)
        scaled = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=self.covered)
        if self.mirrored:
            scaled = scaled.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = Image.new("RGB", (self.size, self.size), FILL)
        image.paste(scaled, (left, top))
        return np.asarray(image)

    def mask(self, annotation: Annotation, fewest: int, visible: float) -> UInt8 | None:
        """A mask in the crop.

        Args:
            annotation: of the photo.
            fewest: pixels it must have there, at least 1.
            visible: part of it that must be there.

        Returns:
            uint8 (S, S), 0 or 1; None if less of it is there.

        Raises:
            KeyError, TypeError, ValueError: the mask does not decode, or is not as large as the photo.
        """
        x, y, width, height = annotation.box
        left, top, right, bottom = self.covered
        if x >= right or x + width <= left or y >= bottom or y + height <= top:
            return None
        if tuple(annotation.rle["size"]) != self.photo:
            raise ValueError(f"a mask of {annotation.rle['size']} pixels on a photo of {self.photo}")
        x0, y0, x1, y1 = self._places()
        columns, rows = self._sources(0, x0, x1), self._sources(1, y0, y1)
        # only where the object can be; one pixel more, for boxes that are rounded down
        i, j = np.searchsorted(columns, (math.floor(x) - 1, math.ceil(x + width) + 1))
        k, m = np.searchsorted(rows, (math.floor(y) - 1, math.ceil(y + height) + 1))
        if i == j or k == m:
            return None
        found = sample_mask(run_ends(annotation.rle), self.photo[0], rows[k:m], columns[i:j])
        pixels = int(found.sum())
        if pixels < fewest or pixels < visible * annotation.area * self.scale[0] * self.scale[1]:
            return None
        mask = np.zeros((self.size, self.size), np.uint8)
        if self.mirrored:
            mask[y0 + k : y0 + m, x1 - j : x1 - i] = found[:, ::-1]
        else:
            mask[y0 + k : y0 + m, x0 + i : x0 + j] = found
        return mask

    def _sources(self, axis: int, first: int, last: int) -> Indices:
        """For pixels ``first`` to ``last`` of the crop, the pixel of the photo at each one's centre."""
        position = (np.arange(first, last) + 0.5) / self.scale[axis] + self.start[axis]
        limit = self.photo[1 - axis]
        return np.clip(position.astype(np.int64), 0, limit - 1)

    def masks(self, photo: Photo, order: list[Annotation], count: int, fewest: int, visible: float) -> list[UInt8]:
        """The first ``count`` masks that are in the crop, see :meth:`mask`.

        Raises:
            BrokenSample: one of those looked at does not decode.
        """
        masks: list[UInt8] = []
        for annotation in order:
            if len(masks) == count:
                break
            try:
                mask = self.mask(annotation, fewest, visible)
            except (KeyError, TypeError, ValueError) as error:
                raise BrokenSample(photo.key, f"a mask of it cannot be read: {error}") from error
            if mask is not None:
                masks.append(mask)
        return masks


def window(rng: random.Random, start: float, length: float, span: float, limit: int, shift: bool) -> float:
    """Start of a window along one axis: it holds an object where it can, and stays in the photo where it can.

    Args:
        rng: of the position.
        start: of the object.
        length: of the object.
        span: of the window.
        limit: length of the photo.
        shift: whether the photo may lie anywhere in a window that is larger, as it then does half of the time, or
            always lies at its start.
    """
    if span >= limit:
        return rng.uniform(limit - span, 0) if shift and rng.random() < 0.5 else 0.0
    low, high = sorted((start + length - span, start))
    return min(max(rng.uniform(low, high), 0.0), limit - span)
