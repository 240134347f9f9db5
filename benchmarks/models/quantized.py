"""What 8 bits in exported models cost in masks, on the CPU: `python -m benchmarks.models.quantized DATA`.

The models are those that `evsam export --precision int8` (fp8) writes, run by onnxruntime, which rounds at every Q/DQ
node and computes on float16 and float32 in between. Masks are compared with those of float32 for the same prompts.
nano finds scales and layers on photos of DATA's training part (DATA holds SPLIT/SET.json and SPLIT/SET/FILE as
`evsam.training` reads them), and once more on generated images; the table is of photos of the validation part. The
others have seeded weights, find scales and layers on photos of scikit-image, and are compared on other ones.

`--rules` compares the rules for scales instead, with all layers in 8 bits whatever they cost, on further photos of the
training part: what it says is what was chosen by.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.models import report
from benchmarks.models.inputs import CALIBRATION_PHOTOS, photo
from benchmarks.models.narrow import PHOTOS, Prompt, annotated_photos, answers, plain_photos
from benchmarks.models.precision import cosine, iou
from evsam.cli.arguments import whole
from evsam.datasets.annotated import list_sets
from evsam.engines.onnxruntime import OnnxRuntimeEngine, create
from evsam.export.onnx import Models, build_models
from evsam.export.options import QUANTIZED
from evsam.export.quantization import FORMATS, Rule
from evsam.export.sensitivity import Limits
from evsam.sam import Sam
from evsam.transforms import image_to_pixels
from evsam.weights import Weights
from tests.export.networks import weights_of

Examples = list[tuple[NDArray[np.uint8], list[Prompt]]]

NO_LIMITS = Limits(cosine=0, iou=0)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="annotated photos for nano; it is left out without them")
    parser.add_argument("--variants", nargs="+", default=["nano", "l0"])
    parser.add_argument("--precisions", nargs="+", default=list(QUANTIZED), choices=QUANTIZED)
    parser.add_argument("--photos", type=whole(1), default=8, help="of each set for the table (default: 8)")
    parser.add_argument("--calibration", type=whole(1), default=4, help="of each set for scales (default: 4)")
    parser.add_argument("--rules", action="store_true", help="compare the rules for scales")
    parser.add_argument("--threads", type=whole(1))
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    header = ["variant", "precision", "scales from", "rule", "8 bits of encoder", "decoder", "lowest cosine"]
    rows = [[*header, "mean IoU", "of boxes", "of clicks", "lowest IoU"]]
    lines = []
    for name in chosen.variants:
        if name == "nano" and chosen.data is None:
            continue
        for line in compare(name, chosen):
            lines.append(line)
            rows.append(line_cells(line))
            print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    print(report.grid(rows))
    if chosen.save:
        harness.save(
            harness.result_path("quantized"), lines, ["variant", "precision", "calibration", "rule", "limits", "part"]
        )
    return 0


def compare(name: str, chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line for each model of a variant."""
    weights = weights_of(name)
    side = weights.variant.image_size
    if name == "nano":
        kind = "photos of the training part"
        sets = list_sets(chosen.data, "val")  # which the training part has too
        found = [image for image, _ in annotated_photos(chosen.data, chosen.calibration, "train", sets=sets)]
        part, first = ("train", chosen.calibration) if chosen.rules else ("val", 0)
        examples = list(annotated_photos(chosen.data, chosen.photos, part, first, sets))
    else:
        kind, part = "other photos", "scikit-image"
        found = [photo(each) for each in CALIBRATION_PHOTOS if each not in PHOTOS]
        examples = list(plain_photos())
    pixels = [image_to_pixels(image, side) for image in found]
    exact = Sam(weights.variant, create(weights, chosen.threads, None), "")
    truth = [answers(exact, image, prompts) for image, prompts in examples]
    case = {"op": "quantized", "variant": name, "part": part, "photos": len(examples)}

    def line(models: Models, kind: str, limits: Limits | None) -> dict[str, Any]:
        found = models.layers
        shares = {f"{part}_share": found.share(part) if found else 0.0 for part in ("encoder", "decoder")}
        kept = None if limits is None else {"cosine": limits.cosine, "iou": limits.iou}
        return {
            **case,
            "precision": models.options.precision,
            "calibration": kind,
            "rule": found.rule if found else None,
            "limits": kept,
            **shares,
            **_scores(weights, models, examples, truth, chosen.threads),
        }

    yield line(build_models(weights, "fp16", calibration=pixels, threads=chosen.threads), kind, None)
    for precision in chosen.precisions:
        if chosen.rules:
            for rule in get_args(Rule):
                yield line(build(weights, precision, pixels, chosen.threads, NO_LIMITS, rule), kind, NO_LIMITS)
            continue
        yield line(build(weights, precision, pixels, chosen.threads), kind, Limits())
        if name == "nano":
            yield line(build(weights, precision, None, chosen.threads), "generated images", Limits())


def build(
    weights: Weights,
    precision: str,
    pixels: Sequence[NDArray[np.float32]] | None,
    threads: int | None,
    limits: Limits | None = None,
    rule: Rule | None = None,
) -> Models:
    """A model; what its report says goes to stderr."""
    made = build_models(weights, precision, calibration=pixels, threads=threads, limits=limits, rule=rule)
    assert made.layers is not None
    assert made.layers.rule == (rule or FORMATS[precision].rule)
    print(made.layers.as_text(), file=sys.stderr, flush=True)
    return made


def _scores(
    weights: Weights, models: Models, examples: Examples, truth: list[Any], threads: int | None
) -> dict[str, Any]:
    engine = OnnxRuntimeEngine(models.encoder.SerializeToString(), models.decoder.SerializeToString(), threads)
    sam = Sam(weights.variant, engine, "")
    cosines: list[float] = []
    overlaps: dict[str, list[float]] = {"box": [], "points": []}
    for (image, prompts), (features, masks) in zip(examples, truth, strict=True):
        found_features, found_masks = answers(sam, image, prompts)
        cosines.append(cosine(found_features, features))
        for prompt, a, b in zip(prompts, found_masks, masks, strict=True):
            overlaps[next(iter(prompt))].append(iou(a, b))
    both = overlaps["box"] + overlaps["points"]
    return {
        "lowest_cosine": min(cosines),
        "mean_iou": float(np.mean(both)),
        "boxes_iou": float(np.mean(overlaps["box"])),
        "clicks_iou": float(np.mean(overlaps["points"])),
        "lowest_iou": min(both),
        "prompts": len(both),
    }


def line_cells(line: dict[str, Any]) -> list[str]:
    return [
        *(str(line[key] or "") for key in ("variant", "precision", "calibration", "rule")),
        *(f"{line[f'{part}_share']:.0%}" for part in ("encoder", "decoder")),
        f"{line['lowest_cosine']:.5f}",
        *(f"{line[key]:.4f}" for key in ("mean_iou", "boxes_iou", "clicks_iou", "lowest_iou")),
    ]


if __name__ == "__main__":
    sys.exit(main())
