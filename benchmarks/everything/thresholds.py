"""Thresholds of everything mode for a model: `python -m benchmarks.everything.thresholds --data DIR`.

On the half of each set that is for choosing. Every mask of the 32 x 32 points that passes the lowest thresholds is kept
once; then each pair of thresholds filters them, and doubles are dropped as the generator does. A pair is judged by

- recall: the mean over true masks of the share of the IoU limits 0.50, 0.55 ... 0.95 that its best mask reaches;
- precision: the mean over the masks, of the share that it reaches with its best true mask;

and by their harmonic mean F, averaged over the sets. Photos have more in them than is annotated, of COCO above all:
precision is to be compared, not to be taken for the share of good masks.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import nms

import evsam
from benchmarks.everything.halves import add_arguments, photos
from benchmarks.everything.records import mask_ious
from evsam.cli.arguments import whole

IOU = tuple(round(0.45 + 0.05 * i, 2) for i in range(9))
STABILITY = tuple(round(0.6 + 0.05 * i, 2) for i in range(8))

LIMITS = np.arange(10) * 0.05 + 0.5

BOX_NMS = 0.7
"""The generator's default."""


@dataclass(frozen=True)
class Candidates:
    """The masks of one photo that pass the lowest thresholds.

    Attributes:
        boxes: float32 (N, 4).
        scores: float64 (N, 2): predicted IoU and stability.
        ious: float64 (N, T): with the true masks.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float64]
    ious: NDArray[np.float64]

    def kept(self, iou: float, stability: float) -> NDArray[np.int64]:
        """Rows of the masks that pass these thresholds and are no doubles."""
        rows = np.flatnonzero((self.scores[:, 0] > iou) & (self.scores[:, 1] >= stability))
        boxes, scores = (torch.from_numpy(x[rows]) for x in (self.boxes, self.scores))
        best: NDArray[np.int64] = rows[nms(boxes, scores[:, 0].float(), BOX_NMS).numpy()]
        return best


def candidates(sam: Any, photo: Any, points_per_side: int, offset: float) -> Candidates:
    """Of one photo; boxes as segment_anything's, which end on the last pixels."""
    segments = sam.segment_everything(
        photo.pixels(),
        mode="exact",
        points_per_side=points_per_side,
        pred_iou_thresh=IOU[0],
        stability_score_thresh=STABILITY[0],
        stability_score_offset=offset,
        box_nms_thresh=1.0,
    )
    true = [annotation.rle for annotation in photo.annotations]
    return Candidates(
        segments.boxes.astype(np.float32) - np.array([0, 0, 1, 1], np.float32),
        np.stack([segments.predicted_iou, segments.stability_score], 1),
        mask_ious([segment.rle for segment in segments], true),
    )


def reached(ious: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the limits that each IoU reaches."""
    shares: NDArray[np.float64] = (ious[:, None] >= LIMITS).mean(1)
    return shares


def judge(found: list[Candidates], iou: float, stability: float) -> dict[str, float]:
    """Masks of a photo, recall, precision and F of a set."""
    kept = [x.ious[x.kept(iou, stability)] for x in found]
    recall = float(np.concatenate([reached(x.max(0, initial=0)) for x in kept]).mean())
    each = np.concatenate([reached(x.max(1, initial=0)) for x in kept])
    precision = float(each.mean()) if len(each) else 0.0
    f = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    return {"masks": len(each) / len(found), "recall": recall, "precision": precision, "f": f}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.everything.thresholds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, ["coco", "bsds", "ccp"], "select")
    parser.add_argument("--stability-score-offset", type=float, default=1.0)
    parser.add_argument("--best", type=whole(1), default=10, help="so many pairs, the best first")
    chosen = parser.parse_args(arguments)

    sam = evsam.load(chosen.model, threads=chosen.threads)
    found: dict[str, list[Candidates]] = {}
    for name in chosen.set:
        found[name] = []
        for number, photo in enumerate(photos(chosen.data, chosen.split, name, chosen.half, chosen.photos), 1):
            found[name].append(candidates(sam, photo, chosen.points_per_side, chosen.stability_score_offset))
            print(f"\r{name} {number}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    judged = [
        (iou, stability, {name: judge(each, iou, stability) for name, each in found.items()})
        for iou, stability in product(IOU, STABILITY)
    ]
    judged.sort(key=lambda row: -sum(x["f"] for x in row[2].values()))
    photo_counts = ", ".join(f"{name} {len(each)}" for name, each in found.items())
    print(f"photos: {photo_counts}; of each set: masks of a photo, recall, precision")
    print("| predicted IoU | stability | mean F | " + " | ".join(found) + " |\n" + "|---" * (3 + len(found)) + "|")
    for iou, stability, sets in judged[: chosen.best]:
        mean = sum(x["f"] for x in sets.values()) / len(sets)
        cells = [f"{x['masks']:.0f}, {x['recall']:.3f}, {x['precision']:.3f}" for x in sets.values()]
        print(f"| {iou:.2f} | {stability:.2f} | {mean:.4f} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
