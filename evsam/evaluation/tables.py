"""Tables of what an evaluation found, also beside published ones, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from evsam.evaluation.charts import Curve, Dots
from evsam.evaluation.protocols import Tables
from evsam.zoo import PUBLISHED_OTHERS, VARIANTS


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


def is_part(document: Mapping[str, Any]) -> bool:
    """Whether photos of the sets were left out on purpose."""
    photos = document["settings"]["photos"]
    half = document["given"].get("half", "all")  # which earlier evaluations do not tell, as they knew none
    return photos["every_nth"] != 1 or photos["limit"] is not None or half != "all"


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
    if given["protocol"] != "paper" or is_part(document):
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
