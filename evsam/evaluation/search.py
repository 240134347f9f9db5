"""Protocols that search a photo for objects: a detector's boxes as prompts, and everything a model finds by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from evsam.evaluation.average_precision import Backend, Kind, Record, Style, average_precision, average_recall
from evsam.evaluation.protocols import Answers, Row, Tables, in_order, parts, usable_box
from evsam.rle import encode_rle

if TYPE_CHECKING:
    from evsam.datasets import Category, Detection
    from evsam.embedding import Embedding
    from evsam.evaluation.truth import Truth
    from evsam.sam import Sam

Bool: TypeAlias = npt.NDArray[np.bool_]

KIND_NAMES: dict[Kind, str] = {"segm": "masks", "boundary": "boundaries", "bbox": "boxes"}
"""Rows of the tables."""


@dataclass(frozen=True)
class DetectedBoxes:
    """The boxes of a detector as prompts; scored by average precision.

    Attributes:
        detections: of the photos, by image id (:func:`evsam.datasets.read_detections`); not needed to make tables of
            rows.
        categories: that detections and annotations are of, in any order; without any, all are of one.
        name: see :class:`evsam.evaluation.protocols.PhotoProtocol`.
        multimask: True for three masks, of which the one with the highest predicted IoU counts, as in the paper's
            tables; False for one mask.
        style: whose rules count, see :mod:`evsam.evaluation.average_precision`.
        max_detections: that count; None for 100 of each category of an image (COCO), or 300 of an image (LVIS).
        kinds: what is compared with the truth: masks, their boundaries, and the detector's own boxes.
        backend: the package that computes.
    """

    detections: Mapping[Any, Sequence[Detection]] = field(default_factory=dict, repr=False, compare=False)
    categories: Sequence[Category] = field(default=(), repr=False)
    name: str = "detections"
    multimask: bool = True
    style: Style = "coco"
    max_detections: int | None = None
    kinds: tuple[Kind, ...] = ("segm",)
    backend: Backend = "pycocotools"

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:
        """A row for the photo: what is on it, and ``detections`` as COCO's results have them."""
        found = self.detections.get(truth.image_id, ())
        records = [self._record(one) for one in found]
        boxes = [usable_box(corners(one), truth.size) for one in found]
        inside = [(box, record) for box, record in zip(boxes, records, strict=True) if box is not None]
        for part in parts(len(inside), truth.size):
            prompts = [box for box, _ in inside[part]]
            result = sam.predict(embedding, boxes=prompts, multimask=self.multimask, masks=False)
            answers = Answers(sam, embedding, result.logits, result.scores)
            for index, (_, record) in enumerate(inside[part]):
                record["segmentation"] = dict(encode_rle(answers.mask(index)))
                record["predicted_iou"] = answers.predicted_iou(index)
        for record in records:  # a box that the photo has nothing of has no mask, but counts as a detection
            if "segmentation" not in record:
                record["segmentation"] = dict(encode_rle(np.zeros(truth.size, bool)))
        return [{**photo_row(truth), "detections": records}]

    def _record(self, one: Detection) -> Record:
        return {"category_id": one.category, "score": float(one.score), "bbox": [float(edge) for edge in one.box]}

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Table ``AP``: AP and AR of masks, and what else was asked for; ``detections``: how many there are."""
        rows = in_order(rows)
        truth = document(rows, self.categories)
        found = [{**record, "image_id": row["image_id"]} for row in rows for record in row["detections"]]
        if not self.categories:
            found = [{**record, "category_id": _ANYTHING} for record in found]
        table = {
            KIND_NAMES[kind]: average_precision(
                truth,
                found,
                kind=kind,
                style=self.style,
                max_detections=self.max_detections,
                backend=self.backend,
            )
            for kind in self.kinds
        }
        outside = sum("predicted_iou" not in record for record in found)
        return {"AP": table, "detections": {"detections": {"all": len(found), "outside their photo": outside}}}


@dataclass(frozen=True)
class Everything:
    """Whatever a model finds without a prompt (:meth:`evsam.Sam.segment_everything`); scored by average recall.

    Masks have no category here: the best k of a photo, by the mean of predicted IoU and stability, are compared with
    all of its objects.

    Attributes:
        name: see :class:`evsam.evaluation.protocols.PhotoProtocol`.
        settings: arguments of ``segment_everything``.
        counts: the numbers k.
        kinds: what is compared with the truth.
        backend: the package that computes.
    """

    name: str = "everything"
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: tuple[int, ...] = (10, 100, 1000)
    kinds: tuple[Kind, ...] = ("segm",)
    backend: Backend = "pycocotools"

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:
        """A row for the photo: what is on it, and ``segments``: what was found."""
        # crops are encoded one by one, from the photo
        image = truth.pixels if self.settings.get("crop_n_layers") and truth.pixels is not None else embedding
        segments = [
            {
                "score": (float(one.predicted_iou) + float(one.stability_score)) / 2,
                "segmentation": dict(one.rle),
                "bbox": [
                    float(edge) for edge in (one.box[0], one.box[1], one.box[2] - one.box[0], one.box[3] - one.box[1])
                ],
            }
            for one in sam.segment_everything(image, **self.settings)
        ]
        return [{**photo_row(truth), "segments": segments}]

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Table ``AR``: AR of the best k masks of each photo; ``segments``: how many masks there are."""
        rows = in_order(rows)
        truth = document(rows)
        found = [{**record, "image_id": row["image_id"]} for row in rows for record in row["segments"]]
        table = {
            KIND_NAMES[kind]: average_recall(truth, found, kind=kind, counts=self.counts, backend=self.backend)
            for kind in self.kinds
        }
        per_photo = len(found) / len(rows) if rows else None
        return {"AR": table, "segments": {"segments": {"all": len(found), "per photo": per_photo}}}


_ANYTHING = 1
"""The category of everything where there are none."""


def corners(one: Detection) -> tuple[float, float, float, float]:
    """A detection's box as x0, y0, x1, y1."""
    x, y, width, height = one.box
    return x, y, x + width, y + height


def _extent(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    """X, y, width and height."""
    return [float(x0), float(y0), float(x1 - x0), float(y1 - y0)]


def photo_row(truth: Truth) -> Row:
    """Which photo a row is of, and all that is known to be on it: enough to make a COCO document."""
    return {
        "photo": truth.key,
        "image_id": truth.image_id,
        "size": list(truth.size),
        "truth": [one.record() for one in truth.objects + truth.crowds],
        "negative": list(truth.photo.negative),
        "not_exhaustive": list(truth.photo.not_exhaustive),
    }


def document(rows: Sequence[Row], categories: Sequence[Category] = ()) -> Record:
    """A COCO document of the truth in rows; without categories, all objects are of one."""
    kinds = [{"id": one.id, "name": one.name, "frequency": one.frequency} for one in categories]
    return {
        "images": [
            {
                "id": row["image_id"],
                "height": row["size"][0],
                "width": row["size"][1],
                "neg_category_ids": row["negative"],
                "not_exhaustive_category_ids": row["not_exhaustive"],
            }
            for row in rows
        ],
        "annotations": [
            {**record, "image_id": row["image_id"], **({} if kinds else {"category_id": _ANYTHING})}
            for row in rows
            for record in row["truth"]
            if not kinds or record["category_id"] is not None  # of which no detection could be
        ],
        "categories": kinds or [{"id": _ANYTHING, "name": "object"}],
    }
