"""What narrow formats cost in masks, simulated on the CPU: `python -m benchmarks.models.narrow`.

Every tensor of encoder and decoder is rounded to float16, bfloat16 or float8 (E4M3, a scale for each tensor), sums are
float32 (benchmarks.models.simulation). Masks are compared with those of the float32 network for the same box and click.
nano runs on annotated photos (DATA holds SPLIT/SET.json and SPLIT/SET/FILE as `evsam.training` reads them); the others,
whose trained weights are not here, have seeded weights and run on photos of scikit-image, as they are and "amplified",
so that activations reach a million.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.models import report
from benchmarks.models.precision import cosine, iou
from benchmarks.models.simulation import STORAGE_TYPES, simulate
from evsam.cli.arguments import whole
from evsam.datasets.annotated import list_sets, read_set
from evsam.engines.onnxruntime import create
from evsam.export.calibration import generated_calibration
from evsam.export.encoder import read_encoder
from evsam.export.ranges import fold_ranges
from evsam.sam import Sam
from evsam.weights import Weights
from evsam.zoo import VARIANTS
from tests.export.networks import amplified_weights, weights_of

PHOTOS = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg")

Prompt = dict[str, object]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="annotated photos for nano; it is left out without them")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--storage", nargs="+", default=list(STORAGE_TYPES), choices=list(STORAGE_TYPES))
    parser.add_argument("--photos", type=whole(1), default=12, help="annotated photos of each set (default: 12)")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    rows = [["variant", "weights", "ranges", "storage", "photos", "lowest cosine", "mean IoU", "lowest IoU"]]
    lines = []
    for name in chosen.variants:
        if name == "nano" and chosen.data is None:
            continue
        for kind, weights in networks(name):
            examples = list(annotated_photos(chosen.data, chosen.photos) if name == "nano" else plain_photos())
            for line in compare(kind, weights, chosen.storage, examples):
                lines.append(line)
                rows.append([str(value) for value in line_cells(line)])
                print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("narrow"), lines, ["variant", "weights", "ranges", "storage"])
    return 0


def networks(name: str) -> Iterator[tuple[str, Weights]]:
    """The weights that a variant is tried with, and what they are called."""
    yield ("trained" if name == "nano" else "seeded"), weights_of(name)
    yield "amplified", amplified_weights(name)


def annotated_photos(
    data: Path, count: int, split: str = "val", first: int = 0, sets: Sequence[str] | None = None
) -> Iterator[tuple[NDArray[np.uint8], list[Prompt]]]:
    """Photos of each set, all sets by default, with the true box of every object and a click into its middle."""
    for name in sets or list_sets(data, split):
        for photo in read_set(data, split, name)[first : first + count]:
            prompts: list[Prompt] = []
            for annotation in photo.annotations:
                x, y, width, height = annotation.box
                prompts.append({"box": (x, y, x + max(width, 1), y + max(height, 1))})
                prompts.append({"points": [(x + width / 2, y + height / 2)]})
            yield photo.pixels(), prompts


def plain_photos() -> Iterator[tuple[NDArray[np.uint8], list[Prompt]]]:
    """Photos with boxes and clicks in places that mean nothing to seeded weights."""
    from benchmarks.models.inputs import photo

    for name in PHOTOS:
        image = photo(name)
        height, width = image.shape[:2]
        boxes = [(0.1, 0.1, 0.6, 0.7), (0.4, 0.2, 0.9, 0.9), (0.0, 0.0, 1.0, 1.0)]
        prompts: list[Prompt] = [{"box": (a * width, b * height, c * width, d * height)} for a, b, c, d in boxes]
        prompts += [{"points": [(x * width, y * height)]} for x in (0.25, 0.5, 0.75) for y in (0.25, 0.75)]
        yield image, prompts


def compare(
    kind: str, weights: Weights, formats: list[str], examples: list[tuple[NDArray[np.uint8], list[Prompt]]]
) -> Iterator[dict[str, object]]:
    """A line for each format, with the ranges as they are and folded."""
    pixels = generated_calibration(weights.variant.image_size)[:4]
    folded, found = fold_ranges(read_encoder(weights), pixels)
    case = {"op": "narrow", "variant": weights.variant.name, "weights": kind, "photos": len(examples)}
    case["largest_activation"] = max(row.before for row in found.ranges if row.kind in ("stream", "hidden"))
    exact = Sam(weights.variant, create(weights, None, None), "")
    truth = [answers(exact, image, prompts) for image, prompts in examples]
    for storage in formats:
        for ranges, encoder in (("as they are", None), ("folded", folded)):
            engine = simulate(weights, storage, encoder, pixels)  # type: ignore[arg-type]
            sam = Sam(weights.variant, engine, "")
            cosines, overlaps = [], []
            for (image, prompts), (features, masks) in zip(examples, truth, strict=True):
                found_features, found_masks = answers(sam, image, prompts)
                finite = bool(np.isfinite(found_features).all())
                cosines.append(cosine(found_features, features) if finite else float("nan"))
                overlaps += [iou(a, b) for a, b in zip(found_masks, masks, strict=True)]
            yield {
                **case,
                "ranges": ranges,
                "storage": storage,
                "lowest_cosine": None if np.isnan(cosines).any() else float(np.min(cosines)),
                "mean_iou": float(np.mean(overlaps)),
                "lowest_iou": float(np.min(overlaps)),
                "prompts": len(overlaps),
            }


def answers(
    sam: Sam, image: NDArray[np.uint8], prompts: list[Prompt]
) -> tuple[NDArray[np.float32], list[NDArray[np.bool_]]]:
    """Features, and for each prompt the single mask."""
    embedding = sam.encode(image)
    masks = [sam.predict(embedding, multimask=False, **prompt).masks[0, 0] for prompt in prompts]  # type: ignore[arg-type]
    return embedding.features, masks


def line_cells(line: dict[str, object]) -> list[str]:
    return [
        *(str(line[key]) for key in ("variant", "weights", "ranges", "storage", "photos")),
        "not finite" if line["lowest_cosine"] is None else f"{line['lowest_cosine']:.6f}",
        f"{line['mean_iou']:.4f}",
        f"{line['lowest_iou']:.4f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
