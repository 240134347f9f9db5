"""Training samples: a crop of a photo or the whole of it, some of its masks, and a first prompt for each.

Without ``sizes``, scales are relative to a photo whose long side is the variant's image size, the scale at which
predictions are made.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from evsam.datasets.records import Annotation, BrokenSample, Photo, UInt8
from evsam.rle import run_ends
from evsam.training.config import Config
from evsam.training.data.pixels import FILL, Indices, coverage, sample_mask
from evsam.training.prompts import Probability, PromptConfig, first_prompt
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

CROP_ATTEMPTS = 20
"""Crops of a photo without any mask in them, after which it does not count as one to learn from."""

PASTED_PART = (0.01, 0.25)
"""Smallest and largest part of the crop that a pasted object covers."""

LEFT_OVER = 0.4
"""A mask of which a pasted object leaves less than this part is left out."""

Positive = Annotated[int, Field(ge=1)]


class SampleConfig(Config):
    """How photos become samples.

    Attributes:
        size: side of the crop in pixels; not read where there are ``sizes``.
        sizes: sides, one of which is drawn for each batch: the photo's long side then becomes as long, and the variant
            makes the same grid of cells of all of them (multi-resolution training).
        image_size: the variant's image size, and no other.
        masks: most masks of a photo; a photo that has fewer in the crop gives those.
        scale: smallest and largest scale.
        stretch: largest logarithmic change of either side on its own.
        shift: whether a photo that is smaller than the crop may lie anywhere in it, rather than at its top left as at
            inference.
        flip: probability that left and right are exchanged.
        paste: probability that an object of another photo is pasted in.
        area_power: masks are drawn with weight area ** area_power. 0.3 is mildly in favour of larger ones, or tiny
            regions would dominate where photos have many; 0 draws them evenly.
        min_pixels: a mask with fewer pixels in the crop says too little to learn from.
        min_visible: a mask of which less than this part is in the crop is left out.
    """

    size: Positive = 256
    sizes: tuple[Positive, ...] = ()
    image_size: Positive = 512
    masks: Positive = 8
    scale: tuple[float, float] = (0.45, 1.4)
    stretch: float = Field(default=0.12, ge=0)
    shift: bool = True
    flip: Probability = 0.5
    paste: Probability = 0.3
    area_power: float = 0.3
    min_pixels: Positive = 50
    min_visible: Probability = 0.15

    @model_validator(mode="after")
    def _fitting(self) -> SampleConfig:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale: expected the smallest, above 0, and the largest, got {self.scale}")
        if not self.sizes and self.size * LOGITS_SIZE % self.image_size:
            cell = self.image_size // math.gcd(LOGITS_SIZE, self.image_size)
            raise ValueError(f"size: expected a multiple of {cell}, so that whole cells fill the crop, got {self.size}")
        return self


class Plan(NamedTuple):
    """What the samples of a batch have in common.

    Attributes:
        tokens: of each prompt.
        size: side of the images in pixels.
        box: probability that a prompt is a box.
    """

    tokens: int
    size: int
    box: float


class Sample(NamedTuple):
    """One photo with K masks.

    Attributes:
        image: uint8 (S, S, 3) RGB.
        targets: float16 (K, h, h), part of each cell that the mask covers.
        points: float32 (K, T, 2), x and y in pixels of the frame from the crop's top left.
        labels: int64 (K, T).
    """

    image: UInt8
    targets: npt.NDArray[np.float16]
    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


class Batch(NamedTuple):
    """Samples as tensors; every photo has at least one of the N masks.

    Attributes:
        images: uint8 (B, S, S, 3) RGB.
        targets: float16 (N, h, h), part of each cell that the mask covers, 0 to 1.
        points: float32 (N, T, 2), x and y in pixels of the 1024 frame, from the crop's top left.
        labels: int64 (N, T), labels as :meth:`evsam.nn.EfficientViTSam.decode` takes them.
        index: int64 (N,), number of each mask's image, ascending.
        broken: what was wrong with photos that others took the place of.
    """

    images: Tensor
    targets: Tensor
    points: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment] # tuple has a method of that name
    broken: tuple[str, ...]


class SampleMaker:
    """Makes samples of photos, and batches of samples.

    Args:
        config: of the samples.
        prompts: of their first prompts.
        other: draws the photo whose object is pasted; None pastes nothing.
    """

    def __init__(
        self, config: SampleConfig, prompts: PromptConfig, other: Callable[[random.Random], Photo] | None = None
    ) -> None:
        self.config, self.prompts, self.other = config, prompts, other

    def plan(self, rng: random.Random) -> Plan:
        """Draw what the samples of a batch have in common."""
        tokens, box = self.prompts.draw(rng)
        return Plan(tokens, rng.choice(self.config.sizes) if self.config.sizes else self.config.size, box)

    def sample(self, photo: Photo, plan: Plan, rng: random.Random) -> Sample:
        """Draw a sample of a photo.

        Raises:
            BrokenSample: it cannot be read, or no crop holds a mask.
        """
        config = self.config
        image, masks = self._crop(photo, plan, rng, CROP_ATTEMPTS)
        if not masks:
            raise BrokenSample(photo.key, f"no mask of at least {config.min_pixels} pixels")
        if self.other is not None and rng.random() < config.paste:
            # a broken photo to paste from costs the pasted object only; it is counted when its own turn comes
            with contextlib.suppress(BrokenSample):
                image, masks = self._paste(image, masks, *self._crop(self.other(rng), plan, rng, 1), rng)
        whole = plan.size if config.sizes else config.image_size
        frame = FRAME_SIZE / whole
        drawn = [first_prompt(self.prompts, rng, mask, plan.tokens, plan.box, frame) for mask in masks]
        return Sample(
            image,
            np.stack([coverage(mask, plan.size * LOGITS_SIZE // whole) for mask in masks]),
            np.stack([points for points, _ in drawn]) * np.float32(frame),
            np.stack([labels for _, labels in drawn]),
        )

    def collate(self, samples: Sequence[Sample], plan: Plan, broken: Sequence[str]) -> Batch:  # noqa: ARG002 - protocol
        """A batch of samples that were made by the same plan."""
        counts = [len(sample.targets) for sample in samples]
        return Batch(
            torch.from_numpy(np.stack([sample.image for sample in samples])),
            torch.from_numpy(np.concatenate([sample.targets for sample in samples])),
            torch.from_numpy(np.concatenate([sample.points for sample in samples])),
            torch.from_numpy(np.concatenate([sample.labels for sample in samples])),
            torch.from_numpy(np.repeat(np.arange(len(samples)), counts)),
            tuple(broken),
        )

    def _crop(self, photo: Photo, plan: Plan, rng: random.Random, attempts: int) -> tuple[UInt8, list[UInt8]]:
        """A random crop (S, S, 3) around a random mask, and the masks (S, S) in it, of which there may be none."""
        config = self.config
        if not photo.annotations:
            raise BrokenSample(photo.key, "it has no masks")
        pixels = photo.pixels()
        last = None
        for _ in range(attempts):
            crop = self._draw(photo, (pixels.shape[0], pixels.shape[1]), plan, rng)
            if crop == last:  # nothing random about it
                break
            order = _shuffled(rng, photo.annotations, config.area_power)
            masks = crop.masks(photo, order, config.masks, config.min_pixels, config.min_visible)
            if masks:
                return crop.image(pixels), masks
            last = crop
        return pixels, []

    def _draw(self, photo: Photo, size: tuple[int, int], plan: Plan, rng: random.Random) -> Crop:
        config = self.config
        scale = (plan.size if config.sizes else config.image_size) / max(size)
        scale *= math.exp(rng.uniform(*map(math.log, config.scale)))
        stretched = [scale * math.exp(rng.uniform(-config.stretch, config.stretch)) for _ in range(2)]
        weights = [_weight(annotation, config.area_power) for annotation in photo.annotations]
        box = rng.choices(photo.annotations, weights)[0].box
        x, y = (
            window(rng, box[axis], box[2 + axis], plan.size / stretched[axis], size[1 - axis], config.shift)
            for axis in range(2)
        )
        return Crop(plan.size, size, (x, y), (stretched[0], stretched[1]), rng.random() < config.flip)

    def _paste(
        self, image: UInt8, masks: list[UInt8], other: UInt8, candidates: list[UInt8], rng: random.Random
    ) -> tuple[UInt8, list[UInt8]]:
        """Paste an object of another crop over this one; it becomes the first mask and hides part of the others."""
        low, high = PASTED_PART
        candidates = [mask for mask in candidates if low < mask.mean() < high]
        if not candidates:
            return image, masks
        pasted = rng.choice(candidates)
        kept = []
        for mask in masks:
            rest = mask & (1 - pasted)
            if rest.sum() >= max(self.config.min_pixels, LEFT_OVER * int(mask.sum())):
                kept.append(rest)
        return np.where(pasted[..., None] > 0, other, image), [pasted, *kept][: self.config.masks]


def _weight(annotation: Annotation, power: float) -> float:
    return float(max(annotation.area, 1.0) ** power)


def _shuffled(rng: random.Random, annotations: tuple[Annotation, ...], power: float) -> list[Annotation]:
    """Weighted random order, by exponential keys."""
    return sorted(annotations, key=lambda a: -math.log(1 - rng.random()) / _weight(a, power))


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
            KeyError, TypeError, ValueError: the mask does not decode.
        """
        x, y, width, height = annotation.box
        left, top, right, bottom = self.covered
        if x >= right or x + width <= left or y >= bottom or y + height <= top:
            return None
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
