"""Validation during a run: scores of every set, and some masks drawn on photos."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from evsam.boxes import bounding_box
from evsam.nn import EfficientViTSam
from evsam.overlay import draw_masks
from evsam.training.callbacks import Pictures, ValidationScores
from evsam.training.config import LogConfig, ValidationConfig
from evsam.training.data.records import BrokenSample, Photo, PhotoSource
from evsam.training.data.sources import open_source
from evsam.training.distributed import World
from evsam.training.validation import BROKEN, Scores, encode_photo, full_size, predict_boxes, validate

_log = logging.getLogger(__name__)

DRAWN = 6
"""Masks on a picture: more would hide the photo."""


class Validator:
    """Scores models on the validation photos of a run.

    Args:
        config: what is scored.
        log: how many photos are drawn.
    """

    def __init__(self, config: ValidationConfig, log: LogConfig) -> None:
        self.config, self.pictures = config, log.pictures
        self.sources: dict[str, PhotoSource] = {source.name: open_source(source) for source in config.sources}

    def __call__(self, model: EfficientViTSam, where: World) -> tuple[ValidationScores, Pictures]:
        """Mean IoU by set and prompt, and pictures by name; each process scores its share of the photos."""
        scores: dict[str, dict[str, float]] = {}
        pictures = {}
        for name, source in self.sources.items():
            numbers = range(0, len(source), self.config.every_nth)
            mine = readable(source, numbers[where.rank :: where.size])
            found = validate(model, mine, clicks=self.config.clicks, masks_per_photo=self.config.masks)
            summary = Scores.joined(where.gather(found)).summary()
            scores[name] = {prompt: by_size["all"] for prompt, by_size in summary.items()}
            if where.rank == 0:
                for photo in mine[: self.pictures]:
                    with contextlib.suppress(*BROKEN):  # validate has said so
                        pictures[f"{name}-{Path(photo.key).stem}"] = draw(model, photo)
        return scores, pictures


def readable(source: PhotoSource, numbers: Sequence[int]) -> list[Photo]:
    """Photos by number; those whose records cannot be read are left out, with a warning."""
    photos = []
    for number in numbers:
        try:
            photos.append(source[number])
        except BrokenSample as error:  # noqa: PERF203 - each on its own
            _log.warning("validation: a photo is left out: %s", error)
    return photos


@torch.no_grad()
def draw(model: EfficientViTSam, photo: Photo) -> np.ndarray:
    """A photo (H, W, 3), uint8 RGB, with the masks that a model gives for the boxes of its first objects."""
    pixels = photo.pixels()
    masks = [a.decode() for a in photo.annotations[:DRAWN]]
    boxes = np.array([bounding_box(mask) for mask in masks if mask.any()], np.float32)
    if not len(boxes):
        return pixels
    frame = encode_photo(model, pixels)
    logits, _ = predict_boxes(model, frame, boxes)
    return np.asarray(draw_masks(pixels, (full_size(logits[:, :1], frame)[:, 0] > 0).cpu().numpy()))
