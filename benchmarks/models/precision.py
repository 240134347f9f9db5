"""What precision="int8" costs in masks on annotated photos: `python -m benchmarks.models.precision DATA`.

DATA holds SPLIT/SET.json and SPLIT/SET/FILE as `evsam.training` reads them. Every object's true box is the prompt.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import evsam
from benchmarks import harness
from benchmarks.models import report
from evsam.cli.arguments import whole
from evsam.datasets.annotated import list_sets, read_set


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = int((a | b).sum())
    return 1.0 if union == 0 else int((a & b).sum()) / union


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nano", help="variant or weights file")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sets", nargs="+", help="names of the sets, all by default")
    parser.add_argument("--photos", type=whole(1), help="of each set, all by default")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    exact = evsam.load(chosen.model, engine="native")
    rounded = evsam.load(chosen.model, engine="native", precision="int8")
    rows = [["set", "photos", "objects", "fp32 mIoU", "int8 mIoU", "difference", "IoU of both", "lowest cosine"]]
    lines = []
    for name in chosen.sets or list_sets(chosen.data, chosen.split):
        scores: list[tuple[float, float, float]] = []
        cosines = []
        photos = read_set(chosen.data, chosen.split, name)[: chosen.photos]
        for photo in photos:
            image = photo.pixels()
            a, b = exact.encode(image), rounded.encode(image)
            cosines.append(cosine(a.features, b.features))
            for annotation in photo.annotations:
                x, y, width, height = annotation.box
                box = (x, y, x + max(width, 1), y + max(height, 1))
                true = annotation.decode().astype(bool)
                one, other = (sam.predict(e, box=box).masks[0, 0] for sam, e in ((exact, a), (rounded, b)))
                scores.append((iou(one, true), iou(other, true), iou(one, other)))
        fp32, int8, both = np.mean(scores, axis=0)
        rows.append(
            [
                name,
                *(str(len(items)) for items in (photos, scores)),
                f"{fp32:.4f}",
                f"{int8:.4f}",
                f"{int8 - fp32:+.4f}",
                f"{both:.4f}",
                f"{min(cosines):.5f}",
            ]
        )
        case = {"op": "precision", "model": Path(chosen.model).name, "split": chosen.split, "set": name}
        found = {"photos": len(photos), "objects": len(scores), "fp32_miou": float(fp32), "int8_miou": float(int8)}
        lines.append({**case, **found, "mutual_iou": float(both), "lowest_cosine": min(cosines)})
    print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("precision"), lines, ["model", "split", "set"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
