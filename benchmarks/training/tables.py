"""The tables of docs/training-experiments.md, from the results files: ``python -m benchmarks.training.tables``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import harness
from benchmarks.training.ablation import NO_AVERAGE, TENTH, WHOLE
from benchmarks.training.comparison import PROMPTS, SETS

DEVICE = "amd-epyc"
"""Where the tables in the documentation were measured."""

NAMES = {
    "box": "box",
    "loose_box": "loose box",
    "box_border": "box, border",
    "click1": "click",
    "click1_best": "click, best of three",
    "two_clicks": "click and background click",
    "click3": "three clicks",
    "click5": "five clicks",
}
"""Heads of columns, by name of the prompt."""

SETTING = ("recipe", "steps", "lr", "start")
"""What all runs of one table of the ablation share."""

NOT_COMPARED = (WHOLE, TENTH, *NO_AVERAGE.values())
"""Runs of the ablation that are not rows of their own in its table."""

Line = dict[str, Any]


def markdown(rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * lines[0].count(" | ") + "---|")
    return "\n".join(lines)


def chosen(lines: Iterable[Line], **values: object) -> list[Line]:
    """The lines that have these values."""
    return [line for line in lines if all(line[key] == value for key, value in values.items())]


def grouped(lines: Iterable[Line], *keys: str) -> Iterable[list[Line]]:
    """The lines that share the values of these keys, in the order of their first."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line[key] for key in keys), []).append(line)
    return groups.values()


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
    """Means over the sets and seeds, and in brackets, for each seed, the difference to the whole recipe."""
    prompts = common_prompts(lines)
    rows: list[Sequence[object]] = [["run", *(NAMES[prompt] for prompt in prompts)]]
    whole = by_seed(lines, WHOLE, prompts)
    rows.append([WHOLE, *cells(whole)])
    others = [run for run in dict.fromkeys(line["run"] for line in lines) if run not in NOT_COMPARED]
    rows += [[run, *cells(by_seed(lines, run, prompts), whole)] for run in others]
    return markdown(rows)


def averages(lines: Sequence[Line]) -> str:
    """The same for averaged weights, and the differences of the last ones to them."""
    prompts = common_prompts(lines)
    rows: list[Sequence[object]] = [["run", "steps", "weights", *(NAMES[prompt] for prompt in prompts)]]
    for of in grouped(lines, *SETTING):
        for averaged, last in NO_AVERAGE.items():
            if found := by_seed(of, last, prompts):
                start = by_seed(of, averaged, prompts)
                start = {seed: start[seed] for seed in found}
                rows.append([averaged, of[0]["steps"], "average", *cells(start)])
                rows.append(["", "", "last", *cells(found, start)])
    return markdown(rows)


def common_prompts(lines: Sequence[Line]) -> list[str]:
    """The prompts that all lines have scores of."""
    return [prompt for prompt in PROMPTS if all(prompt in line for line in lines)]


def cells(found: Mapping[int, Sequence[float]], start: Mapping[int, Sequence[float]] | None = None) -> list[str]:
    """Means over seeds, in brackets those of each seed or, where they are compared, their differences."""
    shown = []
    for column, values in enumerate(zip(*found.values(), strict=True)):
        each = [
            f"{value:.3f}" if start is None else f"{value - start[seed][column]:+.3f}"
            for seed, value in zip(found, values, strict=True)
        ]
        shown.append(f"{sum(values) / len(values):.3f} ({', '.join(each)})")
    return shown


def by_seed(lines: Sequence[Line], run: str, prompts: Sequence[str]) -> dict[int, list[float]]:
    """Means over the sets of a run's scores, by its seeds."""
    of = chosen(lines, run=run)
    return {
        seed: [sum(line[prompt] for line in chosen(of, seed=seed)) / len(SETS) for prompt in prompts]
        for seed in sorted({line["seed"] for line in of})
    }


def tables() -> list[str]:
    """All of them."""
    found = {name: harness.read(harness.RESULTS / f"{DEVICE}-{name}.json") for name in ("distillation", "ablation")}
    return [
        distillation_finals(found["distillation"]),
        distillation_curves(found["distillation"]),
        *(ablation(of) for of in grouped(found["ablation"], *SETTING) if chosen(of, run=WHOLE)),
        averages(found["ablation"]),
    ]


if __name__ == "__main__":
    print("\n\n".join(tables()))
