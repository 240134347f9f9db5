"""Score a model on annotated photos: ``python -m evsam.training.evaluate MODEL DATA --out scores.json``.

MODEL is a weights file, a variant name, or the folder of a run (its averaged weights).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from evsam.nn import EfficientViTSam
from evsam.training.data.sets import list_sets, read_set
from evsam.training.loading import load_model
from evsam.training.validation import validate

Table = dict[str, dict[str, float]]


def evaluate(
    model: EfficientViTSam, data: Path, sets: Sequence[str], split: str = "val", clicks: int = 1
) -> dict[str, Table]:
    """Scores by set, prompt and size of object, with those of a blank photo (prefix ``blank_``) for comparison."""
    result: dict[str, Table] = {}
    for name in sets:
        photos = read_set(data, split, name)
        with tqdm(total=len(photos), desc=name, unit="photo") as bar:
            table = validate(model, photos, clicks=clicks, progress=lambda done, _: bar.update(done - bar.n)).summary()
        blank = validate(model, photos, clicks=min(clicks, 1), blank=True).summary()
        table.update({f"blank_{prompt}": blank[prompt] for prompt in ("box", "click1") if prompt in blank})
        result[name] = table
    return result


def as_markdown(result: dict[str, Table]) -> str:
    """One table row for each set and prompt."""
    lines = ["| set | prompt | all | small | medium | large |", "|---|---|---|---|---|---|"]
    for name, table in result.items():
        for prompt, scores in table.items():
            cells = [f"{scores[size]:.3f}" if size in scores else "" for size in ("all", "small", "medium", "large")]
            lines.append(f"| {name} | {prompt} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``python -m evsam.training.evaluate``."""
    parser = argparse.ArgumentParser(description="Score a model on annotated photos.")
    parser.add_argument("model", help="weights file, variant name or folder of a run")
    parser.add_argument("data", type=Path, help="directory with SPLIT/SET.json and SPLIT/SET/FILE")
    parser.add_argument("--split", default="val")
    parser.add_argument("--clicks", type=int, default=5, help="clicks to simulate, 0 for boxes only")
    parser.add_argument("--sets", nargs="+", help="names of the sets, all by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the scores as json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    sets = options.sets or list_sets(options.data, options.split)
    result = evaluate(load_model(options.model), options.data, sets, options.split, options.clicks)
    print(as_markdown(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
