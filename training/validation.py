"""Scores of a model on annotated photos: mean IoU by prompt, by set and by size of the object; and during a run.

Prompts: the true box; and clicks (:mod:`evsam.evaluation.clicks`), with the previous mask fed back. ``evsam eval``
scores finished models; here it is one that is being trained, on its device.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from evsam.boxes import bounding_box
from evsam.data.records import Annotation, BrokenSample, Photo, PhotoSource
from evsam.evaluation.clicks import Click, next_click
from evsam.evaluation.metrics import SIZES, size_classes
from evsam.evaluation.protocols import inscribed_ellipse
from evsam.nn import EfficientViTSam, Features
from evsam.overlay import draw_masks
from evsam.training.callbacks import Pictures, ValidationScores
from evsam.training.config import LogConfig, ValidationConfig
from evsam.training.data.sources import open_source
from evsam.training.distributed import World
from evsam.transforms import fitted_size, image_to_pixels, points_to_frame
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

_log = logging.getLogger(__name__)

BoolMask = npt.NDArray[np.bool_]

BROKEN = (BrokenSample, KeyError, TypeError, ValueError)
"""What reading a photo and its masks raises where they are broken."""

DRAWN = 6
"""Masks on a picture: more would hide the photo."""


@dataclass(frozen=True)
class Frame:
    """A photo as the model sees it: features, its size in the frame, and its own size (both H, W)."""

    features: Features
    resized: tuple[int, int]
    original: tuple[int, int]


def encode_photo(model: EfficientViTSam, pixels: npt.NDArray[np.uint8]) -> Frame:
    """Resize, normalise, pad and encode a photo (H, W, 3)."""
    device = next(model.parameters()).device
    x = torch.from_numpy(image_to_pixels(pixels, model.variant.image_size))[None].to(device)
    original = (pixels.shape[0], pixels.shape[1])
    return Frame(model.encode(x.contiguous(memory_format=torch.channels_last)), fitted_size(original), original)


def full_size(logits: Tensor, frame: Frame) -> Tensor:
    """Logits (N, M, 256, 256) at the photo's size, as SAM brings them there.

    Both of its resizes and the crop between them are linear in each axis, so they are one small matrix per axis: much
    cheaper than to go through 1024 x 1024 pixels for every mask.
    """
    rows, columns = (_axis(a, b).to(logits.device) for a, b in zip(frame.resized, frame.original, strict=True))
    return rows @ logits @ columns.T


@lru_cache(maxsize=64)
def _axis(resized: int, original: int) -> Tensor:
    """(original, 256): what each pixel along one axis of the photo takes from the logits."""
    x = F.interpolate(torch.eye(LOGITS_SIZE)[None], FRAME_SIZE, mode="linear", align_corners=False)
    return F.interpolate(x[..., :resized], original, mode="linear", align_corners=False)[0].T.contiguous()


@dataclass(frozen=True)
class Objects:
    """Some annotated objects of one photo.

    Attributes:
        masks: bool (H, W) each.
        counted: bool (N, 1, H, W), False where a pixel counts neither as object nor as background.
    """

    masks: list[BoolMask]
    counted: Tensor

    @classmethod
    def read(cls, annotations: Sequence[Annotation], device: torch.device) -> Objects:
        """Decode annotations; empty masks are left out."""
        found = [(a.decode().astype(bool), a.decode_ignore()) for a in annotations]
        found = [(mask, ignore) for mask, ignore in found if mask.any()]
        counted = [np.ones_like(mask) if ignore is None else ignore == 0 for mask, ignore in found]
        stack = torch.from_numpy(np.array(counted)).to(device)
        return cls([mask for mask, _ in found], stack[:, None])

    def part(self, start: int, count: int) -> Objects:
        """``count`` objects from number ``start`` on."""
        return Objects(self.masks[start : start + count], self.counted[start : start + count])

    def iou(self, predicted: Tensor) -> Tensor:
        """IoU (N, M) of predicted masks, bool (N, M, H, W)."""
        true = torch.from_numpy(np.stack(self.masks)).to(predicted.device)[:, None]
        intersection = (predicted & true & self.counted).sum((-2, -1))
        return intersection / ((predicted | true) & self.counted).sum((-2, -1)).clamp(min=1)


class Scores:
    """IoU per object, by name of the prompt."""

    def __init__(self) -> None:
        self.sizes: list[str] = []
        self.values: dict[str, list[float]] = {}

    def add(self, name: str, values: Iterable[float]) -> None:
        """Add values of the prompt ``name`` in the order of the objects."""
        self.values.setdefault(name, []).extend(values)

    @classmethod
    def joined(cls, parts: Sequence[Scores]) -> Scores:
        """Scores of several groups of objects together."""
        whole = cls()
        for part in parts:
            whole.sizes += part.sizes
            for name, values in part.values.items():
                whole.add(name, values)
        return whole

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean IoU by prompt, of all objects and of each size class that occurs."""
        sizes = np.array(self.sizes)
        result = {}
        for name, values in self.values.items():
            array = np.array(values)
            result[name] = {"all": float(array.mean())}
            for size in SIZES:
                if (sizes == size).any():
                    result[name][size] = float(array[sizes == size].mean())
        return result


@torch.no_grad()
def validate(
    model: EfficientViTSam,
    photos: Sequence[Photo],
    *,
    clicks: int = 1,
    masks_per_photo: int | None = None,
    blank: bool = False,
    chunk: int = 16,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Scores:
    """Score a model on photos.

    Args:
        model: in eval mode.
        photos: with their masks; those that cannot be read are left out, with a warning.
        clicks: clicks to simulate; 0 for boxes only.
        masks_per_photo: at most that many masks of a photo, drawn with ``seed``; None for all.
        blank: replace every photo by one colour, to see what the prompt alone is worth.
        chunk: prompts decoded at once.
        seed: of the choice of masks.
        progress: called with photos done and photos in all.

    Returns:
        IoU for ``box`` (the single mask), ``box_best`` (best of four), ``box_chosen`` (of four by predicted IoU),
        ``ellipse`` (inscribed in the true box), ``click1`` ... and ``click1_best`` (best of the three).
    """
    scores = Scores()
    for frame, objects in objects_in_frames(
        model, photos, masks_per_photo=masks_per_photo, blank=blank, chunk=chunk, seed=seed, progress=progress
    ):
        score_prompts(model, frame, objects, clicks, scores)
    return scores


def objects_in_frames(
    model: EfficientViTSam,
    photos: Sequence[Photo],
    *,
    masks_per_photo: int | None = None,
    blank: bool = False,
    chunk: int = 16,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Iterator[tuple[Frame, Objects]]:
    """Encoded photos and their objects, at most ``chunk`` at once; arguments as those of :func:`validate`."""
    for number, photo in enumerate(photos):
        annotations = photo.annotations
        if masks_per_photo is not None and len(annotations) > masks_per_photo:
            # by photo, so that it does not matter which photos are scored together
            chosen = random.Random(f"{seed}/{photo.key}").sample(range(len(annotations)), masks_per_photo)
            annotations = tuple(annotations[index] for index in sorted(chosen))
        try:
            pixels = photo.pixels()
            objects = Objects.read(annotations, next(model.parameters()).device)
        except BROKEN as error:
            reason = error.reason if isinstance(error, BrokenSample) else error
            _log.warning("validation: a photo is left out: %s: %s", photo.key, reason)
            continue
        frame = encode_photo(model, np.full_like(pixels, 128) if blank else pixels)
        for start in range(0, len(objects.masks), chunk):
            yield frame, objects.part(start, chunk)
        if progress:
            progress(number + 1, len(photos))


def score_prompts(model: EfficientViTSam, frame: Frame, objects: Objects, clicks: int, scores: Scores) -> None:
    """Add the scores of some objects, by the prompts that :func:`validate` names."""
    scores.sizes += [size_classes(int(mask.sum()))[0] for mask in objects.masks]
    _score_boxes(model, frame, objects, scores)
    if clicks:
        _score_clicks(model, frame, objects, clicks, scores)


def to_frame(points: npt.NDArray[np.float32], frame: Frame) -> Tensor:
    """Points (..., 2) in pixels of the photo as the decoder takes them."""
    placed = points_to_frame(points.astype(np.float64), frame.original, frame.resized)
    return torch.from_numpy(placed).to(frame.features[0].device)


def predict_boxes(model: EfficientViTSam, frame: Frame, boxes: npt.NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Logits (N, 4, 256, 256) and predicted IoU (N, 4) for boxes (N, 4): x0, y0, x1, y1 in pixels of the photo."""
    labels = torch.tensor([[2, 3]], device=frame.features[0].device).expand(len(boxes), 2)
    return model.decode(frame.features, to_frame(boxes.reshape(-1, 2, 2), frame), labels)


def _score_boxes(model: EfficientViTSam, frame: Frame, objects: Objects, scores: Scores) -> None:
    device = frame.features[0].device
    boxes = np.array([bounding_box(mask) for mask in objects.masks], np.float32)
    logits, iou = predict_boxes(model, frame, boxes)
    real = objects.iou(full_size(logits, frame) > 0)
    scores.add("box", real[:, 0].tolist())
    scores.add("box_chosen", real.gather(1, iou.argmax(1, keepdim=True))[:, 0].tolist())
    scores.add("box_best", real.amax(1).tolist())
    ellipses = [inscribed_ellipse(box, frame.original) for box in boxes.tolist()]
    scores.add("ellipse", objects.iou(torch.from_numpy(np.stack(ellipses)).to(device)[:, None])[:, 0].tolist())


def _first_click(mask: BoolMask) -> Click:
    click = next_click(mask)
    assert click is not None  # empty masks are left out
    return click


def _score_clicks(model: EfficientViTSam, frame: Frame, objects: Objects, clicks: int, scores: Scores) -> None:
    device, count = frame.features[0].device, len(objects.masks)
    ignored = ~objects.counted[:, 0].cpu().numpy()
    made = [[_first_click(mask)] for mask in objects.masks]
    rows = torch.arange(count, device=device)
    previous: Tensor | None = None
    for click in range(1, clicks + 1):
        points = np.array([[one.centre for one in of_object] for of_object in made], np.float32)
        labels = torch.tensor([[one.label for one in of_object] for of_object in made], device=device)
        # without a box SAM adds a padding point
        frame_points = F.pad(to_frame(points, frame), (0, 0, 0, 1))
        logits, iou = model.decode(frame.features, frame_points, F.pad(labels, (0, 1), value=-1), previous)
        if click == 1:
            logits, iou = logits[:, 1:], iou[:, 1:]
            chosen = iou.argmax(1, keepdim=True)
        else:  # several clicks are not ambiguous
            chosen = torch.zeros(count, 1, dtype=torch.long, device=device)
        masks = full_size(logits, frame) > 0
        real = objects.iou(masks)
        scores.add(f"click{click}", real.gather(1, chosen)[:, 0].tolist())
        if click == 1:
            scores.add("click1_best", real.amax(1).tolist())
        previous = logits[rows, chosen[:, 0]][:, None]
        if click < clicks:
            answers = masks[rows, chosen[:, 0]].cpu().numpy()
            for mask, answer, ignore, of_object in zip(objects.masks, answers, ignored, made, strict=True):
                # where nothing is wrong, the first click once more
                of_object.append(next_click(mask, answer, ignore, of_object) or of_object[0])


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
