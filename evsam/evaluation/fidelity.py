"""Whether two encoders say the same of a photo: to verify a distillation, an export, or another precision.

Embeddings are compared cell by cell, where the photo is, not its padding; and what decoders make of them: the masks for
the same prompts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evsam.embedding import Embedding
from evsam.errors import EvsamError
from evsam.evaluation.clicks import middle
from evsam.evaluation.metrics import SizeBins, iou, mean, mean_by_size
from evsam.evaluation.protocols import Answers, Row, Tables, counts, identify, in_order, parts, usable_box
from evsam.zoo import FRAME_SIZE

if TYPE_CHECKING:
    from evsam.evaluation.truth import Truth
    from evsam.sam import Sam

Map = npt.NDArray[np.floating[Any]]

ENDINGS = (".safetensors", ".npy")
"""Of files with an embedding each: what :meth:`evsam.Embedding.save` writes, and what ``numpy.save`` does."""

COMPARED = {
    "l2": "L2",
    "relative_l2": "L2 / norm",
    "cosine": "cosine",
    "least_cosine": "least cosine",
}
"""Columns of the table of embeddings, by their keys in rows."""


def compare_maps(
    found: Map, expected: Map, resized_size: tuple[int, int] = (FRAME_SIZE, FRAME_SIZE)
) -> dict[str, float]:
    """How far a feature map is from another one, cell by cell.

    Args:
        found: (C, G, G).
        expected: (C, G, G).
        resized_size: height and width of the photo in the 1024 frame; only cells that hold some of it count.

    Returns:
        ``l2``, the mean over cells of the Euclidean distance of their vectors; ``relative_l2``, that as a part of the
        mean length of the expected ones; ``cosine``, the mean over cells of the cosine between the vectors; and
        ``least_cosine``, that of the worst cell. Equal maps have exactly 0, 0, 1 and 1.

    Raises:
        EvsamError: the shapes differ.

    Example:
        >>> compare_maps(np.ones((4, 2, 2)), np.full((4, 2, 2), 2.0))
        {'l2': 2.0, 'relative_l2': 0.5, 'cosine': 1.0, 'least_cosine': 1.0}
    """
    if found.shape != expected.shape or found.ndim != 3:
        raise EvsamError(f"found: expected shape {expected.shape} as the other map, got {found.shape}")
    rows, columns = (
        math.ceil(length * side / FRAME_SIZE) for length, side in zip(resized_size, found.shape[1:], strict=True)
    )
    a, b = (one[:, :rows, :columns].astype(np.float64) for one in (found, expected))
    distance = np.sqrt(((a - b) ** 2).sum(0))
    squared, other = (a**2).sum(0), (b**2).sum(0)
    both = np.sqrt(squared * other)  # of equal vectors the square itself, so that their cosine is 1
    cosine = np.where(both > 0, (a * b).sum(0) / np.where(both > 0, both, 1), (squared == other).astype(np.float64))
    length = float(np.sqrt(other).mean())
    l2 = float(distance.mean())
    return {
        "l2": l2,
        "relative_l2": l2 / length if length else float(l2 > 0),
        "cosine": float(cosine.mean()),
        "least_cosine": float(cosine.min()),
    }


@dataclass(frozen=True)
class EmbeddingFiles:
    """A teacher's embeddings in a folder.

    Attributes:
        folder: with a file for each photo, named as the photo but for the ending: ``.safetensors``, from
            :meth:`evsam.Embedding.save`, or ``.npy``, an array (C, G, G) over the photo padded to a square at the
            bottom or right. Or a cache that ``python -m evsam.training.cache_embeddings`` made.
    """

    folder: Path

    def features(self, key: str) -> Map:
        """The embedding of a photo, (C, G, G).

        Raises:
            EvsamError: there is none, it cannot be read, or it is no array of such a shape with finite numbers.
        """
        try:
            features = self._read(key)
        except (OSError, EOFError, ValueError) as error:
            raise EvsamError(f"embeddings {self.folder}: that of {key} cannot be read: {error}") from error
        if features.ndim != 3 or features.dtype.kind != "f":
            raise EvsamError(f"embeddings {self.folder}: expected floats (C, G, G) for {key}, got {features.shape}")
        if not np.isfinite(features).all():
            raise EvsamError(f"embeddings {self.folder}: expected finite numbers for {key}, got NaN or infinity")
        return features

    def _read(self, key: str) -> Map:
        named = [self.folder / Path(key).with_suffix(ending) for ending in ENDINGS]
        files = [path for path in named if path.is_file()]
        if files and files[0].suffix == ".safetensors":
            return Embedding.load(files[0]).features
        if files:
            features: Map = np.load(files[0], allow_pickle=False)
        elif key in self._cached:
            path, row = self._cached[key]
            features = np.load(path, mmap_mode="r", allow_pickle=False)[row]
        else:
            raise EvsamError(
                f"embeddings {self.folder}: expected {named[0].name} or {named[1].name} for {key}, got none"
            )
        return features

    @cached_property
    def _cached(self) -> dict[str, tuple[Path, int]]:
        """Array file and row of each photo of a cache, by key, without the name of its source."""
        found = {}
        for path in sorted(self.folder.glob("*/shard-*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            source = f"{record['range']['source']}/"
            for row, key in enumerate(record["keys"]):
                if key not in record["broken"]:
                    found[key.removeprefix(source)] = path.with_suffix(".map0.npy"), row
        return found


@dataclass(frozen=True)
class Fidelity:
    """How much a model agrees with a reference; what is true of the photo only says where prompts are.

    Attributes:
        reference: opens a second model; or a teacher's embeddings, which the model's own decoder then decodes. It is
            not needed to make tables of rows.
        name: see :class:`evsam.evaluation.protocols.PhotoProtocol`.
        masks: whether masks are compared too: those for the objects' boxes, one each, and those for a click in the
            middle, the best of three by each one's own predicted IoU.
        bins: see :func:`evsam.evaluation.metrics.size_classes`.
    """

    reference: Callable[[], Sam] | EmbeddingFiles | None = field(default=None, repr=False, compare=False)
    name: str = "fidelity"
    masks: bool = True
    bins: SizeBins = "coco"

    def __getstate__(self) -> Mapping[str, Any]:
        # without the model, which each process opens for itself
        return {key: value for key, value in vars(self).items() if key != "_opened"}

    @cached_property
    def _opened(self) -> Sam | EmbeddingFiles:
        if self.reference is None:
            raise EvsamError("reference: expected a model or embeddings to compare with, got none")
        return self.reference if isinstance(self.reference, EmbeddingFiles) else self.reference()

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:
        """A row for the photo, with what :func:`compare_maps` says of each map, and one for each object.

        Raises:
            EvsamError: there is no embedding of the photo, or one of another shape than the model's.
        """
        other, theirs = self._reference(sam, embedding, truth)
        pairs = list(zip(embedding.arrays, theirs.arrays, strict=False))
        maps = {
            "features" if number == 0 else f"lateral {number}": compare_maps(
                np.asarray(found), np.asarray(expected), embedding.resized_size
            )
            for number, (found, expected) in enumerate(pairs)
            if np.shape(found) == np.shape(expected)
        }
        rows: list[Row] = [{"photo": truth.key, "maps": maps}]
        if not self.masks:
            return rows
        asked = truth.asked()
        for part in parts(len(asked), truth.size):
            objects = asked[part]
            boxes = [usable_box(one.box, truth.size) or one.mask_box for one in objects]
            clicks = [[middle(one.mask)] for one in objects]
            answers = [
                (
                    _answers(model, encoded, boxes=boxes, multimask=False),
                    _answers(model, encoded, points=clicks, multimask=True),
                )
                for model, encoded in ((sam, embedding), (other, theirs))
            ]
            (box, click), (other_box, other_click) = answers
            rows += [
                {
                    **identify(one, truth),
                    "box": [float(edge) for edge in boxes[index]],
                    "iou": iou(box.mask(index), other_box.mask(index)),
                    "click_iou": iou(click.mask(index), other_click.mask(index)),
                }
                for index, one in enumerate(objects)
            ]
        return rows

    def _reference(self, sam: Sam, embedding: Embedding, truth: Truth) -> tuple[Sam, Embedding]:
        """Who decodes the reference's embedding, and the embedding."""
        opened = self._opened
        if not isinstance(opened, EmbeddingFiles):
            if truth.pixels is None:
                raise EvsamError("truth: expected the photo's pixels, which the reference encodes, got none")
            return opened, opened.encode(truth.pixels)
        features = np.ascontiguousarray(opened.features(truth.key), np.float32)
        own = np.shape(embedding.arrays[0])
        if features.shape != own:
            raise EvsamError(
                f"embeddings {opened.folder}: expected shape {own} as those of {sam.variant.name}, got "
                f"{features.shape} for {truth.key}"
            )
        # finer maps, which only small models have, are the model's own
        lateral = embedding.lateral
        sizes = embedding.original_size, embedding.resized_size
        return sam, Embedding(features, lateral, *sizes, embedding.variant, embedding.fingerprint)

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Table ``embedding``: means over photos, and the worst cell; ``mean``: IoU of the masks of both, by size."""
        rows = in_order(rows)
        photos = [row["maps"] for row in rows if "maps" in row]
        names = sorted({name for maps in photos for name in maps})
        embedding = {
            name: {
                title: (min if key.startswith("least") else mean)([maps[name][key] for maps in photos if name in maps])
                for key, title in COMPARED.items()
            }
            for name in names
        }
        if not self.masks:
            return {"embedding": embedding}
        objects = [row for row in rows if "maps" not in row]
        areas = [row["area"] for row in objects]
        table = {
            title: mean_by_size([row[key] for row in objects], areas, self.bins)
            for key, title in (("iou", "IoU of both, boxes"), ("click_iou", "IoU of both, one click"))
        }
        return {"embedding": embedding, "mean": {**table, "objects": counts(objects, self.bins)}}


def _answers(sam: Sam, embedding: Embedding, **prompts: Any) -> Answers:
    result = sam.predict(embedding, masks=False, **prompts)
    return Answers(sam, embedding, result.logits, result.scores)
