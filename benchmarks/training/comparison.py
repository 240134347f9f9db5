"""What comparisons of training runs share: starting the runs, and short scores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam.boxes import bounding_box
from evsam.datasets.annotated import read_set
from evsam.evaluation.clicks import middle
from evsam.evaluation.metrics import iou
from evsam.evaluation.protocols import Answers, Boxes, Row, Tables, identify, in_order, mean_table, parts
from evsam.nn import EfficientViTSam
from evsam.training.validation import protocols, readable, scored, summary

BoolMask = npt.NDArray[np.bool_]

SETS = ("coco", "ccp", "bsds")
PROMPTS = ("box", "loose_box", "box_border", "click1", "click1_best", "two_clicks", "click3", "click5")
"""Those of :func:`evsam.training.validation.summary`, and of what some parts of evsam's recipe are for: IoU with a box
that is not quite right (jittered boxes), Boundary IoU with the true box (weight on borders), and IoU with a click in
the middle of the object and one on the background, in one prompt (background clicks)."""

EVERY_NTH, MASKS, CLICKS = 3, 4, 5
"""A third of the validation photos and at most four masks of each: a few hundred masks per set."""

LOOSENESS = 0.1
"""Sides of a loose box lie anywhere within this part of its width or height around the true ones."""

Scores = dict[str, dict[str, float]]


def train(command: str, config: str, folder: Path, overrides: Sequence[str], processes: int = 1) -> None:
    """Train, or go on with, one run, on processes of one thread each; what it prints goes into its folder.

    Args:
        command: ``finetune`` or ``distill``.
        config: file, or name of a configuration that ships with evsam.
        folder: of the run.
        overrides: ``key=value`` each.
        processes: how many.

    Raises:
        subprocess.CalledProcessError: it failed; see ``output.txt`` in the folder.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    changes = [part for override in overrides for part in ("--set", override)]
    arguments = [*launcher, "-m", f"evsam.training.{command}", config, "--out", str(folder), *changes]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a") as output:
        subprocess.run(
            [sys.executable, *arguments],
            check=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def score(model: EfficientViTSam, data: Path, sets: Sequence[str] = SETS) -> Scores:
    """Scores, 0 to 1, by set and prompt."""
    found: Scores = {}
    more = (
        LooseBoxes("loose"),
        Boxes("borders", multimask=False, source="mask", measures=("boundary_iou",)),
        TwoClicks(),
    )
    for name in sets:
        source = read_set(data, "val", name)
        chosen = readable(source, range(0, len(source), EVERY_NTH))
        rows = scored(model, chosen, (*protocols(CLICKS), *more), masks_per_photo=MASKS)
        values = {prompt: of_size["all"] for prompt, of_size in summary(rows, CLICKS).items()}
        loose, borders, two = (one.summary(rows[one.name])["mean"] for one in more)
        values["loose_box"] = loose["IoU"]["all"] or 0.0
        values["box_border"] = borders["Boundary IoU"]["all"] or 0.0
        values["two_clicks"] = two["IoU"]["all"] or 0.0
        found[name] = {prompt: round(values[prompt], 4) for prompt in PROMPTS}
    return found


@dataclass(frozen=True)
class LooseBoxes(Boxes):
    """Boxes that are not quite right, one mask each."""

    multimask: bool = False
    source: Any = "mask"

    def box(self, one: Any, truth: Any) -> Any:
        """Another box for an object, always the same."""
        height, width = truth.size
        loose = loosened(np.array(one.mask_box, np.float32)).clip(0, [width, height] * 2)
        return tuple(loose.tolist())


@dataclass(frozen=True)
class TwoClicks:
    """A click in the middle of each object and one on the background near it, one mask."""

    name: str = "two clicks"

    def rows(self, sam: Any, embedding: Any, truth: Any) -> list[Row]:
        """A row for each object, with ``iou``."""
        found: list[Row] = []
        for part in parts(len(truth.objects), truth.size):
            objects = truth.objects[part]
            points = [[middle(one.mask), background_click(one.mask)] for one in objects]
            labels = [[1, 0]] * len(points)
            result = sam.predict(embedding, points=points, labels=labels, multimask=False, masks=False)
            answers = Answers(sam, embedding, result.logits, result.scores)
            for index, one in enumerate(objects):
                found.append({**identify(one, truth), "iou": iou(answers.mask(index), one.mask, one.ignore)})
        return found

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Table ``mean``."""
        return {"mean": mean_table(in_order(rows), ("iou",), "coco")}


def loosened(box: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A box (x0, y0, x1, y1), in whole pixels, with other sides, which are always the same for the same box."""
    sides = np.tile(box[2:] - box[:2], 2)
    noise = np.random.default_rng(box.astype(np.int64)).uniform(-LOOSENESS, LOOSENESS, 4)
    loose: npt.NDArray[np.float32] = (box + noise * sides).astype(np.float32)
    return loose


def background_click(mask: BoolMask) -> tuple[float, float]:
    """The middle of the background within an object's box and a tenth of its sides, at least four pixels, around it."""
    left, top, right, bottom = bounding_box(mask)
    x, y = max(4, (right - left) // 10), max(4, (bottom - top) // 10)
    near = np.zeros_like(mask)
    near[max(0, top - y) : bottom + y, max(0, left - x) : right + x] = True
    background = near & ~mask
    return middle(background if background.any() else ~mask)


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
