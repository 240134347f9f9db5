"""Scores of a model that is being trained, on annotated photos: mean IoU by prompt, by set and by size of the object.

Prompts and metrics are those of :mod:`evsam.evaluation`, by which ``evsam eval`` scores finished models: true boxes,
and simulated clicks with the previous mask fed back. Masks are compared on the host, as there.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evsam.boxes import bounding_box
from evsam.datasets.records import BrokenSample, Photo, PhotoSource
from evsam.engines.base import FloatArray
from evsam.engines.torch import TorchEngine
from evsam.evaluation.protocols import (
    MASK_ROWS,
    Boxes,
    Clicks,
    Ellipses,
    Masks,
    PhotoProtocol,
    Row,
)
from evsam.evaluation.runner import score_photo
from evsam.nn import EfficientViTSam
from evsam.ops import mask_upsample
from evsam.overlay import draw_masks
from evsam.sam import Sam
from evsam.training.callbacks import Pictures, ValidationScores
from evsam.training.config import LogConfig, ValidationConfig
from evsam.training.data.sources import open_source
from evsam.training.distributed import World

_log = logging.getLogger(__name__)

Rows = Mapping[str, Sequence[Row]]
"""What protocols found, by their names."""

Summary = dict[str, dict[str, float]]
"""Mean IoU by prompt, of all objects and of each size class that occurs."""

DRAWN = 6
"""Masks on a picture: more would hide the photo."""


class TrainedEngine(TorchEngine):
    """The torch engine, but for masks of the photo's size.

    They are made from logits on the host, where the truth is: PyTorch would go through 1024 x 1024 pixels for each.
    """

    def masks(
        self, logits: FloatArray, resized_size: tuple[int, int], original_size: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """See :meth:`evsam.engines.base.Engine.masks`."""
        return np.asarray(mask_upsample(np.ascontiguousarray(logits), resized_size, original_size, backend="native"))


def as_sam(model: EfficientViTSam) -> Sam:
    """A model in eval mode as everything below it is used: by prompts in pixels of the photo."""
    return Sam(model.variant, TrainedEngine.of_module(model), "in training")


@dataclass(frozen=True)
class Scored:
    """A score of a validation: the protocol's table of means has it in this row.

    Attributes:
        name: of the score.
        protocol: name of the protocol.
        row: of its table.
    """

    name: str
    protocol: str
    row: str


def protocols(clicks: int, mask_prompts: bool = False) -> tuple[PhotoProtocol, ...]:
    """What photos go through.

    Args:
        clicks: clicks to simulate; 0 for boxes only.
        mask_prompts: whether the model is shown its own answers, too.
    """
    boxes: tuple[PhotoProtocol, ...] = (
        Boxes("box", multimask=False, source="mask"),
        Boxes("three", multimask=True, source="mask", best=True),
        Ellipses("ellipse"),
    )
    if mask_prompts:
        boxes += (Masks("masks"),)
    return (*boxes, Clicks("clicks", clicks=clicks, best=True)) if clicks else boxes


def summary(rows: Rows, clicks: int, mask_prompts: bool = False) -> Summary:
    """Scores of rows of any number of photos, the same to the last bit in whatever order they are.

    Args:
        rows: of :func:`protocols`.
        clicks: likewise.
        mask_prompts: likewise.

    Returns:
        IoU for ``box`` (the single mask), ``box_chosen`` (of three by predicted IoU), ``box_best`` (best of three),
        ``ellipse`` (inscribed in the true box), ``click1`` ... and ``click1_best`` (best of the three); with mask
        prompts ``mask_back`` and ``click_mask_back``, IoU of the masks of a box and a click with what comes back of
        their logits alone, whatever the variant's record says of masks, and ``click_with_mask``, of a click with the
        box's mask beside it.
    """
    names = [
        Scored("box", "box", "IoU"),
        Scored("box_chosen", "three", "IoU"),
        Scored("box_best", "three", "IoU, best of three"),
        Scored("ellipse", "ellipse", "IoU"),
    ]
    for click in range(1, clicks + 1):
        row = f"IoU, {click} click{'s' if click > 1 else ''}"
        names.append(Scored(f"click{click}", "clicks", row))
        if click == 1:
            names.append(Scored("click1_best", "clicks", f"{row}, best of three"))
    tables = {
        one.name: one.summary(rows[one.name])["mean"] for one in protocols(clicks, mask_prompts) if rows.get(one.name)
    }
    if mask_prompts:
        bare = "bare_" if MASK_ROWS["bare_box_back"] in tables.get("masks", {}) else ""
        kinds = {
            "mask_back": f"{bare}box_back",
            "click_mask_back": f"{bare}click_back",
            "click_with_mask": "click_and_mask",
        }
        names += [Scored(name, "masks", MASK_ROWS[kind]) for name, kind in kinds.items()]
    return {
        one.name: {size: value for size, value in tables[one.protocol][one.row].items() if value is not None}
        for one in names
        if one.protocol in tables
    }


def scored(
    model: EfficientViTSam,
    photos: Sequence[Photo],
    wanted: Sequence[PhotoProtocol],
    *,
    masks_per_photo: int | None = None,
    seed: int = 0,
) -> dict[str, list[Row]]:
    """What protocols find on photos.

    Args:
        model: in eval mode.
        photos: with their masks; those that cannot be used are left out, with a warning.
        wanted: the protocols.
        masks_per_photo: at most that many masks of a photo, drawn with ``seed``; None for all.
        seed: of the choice of masks.
    """
    sam = as_sam(model)
    rows: dict[str, list[Row]] = {one.name: [] for one in wanted}
    for photo in photos:
        annotations = photo.annotations
        if masks_per_photo is not None and len(annotations) > masks_per_photo:
            # by photo, so that it does not matter which photos are scored together
            chosen = random.Random(f"{seed}/{photo.key}").sample(range(len(annotations)), masks_per_photo)
            annotations = tuple(annotations[index] for index in sorted(chosen))
        try:
            found = score_photo(sam, replace(photo, annotations=annotations), wanted)
        except BrokenSample as error:
            _log.warning("validation: a photo is left out: %s: %s", photo.key, error.reason)
            continue
        for name, of_photo in found.items():
            rows[name] += of_photo
    return rows


def validate(
    model: EfficientViTSam,
    photos: Sequence[Photo],
    *,
    clicks: int = 1,
    masks_per_photo: int | None = None,
    seed: int = 0,
) -> Summary:
    """Score a model on photos: :func:`scored` by :func:`protocols`, as :func:`summary` tells it."""
    rows = scored(model, photos, protocols(clicks), masks_per_photo=masks_per_photo, seed=seed)
    return summary(rows, clicks)


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
        pictures: dict[str, npt.NDArray[np.uint8]] = {}
        asked = self.config.clicks, self.config.mask_prompts
        wanted = protocols(*asked)
        for name, source in self.sources.items():
            numbers = range(0, len(source), self.config.every_nth)
            mine = readable(source, numbers[where.rank :: where.size])
            parts = where.gather(scored(model, mine, wanted, masks_per_photo=self.config.masks))
            rows = {one.name: [row for part in parts for row in part[one.name]] for one in wanted}
            scores[name] = {prompt: by_size["all"] for prompt, by_size in summary(rows, *asked).items()}
            if where.rank == 0:
                pictures |= {
                    f"{name}-{Path(key).stem}": picture for key, picture in _drawn(model, mine[: self.pictures])
                }
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


def _drawn(model: EfficientViTSam, photos: Sequence[Photo]) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    for photo in photos:
        with contextlib.suppress(BrokenSample, ValueError):  # which was said when it was scored
            yield photo.key, draw(model, photo)


def draw(model: EfficientViTSam, photo: Photo) -> npt.NDArray[np.uint8]:
    """A photo (H, W, 3), uint8 RGB, with the masks that a model gives for the boxes of its first objects."""
    pixels = photo.pixels()
    masks = [annotation.decode() for annotation in photo.annotations[:DRAWN]]
    boxes = [bounding_box(mask) for mask in masks if mask.any()]
    if not boxes:
        return pixels
    result = as_sam(model).predict(pixels, boxes=boxes, multimask=False)
    return np.asarray(draw_masks(pixels, result.masks[:, 0]))
