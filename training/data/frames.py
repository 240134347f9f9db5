"""Whole photos for distillation: each once at the student's size and once as the teacher wants it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evsam.datasets.records import Annotation, BrokenSample, Photo, UInt8
from evsam.training.config import ConfigError
from evsam.training.data.embeddings import EmbeddingCache, Float16
from evsam.training.data.pixels import place
from evsam.transforms import fitted_size, points_to_frame

TOKENS = 2
"""Points of each prompt: the corners of a box, or a click and the padding that SAM adds where there is no box."""

BOX_SHARE = 0.5
"""Part of the prompts that are boxes, as in the paper's fine-tuning (arXiv 2402.05008, section 3.2)."""


class FrameSample(NamedTuple):
    """One photo; arrays as in :class:`FrameBatch`, without the axis of the batch."""

    key: str
    image: UInt8
    extent: tuple[int, int]
    teacher_image: UInt8 | None
    teacher_extent: tuple[int, int] | None
    embeddings: tuple[Float16, ...]
    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


class FrameBatch(NamedTuple):
    """Photos as tensors.

    Attributes:
        images: uint8 (B, S, S, 3) RGB, S the student's image size; each photo lies at the top left.
        extents: int64 (B, 2), height and width of each photo in ``images``; beyond is padding.
        teacher_images: uint8 (B, T, T, 3), T the teacher's image size; None where the teacher sees ``images``, or its
            embeddings come along.
        teacher_extents: int64 (B, 2), height and width in ``teacher_images``; None as that is.
        embeddings: the teacher's cached maps, float16 (B, C, H, W) each; empty where the teacher is asked.
        points: float32 (B * K, 2, 2), x and y in pixels of the 1024 frame: K prompts of each photo, photo by photo.
        labels: int64 (B * K, 2), labels as :meth:`evsam.nn.EfficientViTSam.decode` takes them.
        keys: of the photos.
        broken: what was wrong with each photo that was replaced.
    """

    images: Tensor
    extents: Tensor
    teacher_images: Tensor | None
    teacher_extents: Tensor | None
    embeddings: Sequence[Tensor]
    points: Tensor
    labels: Tensor
    keys: Sequence[str]
    broken: Sequence[str]


@dataclass(frozen=True)
class FrameMaker:
    """Makes samples of whole photos.

    Attributes:
        image_size: side of the student's image in pixels.
        teacher_size: side of the image that the teacher is given, None with cached embeddings.
        cache: embeddings to take in place of a teacher's image.
        flip: probability that a photo is mirrored; cached embeddings are of photos as they are, so 0 with those.
        prompts: prompts of each photo, for the decoder in the loop: a box or a click for one of its masks each, and
            clicks anywhere on a photo that has fewer masks.

    Raises:
        ConfigError: neither or both of ``teacher_size`` and ``cache`` are given, or ``flip`` together with ``cache``.
    """

    image_size: int
    teacher_size: int | None = None
    cache: EmbeddingCache | None = None
    flip: float = 0.0
    prompts: int = 0

    def __post_init__(self) -> None:
        if (self.teacher_size is None) == (self.cache is None):
            raise ConfigError("distillation: expected either a teacher or cached embeddings")
        if self.cache is not None and self.flip:
            raise ConfigError(
                f"flip: cached embeddings are of photos that are not mirrored: expected 0, got {self.flip}; "
                "set flip=0, or let the teacher compute during training"
            )

    def plan(self, rng: random.Random) -> None:
        """Samples of a batch share nothing."""

    def sample(self, photo: Photo, plan: None, rng: random.Random) -> FrameSample:  # noqa: ARG002 - of BatchMaker
        """One photo.

        Raises:
            BrokenSample: the photo cannot be read, or could not be when the cache was made.
            CacheError: the photo is not in the cache, has changed since, or its embedding is damaged.
        """
        content = photo.content()
        embeddings = self.cache.get(photo.key, content) if self.cache is not None else ()
        pixels = photo.pixels(content)
        mirrored = rng.random() < self.flip
        image, extent = place(pixels, self.image_size, mirrored)
        teacher_image, teacher_extent = None, None
        if self.teacher_size not in (None, self.image_size):
            assert self.teacher_size is not None
            teacher_image, teacher_extent = place(pixels, self.teacher_size, mirrored)
        points, labels = self._prompts(photo, pixels.shape[:2], mirrored, rng)
        return FrameSample(photo.key, image, extent, teacher_image, teacher_extent, embeddings, points, labels)

    def collate(self, samples: Sequence[FrameSample], plan: None, broken: Sequence[str]) -> FrameBatch:  # noqa: ARG002
        """A batch."""
        teacher = [sample.teacher_image for sample in samples if sample.teacher_image is not None]
        teacher_extents = [sample.teacher_extent for sample in samples if sample.teacher_extent is not None]
        return FrameBatch(
            images=torch.from_numpy(np.stack([sample.image for sample in samples])),
            extents=torch.tensor([sample.extent for sample in samples]),
            teacher_images=torch.from_numpy(np.stack(teacher)) if teacher else None,
            teacher_extents=torch.tensor(teacher_extents) if teacher_extents else None,
            embeddings=tuple(
                torch.from_numpy(np.stack(maps))
                for maps in zip(*(sample.embeddings for sample in samples), strict=True)
            ),
            points=torch.from_numpy(np.concatenate([sample.points for sample in samples])),
            labels=torch.from_numpy(np.concatenate([sample.labels for sample in samples])),
            keys=tuple(sample.key for sample in samples),
            broken=tuple(broken),
        )

    def _prompts(
        self, photo: Photo, size: tuple[int, int], mirrored: bool, rng: random.Random
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Points (K, 2, 2) in pixels of the frame and labels (K, 2)."""
        points = np.zeros((self.prompts, TOKENS, 2), np.float64)
        labels = np.full((self.prompts, TOKENS), -1, np.int64)
        if not self.prompts:
            return points.astype(np.float32), labels
        chosen = rng.sample(photo.annotations, min(self.prompts, len(photo.annotations)))
        for number in range(self.prompts):
            annotation = chosen[number] if number < len(chosen) else None
            if annotation is not None and rng.random() < BOX_SHARE:
                x, y, width, height = annotation.box
                points[number], labels[number] = ((x, y), (x + width, y + height)), (2, 3)
            else:
                points[number, 0], labels[number, 0] = _click(photo.key, annotation, size, rng), 1
        if mirrored:
            points[..., 0] = size[1] - points[..., 0]
            boxes = labels[:, 0] == 2
            points[boxes, :, 0] = points[boxes, ::-1, 0]
        return points_to_frame(points, size, fitted_size(size)), labels


def _click(key: str, annotation: Annotation | None, size: tuple[int, int], rng: random.Random) -> tuple[float, float]:
    """A pixel (x, y of its middle) of a mask, or of the photo where there is no mask."""
    height, width = size
    if annotation is not None:
        try:
            mask = annotation.decode()
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenSample(key, f"a mask cannot be decoded: {error}") from error
        where = np.flatnonzero(mask)
        if len(where):
            y, x = divmod(int(where[rng.randrange(len(where))]), width)
            return x + 0.5, y + 0.5
    return rng.randrange(width) + 0.5, rng.randrange(height) + 0.5
