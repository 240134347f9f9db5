"""Scores of several evaluations of the same photos side by side, with differences from the first of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from evsam.arguments import shown
from evsam.evaluation.report import Section, as_markdown
from evsam.evaluation.runner import (
    SCORES,
    EvaluationError,
    check_document,
    compare_settings,
    flat,
    read_document,
)
from evsam.evaluation.tables import TITLES, Table, text_table

Number: TypeAlias = "float | int | None"

Place: TypeAlias = tuple[str, str, str, str, str]
"""Where a number is: set, protocol, table, row and column."""

_ADVICE = "scores of other photos cannot be compared"


@dataclass(frozen=True)
class Run:
    """A finished evaluation.

    Attributes:
        name: by which it is told from the others.
        model: as it was given.
        settings: all that its numbers depend on.
        photos: how many were ``scored``, and how many were ``broken``.
        numbers: its scores.
    """

    name: str
    model: str
    settings: Mapping[str, Any]
    photos: Mapping[str, int]
    numbers: Mapping[Place, Number]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Evaluations of the same photos.

    Args:
        paths: their folders, or their files of scores.

    Raises:
        EvaluationError: an evaluation is not finished, is damaged, or has other photos than the first.
    """
    files = [path if path.is_file() else path / SCORES for path in paths]
    names = [path.name if path.is_file() else path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise EvaluationError(f"runs: expected each once, got {', '.join(names)}")
    runs = [_read_run(file, name) for file, name in zip(files, names, strict=True)]
    first = {"photos": runs[0].settings["photos"]}
    for file, run in zip(files[1:], runs[1:], strict=True):
        compare_settings({"photos": run.settings["photos"]}, first, str(file), _ADVICE)
    if not set.intersection(*(set(run.numbers) for run in runs)):
        raise EvaluationError(f"runs: expected some scores in all of {', '.join(names)}, got none")
    return runs


def _read_run(file: Path, name: str) -> Run:
    document = read_document(file, f"the folder of a finished evaluation, with its {SCORES}")
    kinds = {"given.model": str, "settings.model": dict, "settings.photos": dict, "tables": dict}
    check_document(document, file, {**kinds, "photos.scored": int, "photos.broken": int})
    numbers = dict(_numbers(document["tables"], file))
    return Run(name, document["given"]["model"], document["settings"], document["photos"], numbers)


def _numbers(tables: Any, file: Path, names: tuple[str, ...] = ()) -> Iterator[tuple[Place, Number]]:
    """The numbers of the tables of a file, and where they are."""
    for name, value in tables.items():
        place = (*names, name)
        where = ": ".join(place)
        if len(place) < 5:
            if not isinstance(value, dict):
                raise EvaluationError(f"{file}: expected a table in {where}, got {shown(value)}")
            yield from _numbers(value, file, place)
        elif value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
            raise EvaluationError(f"{file}: expected a number in {where}, got {shown(value)}")
        else:
            yield (place[0], place[1], place[2], place[3], place[4]), value


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """All numbers of some evaluations, as a json document.

    Args:
        runs: of :func:`read_runs`.

    Returns:
        ``runs``; ``settings`` that differ, by their names, of each run; and ``tables`` as those of one evaluation, with
        ``values`` of each run in place of a number, and ``differences`` of the second, third, ... from the first. None
        where a run has no such number.
    """
    tables: dict[str, Any] = {}
    for place in dict.fromkeys(place for run in runs for place in run.numbers):
        values = [run.numbers.get(place) for run in runs]
        inner = tables
        for name in place[:-1]:
            inner = inner.setdefault(name, {})
        inner[place[-1]] = {"values": values, "differences": [_difference(value, values[0]) for value in values[1:]]}
    return {
        "runs": [
            {"name": run.name, "model": run.model, "photos": run.photos, "settings": run.settings} for run in runs
        ],
        "settings": _other_settings(runs),
        "tables": tables,
    }


def _difference(value: Number, first: Number) -> Number:
    return None if value is None or first is None else value - first


def _other_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Settings that are not the same in all runs; None where a run has no such one."""
    each = [flat({name: value for name, value in run.settings.items() if name != "photos"}) for run in runs]
    names = dict.fromkeys(name for settings in each for name in settings)
    told = {name: [settings.get(name) for settings in each] for name in names}
    return {name: values for name, values in told.items() if any(value != values[0] for value in values)}


def markdown(runs: Sequence[Run]) -> str:
    """The same for people: what differs, then a table of each protocol of each set. Curves are in the json alone."""
    names, others = [run.name for run in runs], _other_settings(runs)
    rows = [("model", [run.model for run in runs])]
    rows += [("photos", [f"{run.photos['scored']}, and {run.photos['broken']} left out" for run in runs])]
    rows += [(name, ["–" if value is None else str(value) for value in values]) for name, values in others.items()]
    parts = ["### Runs\n\n" + text_table(names, rows)]
    differences = [f"{name} - {names[0]}" for name in names[1:]]
    sections: dict[str, list[Table]] = {}
    places = dict.fromkeys(place for run in runs for place in run.numbers if place[2] != "curve")
    for key in dict.fromkeys(place[:3] for place in places):
        of_table = [place for place in places if place[:3] == key]
        numbers = [[run.numbers.get(place) for run in runs] for place in of_table]
        rows_of = [
            (f"{place[3]}, {place[4]}", (*values, *(_difference(value, values[0]) for value in values[1:])))
            for place, values in zip(of_table, numbers, strict=True)
        ]
        title = key[1] if key[2] == "mean" else f"{key[1]}: {TITLES.get(key[2], key[2])}"
        table = Table(title, (*names, *differences), tuple(rows_of), signed=len(differences))
        sections.setdefault(key[0], []).append(table)
    parts.append(as_markdown([Section(name, tuple(tables)) for name, tables in sections.items()]))
    return "\n\n".join(parts)
