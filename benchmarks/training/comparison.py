"""What comparisons of training runs share: starting the runs, and short scores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from evsam.boxes import bounding_box
from evsam.data.annotated import read_set
from evsam.evaluation.clicks import middle
from evsam.nn import EfficientViTSam
from evsam.training.validation import (
    BoolMask,
    Frame,
    Objects,
    full_size,
    objects_in_frames,
    predict_boxes,
    score_prompts,
    to_frame,
)
from evsam.training.validation import Scores as Values

SETS = ("coco", "ccp", "bsds")
PROMPTS = ("box", "loose_box", "box_border", "click1", "click1_best", "two_clicks", "click3", "click5")
"""Those of :func:`evsam.training.validation.validate`, and those of :func:`score_parts`."""

EVERY_NTH, MASKS = 3, 4
"""A third of the validation photos and at most four masks of each: a few hundred masks per set."""

LOOSENESS = 0.1
"""Sides of a loose box lie anywhere within this part of its width or height around the true ones."""

BORDER_REACH = 0.02
"""How far from its border a mask counts in the Boundary IoU, in diagonals of the photo (arXiv 2103.16562)."""

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


@torch.no_grad()
def score(model: EfficientViTSam, data: Path, sets: Sequence[str] = SETS) -> Scores:
    """Scores, 0 to 1, by set and prompt."""
    found: Scores = {}
    for name in sets:
        photos = read_set(data, "val", name)
        chosen = [photos[number] for number in range(0, len(photos), EVERY_NTH)]
        values = Values()
        for frame, objects in objects_in_frames(model, chosen, masks_per_photo=MASKS):
            score_prompts(model, frame, objects, 5, values)
            score_parts(model, frame, objects, values)
        summary = values.summary()
        found[name] = {prompt: round(summary[prompt]["all"], 4) for prompt in PROMPTS}
    return found


def score_parts(model: EfficientViTSam, frame: Frame, objects: Objects, values: Values) -> None:
    """Add what some parts of evsam's recipe are for.

    ``loose_box`` is the IoU with a box that is not quite right (jittered boxes), ``box_border`` the Boundary IoU with
    the true box (weight on borders), ``two_clicks`` the IoU with a click in the middle of the object and one on the
    background, in one prompt (background clicks).
    """
    boxes = np.array([bounding_box(mask) for mask in objects.masks], np.float32)
    loose = np.stack([loosened(box) for box in boxes]).clip(0, [*frame.original[::-1]] * 2)
    values.add("loose_box", objects.iou(masks(predict_boxes(model, frame, loose)[0], frame))[:, 0].tolist())
    answers = masks(predict_boxes(model, frame, boxes)[0], frame)[:, 0].numpy()
    counted = objects.counted[:, 0].numpy()
    values.add("box_border", map(boundary_iou, objects.masks, answers, counted))
    points = np.array([[middle(mask), background_click(mask)] for mask in objects.masks], np.float32)
    # without a box SAM adds a padding point
    placed = torch.nn.functional.pad(to_frame(points, frame), (0, 0, 0, 1))
    labels = torch.tensor([[1, 0, -1]]).expand(len(points), 3)
    values.add("two_clicks", objects.iou(masks(model.decode(frame.features, placed, labels)[0], frame))[:, 0].tolist())


def masks(logits: torch.Tensor, frame: Frame) -> torch.Tensor:
    """The single mask of each prompt at the photo's size, bool (N, 1, H, W)."""
    inside: torch.Tensor = full_size(logits[:, :1], frame) > 0
    return inside


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
    click: tuple[float, float] = middle(background if background.any() else ~mask)
    return click


def boundary_iou(true: BoolMask, answer: BoolMask, counted: BoolMask) -> float:
    """IoU of two masks (H, W) of which only the pixels near their own borders count, of those that count at all."""
    reach = max(1, round(BORDER_REACH * float(np.hypot(*true.shape))))
    a, b = (rim(mask, reach) & counted for mask in (true, answer))
    return float((a & b).sum() / max(1, (a | b).sum()))


def rim(mask: BoolMask, reach: int) -> BoolMask:
    """Pixels of a mask that ``reach`` erosions by a 3 x 3 square take away; the photo's edge is a border too."""
    depth = ndimage.distance_transform_cdt(np.pad(mask, 1), metric="chessboard")[1:-1, 1:-1]
    outer: BoolMask = mask & (depth <= reach)
    return outer


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
