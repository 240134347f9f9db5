"""The tables of docs/training-experiments.md, from the results files: ``python -m benchmarks.training.tables``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.models import report
from benchmarks.training.scoring import PROMPTS, SETS

DEVICE = "amd-epyc"
"""Where the tables in the documentation were measured."""

WHOLE, NOISE = "whole recipe", "whole recipe, another seed"

Line = dict[str, Any]


def markdown(rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * lines[0].count(" | ") + "---|")
    return "\n".join(lines)


def chosen(lines: Iterable[Line], **values: object) -> list[Line]:
    """The lines that have these values."""
    return [line for line in lines if all(line[key] == value for key, value in values.items())]


def scores(lines: Iterable[Line], names: Sequence[str]) -> list[str]:
    """Of each set the scores of these names."""
    by_set = {line["set"]: line for line in lines}
    return [", ".join(f"{by_set[of][name]:.3f}" for name in names) for of in SETS]


def distillation_finals(lines: Sequence[Line]) -> str:
    """Scores at the end of each run."""
    rows: list[Sequence[object]] = [["run", "steps", "minutes", "coco: box, click, five clicks", "ccp", "bsds"]]
    finals = chosen(lines, kind="final")
    for run in dict.fromkeys(line["run"] for line in finals):
        of = chosen(finals, run=run)
        rows.append([run, of[0]["step"], of[0]["minutes"], *scores(of, ("box", "click1", "click5"))])
    return markdown(rows)


def distillation_curves(lines: Sequence[Line]) -> str:
    """Scores at each validation."""
    rows: list[Sequence[object]] = [["run", "step", "minutes", *(f"{of} box, click" for of in SETS)]]
    curves = chosen(lines, kind="curve")
    for run, step in dict.fromkeys((line["run"], line["step"]) for line in curves):
        of = chosen(curves, run=run, step=step)
        rows.append([run, step, of[0]["minutes"], *scores(of, ("box", "click"))])
    return markdown(rows)


def ablation(lines: Sequence[Line]) -> str:
    """Means over the sets, and in brackets their differences to the whole recipe."""
    runs = dict.fromkeys([WHOLE, NOISE, *(line["run"] for line in lines)])
    means = {
        run: [sum(line[prompt] for line in chosen(lines, run=run)) / len(SETS) for prompt in PROMPTS] for run in runs
    }
    rows: list[Sequence[object]] = [["run", "box", "click", "click, best of three", "three clicks", "five clicks"]]
    for run, values in means.items():
        differences = ["" if run == WHOLE else f" ({a - b:+.3f})" for a, b in zip(values, means[WHOLE], strict=True)]
        rows.append([run, *(f"{value:.3f}{less}" for value, less in zip(values, differences, strict=True))])
    return markdown(rows)


def tables() -> list[str]:
    """All of them."""
    found = {
        name: json.loads((report.RESULTS / f"{DEVICE}-{name}.json").read_text())["lines"]
        for name in ("distillation", "ablation")
    }
    return [
        distillation_finals(found["distillation"]),
        distillation_curves(found["distillation"]),
        ablation(found["ablation"]),
    ]


if __name__ == "__main__":
    print("\n\n".join(tables()))
