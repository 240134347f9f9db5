"""Average precision and recall of detections, by pycocotools or by a faster package that gives the same bits.

COCO's rules are pycocotools' own. LVIS's rules are added to them: an image is searched for a category only where its
annotations say that it is there or that it is not; objects found beyond those annotated do not count where the
annotations are not exhaustive; an image has at most 300 detections, of whatever categories; and sizes do not share
their ends. Boundary AP takes the smaller of mask IoU and Boundary IoU (arXiv 2103.16562).
"""

from __future__ import annotations

import contextlib
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from evsam.arguments import shown
from evsam.errors import BackendUnavailable, EvsamError
from evsam.evaluation.metrics import LARGE, SIZES, SMALL, boundary
from evsam.rle import decode_rle, encode_rle

Kind: TypeAlias = Literal["segm", "bbox", "boundary"]
Style: TypeAlias = Literal["coco", "lvis"]
Backend: TypeAlias = Literal["pycocotools", "faster-coco-eval", "hotcoco"]

Record: TypeAlias = dict[str, Any]
"""An image, annotation, category or detection as COCO's files have it."""

MODULES: dict[str, str] = {
    "pycocotools": "pycocotools",
    "faster-coco-eval": "faster_coco_eval",
    "hotcoco": "hotcoco",
}
"""Packages that can compute, and the modules they install."""

MAX_DETECTIONS = {"coco": 100, "lvis": 300}
"""Detections that count: of COCO in each category of an image, of LVIS in each image."""

FREQUENCIES = ("r", "c", "f")
"""LVIS's categories in few, some and many images."""

ALMOST_ONE = 1 / (1 + np.spacing(1.0))
"""What pycocotools takes for the precision of one detection that is right; no other precision is changed by its sum."""

_AREAS = ((0.0, 1e10), (0.0, float(SMALL)), (float(SMALL), float(LARGE)), (float(LARGE), 1e10))
_AREA_NAMES = ("all", *SIZES)
_THRESHOLDS = np.linspace(0.5, 0.95, 10)


def average_precision(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    *,
    kind: Kind = "segm",
    style: Style = "coco",
    max_detections: int | None = None,
    backend: Backend = "pycocotools",
) -> dict[str, float | None]:
    """AP and AR of detections.

    Args:
        truth: a COCO or LVIS document: ``images`` (id, height, width; of LVIS ``neg_category_ids`` and
            ``not_exhaustive_category_ids``), ``annotations`` (image_id, category_id, segmentation as RLE, bbox, area,
            iscrowd) and ``categories`` (id; of LVIS ``frequency``). Nothing in it is changed.
        detections: image_id, category_id, score, and ``segmentation`` as RLE or, for ``bbox``, ``bbox`` as x, y, width,
            height.
        kind: what is compared: masks, boxes, or boundaries of masks.
        style: whose rules.
        max_detections: at most so many detections: of COCO in each category of an image, 100; of LVIS in each image,
            300.
        backend: the package that computes.

    Returns:
        Of COCO ``AP``, ``AP50``, ``AP75``, ``APs``, ``APm``, ``APl``, ``AR@1``, ``AR@10``, ``AR@100`` (or the largest
        number that counts), ``ARs``, ``ARm``, ``ARl``. Of LVIS ``AP``, ``AP50``, ``AP75``, ``APs``, ``APm``, ``APl``,
        ``APr``, ``APc``, ``APf``, ``AR@300``, ``ARs``, ``ARm``, ``ARl``. None where there are no such objects.

    Raises:
        EvsamError: detections of images or categories that the truth does not have, or without score or what is
            compared; an argument is none of those named.
        BackendUnavailable: the package is not installed, or does not know the kind.
    """
    _check("kind", kind, ("segm", "bbox", "boundary"))
    _check("style", style, tuple(MAX_DETECTIONS))
    limit = MAX_DETECTIONS[style] if max_detections is None else max_detections
    counted = [1, 10, limit] if style == "coco" and limit > 10 else [limit]
    documents = _prepare(truth, detections, kind, style, limit)
    precision, recall = _evaluator(backend)(documents, kind, style, counted, True)
    precision = np.where(precision == ALMOST_ONE, 1.0, precision)
    if style == "coco":
        return _coco_table(precision, recall, counted)
    return _lvis_table(precision, recall, documents.truth["categories"], limit)


def average_recall(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    *,
    kind: Kind = "segm",
    counts: Sequence[int] = (10, 100, 1000),
    backend: Backend = "pycocotools",
) -> dict[str, float | None]:
    """AR of the best k detections of each image, whatever they are of, for masks without categories.

    Args:
        truth: see :func:`average_precision`; categories do not matter.
        detections: likewise, without ``category_id``.
        kind: see :func:`average_precision`.
        counts: the numbers k.
        backend: see :func:`average_precision`.

    Returns:
        ``AR@10``, and so on, for each of the counts, and for the largest ``ARs``, ``ARm``, ``ARl``. None where there
        are no such objects.

    Raises:
        EvsamError: see :func:`average_precision`.
        BackendUnavailable: likewise.
    """
    _check("kind", kind, ("segm", "bbox", "boundary"))
    alike = {
        "images": truth["images"],
        "annotations": [{**record, "category_id": 1} for record in truth["annotations"]],
        "categories": [{"id": 1, "name": "object"}],
    }
    found = [{**record, "category_id": 1} for record in detections]
    counted = sorted(counts)
    documents = _prepare(alike, found, kind, "coco", counted[-1])
    _, recall = _evaluator(backend)(documents, kind, "coco", counted, False)
    table = {f"AR@{count}": _mean(recall[:, :, [0], [index]]) for index, count in enumerate(counted)}
    return table | _recall_table(recall)


def _check(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise EvsamError(f"{name}: expected {', '.join(known[:-1])} or {known[-1]}, got {shown(value)}")


@dataclass(frozen=True)
class _Documents:
    """Truth and detections in the form that every package takes.

    Attributes:
        truth: a COCO document whose ids are whole numbers, of annotations from 1 (0 means none to pycocotools).
        found: detections as annotations.
        not_exhaustive: LVIS's images and categories of which not all objects are annotated.
    """

    truth: Record
    found: list[Record]
    not_exhaustive: frozenset[tuple[int, int]] = frozenset()


def _prepare(
    truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], kind: Kind, style: Style, limit: int
) -> _Documents:
    images, categories = _whole_ids(truth["images"], "images"), _whole_ids(truth["categories"], "categories")
    annotations = [
        {
            **record,
            "id": number,
            "image_id": _known(images, record, "image_id", f"annotation {number}"),
            "category_id": _known(categories, record, "category_id", f"annotation {number}"),
            "iscrowd": int(record.get("iscrowd", 0)),
            **({} if kind == "bbox" else {"segmentation": _segmentation(record.get("segmentation"))}),
        }
        for number, record in enumerate(truth["annotations"], 1)
    ]
    found = [
        {
            "image_id": _known(images, record, "image_id", f"detection {number}"),
            "category_id": _known(categories, record, "category_id", f"detection {number}"),
            **_scored(record, kind, f"detection {number}"),
        }
        for number, record in enumerate(detections)
    ]
    not_exhaustive: frozenset[tuple[int, int]] = frozenset()
    if style == "lvis":
        found = _limited(found, limit)
        searched = {(record["image_id"], record["category_id"]) for record in annotations}
        searched |= _pairs(truth["images"], "neg_category_ids", images, categories)
        found = [record for record in found if (record["image_id"], record["category_id"]) in searched]
        not_exhaustive = _pairs(truth["images"], "not_exhaustive_category_ids", images, categories)
    document = {
        "images": [_image(record, images, categories) for record in truth["images"]],
        "annotations": annotations,
        "categories": [{"name": "", **record, "id": categories[record["id"]]} for record in truth["categories"]],
    }
    return _Documents(document, _measured(found, kind), not_exhaustive)


def _image(record: Mapping[str, Any], images: Mapping[Any, int], categories: Mapping[Any, int]) -> Record:
    lists = {
        key: [categories[one] for one in record.get(key, ()) if one in categories]
        for key in ("neg_category_ids", "not_exhaustive_category_ids")
    }
    return {"id": images[record["id"]], "height": record["height"], "width": record["width"], "file_name": "", **lists}


def _pairs(
    records: Iterable[Mapping[str, Any]], key: str, images: Mapping[Any, int], categories: Mapping[Any, int]
) -> frozenset[tuple[int, int]]:
    """Image and category of what images list."""
    return frozenset(
        (images[record["id"]], categories[one])
        for record in records
        for one in record.get(key, ())
        if one in categories
    )


def _whole_ids(records: Iterable[Mapping[str, Any]], name: str) -> dict[Any, int]:
    """Each id as a whole number: itself, or its place among all where ids are text."""
    ids = [record["id"] for record in records]
    if len(set(ids)) != len(ids):
        raise EvsamError(f"{name}: expected an id each, got some twice")
    if all(isinstance(one, int) for one in ids):
        return {one: one for one in ids}
    return {one: number for number, one in enumerate(sorted(ids, key=str), 1)}


def _known(ids: Mapping[Any, int], record: Mapping[str, Any], key: str, where: str) -> int:
    if record.get(key) not in ids:
        names = ", ".join(map(str, list(ids)[:3])) or "none"
        raise EvsamError(f"{where}: expected {key} of the truth ({names}, ...), got {shown(record.get(key))}")
    return ids[record[key]]


def _scored(record: Mapping[str, Any], kind: Kind, where: str) -> Record:
    """Score and mask, or box, of a detection."""
    number = record.get("score")
    if not isinstance(number, (int, float)) or not math.isfinite(number):
        raise EvsamError(f"{where}: expected a score, got {shown(number)}")
    if kind != "bbox":
        segmentation = _segmentation(record.get("segmentation"))
        if isinstance(segmentation, list):
            raise EvsamError(f"{where}: expected segmentation as run-length encoding, got polygons")
        return {"score": float(number), "segmentation": segmentation}
    box = record.get("bbox")
    if not isinstance(box, Sequence) or len(box) != 4:
        raise EvsamError(f"{where}: expected bbox as x, y, width, height, got {shown(box)}")
    return {"score": float(number), "bbox": [float(edge) for edge in box]}


def _segmentation(value: Any) -> Any:
    """A segmentation with compressed counts as text, which every package takes; polygons as they are."""
    if isinstance(value, list) and value:
        return value
    if not isinstance(value, Mapping) or not {"size", "counts"} <= set(value):
        raise EvsamError(f"segmentation: expected run-length encoding with size and counts, got {shown(value)}")
    counts = value["counts"]
    return {"size": list(value["size"]), "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def _limited(found: Sequence[Record], limit: int) -> list[Record]:
    """The best detections of each image."""
    by_image: defaultdict[int, list[Record]] = defaultdict(list)
    for record in found:
        by_image[record["image_id"]].append(record)
    kept: list[Record] = []
    for records in by_image.values():
        kept += sorted(records, key=_score, reverse=True)[:limit] if len(records) > limit else records
    return kept


def _score(record: Record) -> float:
    score: float = record["score"]
    return score


def _measured(found: Sequence[Record], kind: Kind) -> list[Record]:
    """Detections with id, area and box, as pycocotools' ``loadRes`` gives them."""
    if kind == "bbox":
        boxes = [record["bbox"] for record in found]
        areas = [width * height for _, _, width, height in boxes]
    else:
        masks = _import("pycocotools", "mask")
        rles = [record["segmentation"] for record in found]
        # one by one: of more than 255 at once it cannot tell the areas under NumPy 2
        areas, boxes = [float(masks.area(rle)) for rle in rles], [masks.toBbox(rle).tolist() for rle in rles]
    return [
        {**record, "id": number, "area": area, "bbox": box, "iscrowd": 0}
        for number, (record, area, box) in enumerate(zip(found, areas, boxes, strict=True), 1)
    ]


Arrays: TypeAlias = "tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]"
"""Precision (thresholds, recalls, categories, areas, counts) and recall (thresholds, categories, areas, counts)."""


def _evaluator(backend: str) -> Callable[[_Documents, Kind, Style, list[int], bool], Arrays]:
    _check("backend", backend, tuple(MODULES))
    return {"pycocotools": _pycocotools, "faster-coco-eval": _faster_coco_eval, "hotcoco": _hotcoco}[backend]


def available() -> list[str]:
    """The packages that are installed.

    Example:
        >>> "pycocotools" in available()
        True
    """
    return [name for name, module in MODULES.items() if find_spec(module) is not None]


def _import(backend: str, part: str = "") -> Any:
    try:
        return import_module(f"{MODULES[backend]}.{part}" if part else MODULES[backend])
    except ImportError as error:
        extra = "use pip install 'evsam[eval]'" if backend == "pycocotools" else f"use pip install {backend}"
        raise BackendUnavailable(f"average precision needs {backend}; {extra}") from error


def _pycocotools(documents: _Documents, kind: Kind, style: Style, counted: list[int], by_category: bool) -> Arrays:
    coco = _import("pycocotools", "coco").COCO
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        for records in (documents.truth["annotations"], documents.found):
            side = coco()
            side.dataset = {**documents.truth, "annotations": records}
            side.createIndex()
            sides.append(side)
        if kind == "boundary":
            for side in sides:
                for record in side.dataset["annotations"]:
                    band = boundary(decode_rle(side.annToRLE(record)))
                    record[_BAND] = encode_rle(band)
        evaluation = _evaluation_class()(*sides, "bbox" if kind == "bbox" else "segm")
        evaluation.boundaries, evaluation.not_exhaustive = kind == "boundary", documents.not_exhaustive
        parameters = evaluation.params
        parameters.maxDets, parameters.useCats, parameters.areaRng = counted, int(by_category), _areas(style)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


_BAND = "boundary"
"""Where a mask's band is kept beside it."""


@lru_cache(maxsize=1)
def _evaluation_class() -> type[Any]:
    base = _import("pycocotools", "cocoeval").COCOeval

    class Evaluation(base):  # type: ignore[misc, valid-type]
        """pycocotools' evaluation with boundaries, and with LVIS's rule for categories that are not exhaustive."""

        boundaries: bool
        not_exhaustive: frozenset[tuple[int, int]]

        def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803 - their names there
            ious = super().computeIoU(imgId, catId)
            if not self.boundaries or not len(ious):
                return ious
            true, found = (self._of(side, imgId, catId) for side in (self._gts, self._dts))
            _swap(true + found)
            bands = super().computeIoU(imgId, catId)
            _swap(true + found)
            alone = [not record["iscrowd"] for record in true]
            ious[:, alone] = np.minimum(ious, bands)[:, alone]
            return ious

        def _of(self, side: Any, image: int, category: int) -> list[Record]:
            categories = [category] if self.params.useCats else self.params.catIds
            return [record for one in categories for record in side[image, one]]

        def evaluateImg(self, imgId: int, catId: int, aRng: Any, maxDet: int) -> Any:  # noqa: N802, N803
            found = super().evaluateImg(imgId, catId, aRng, maxDet)
            if found is not None and (imgId, catId) in self.not_exhaustive:
                found["dtIgnore"] = np.logical_or(found["dtIgnore"], found["dtMatches"] == 0)
            return found

    return Evaluation


def _swap(records: Iterable[Record]) -> None:
    """Exchange masks and their bands."""
    for record in records:
        record["segmentation"], record[_BAND] = record[_BAND], record["segmentation"]


def _areas(style: Style) -> list[list[float]]:
    """Limits of sizes, both included; LVIS's end just before the next begins."""
    return [[low, high if style == "coco" else float(np.nextafter(high, 0))] for low, high in _AREAS]


def _faster_coco_eval(documents: _Documents, kind: Kind, style: Style, counted: list[int], by_category: bool) -> Arrays:
    package = _import("faster-coco-eval")
    sides = []
    for records in (documents.truth["annotations"], documents.found):
        side = package.COCO()
        side.dataset = {**documents.truth, "annotations": records}
        side.createIndex()
        sides.append(side)
    evaluation = package.COCOeval_faster(*sides, kind, lvis_style=style == "lvis")
    return _computed(evaluation, style, counted, by_category)


def _hotcoco(documents: _Documents, kind: Kind, style: Style, counted: list[int], by_category: bool) -> Arrays:
    if kind == "boundary":
        raise BackendUnavailable("backend: expected pycocotools or faster-coco-eval for kind boundary, got hotcoco")
    package = _import("hotcoco")
    sides = [
        package.COCO({**documents.truth, "annotations": records})
        for records in (documents.truth["annotations"], documents.found)
    ]
    evaluation = package.COCOeval(*sides, kind, lvis_style=style == "lvis")
    return _computed(evaluation, style, counted, by_category)


def _computed(evaluation: Any, style: Style, counted: list[int], by_category: bool) -> Arrays:
    parameters = evaluation.params
    parameters.maxDets, parameters.useCats, parameters.areaRng = counted, by_category, _areas(style)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """Of what is there: -1 stands for categories without such objects."""
    present = values[values > -1]
    return float(np.mean(present)) if present.size else None


def _precision(values: npt.NDArray[np.float64], area: int = 0, threshold: float | None = None) -> float | None:
    """Mean precision with all detections that count."""
    chosen = values if threshold is None else values[np.flatnonzero(threshold == _THRESHOLDS)]
    return _mean(chosen[:, :, :, [area], [-1]])


def _coco_table(
    precision: npt.NDArray[np.float64], recall: npt.NDArray[np.float64], counted: Sequence[int]
) -> dict[str, float | None]:
    table = _precision_table(precision)
    table |= {f"AR@{count}": _mean(recall[:, :, [0], [index]]) for index, count in enumerate(counted)}
    return table | _recall_table(recall)


def _lvis_table(
    precision: npt.NDArray[np.float64],
    recall: npt.NDArray[np.float64],
    categories: Sequence[Record],
    limit: int,
) -> dict[str, float | None]:
    table = _precision_table(precision)
    ordered = sorted(categories, key=lambda record: int(record["id"]))
    for frequency in FREQUENCIES:
        chosen = [index for index, record in enumerate(ordered) if record.get("frequency") == frequency]
        table[f"AP{frequency}"] = _precision(precision[:, :, chosen])
    table[f"AR@{limit}"] = _mean(recall[:, :, [0], [-1]])
    return table | _recall_table(recall)


def _precision_table(precision: npt.NDArray[np.float64]) -> dict[str, float | None]:
    table = {"AP": _precision(precision)}
    table |= {f"AP{round(100 * threshold)}": _precision(precision, threshold=threshold) for threshold in (0.5, 0.75)}
    return table | {f"AP{size[0]}": _precision(precision, area) for area, size in enumerate(SIZES, 1)}


def _recall_table(recall: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return {f"AR{size[0]}": _mean(recall[:, :, [area], [-1]]) for area, size in enumerate(SIZES, 1)}
