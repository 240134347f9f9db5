"""What narrow numbers cost in masks on annotated photos: `python -m benchmarks.models.precision DATA`.

DATA holds SPLIT/SET.json and SPLIT/SET/FILE as `evsam.training` reads them. Every object's true box is the prompt. Each
extension that multiplies narrow numbers and that this machine can run (or those of `--products`) computes in a process
of its own, with EVSAM_NARROW.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import evsam
from benchmarks import harness
from benchmarks.models import report
from evsam import _C
from evsam.cli.arguments import whole
from evsam.datasets.annotated import list_sets, read_set
from evsam.sam import Precision

FP32: Precision = "fp32"


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = int((a | b).sum())
    return 1.0 if union == 0 else int((a & b).sum()) / union


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


@dataclass(frozen=True)
class Answer:
    """Of one photo: its embedding, and the masks of its objects' boxes, (N, H, W), eight pixels a byte."""

    features: NDArray[np.float32]
    masks: NDArray[np.uint8]


@cache
def loaded(model: str, precision: Precision) -> evsam.Sam:
    return evsam.load(model, engine="native", precision=precision)


def answer(model: str, precision: Precision, image: NDArray[np.uint8], boxes: Sequence[tuple[float, ...]]) -> Answer:
    sam = loaded(model, precision)
    embedding = sam.encode(image)
    masks = np.concatenate([sam.predict(embedding, box=box).masks[:, 0] for box in boxes])
    return Answer(embedding.features, np.packbits(masks, axis=-1))


def only(extension: str) -> None:
    """In a new process: no other extension multiplies narrow numbers."""
    os.environ["EVSAM_NARROW"] = extension


def answers(
    model: str, product: _C.NarrowExtension, photos: Sequence[tuple[NDArray[np.uint8], Sequence[tuple[float, ...]]]]
) -> Iterator[Answer]:
    """Those of a process in which only one extension multiplies narrow numbers."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=only, initargs=(product["name"],)) as pool:
        found = [pool.submit(answer, model, product["precision"], *photo) for photo in photos]  # type: ignore[arg-type]
        for each in found:
            yield each.result()


def box_of(box: Iterable[float]) -> tuple[float, ...]:
    x, y, width, height = box
    return (x, y, x + max(width, 1), y + max(height, 1))


def main(arguments: list[str] | None = None) -> int:
    here = {row["name"]: row for row in _C.narrow_extensions() if row["supported"]}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nano", help="variant or weights file")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sets", nargs="+", help="names of the sets, all by default")
    parser.add_argument("--photos", type=whole(1), help="of each set, all by default")
    products = [name for name in here if not name.startswith("scalar")]
    parser.add_argument(
        "--products", nargs="+", default=products, choices=list(here), help="extensions, all but scalar by default"
    )
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    header = ["set", "photos", "objects", "products", "fp32 mIoU", "narrow mIoU", "difference", "IoU of both"]
    rows = [[*header, "lowest cosine"]]
    lines = []
    for name in chosen.sets or list_sets(chosen.data, chosen.split):
        photos = []
        truth = []
        for photo in read_set(chosen.data, chosen.split, name)[: chosen.photos]:
            photos.append((photo.pixels(), [box_of(each.box) for each in photo.annotations]))
            truth.append([each.decode().astype(bool) for each in photo.annotations])
        exact = [answer(chosen.model, FP32, *photo) for photo in photos]
        for product in chosen.products:
            scores: list[tuple[float, float, float]] = []
            cosines = []
            for one, other, masks in zip(exact, answers(chosen.model, here[product], photos), truth, strict=True):
                cosines.append(cosine(one.features, other.features))
                width = masks[0].shape[1]
                both = (np.unpackbits(each.masks, axis=-1, count=width).astype(bool) for each in (one, other))
                scores += [(iou(a, true), iou(b, true), iou(a, b)) for true, a, b in zip(masks, *both, strict=True)]
            fp32, narrow, mutual = (float(mean) for mean in np.mean(scores, axis=0))
            rows.append(
                [
                    name,
                    *(str(len(items)) for items in (photos, scores)),
                    product,
                    f"{fp32:.4f}",
                    f"{narrow:.4f}",
                    f"{narrow - fp32:+.4f}",
                    f"{mutual:.4f}",
                    f"{min(cosines):.5f}",
                ]
            )
            print(" ".join(rows[-1]), file=sys.stderr, flush=True)
            case = {"op": "precision", "model": Path(chosen.model).name, "split": chosen.split, "set": name}
            lines.append(
                {
                    **case,
                    "products": product,
                    "precision": here[product]["precision"],
                    "photos": len(photos),
                    "objects": len(scores),
                    "fp32_miou": fp32,
                    "narrow_miou": narrow,
                    "mutual_iou": mutual,
                    "lowest_cosine": min(cosines),
                }
            )
    print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("precision"), lines, ["model", "split", "set", "products"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
