"""Augmented training samples: a crop of a photo, some of its masks, and a first prompt for each.

Scales are relative to a photo whose long side is the variant's image size, the scale at which predictions are made.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from evsam.training.data.sets import Annotation, Photo, UInt8

FILL = (124, 116, 104)
"""Colour of what lies outside the photo: zero after normalisation, as padding is at inference."""

MIN_PIXELS = 50
"""A mask with fewer pixels in the crop says too little to learn from."""

MIN_VISIBLE = 0.15
"""A mask of which less than this part is in the crop is left out."""

AREA_POWER = 0.3
"""Masks are drawn with weight area ** 0.3: mildly in favour of larger ones, or tiny regions would dominate."""


@dataclass(frozen=True)
class SampleConfig:
    """How samples are made.

    Attributes:
        size: side of the crop in pixels.
        masks: masks (and prompts) per crop.
        scale: smallest and largest scale.
        stretch: largest logarithmic change of either side on its own.
        paste: probability that an object of another photo is pasted in.
        box: probability that the first prompt is a box.
        jitter: probability that a box is moved by up to 10 % of its side (at most 20 pixels, as SAM does).
        image_size: the variant's image size.
    """

    size: int = 256
    masks: int = 8
    scale: tuple[float, float] = (0.45, 1.4)
    stretch: float = 0.12
    paste: float = 0.3
    box: float = 0.5
    jitter: float = 0.6
    image_size: int = 512


class Batch(NamedTuple):
    """Samples as tensors.

    Attributes:
        images: uint8 (B, S, S, 3) RGB.
        targets: float16 (B * K, S/2, S/2), part of each 2 x 2 pixels that the mask covers.
        points: float32 (B * K, T, 2), x and y in pixels of the crop.
        labels: int64 (B * K, T), labels as :meth:`evsam.nn.EfficientViTSam.decode` takes them.
    """

    images: Tensor
    targets: Tensor
    points: Tensor
    labels: Tensor


def middle(mask: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The pixel (x, y of its centre) of a non-empty mask that lies furthest from the mask's border."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = rows[0], columns[0]
    crop = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    y, x = np.unravel_index(ndimage.distance_transform_edt(crop).argmax(), crop.shape)
    return float(left + x - 0.5), float(top + y - 0.5)


def bounding_box(mask: npt.NDArray[np.bool_] | UInt8) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (the last two exclusive) of a non-empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class SampleMaker:
    """Draws samples from weighted photo sets.

    Args:
        sets: photos by set name.
        weights: how often each set is drawn.
        config: see :class:`SampleConfig`.
    """

    def __init__(self, sets: Mapping[str, list[Photo]], weights: Mapping[str, float], config: SampleConfig) -> None:
        self.sets = sets
        self.names = [name for name in sets if weights.get(name, 0) > 0]
        self.weights = [weights[name] for name in self.names]
        self.config = config

    def batch(self, rng: random.Random, images: int) -> Batch:
        """A batch of ``images`` crops with the same number of prompt tokens each."""
        # A lone box is two tokens and a lone click is a click and a padding point: what users send most.
        tokens = rng.choices((2, 3, 4), (0.6, 0.2, 0.2))[0]
        samples = [self._sample(rng, tokens) for _ in range(images)]
        arrays = [
            np.stack(part) if i == 0 else np.concatenate(part) for i, part in enumerate(zip(*samples, strict=True))
        ]
        return Batch(*(torch.from_numpy(array) for array in arrays))

    def _sample(
        self, rng: random.Random, tokens: int
    ) -> tuple[UInt8, npt.NDArray[np.float16], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        config = self.config
        masks: list[UInt8] = []
        while not masks:
            image, masks = self._crop(rng)
        if rng.random() < config.paste:
            image, masks = self._paste(rng, image, masks)
        chosen = masks[: config.masks]
        chosen += [rng.choice(masks) for _ in range(config.masks - len(chosen))]
        half = config.size // 2
        stack = np.stack(chosen)
        targets = stack.reshape(-1, half, 2, half, 2).mean((2, 4), dtype=np.float32)
        points = np.zeros((config.masks, tokens, 2), np.float32)
        labels = np.full((config.masks, tokens), -1, np.int64)
        for mask, point, label in zip(stack, points, labels, strict=True):
            self._prompt(rng, mask, point, label)
        return np.ascontiguousarray(image), targets.astype(np.float16), points, labels

    def _crop(self, rng: random.Random, name: str | None = None) -> tuple[UInt8, list[UInt8]]:
        """A random crop (S, S, 3) around a random mask, flipped half of the time, and the masks (S, S) in it."""
        config, size = self.config, self.config.size
        photo = rng.choice(self.sets[name or rng.choices(self.names, self.weights)[0]])
        pixels = photo.pixels()
        height, width = pixels.shape[:2]
        scale = config.image_size / max(height, width) * math.exp(rng.uniform(*map(math.log, config.scale)))
        scale_x = scale * math.exp(rng.uniform(-config.stretch, config.stretch))
        scale_y = scale * math.exp(rng.uniform(-config.stretch, config.stretch))
        span_x, span_y = size / scale_x, size / scale_y
        anchor = rng.choices(photo.annotations, [a.area**AREA_POWER for a in photo.annotations])[0]
        x0 = _window(rng, anchor.box[0], anchor.box[2], span_x, width)
        y0 = _window(rng, anchor.box[1], anchor.box[3], span_y, height)

        # the part of the window that the photo covers: in the photo, then in the crop
        left, top, right, bottom = max(x0, 0.0), max(y0, 0.0), min(x0 + span_x, width), min(y0 + span_y, height)
        x_from, x_to = round((left - x0) * scale_x), round((right - x0) * scale_x)
        y_from, y_to = round((top - y0) * scale_y), round((bottom - y0) * scale_y)
        if x_to <= x_from or y_to <= y_from:
            return np.empty((0, 0, 3), np.uint8), []
        image = np.empty((size, size, 3), np.uint8)
        image[:] = FILL
        scaled = Image.fromarray(pixels).resize(
            (x_to - x_from, y_to - y_from), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
        )
        image[y_from:y_to, x_from:x_to] = np.asarray(scaled)
        columns = np.clip(((np.arange(x_from, x_to) + 0.5) / scale_x + x0).astype(int), 0, width - 1)
        rows = np.clip(((np.arange(y_from, y_to) + 0.5) / scale_y + y0).astype(int), 0, height - 1)

        masks = []
        for annotation in _shuffled(rng, photo.annotations):
            x, y, w, h = annotation.box
            if x >= right or x + w <= left or y >= bottom or y + h <= top:
                continue
            visible = annotation.decode()[rows][:, columns]
            pixels_in = int(visible.sum())
            if pixels_in < MIN_PIXELS or pixels_in < MIN_VISIBLE * annotation.area * scale_x * scale_y:
                continue
            mask = np.zeros((size, size), np.uint8)
            mask[y_from:y_to, x_from:x_to] = visible
            masks.append(mask)
            if len(masks) == config.masks:
                break
        if rng.random() < 0.5:
            return image[:, ::-1], [mask[:, ::-1] for mask in masks]
        return image, masks

    def _paste(self, rng: random.Random, image: UInt8, masks: list[UInt8]) -> tuple[UInt8, list[UInt8]]:
        """Paste an object of another crop over this one; it becomes the first mask and hides part of the others."""
        other, candidates = self._crop(rng)
        candidates = [mask for mask in candidates if 0.01 < mask.mean() < 0.25]
        if not candidates:
            return image, masks
        pasted = rng.choice(candidates)
        left_over = [mask & (1 - pasted) for mask in masks]
        kept = [
            rest
            for rest, mask in zip(left_over, masks, strict=True)
            if rest.sum() > max(MIN_PIXELS, 0.4 * int(mask.sum()))
        ]
        return np.where(pasted[..., None] > 0, other, image), [pasted, *kept]

    def _prompt(
        self, rng: random.Random, mask: UInt8, points: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
    ) -> None:
        """Write a first prompt for ``mask`` into ``points`` (T, 2) and ``labels`` (T,)."""
        size, used = self.config.size, 0
        if rng.random() < self.config.box:
            box = np.array(bounding_box(mask), np.float32)
            if rng.random() < self.config.jitter:
                sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
                noise = np.array([rng.gauss(0, 0.1) for _ in range(4)]) * sides
                box = np.clip(box + np.clip(noise, -20, 20), 0, size).astype(np.float32)
                box[2:] = np.maximum(box[2:], box[:2] + 1)
            points[:2] = box.reshape(2, 2)
            labels[:2] = (2, 3)
            used = 2
            extra = rng.randint(0, len(labels) - 2)
        else:
            extra = rng.randint(1, len(labels) - 1)
        for i in range(used, used + extra):
            # the first click is often in the middle, as people click; background clicks stay near the object
            background = i > 0 and rng.random() < 0.3
            if i == 0 and rng.random() < 0.6:
                points[i] = middle(mask[::2, ::2] > 0) if mask[::2, ::2].any() else _any_pixel(rng, mask)
                if mask[::2, ::2].any():
                    points[i] = points[i] * 2
                labels[i] = 1
            elif background:
                x0, y0, x1, y1 = bounding_box(mask)
                around = np.zeros_like(mask)
                pad_x, pad_y = (x1 - x0) // 4 + 4, (y1 - y0) // 4 + 4
                around[max(0, y0 - pad_y) : y1 + pad_y, max(0, x0 - pad_x) : x1 + pad_x] = 1
                outside = around & (1 - mask)
                if outside.any():
                    points[i], labels[i] = _any_pixel(rng, outside), 0
            else:
                points[i], labels[i] = _any_pixel(rng, mask), 1


def _any_pixel(rng: random.Random, mask: UInt8) -> tuple[float, float]:
    where = np.flatnonzero(mask)
    y, x = divmod(int(where[rng.randrange(len(where))]), mask.shape[1])
    return x + 0.5, y + 0.5


def _window(rng: random.Random, start: float, length: float, span: float, limit: int) -> float:
    """Start of a window of length ``span`` that holds the object where it can, and stays in the photo where it can."""
    if span >= limit:
        return rng.uniform(limit - span, 0) if rng.random() < 0.5 else 0.0
    low, high = sorted((start + length - span, start))
    return min(max(rng.uniform(low, high), 0.0), limit - span)


def _shuffled(rng: random.Random, annotations: tuple[Annotation, ...]) -> list[Annotation]:
    """Weighted random order (exponential keys), weights as :data:`AREA_POWER` says."""
    return sorted(annotations, key=lambda a: -math.log(1 - rng.random()) / max(a.area, 1.0) ** AREA_POWER)


class SampleStream(IterableDataset[Batch]):
    """Endless batches; every worker draws its own."""

    def __init__(self, maker: SampleMaker, images: int, seed: int) -> None:
        self.maker, self.images, self.seed = maker, images, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        torch.set_num_threads(1)
        rng = random.Random(self.seed * 1009 + (worker.id if worker else 0))
        while True:
            yield self.maker.batch(rng, self.images)
