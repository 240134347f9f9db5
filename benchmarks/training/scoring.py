"""Short scores that comparisons of training runs share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evsam.nn import EfficientViTSam
from evsam.training.data.sets import read_set
from evsam.training.validation import validate

SETS = ("coco", "ccp", "bsds")
PROMPTS = ("box", "click1", "click1_best", "click3", "click5")
EVERY_NTH, MASKS = 3, 4
"""A third of the validation photos and at most four masks of each: a few hundred masks per set."""

Scores = dict[str, dict[str, float]]


def score(model: EfficientViTSam, data: Path, sets: Sequence[str] = SETS) -> Scores:
    """Mean IoU by set and prompt."""
    found: Scores = {}
    for name in sets:
        photos = read_set(data, "val", name)
        chosen = [photos[number] for number in range(0, len(photos), EVERY_NTH)]
        summary = validate(model, chosen, clicks=5, masks_per_photo=MASKS).summary()
        found[name] = {prompt: round(summary[prompt]["all"], 4) for prompt in PROMPTS}
    return found


def table(found: Mapping[str, Scores], sets: Sequence[str]) -> str:
    """Markdown, one row per run."""
    lines = [
        "| run | " + " | ".join(f"{name} {', '.join(PROMPTS)}" for name in sets) + " |",
        "|---|" + "---|" * len(sets),
    ]
    for run, scores in found.items():
        cells = [" ".join(f"{scores[name][prompt]:.3f}" for prompt in PROMPTS) for name in sets]
        lines.append(f"| {run} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
