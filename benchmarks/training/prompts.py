"""What a model is worth as a reader of prompts, in one table: `python -m benchmarks.training.prompts SCORES ...`.

SCORES are `scores.json` of

    evsam eval MODEL DATA --half HALF --prompts box clicks clicks-alone masks --measures pieces calibration -o FOLDER

each of which makes a column of every set. Goals are those that docs/nano.md sets for nano's next weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Cells = Mapping[str, Any]

CLICKS = 5


def values(tables: Cells) -> dict[str, float | None]:
    """What is in the rows of the table, of one set."""

    def mean(protocol: str, row: str, column: str = "all") -> float | None:
        value: float | None = tables[protocol]["mean"].get(row, {}).get(column)
        return value

    def error(protocol: str, row: str) -> float | None:
        value: float | None = tables[protocol]["calibration"][row]["mean absolute error"]
        return value

    def less(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else a - b

    one, many = "IoU, 1 click", f"IoU, {CLICKS} clicks"
    masks, as_is = "mask alone, IoU with it", "mask alone and as it is, IoU with it"
    return {
        "true box": mean("box", "IoU"),
        "true box, small objects": mean("box", "IoU", "small"),
        "one click": mean("clicks", one),
        "five clicks": mean("clicks", many),
        "box's mask alone, given back": mean("masks", f"the box's {masks}"),
        "the same, logits as they are": mean("masks", f"the box's {as_is}"),
        "click's mask alone, given back": mean("masks", f"the click's {masks}"),
        "the same, logits as they are ": mean("masks", f"the click's {as_is}"),
        "click with the box's mask, above the click": less(
            mean("masks", "IoU, click with the box's mask"), mean("masks", "IoU, click")
        ),
        "five clicks, above those without masks fed back": less(mean("clicks", many), mean("clicks-alone", many)),
        "one click, best of three above the chosen": less(mean("clicks", f"{one}, best of three"), mean("clicks", one)),
        "predicted IoU, box: mean absolute error": error("box", "box"),
        "predicted IoU, one click": error("clicks", "1 click"),
        "predicted IoU, five clicks": error("clicks", f"{CLICKS} clicks"),
        "in pieces, box": mean("box", "in pieces"),
        "in pieces, five clicks": mean("clicks", "in pieces"),
        "objects": mean("box", "objects"),
    }


GOALS = {
    "box's mask alone, given back": "at least .90",
    "the same, logits as they are": "at least .90",
    "click's mask alone, given back": "at least .90",
    "the same, logits as they are ": "at least .90",
    "click with the box's mask, above the click": "at least .10",
    "five clicks, above those without masks fed back": "at least .02",
    "one click, best of three above the chosen": "at most .06",
    "predicted IoU, box: mean absolute error": "at most .10",
    "predicted IoU, one click": "at most .10",
    "predicted IoU, five clicks": "at most .10",
}


def table(documents: Sequence[Cells]) -> str:
    """In Markdown.

    Args:
        documents: contents of `scores.json`.
    """
    columns: dict[str, list[tuple[str, dict[str, float | None]]]] = {}
    for document in documents:
        half = document["given"].get("half", "all")
        for name, tables in document["tables"].items():
            columns.setdefault(name, []).append((half, values(tables)))
    flat = [(f"{name}, {half}", found) for name, several in sorted(columns.items()) for half, found in several]
    lines = ["| | goal | " + " | ".join(name for name, _ in flat) + " |", "|---|---|" + "---:|" * len(flat)]
    for row in flat[0][1]:
        cells = [_shown(row, found[row]) for _, found in flat]
        lines.append(f"| {row.strip()} | {GOALS.get(row, '')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(row: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if row == "objects" else f"{value:.3f}"


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m benchmarks.training.prompts`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="+", type=Path)
    print(table([json.loads(path.read_text(encoding="utf-8")) for path in parser.parse_args(argv).scores]))


if __name__ == "__main__":
    main()
