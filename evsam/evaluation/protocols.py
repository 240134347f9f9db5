"""Protocols: how a model is asked about the objects of a photo, and the tables that its answers make.

A protocol is a frozen dataclass. ``rows`` asks a model about one photo, whose embedding was computed before, and gives
plain JSON values: a row for each object, or one for the photo. ``summary`` makes tables of the rows of all photos,
which may come from any number of processes: they are put in order first, so that the tables are the same to the last
bit.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from evsam.evaluation.clicks import Click, middle, next_click
from evsam.evaluation.metrics import (
    NOC_THRESHOLDS,
    SIZES,
    SizeBins,
    boundary_f,
    boundary_iou,
    calibration,
    in_one_piece,
    iou,
    mean_by_size,
    mean_curve,
    number_of_clicks,
    reliability,
    sequence_statistics,
    size_classes,
)
from evsam.evaluation.truth import Corners, TrueObject, Truth
from evsam.rle import encode_rle
from evsam.zoo import LOGITS_SIZE

if TYPE_CHECKING:
    from evsam.embedding import Embedding
    from evsam.sam import Sam

Bool = npt.NDArray[np.bool_]

Row: TypeAlias = dict[str, Any]
"""What a model answered about an object, or a photo: plain JSON values. ``photo`` and ``object`` name it."""

Tables: TypeAlias = dict[str, dict[str, dict[str, float | None]]]
"""Numbers by table, row and column; None where there is nothing to count."""

Measure: TypeAlias = Literal["boundary_iou", "f", "pieces", "stability", "calibration"]
"""What can be computed besides IoU: see :func:`evsam.evaluation.metrics.boundary_iou` and ``boundary_f``; ``pieces``,
the share of masks that are not in one piece where the object is (:func:`evsam.evaluation.metrics.in_one_piece`);
``stability`` (:meth:`Answers.stability`); and ``calibration``, tables of how far predicted IoU are from the real
ones."""

MEASURE_NAMES = {
    "iou": "IoU",
    "best_iou": "IoU, best of three",
    "boundary_iou": "Boundary IoU",
    "f": "F",
    "pieces": "in pieces",
    "stability": "stability",
}

AT_ONCE = 64
"""Prompts that are decoded together."""

PIXELS_AT_ONCE = 1 << 26
"""Pixels of masks of the photo's size that are held at a time, but at least those of one mask."""

BLANK = 128
"""The grey of photos that show nothing."""

BOX_SHIFT_LIMIT = 20.0
"""Pixels that a jittered edge of a box moves at most; SAM's training has the same (arXiv 2304.02643)."""


STABILITY_OFFSET = 1.0
"""How far the threshold of logits moves, up and down."""


class PhotoProtocol(Protocol):
    """What a runner needs of a protocol."""

    @property
    def name(self) -> str:
        """What it is called in files and tables; different for each protocol of a run."""

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:
        """What the model answers about one photo.

        Args:
            sam: the model.
            embedding: of the photo.
            truth: what is on it.
        """

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Tables of the rows of all photos, in any order."""


@dataclass(frozen=True)
class Boxes:
    """A box around each object.

    Attributes:
        name: see :class:`PhotoProtocol`.
        multimask: True for three masks, of which the one with the highest predicted IoU counts, as in the paper's
            tables; False for one mask.
        source: ``annotated`` for the boxes that the annotations state, ``mask`` for those around the masks.
        enlarge: each edge is moved outwards by this part of the box's side.
        jitter: each edge is moved by noise with this standard deviation, in parts of the box's side, at most
            ``BOX_SHIFT_LIMIT`` pixels. It is drawn by ``seed`` and the names of photo and object alone.
        seed: of the noise.
        bins: see :func:`evsam.evaluation.metrics.size_classes`.
        crowds: whether crowds count as objects, as in the authors' evaluation.
        min_area: objects of a smaller area are left out; those below 1 by the authors.
        measures: what is computed besides IoU.
        best: with three masks, score the best of them too, which tells what the choice costs.
        keep_masks: whether rows have the predicted masks.
    """

    name: str = "boxes"
    multimask: bool = True
    source: Literal["annotated", "mask"] = "annotated"
    enlarge: float = 0.0
    jitter: float = 0.0
    seed: int = 0
    bins: SizeBins = "coco"
    crowds: bool = False
    min_area: float = 0.0
    measures: tuple[Measure, ...] = ()
    best: bool = False
    keep_masks: bool = False

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:
        """A row for each object: ``box``, ``iou``, ``predicted_iou``, and what else was asked for."""
        objects = truth.asked(self.crowds, self.min_area)
        boxes = [self.box(one, truth) for one in objects]
        rows = []
        for part in parts(len(objects), truth.size):
            result = sam.predict(embedding, boxes=boxes[part], multimask=self.multimask, masks=False)
            answers = Answers(sam, embedding, result.logits, result.scores)
            for index, one in enumerate(objects[part]):
                row = {**identify(one, truth), "box": [float(edge) for edge in boxes[part][index]]}
                mask, others = answers.masks(index, self.best and self.multimask)
                row |= score(mask, one, self.measures, self.keep_masks)
                row["predicted_iou"] = answers.predicted_iou(index)
                if "stability" in self.measures:
                    row["stability"] = answers.stability(index)
                if others is not None:
                    row["best_iou"] = best_iou(others, one)
                rows.append(row)
        return rows

    def box(self, one: TrueObject, truth: Truth) -> Corners:
        """The prompt for an object: x0, y0, x1, y1."""
        box = one.mask_box if self.source == "mask" else one.box
        if not (self.enlarge or self.jitter):
            return usable_box(box, truth.size) or one.mask_box
        width, height = box[2] - box[0], box[3] - box[1]
        draw = random.Random(f"{self.seed}/{truth.key}/{one.number}")  # noqa: S311 - must be the same in each run
        moved = []
        for edge, side, outwards in zip(box, (width, height, width, height), (-1, -1, 1, 1), strict=True):
            noise = draw.gauss(0, self.jitter) * side
            noise = min(max(noise, -BOX_SHIFT_LIMIT), BOX_SHIFT_LIMIT)
            moved.append(edge + outwards * self.enlarge * side + noise)
        # the noise of a thin object's edges may turn its box inside out
        x0, y0 = min(moved[0], truth.size[1] - 1), min(moved[1], truth.size[0] - 1)
        loose = (x0, y0, max(moved[2], x0 + 1, 1), max(moved[3], y0 + 1, 1))
        return usable_box(loose, truth.size) or one.mask_box

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Table ``mean``: mean IoU, and what else was measured, by size; with F, of videos ``frames``: DAVIS's J&F."""
        rows = in_order(rows)
        tables = {"mean": mean_table(rows, ("iou", "best_iou", *self.measures), self.bins), **frame_tables(rows)}
        if "calibration" in self.measures:
            tables |= calibration_tables({"box": rows_values(rows, 0)})
        return tables


@dataclass(frozen=True)
class Clicks:
    """Clicks on each object, simulated by :func:`evsam.evaluation.clicks.next_click`.

    Attributes:
        name: see :class:`PhotoProtocol`.
        clicks: how many.
        multimask: when three masks are asked for, of which the one with the highest predicted IoU counts: ``first``
            for the first click alone, which is ambiguous; ``always``, as in the authors' evaluation; or ``never``.
        feed_mask: whether the logits of the last mask are a prompt of the next click. The authors' evaluation shows the
            clicks alone.
        pixel: where in its pixel a click is: ``centre``, or ``corner``, as in RITM's and the authors' evaluation.
        stop: no more clicks for objects whose IoU is at least that; their curves keep their last value. None for all
            clicks, unless a mask is perfect.
        thresholds: of the numbers of clicks, NoC.
        bins: see :func:`evsam.evaluation.metrics.size_classes`.
        crowds: whether crowds count as objects, as in the authors' evaluation.
        min_area: objects of a smaller area are left out; those below 1 by the authors.
        measures: what is computed of the last mask besides IoU.
        best: where there are three masks, score the best of them too, which tells what the choice costs.
        keep_masks: whether rows have the last masks.
    """

    name: str = "clicks"
    clicks: int = 5
    multimask: Literal["first", "always", "never"] = "first"
    feed_mask: bool = True
    pixel: Literal["centre", "corner"] = "centre"
    stop: float | None = None
    thresholds: tuple[float, ...] = NOC_THRESHOLDS
    bins: SizeBins = "coco"
    crowds: bool = False
    min_area: float = 0.0
    measures: tuple[Measure, ...] = ()
    best: bool = False
    keep_masks: bool = False

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:
        """A row for each object: ``clicks``, x, y and label of each; ``iou`` and ``predicted_iou`` after each."""
        rows: list[Row] = []
        objects = truth.asked(self.crowds, self.min_area)
        for part in parts(len(objects), truth.size):
            rows += self._rows(sam, embedding, truth, objects[part])
        return rows

    def _rows(self, sam: Sam, embedding: Embedding, truth: Truth, objects: Sequence[TrueObject]) -> list[Row]:
        sessions = [_Session(one, row) for one in objects if (row := identify(one, truth))]
        last = np.empty((0, LOGITS_SIZE, LOGITS_SIZE), np.float32)
        for number in range(self.clicks):
            going = [session for session in sessions if session.click(self.stop)]
            if not going:
                break
            multimask = self.multimask == "always" or (self.multimask == "first" and number == 0)
            feed = self.feed_mask and number > 0
            result = sam.predict(
                embedding,
                points=[[self._place(click) for click in session.clicks] for session in going],
                labels=[[click.label for click in session.clicks] for session in going],
                mask=_rows_of(last, [session.index for session in going]) if feed else None,
                multimask=multimask,
                masks=False,
            )
            answers = Answers(sam, embedding, result.logits, result.scores)
            last = answers.logits()
            for index, session in enumerate(going):
                mask, others = answers.masks(index, self.best and multimask)
                session.take(mask, index, answers.predicted_iou(index))
                if "stability" in self.measures:
                    session.row["stability"] = answers.stability(index)
                if others is not None:
                    session.best.append(best_iou(others, session.one))
        return [session.finish(self.measures, self.keep_masks) for session in sessions]

    def _place(self, click: Click) -> tuple[float, float]:
        return click.centre if self.pixel == "centre" else (float(click.x), float(click.y))

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Tables ``mean``: mean IoU after each click by size; ``clicks``: NoC; ``curve``: IoU after each click.

        With F, of videos ``frames``, too: DAVIS's J&F of the last masks.
        """
        rows = in_order(rows)
        curves = [row["iou"] for row in rows]
        means: dict[str, dict[str, float | None]] = {}
        for number in range(self.clicks):
            values = [curve[min(number, len(curve) - 1)] for curve in curves]
            name = f"IoU, {number + 1} click{'s' if number else ''}"
            means[name] = mean_by_size(values, [row["area"] for row in rows], self.bins)
            # where each click has three masks, objects whose clicks ended keep their last one, as above
            least = 1 if self.multimask == "always" else number + 1
            having = [row for row in rows if len(row.get("best_iou", ())) >= least]
            if having:
                best = [row["best_iou"][min(number, len(row["best_iou"]) - 1)] for row in having]
                means[f"{name}, best of three"] = mean_by_size(best, [row["area"] for row in having], self.bins)
        means |= mean_table(rows, self.measures, self.bins)
        means["objects"] = counts(rows, self.bins)
        curve = mean_curve(curves, self.clicks)
        predicted: Tables = {}
        if "calibration" in self.measures:
            several = sorted({0, self.clicks - 1})
            names = [f"{number + 1} click{'s' if number else ''}" for number in several]
            predicted = calibration_tables(
                {name: rows_values(rows, number) for name, number in zip(names, several, strict=True)}
            )
        return {
            "mean": means,
            **predicted,
            "clicks": {"number of clicks": number_of_clicks(curves, self.thresholds, self.clicks)},
            "curve": {"IoU": {str(number): value for number, value in enumerate(curve, 1)}},
            **frame_tables(rows),
        }


class _Session:
    """The clicks on one object, and the answers to them."""

    def __init__(self, one: TrueObject, row: Row) -> None:
        self.one, self.row = one, row
        self.clicks: list[Click] = []
        self.curve: list[float] = []
        self.predicted: list[float] = []
        self.best: list[float] = []
        self.mask: Bool | None = None
        self.index = 0  # of its last answer among those of all objects
        self.ended = False

    def click(self, stop: float | None) -> bool:
        """Click where the last answer is wrong; False if there is no need to."""
        if self.ended or (stop is not None and self.curve and self.curve[-1] >= stop):
            return False
        click = next_click(self.one.mask, self.mask, self.one.ignore, self.clicks, self.one.mask_box)
        if click is None:
            self.ended = True
            return False
        self.clicks.append(click)
        return True

    def take(self, mask: Bool, index: int, predicted_iou: float) -> None:
        """Keep an answer."""
        self.mask, self.index = mask, index
        self.curve.append(self.one.iou(mask))
        self.predicted.append(predicted_iou)

    def finish(self, measures: Sequence[Measure], keep_masks: bool) -> Row:
        """The object's row."""
        # an object all of whose pixels are ignored has no click, and nothing that could be wrong
        mask = self.one.mask if self.mask is None else self.mask
        row = self.row | score(mask, self.one, measures, keep_masks)
        curve = self.curve or [row["iou"]]
        row |= {"iou": curve, "predicted_iou": self.predicted, "clicks": [list(click) for click in self.clicks]}
        return row | ({"best_iou": self.best} if self.best else {})


@dataclass(frozen=True)
class Masks:
    """Masks as prompts: each object's box and a click in its middle are asked for masks, which are shown again.

    Attributes:
        name: see :class:`PhotoProtocol`.
        bins: see :func:`evsam.evaluation.metrics.size_classes`.
        crowds: whether crowds count as objects.
        min_area: objects of a smaller area are left out.
    """

    name: str = "masks"
    bins: SizeBins = "coco"
    crowds: bool = False
    min_area: float = 0.0

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:
        """A row for each object; what its values are is in :data:`MASK_ROWS`."""
        objects = truth.asked(self.crowds, self.min_area)
        rows: list[Row] = []
        for part in parts(len(objects), truth.size):
            rows += self._rows(sam, embedding, truth, objects[part])
        return rows

    def _rows(self, sam: Sam, embedding: Embedding, truth: Truth, objects: Sequence[TrueObject]) -> list[Row]:
        def ask(model: Sam, multimask: bool = False, **prompts: Any) -> Answers:
            result = model.predict(embedding, multimask=multimask, masks=False, **prompts)
            return Answers(sam, embedding, result.logits, result.scores)

        boxes = ask(sam, boxes=[one.mask_box for one in objects])
        middles = [[_middle(one)] for one in objects]
        clicks = ask(sam, multimask=True, points=middles)
        shown = {"box": boxes.logits(), "click": clicks.logits()}
        alone = {name: ask(sam, mask=logits) for name, logits in shown.items()}
        beside = ask(sam, points=middles, mask=shown["box"])
        if sam.variant.mask_prompt != "logits":
            bare = type(sam)(replace(sam.variant, mask_prompt="logits"), sam.engine, sam.fingerprint)
            alone |= {f"bare_{name}": ask(bare, mask=logits) for name, logits in shown.items()}
        rows = []
        for index, one in enumerate(objects):
            given = {"box": boxes.mask(index), "click": clicks.mask(index)}
            row = identify(one, truth) | {
                "iou": one.iou(given["box"]),
                "click": one.iou(given["click"]),
                "click_and_mask": one.iou(beside.mask(index)),
            }
            for name, answers in alone.items():
                row[f"{name}_back"] = iou(answers.mask(index), given[name.removeprefix("bare_")])
            rows.append(row)
        return rows

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Table ``mean``: means by size."""
        rows = in_order(rows)
        areas = [row["area"] for row in rows]
        found = {
            name: mean_by_size([row[key] for row in rows], areas, self.bins)
            for key, name in MASK_ROWS.items()
            if not rows or key in rows[0]
        }
        return {"mean": {**found, "objects": counts(rows, self.bins)}}


MASK_ROWS = {
    "iou": "IoU, box",
    "click": "IoU, click",
    "click_and_mask": "IoU, click with the box's mask",
    "box_back": "the box's mask alone, IoU with it",
    "click_back": "the click's mask alone, IoU with it",
    "bare_box_back": "the box's mask alone and as it is, IoU with it",
    "bare_click_back": "the click's mask alone and as it is, IoU with it",
}
"""Values of the rows of :class:`Masks`, as its table calls them. *As it is* is what a decoder makes of the logits where
the variant's record says that masks come with a box (:attr:`evsam.zoo.Variant.mask_prompt`)."""


def _middle(one: TrueObject) -> tuple[float, float]:
    """Where evaluation clicks first; objects all of whose pixels are ignored are clicked on all the same."""
    click = next_click(one.mask, None, one.ignore, (), one.mask_box)
    return middle(one.mask) if click is None else click.centre


@dataclass(frozen=True)
class Ellipses:
    """No model at all: the ellipse inscribed in each object's box, to see what a box alone is worth.

    Attributes:
        name: see :class:`PhotoProtocol`.
        bins: see :func:`evsam.evaluation.metrics.size_classes`.
        crowds: whether crowds count as objects.
        min_area: objects of a smaller area are left out.
    """

    name: str = "ellipses"
    bins: SizeBins = "coco"
    crowds: bool = False
    min_area: float = 0.0

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:  # noqa: ARG002 - as other protocols
        """A row for each object, with ``iou``."""
        return [
            {**identify(one, truth), **score(inscribed_ellipse(one.mask_box, truth.size), one)}
            for one in truth.asked(self.crowds, self.min_area)
        ]

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Table ``mean``: mean IoU by size of the objects."""
        return {"mean": mean_table(in_order(rows), ("iou",), self.bins)}


@dataclass(frozen=True)
class Blank:
    """Another protocol on a grey photo of the same size, to see what prompts alone are worth to a model.

    Attributes:
        protocol: the other one.
        name: see :class:`PhotoProtocol`.
    """

    protocol: Boxes | Clicks
    name: str = "blank"

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:  # noqa: ARG002 - of the photo itself
        """Those of the other protocol."""
        grey = sam.encode(np.full((*truth.size, 3), BLANK, np.uint8))
        return self.protocol.rows(sam, grey, truth)

    def summary(self, rows: Sequence[Row]) -> Tables:
        """The table of means of the other protocol."""
        return {"mean": self.protocol.summary(rows)["mean"]}


def inscribed_ellipse(box: Corners, size: tuple[int, int]) -> Bool:
    """The ellipse inscribed in a box (x0, y0, x1, y1) as a mask of ``size`` (H, W)."""
    x = (np.arange(size[1]) + 0.5 - (box[0] + box[2]) / 2) / ((box[2] - box[0]) / 2)
    y = (np.arange(size[0]) + 0.5 - (box[1] + box[3]) / 2) / ((box[3] - box[1]) / 2)
    inside: Bool = x[None, :] ** 2 + y[:, None] ** 2 <= 1
    return inside


class Answers:
    """Masks of N prompts at the photo's size, made when they are asked for.

    Args:
        sam: the model.
        embedding: of the photo.
        logits: float32 (N, M, 256, 256).
        scores: float32 (N, M), predicted IoU.
    """

    def __init__(
        self, sam: Sam, embedding: Embedding, logits: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]
    ) -> None:
        self._sam, self._embedding = sam, embedding
        self._logits, self._scores = logits, scores
        self._best = scores.argmax(1)

    def predicted_iou(self, index: int) -> float:
        """Of the chosen mask of a prompt: the highest."""
        return float(self._scores[index, self._best[index]])

    def stability(self, index: int) -> float:
        """Of the chosen mask of a prompt: IoU of its logits cut at 1 and at -1, as everything mode has it."""
        logits = self._logits[index, self._best[index]] - self._sam.mask_threshold
        wide = int(np.count_nonzero(logits > -STABILITY_OFFSET))
        return int(np.count_nonzero(logits > STABILITY_OFFSET)) / wide if wide else 1.0

    def logits(self) -> npt.NDArray[np.float32]:
        """Float32 (N, 256, 256), of the chosen masks."""
        only: npt.NDArray[np.float32] = self._logits[:, 0]
        return only if self._logits.shape[1] == 1 else self._logits[np.arange(len(self._best)), self._best]

    def mask(self, index: int) -> Bool:
        """Bool (H, W), the chosen mask of a prompt."""
        return self.masks(index, every=False)[0]

    def masks(self, index: int, every: bool) -> tuple[Bool, Bool | None]:
        """Bool (H, W), the chosen mask of a prompt; and if wanted bool (M, H, W), all of its masks."""
        best = int(self._best[index])
        if not every:
            return self._full_size(self._logits[index, best : best + 1])[0], None
        masks = self._full_size(self._logits[index])
        return masks[best], masks

    def _full_size(self, logits: npt.NDArray[np.float32]) -> Bool:
        sizes = self._embedding.resized_size, self._embedding.original_size
        masks: Bool = self._sam.masks_from_logits(logits[None], *sizes)[0]
        return masks


def _rows_of(array: npt.NDArray[np.float32], rows: list[int]) -> npt.NDArray[np.float32]:
    """Some rows of an array, which is not copied where they are all of them."""
    return array if rows == list(range(len(array))) else array[rows]


def parts(count: int, size: tuple[int, int]) -> Iterator[slice]:
    """Slices of so many prompts as are decoded together."""
    step = max(1, min(AT_ONCE, PIXELS_AT_ONCE // (size[0] * size[1])))
    return (slice(start, start + step) for start in range(0, count, step))


def identify(one: TrueObject, truth: Truth) -> Row:
    """Which object a row is of."""
    row = {
        "photo": truth.key,
        "object": one.number,
        "id": one.annotation.id,
        "category": one.annotation.category,
        "area": one.area,
    }
    return row | ({"sequence": truth.photo.sequence} if truth.photo.sequence else {})


def score(mask: Bool, one: TrueObject, measures: Sequence[Measure] = (), keep_mask: bool = False) -> Row:
    """What a mask is worth."""
    row: Row = {"iou": one.iou(mask)}
    if "boundary_iou" in measures:
        row["boundary_iou"] = boundary_iou(mask, one.mask, one.ignore)
    if "f" in measures:
        row["f"] = boundary_f(mask, one.mask, one.ignore)
    if "pieces" in measures and in_one_piece(one.mask):
        row["pieces"] = float(not in_one_piece(mask))
    if keep_mask:
        row["mask"] = dict(encode_rle(mask))
    return row


def best_iou(masks: Bool, one: TrueObject) -> float:
    """The highest IoU of some masks (M, H, W)."""
    return max(map(one.iou, masks))


def usable_box(box: Corners, size: tuple[int, int]) -> Corners | None:
    """The part of a box that lies in a photo of ``size`` (H, W); None if there is none, or it is no box."""
    height, width = size
    x0, y0, x1, y1 = box
    if not all(math.isfinite(edge) for edge in box):
        return None
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Rows by photo and object."""
    return sorted(rows, key=lambda row: (row["photo"], row.get("object", 0)))


def mean_table(rows: Sequence[Row], keys: Sequence[str], bins: SizeBins) -> dict[str, dict[str, float | None]]:
    """Means by size of what rows have under some keys, and how many objects there are."""
    table: dict[str, dict[str, float | None]] = {}
    for key in keys:
        if key == "calibration":  # which has tables of its own
            continue
        having = [row for row in rows if key in row]
        if having or key == "iou":
            areas = [row["area"] for row in having]
            table[MEASURE_NAMES[key]] = mean_by_size([row[key] for row in having], areas, bins)
    if "iou" in keys:
        table["objects"] = counts(rows, bins)
    return table


def rows_values(rows: Sequence[Row], number: int) -> list[tuple[float, float]]:
    """Predicted and real IoU of a box's masks, or of those after click ``number``, from 0, of objects that have it."""
    found = []
    for row in rows:
        predicted, real = row["predicted_iou"], row["iou"]
        if not isinstance(predicted, list):
            found.append((predicted, real))
        elif number < len(predicted):
            found.append((predicted[number], real[number]))
    return found


def calibration_tables(found: Mapping[str, Sequence[tuple[float, float]]]) -> Tables:
    """Tables ``calibration`` and ``reliability`` of predicted and real IoU, by what asked for the masks."""
    split = {name: tuple([pair[side] for pair in pairs] for side in (0, 1)) for name, pairs in found.items()}
    return {
        "calibration": {name: calibration(*values) for name, values in split.items()},
        "reliability": {
            f"{name}, {row}": cells for name, values in split.items() for row, cells in reliability(*values).items()
        },
    }


def frame_tables(rows: Sequence[Row]) -> Tables:
    """Table ``frames``: J and F of the objects of videos, each the mean of its frames; none without videos or F.

    Every frame counts, as each was asked about by itself: DAVIS leaves out the first, whose mask trackers are given,
    and the last.
    """
    j: dict[str, list[float]] = {}
    f: dict[str, list[float]] = {}
    for row in rows:
        if "sequence" in row and "f" in row:
            name = f"{row['sequence']}/{row['id']}"
            j.setdefault(name, []).append(row["iou"][-1] if isinstance(row["iou"], list) else row["iou"])
            f.setdefault(name, []).append(row["f"])
    return {"frames": {"mean of objects": {**sequence_statistics(j, f), "objects": len(j)}}} if j else {}


def counts(rows: Sequence[Row], bins: SizeBins) -> dict[str, float | None]:
    """How many objects there are of each size."""
    classes = [size_classes(row["area"], bins) for row in rows]
    return {"all": len(rows), **{size: sum(size in found for found in classes) for size in SIZES}}
