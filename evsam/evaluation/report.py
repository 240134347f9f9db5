"""What people read of an evaluation: tables in Markdown, and one HTML page with curves and pictures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import _C
from evsam.boxes import bounding_box
from evsam.evaluation.protocols import PhotoProtocol, Row, Tables
from evsam.evaluation.truth import Truth
from evsam.overlay import draw_click, draw_masks
from evsam.prompts import PhotoPrompts
from evsam.rle import decode_rle, mask_pixels
from evsam.zoo import PUBLISHED_OTHERS, VARIANTS

if TYPE_CHECKING:
    from evsam.datasets import Photo
    from evsam.evaluation.runner import Results
    from evsam.sam import Sam

Bool = npt.NDArray[np.bool_]

PICTURE_SIDE = 360
"""Longer side of a picture in pixels; with 85 for JPEG's quality about 20 KB."""

_QUALITY = 85
_CHART = "IoU after each click"
RELIABILITY = "Real IoU over predicted IoU"
_CONTEXT = 0.35
"""What is shown around an object, in sides of its box."""
_LEAST_CONTEXT = 12
"""The same in pixels, for small objects."""
_OUTLINE, _CLICK = 2.0, 8.0
"""Width of the true outline, and radius of clicks, in pixels of the picture."""


@dataclass(frozen=True)
class Table:
    """Numbers by name.

    Attributes:
        title: what is scored.
        columns: names of the numbers.
        rows: name of each, and its numbers; None where there is none.
        note: what a reader needs to know, or nothing.
        digits: behind the decimal point.
        signed: so many of the last columns are differences, which are shown with their sign.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    note: str = ""
    digits: int = 3
    signed: int = 0

    def cells(self, values: Sequence[float | None]) -> list[str]:
        """The numbers of a row as they are shown."""
        plain = len(values) - self.signed
        return [self._cell(value, "") for value in values[:plain]] + [
            self._cell(value, "+") for value in values[plain:]
        ]

    def _cell(self, value: float | None, sign: str) -> str:
        if value is None or not math.isfinite(value):
            return "–"
        if sign and value == 0:
            return "0"
        return f"{value:{sign}.0f}" if isinstance(value, int) else f"{value:{sign}.{self.digits}f}"


@dataclass(frozen=True)
class Curve:
    """Values of one line of a chart: IoU after 1, 2, ... clicks.

    Attributes:
        name: of the line.
        values: None where there is none.
    """

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Dots:
    """Points of one line of a chart of reliability.

    Attributes:
        name: of the line.
        points: mean predicted IoU, mean real IoU, and how many masks, of those whose prediction is in one tenth.
    """

    name: str
    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Case:
    """An object that is shown.

    Attributes:
        title: what it is an example of.
        caption: which object of which photo it is, and what it scored.
        picture: RGB.
    """

    title: str
    caption: str
    picture: Image.Image


OBJECTS = "objects"
"""The row of tables that counts."""


TITLES = {
    "AP": "average precision",
    "AR": "average recall",
    "calibration": "how far predicted IoU is from the real one",
    "clicks": "clicks that objects need",
    "embedding": "embeddings of both models",
    "frames": "J and F of the objects of videos",
    "reliability": "predicted and real IoU, by tenths of the predicted",
    "lost": "failures (IoU below 0.1) that were told, and lost said falsely (IoU above 0.5)",
    "segments": "masks",
}
"""What tables are, by their names."""


_JOINT = ("frames", "lost")
"""Tables that have a row for each protocol, so that they can be compared."""


def set_tables(found: Mapping[str, Tables]) -> tuple[list[Table], list[Curve]]:
    """What a set's protocols found, for people: one table of all means, others as they are, and curves.

    Args:
        found: tables by protocol.
    """
    means: list[tuple[str, tuple[float | None, ...]]] = []
    objects: dict[tuple[float | None, ...], None] = {}
    columns: tuple[str, ...] = ()
    others: list[Table] = []
    sequences: dict[str, dict[str, float | None]] = {}
    joint: dict[str, dict[str, Mapping[str, float | None]]] = {}
    curves: list[Curve] = []
    for protocol, tables in found.items():
        for name, rows in tables.items():
            if name == "mean":
                for row, values in rows.items():
                    columns = columns or tuple(values)
                    cells = tuple(values.get(column) for column in columns)
                    if row == OBJECTS:
                        objects[cells] = None
                    else:
                        means.append((f"{protocol}: {row}", cells))
            elif name in _JOINT:
                joint.setdefault(name, {}).update({f"{protocol}: {row}": values for row, values in rows.items()})
            elif name == "sequences":
                for row, values in rows.items():
                    sequences.setdefault(row, {})[protocol] = values["J&F"]
            elif name == "curve":
                curves += [Curve(protocol, tuple(values.values())) for values in rows.values()]
            else:
                others.append(_plain_table(f"{protocol}: {TITLES.get(name, name)}", rows))
    others += [_plain_table(TITLES[name], rows) for name, rows in joint.items()]
    others += [_plain_table("J&F of each video", sequences)] if sequences else []
    first = [Table("Mean IoU", columns, (*means, *((OBJECTS, cells) for cells in objects)))] if means else []
    return [*first, *others], [curve for curve in curves if len(curve.values) > 1]


def reliabilities(found: Mapping[str, Tables]) -> list[Dots]:
    """Lines of a chart of reliability.

    Args:
        found: tables by protocol.
    """
    lines = []
    for protocol, tables in found.items():
        rows = tables.get("reliability", {})
        for row in rows:
            name, _, kind = row.rpartition(", ")
            if kind != "predicted":
                continue
            columns = [rows[f"{name}, {each}"] for each in ("predicted", "real", "masks")]
            points = [(x, y, count) for x, y, count in zip(*(c.values() for c in columns), strict=True) if count]
            several = len(rows) > len(columns)
            lines.append(Dots(f"{protocol}, {name}" if several else protocol, tuple(points)))
    return lines


def _plain_table(title: str, rows: Mapping[str, Mapping[str, float | None]]) -> Table:
    columns = tuple(dict.fromkeys(column for values in rows.values() for column in values))
    cells = [
        (row, tuple(_counted(row, column, values.get(column)) for column in columns)) for row, values in rows.items()
    ]
    return Table(title, columns, tuple(cells), _note(columns))


def _note(columns: Sequence[str]) -> str:
    """What the columns of numbers of clicks are, which their names alone do not tell; nothing of others."""
    counts = [column for column in columns if column.startswith(">=")]
    if not counts:
        return ""
    clicks, _, percent = counts[-1].removeprefix(">=").partition("@")
    return (
        f"NoC@{percent}: clicks until IoU is {float(percent) / 100:g}, mean of objects; "
        f"{counts[-1]}: objects that took all {clicks} clicks"
    )


def _counted(row: str, column: str, value: float | None) -> float | None:
    """Whole numbers where a column counts objects, or a column or a row masks."""
    counts = column.startswith(">=") or column == "masks" or row.endswith(", masks")
    return int(value) if value is not None and counts else value


def overview(found: Mapping[str, Mapping[str, Tables]]) -> Table:
    """A row for each set and their mean, with the numbers that stand for all objects."""
    headlines = {name: _headlines(tables) for name, tables in found.items()}
    columns = tuple(dict.fromkeys(column for values in headlines.values() for column in values))
    rows = [(name, tuple(values.get(column) for column in columns)) for name, values in headlines.items()]
    means = []
    for column in zip(*(values for _, values in rows), strict=True):
        numbers = [value for value in column if value is not None]
        means.append(math.fsum(numbers) / len(numbers) if numbers else None)
    return Table("Scores of all objects, by set", columns, (*rows, ("mean of sets", tuple(means))))


SHOWN_CLICKS = (1, 3, 5, 10, 20)


def _headlines(tables: Mapping[str, Tables]) -> dict[str, float | None]:
    found = {}
    for protocol, by_name in tables.items():
        for name, rows in by_name.items():
            for row, values in rows.items():
                clicks = row.partition(", ")[2].partition(" click")[0]
                if (
                    row == OBJECTS
                    or name in ("curve", "sequences", "reliability")
                    or "best of" in row
                    or (clicks.isdecimal() and int(clicks) not in SHOWN_CLICKS)
                ):
                    continue
                column = next((c for c in ("all", "AP", "J&F") if c in values), next(iter(values), None))
                if column is not None:
                    found[f"{protocol}: {row}" + ("" if column == "all" else f", {column}")] = values[column]
    return found


def markdown(tables: Sequence[Table]) -> str:
    """Tables in Markdown, with their titles."""
    parts = []
    for table in tables:
        title = f"**{table.title}**" + (f" ({table.note})" if table.note else "")
        rows = [(name, table.cells(values)) for name, values in table.rows]
        parts.append(f"{title}\n\n{text_table(table.columns, rows)}")
    return "\n\n".join(parts)


def text_table(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table of texts in Markdown, each row with its name."""
    lines = ["| | " + " | ".join(map(_in_cell, columns)) + " |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {_in_cell(name)} | " + " | ".join(map(_in_cell, cells)) + " |" for name, cells in rows]
    return "\n".join(lines)


def _in_cell(text: str) -> str:
    return text.replace("|", r"\|")  # of a set's name, which would end the cell


def draw_case(pixels: npt.NDArray[np.uint8], true: Bool, predicted: Bool, prompts: PhotoPrompts | None) -> Image.Image:
    """An object with its surroundings: the predicted mask in blue, the outline of the true one in white, and prompts.

    Args:
        pixels: uint8 RGB (H, W, 3).
        true: bool (H, W).
        predicted: bool (H, W).
        prompts: that the mask is the answer to, one of them; None for none.
    """
    left, top, right, bottom = _window(true, predicted, prompts)
    part = (slice(top, bottom), slice(left, right))
    scale = PICTURE_SIDE / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    photo = np.array(Image.fromarray(pixels[part]).resize(size, Image.Resampling.LANCZOS))
    masks = [np.array(Image.fromarray(mask[part]).resize(size, Image.Resampling.NEAREST)) for mask in (true, predicted)]
    canvas = np.array(draw_masks(photo, [masks[1]], opacity=0.45))
    rings = _C.trace_outlines(mask_pixels(masks[0]), 0.75)[:2]
    _C.stroke_rings(canvas, *rings, _OUTLINE + 2, (0, 0, 0), 0.5)
    _C.stroke_rings(canvas, *rings, _OUTLINE, (255, 255, 255), 1.0)
    if prompts is None:
        return Image.fromarray(canvas)
    boxes = None if prompts.boxes is None else (prompts.boxes - (left, top, left, top)) * scale
    none = np.zeros((1, 0), np.int64)
    picture = draw_masks(canvas, [masks[1] & False], prompts=PhotoPrompts(np.zeros((1, 0, 2)), none, boxes))
    for (x, y), label in zip(prompts.points[0], prompts.labels[0], strict=True):
        if label >= 0:
            draw_click(picture, ((x - left) * scale, (y - top) * scale), _CLICK, foreground=label == 1)
    return picture


def _window(true: Bool, predicted: Bool, prompts: PhotoPrompts | None) -> tuple[int, int, int, int]:
    """What of a photo is shown: around the object and, unless they are far away, the answer and the prompts."""
    height, width = true.shape
    boxes = [np.array(bounding_box(mask), np.float64) for mask in (true, predicted) if mask.any()]
    if prompts is not None:
        boxes += [] if prompts.boxes is None else list(prompts.boxes)
        boxes += [np.tile(xy, 2) for xy, label in zip(prompts.points[0], prompts.labels[0], strict=True) if label >= 0]
    around = np.array(boxes) if boxes else np.array([[0, 0, width, height]])
    (left, top), (right, bottom) = around[:, :2].min(0).tolist(), around[:, 2:].max(0).tolist()
    side = max(right - left, bottom - top)
    side += 2 * max(_LEAST_CONTEXT, _CONTEXT * side)
    (x0, x1), (y0, y1) = _span(left, right, side, width), _span(top, bottom, side, height)
    return x0, y0, x1, y1


def _span(start: float, end: float, length: float, limit: int) -> tuple[int, int]:
    """``length`` pixels around a range, moved into the photo; all of it where it has no more."""
    first = min(max(0, (start + end - length) / 2), max(0, limit - length))
    return math.floor(first), min(limit, math.ceil(first + length))


def chart(curves: Sequence[Curve], title: str) -> str:
    """An SVG of curves of IoU over clicks, in the colours of the page."""
    width, height, left, right, top, bottom = 560, 300, 46, 150, 16, 40
    count = max(len(curve.values) for curve in curves)
    shown = [value for curve in curves for value in curve.values if value is not None]
    low = max(0.0, math.floor(min(shown, default=0) * 10) / 10)
    high = min(1.0, math.ceil(max(shown, default=1) * 10 + 1e-9) / 10)
    high = high if high > low else low + 0.1

    def x(click: int) -> float:
        return left + (width - left - right) * (click / max(1, count - 1))

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    steps = round((high - low) * 10)
    for step in range(steps + 1):
        value = low + step * (high - low) / steps
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    every = math.ceil(count / 10)
    parts += [
        f'<text x="{x(click):.1f}" y="{height - bottom + 20}" text-anchor="middle">{click + 1}</text>'
        for click in range(0, count, every)
    ]
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">clicks</text>')
    labels = _apart([y(next((v for v in reversed(c.values) if v is not None), low)) for c in curves])
    for index, (curve, label) in enumerate(zip(curves, labels, strict=True)):
        points = [(x(i), y(value)) for i, value in enumerate(curve.values) if value is not None]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline class="c{index % 6}" points="{line}"/>')
        parts += [f'<circle class="c{index % 6}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in points]
        name = escape(curve.name)
        parts.append(f'<text class="c{index % 6}" x="{width - right + 10}" y="{label + 4:.1f}">{name}</text>')
    return "".join([*parts, "</svg>"])


def reliability_chart(lines: Sequence[Dots], title: str, alone: bool = False) -> str:
    """An SVG of the real IoU of masks over the predicted one; calibrated predictions lie on the dashed line.

    Dots are as large as their tenth has masks: their areas are.

    Args:
        lines: what is drawn.
        title: above the chart.
        alone: whether the SVG is a file of its own, which brings the page's colours.
    """
    side, left, top, right, bottom = 240, 46, 30, 150, 40
    width, height = left + side + right, top + side + bottom
    most = max((count for line in lines for *_, count in line.points), default=1.0)

    def place(predicted: float, real: float) -> tuple[float, float]:
        return left + side * min(max(predicted, 0.0), 1.0), top + side * (1 - real)

    opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"'
    parts = [f'{opening} xmlns="http://www.w3.org/2000/svg"><style>{_CHARTS}</style>' if alone else f"{opening}>"]
    parts.append(f'<text x="{left}" y="{top - 12}">{escape(title)}</text>')
    for fifth in range(6):
        x, y = place(fifth / 5, fifth / 5)
        parts += [
            f'<line class="grid" x1="{left}" x2="{left + side}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{fifth / 5:.1f}</text>',
            f'<text x="{x:.1f}" y="{top + side + 18}" text-anchor="middle">{fifth / 5:.1f}</text>',
        ]
    parts.append(
        f'<line class="grid" stroke-dasharray="5 4" x1="{left}" x2="{left + side}" y1="{top + side}" y2="{top}"/>'
    )
    parts.append(
        f'<text x="{left + side / 2}" y="{height - 6}" text-anchor="middle">predicted IoU (real: upwards)</text>'
    )
    labels = _apart([place(*line.points[-1][:2])[1] if line.points else top for line in lines])
    for index, (line, label) in enumerate(zip(lines, labels, strict=True)):
        spots = [(*place(x, y), 1.5 + 4.5 * math.sqrt(count / most)) for x, y, count in line.points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in spots)
        parts.append(f'<polyline class="c{index % 6}" points="{joined}"/>')
        parts += [f'<circle class="c{index % 6}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>' for x, y, r in spots]
        parts.append(
            f'<text class="c{index % 6}" x="{left + side + 10}" y="{label + 4:.1f}">{escape(line.name)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _apart(heights: Sequence[float], gap: float = 15) -> list[float]:
    """Heights of texts near those of their lines, at least ``gap`` from one another."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = list(heights)
    for before, index in pairwise(order):
        placed[index] = max(placed[index], placed[before] + gap)
    return placed


@dataclass(frozen=True)
class Pick:
    """An object that is to be drawn: how it was asked for, its row, and what it is an example of."""

    protocol: PhotoProtocol
    row: Row
    title: str


def choose_cases(protocols: Sequence[PhotoProtocol], rows: Mapping[str, Sequence[Row]], count: int) -> list[Pick]:
    """The worst and the median objects of each protocol that can keep masks.

    Args:
        protocols: those of an evaluation.
        rows: of one set, by protocol.
        count: so many of both kinds, of photos that differ as long as there are enough.
    """
    picks: list[Pick] = []
    for protocol in protocols:
        if not hasattr(protocol, "keep_masks") or count == 0:
            continue
        found = sorted(rows.get(protocol.name, ()), key=lambda row: (_last(row), row["photo"], row["object"]))
        middle = len(found) // 2
        near = sorted(range(len(found)), key=lambda index: abs(index - middle))
        for title, order in (("Worst", found), ("Median", [found[index] for index in near])):
            picks += [Pick(protocol, row, f"{title}, {protocol.name}") for row in _of_many_photos(order, count)]
    return picks


def _last(row: Row) -> float:
    """IoU, after the last click."""
    value = row["iou"]
    return float(value[-1] if isinstance(value, list) else value)


def _of_many_photos(rows: Sequence[Row], count: int) -> list[Row]:
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row["photo"], row)
        if len(first) == count:
            break
    return list(first.values())


def draw_cases(sam: Sam, picks: Sequence[Pick], photo_of: Callable[[str], Photo]) -> list[Case]:
    """Pictures of objects, which are asked for again.

    Args:
        sam: the model.
        picks: which objects.
        photo_of: the photo of a name.
    """
    drawn: dict[int, Case] = {}
    by_photo: dict[str, list[int]] = {}
    for index, pick in enumerate(picks):
        by_photo.setdefault(pick.row["photo"], []).append(index)
    for key, indices in by_photo.items():
        photo = photo_of(key)
        pixels = photo.pixels()
        truth, embedding = Truth.read(photo, pixels), sam.encode(pixels)
        for index in indices:
            pick = picks[index]
            one = next(o for o in (*truth.objects, *truth.crowds) if o.number == pick.row["object"])
            alone = replace(truth, objects=() if one.crowd else (one,), crowds=(one,) if one.crowd else ())
            (row,) = replace(pick.protocol, keep_masks=True).rows(sam, embedding, alone)  # type: ignore[type-var]
            caption = f"{key}, object {one.number}: IoU {_last(row):.3f}, predicted {_predicted(row):.3f}"
            picture = draw_case(pixels, one.mask, decode_rle(row["mask"]), _prompts(row))
            drawn[index] = Case(pick.title, caption, picture)
    return [drawn[index] for index in range(len(picks))]


def _predicted(row: Row) -> float:
    value = row["predicted_iou"]
    return float(value[-1] if isinstance(value, list) and value else value or 0)


def _prompts(row: Row) -> PhotoPrompts:
    clicks = row.get("clicks", [])
    boxes = np.array([row["box"]]) if "box" in row else None
    points = np.array([[click[:2] for click in clicks]], np.float64).reshape(1, -1, 2)
    return PhotoPrompts(points, np.array([[click[2] for click in clicks]], np.int64), boxes)


@dataclass(frozen=True)
class Section:
    """A data set, or another part of a page.

    Attributes:
        title: of the section.
        tables: that it shows.
        curves: of its chart; none for no chart.
        cases: pictures of objects.
        reliability: of its chart of predicted IoU; none for no chart.
    """

    title: str
    tables: tuple[Table, ...] = ()
    curves: tuple[Curve, ...] = ()
    cases: tuple[Case, ...] = ()
    reliability: tuple[Dots, ...] = ()


def _items(document: Mapping[str, Any]) -> str:
    """What was scored."""
    return "videos" if document["given"].get("video") else "photos"


def _is_part(document: Mapping[str, Any]) -> bool:
    """Whether photos of the sets were left out on purpose."""
    photos = document["settings"]["photos"]
    half = document["given"].get("half", "all")  # which earlier evaluations do not tell, as they knew none
    return photos["every_nth"] != 1 or photos["limit"] is not None or half != "all"


def sections(
    tables: Mapping[str, Mapping[str, Tables]],
    document: Mapping[str, Any],
    results: Results,
    cases: Mapping[str, Sequence[Case]],
) -> list[Section]:
    """What is told of an evaluation: of all sets together, and of each.

    Args:
        tables: by set and protocol.
        document: ``settings`` and what was ``given``.
        results: that the tables are of.
        cases: pictures by set.
    """
    published = published_table(tables, document)
    first = ([overview(tables)] if len(tables) > 1 else []) + ([published] if published else [])
    found = [Section("All sets" if len(tables) > 1 else "The paper", tuple(first))] if first else []
    for name, of_set in tables.items():
        count = sum(place[0] == name for place in results.scored)
        shown, curves = set_tables(of_set)
        found.append(
            Section(
                f"{name}: {count:,} {_items(document)[: None if count != 1 else -1]}",
                tuple(shown),
                tuple(curves),
                tuple(cases.get(name, ())),
                tuple(reliabilities(of_set)),
            )
        )
    return found


PUBLISHED_DATA = {"instances_val2017": "coco", "lvis_v1_val": "lvis"}
"""The paper's data sets, by the names of their annotation files."""

PUBLISHED_DETECTIONS = {
    "coco_vitdet": "coco_map",
    "coco_yolov8": "coco_map_yolov8",
    "coco_groundingdino": "coco_map_grounding_dino",
    "lvis_vitdet": "lvis_map",
}
"""Keys of :data:`evsam.zoo.PUBLISHED_KEYS` for boxes of detectors, by the names of the files the authors publish."""

SGINW_SETS = 25

_SIZES = {"": "all", "_small": "small", "_medium": "medium", "_large": "large"}

_MIOU = {
    f"{prompt}_miou{suffix}": (protocol, row, column)
    for prompt, protocol, row in (
        ("box", "box", "IoU"),
        ("1_click", "clicks", "IoU, 1 click"),
        ("3_clicks", "clicks", "IoU, 3 clicks"),
        ("5_clicks", "clicks", "IoU, 5 clicks"),
    )
    for suffix, column in _SIZES.items()
}
"""Where a table of means has what a key, without the data set, means."""


def published_table(tables: Mapping[str, Mapping[str, Tables]], document: Mapping[str, Any]) -> Table | None:
    """The paper's numbers, if they are of the same data and the same protocol.

    Args:
        tables: by set and protocol.
        document: see :func:`sections`.
    """
    given = document["given"]
    if given["protocol"] != "paper" or _is_part(document):
        return None
    mine: dict[str, float | None] = {}
    for name, of_set in tables.items():
        if name in PUBLISHED_DATA:
            for key, (protocol, row, column) in _MIOU.items():
                mine[f"{PUBLISHED_DATA[name]}_{key}"] = (
                    of_set.get(protocol, {}).get("mean", {}).get(row, {}).get(column)
                )
            boxes = PUBLISHED_DETECTIONS.get(PurePath(given["detections"] or "").stem, "")
            mine[boxes] = _average_precision(of_set)
    if len(tables) == SGINW_SETS and given["kind"] == "sginw":
        found = [value for of_set in tables.values() if (value := _average_precision(of_set)) is not None]
        mine["sginw_map"] = math.fsum(found) / SGINW_SETS if len(found) == SGINW_SETS else None
    others = {name: variant.published for name, variant in VARIANTS.items()} | dict(PUBLISHED_OTHERS)
    keys = [key for key, value in mine.items() if value is not None and any(key in of for of in others.values())]
    if not keys:
        return None
    rows: list[tuple[str, tuple[float | None, ...]]] = [
        ("this evaluation", tuple(100 * (mine[key] or 0) for key in keys))
    ]
    rows += [
        (name, tuple(scores.get(key) for key in keys))
        for name, scores in others.items()
        if any(key in scores for key in keys)
    ]
    columns = tuple(key.replace("_miou", "").replace("_map", " mAP").replace("_", " ") for key in keys)
    return Table("Beside the published numbers", columns, tuple(rows), "percent; arXiv 2402.05008 and its code", 1)


def _average_precision(tables: Mapping[str, Tables]) -> float | None:
    return tables.get("detections", {}).get("AP", {}).get("masks", {}).get("AP")


def finite(value: Any) -> Any:
    """The value with None for NaN and infinities, at any depth: JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_markdown(parts: Sequence[Section]) -> str:
    """All tables, in Markdown."""
    return "\n\n".join(f"### {part.title}\n\n{markdown(part.tables)}" for part in parts)


def as_page(document: Mapping[str, Any], parts: Sequence[Section], results: Results) -> str:
    """The page of an evaluation."""
    settings, given = document["settings"], document["given"]
    told = {
        "model": f"{given['model']} ({settings['model']['variant']}, weights {settings['model']['weights']})",
        "engine": f"{settings['model']['engine']}, {settings['model']['precision']}",
        "photos": ", ".join(str(given[key]) for key in ("data", "annotations") if given.get(key)),
        "protocol": given["protocol"],
        **{
            f"prompts {name}": ", ".join(
                f"{key} {value}" for key, value in values.items() if key not in ("name", "kind")
            )
            for name, values in settings["prompts"].items()
        },
        "evsam": settings["evsam"],
    }
    broken = [f"{one['set']}: {one['photo']}: {one['broken']}" for one in results.broken]
    part = ", which are a part of it" if _is_part(document) else ""
    summary = f"{len(results.scored):,} {_items(document)} of {', '.join(settings['photos']['sets'])}{part}"
    return page(f"What {given['model']} scores", summary, parts, told, broken)


def page(title: str, summary: str, parts: Sequence[Section], settings: Mapping[str, Any], broken: Sequence[str]) -> str:
    """One HTML page that needs no other file.

    Args:
        title: of the page.
        summary: a sentence below it.
        parts: see :class:`Section`.
        settings: by name, how it was computed.
        broken: photos that could not be used, and why.
    """
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>",
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(summary)}</p></header>',
    ]
    for section in parts:
        lines.append(f"<section><h2>{escape(section.title)}</h2>")
        lines += [_html_table(table) for table in section.tables]
        if section.curves:
            lines.append(f"<figure><h3>{_CHART}</h3>{chart(section.curves, _CHART)}</figure>")
        if section.reliability:
            lines.append(f"<figure>{reliability_chart(section.reliability, RELIABILITY)}</figure>")
        if section.cases:
            lines.append(_LEGEND)
        for name in dict.fromkeys(case.title for case in section.cases):
            lines.append(f'<h3>{escape(name)}</h3><div class="cases">')
            lines += [_html_case(case) for case in section.cases if case.title == name]
            lines.append("</div>")
        lines.append("</section>")
    lines.append("<section><h2>How it was computed</h2><table class='plain'><tbody>")
    lines += [f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in settings.items()]
    lines.append("</tbody></table></section>")
    if broken:
        lines.append(f"<section><h2>Photos that could not be used ({len(broken)})</h2><ul>")
        lines += [f"<li>{escape(text)}</li>" for text in broken]
        lines.append("</ul></section>")
    return "".join([*lines, "</main></body></html>\n"])


def _html_table(table: Table) -> str:
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "".join(
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{cell}</td>" for cell in table.cells(values)) + "</tr>"
        for name, values in table.rows
    )
    return (
        f'<h3>{escape(table.title)}</h3>{note}<div class="wide"><table><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html_case(case: Case) -> str:
    file = io.BytesIO()
    case.picture.save(file, "JPEG", quality=_QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    caption = escape(case.caption)
    return f'<figure><img alt="{caption}" src="{source}"><figcaption>{caption}</figcaption></figure>'


_LEGEND = (
    '<p class="note legend"><b><i class="truth"></i>true mask</b> <b><i class="predicted"></i>predicted mask</b> '
    '<b><i class="box"></i>box that was given</b> <b><i class="plus">+</i>click on the object</b> '
    '<b><i class="minus">−</i>click beside it</b></p>'
)

_CHARTS = """
:root { color-scheme: light dark; --ink: #1a1d23; --soft: #626873; --line: #dfe2e7; --back: #fff; --card: #f6f7f9;
  --c0: #2563eb; --c1: #d9480f; --c2: #0f8a5f; --c3: #9333ea; --c4: #b7791f; --c5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --soft: #9aa1ad; --line: #333841; --back: #14161a;
  --card: #1c1f25; --c0: #7aa5ff; --c1: #ff9466; --c2: #4fd1a1; --c3: #c79bff; --c4: #e8b75a; --c5: #5bc8de; } }
svg { width: 100%; max-width: 640px; font: 12px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg .grid { stroke: var(--line); }
svg polyline { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
""" + "".join(
    f"svg polyline.c{i} {{ stroke: var(--c{i}); }} svg circle.c{i}, svg text.c{i} {{ fill: var(--c{i}); }}\n"
    for i in range(6)
)
"""Style of charts, and the colours of the page."""

_STYLE = (
    _CHARTS
    + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 48px 0 4px; padding-bottom: 6px; border-bottom: 1px solid var(--line); }
h3 { font-size: 15px; margin: 28px 0 6px; }
.lead { color: var(--soft); margin: 6px 0 0; font-size: 16px; }
.note { color: var(--soft); margin: 0 0 8px; max-width: 76ch; font-size: 13.5px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 14px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; font-size: 13px; white-space: normal; vertical-align: bottom; }
tbody th { text-align: left; font-weight: 500; padding-left: 0; }
tbody tr:hover { background: var(--card); }
table.plain td { text-align: left; white-space: normal; overflow-wrap: anywhere; font-size: 13.5px; }
table.plain th { color: var(--soft); font-size: 13.5px; vertical-align: top; }
figure { margin: 0; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 18px; }
.cases figure { background: var(--card); border-radius: 8px; overflow: hidden; }
.cases img { display: block; width: 100%; height: 220px; object-fit: contain; background: #0b0c0e; }
figcaption { padding: 8px 12px 10px; font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
.legend { margin-top: 14px; }
.legend b { font-weight: 400; white-space: nowrap; margin-right: 16px; }
.legend i { display: inline-block; width: 14px; height: 14px; margin-right: 6px; vertical-align: -2px;
  border-radius: 3px; font-style: normal; }
.legend .truth { border: 2px solid #fff; outline: 1px solid #555; } .legend .predicted { background: #5f9ff5; }
.legend .box { border: 2px dashed #1f8fff; } .legend .plus, .legend .minus { border-radius: 50%; color: #fff;
  text-align: center; line-height: 13px; font-weight: 700; }
.legend .plus { background: #16a34a; } .legend .minus { background: #dc2626; }
ul { padding-left: 18px; font-size: 13.5px; }
"""
)
