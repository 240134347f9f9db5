"""Score a model on annotated photos: ``python -m evsam.training.evaluate MODEL DATA --out scores.json``.

MODEL is a weights file, a variant name, or the folder of a run (its averaged weights). DATA is a data directory; with
``--kind``, photos of any kind that training reads, for instance ``evaluate l0 coco/val2017 --kind coco --annotations
coco/annotations/instances_val2017.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import torch
from tqdm import tqdm

from evsam.cli.arguments import whole
from evsam.data.annotated import list_sets, read_set
from evsam.data.records import BrokenSample, DataError, Photo, PhotoSource
from evsam.errors import EvsamError
from evsam.nn import EfficientViTSam
from evsam.training.callbacks import finite
from evsam.training.config import SourceConfig
from evsam.training.data.sources import open_source
from evsam.training.model import load_model
from evsam.training.validation import readable, validate
from evsam.writing import replaced

Table = dict[str, dict[str, float]]


def evaluate(model: EfficientViTSam, sets: Mapping[str, Sequence[Photo]], clicks: int = 1) -> dict[str, Table]:
    """Scores by set, prompt and size of object, with those of a blank photo (prefix ``blank_``) for comparison.

    Args:
        model: in eval mode.
        sets: photos with their masks by name of the set.
        clicks: clicks to simulate; 0 for boxes only.

    Raises:
        DataError: a set has no photo with a mask that can be read.
    """
    result: dict[str, Table] = {}
    for name, photos in sets.items():
        with tqdm(total=len(photos), desc=name, unit="photo") as bar:
            table = validate(model, photos, clicks=clicks, progress=lambda done, _: bar.update(done - bar.n)).summary()
        if not table:
            raise DataError(f"set {name}: expected photos with masks, got {_unusable(photos)}")
        blank = validate(model, photos, clicks=min(clicks, 1), blank=True).summary()
        table.update({f"blank_{prompt}": blank[prompt] for prompt in ("box", "click1") if prompt in blank})
        result[name] = table
    return result


def _unusable(photos: Sequence[Photo]) -> str:
    """What is the matter with photos none of which could be scored."""
    if not photos:
        return "none whose annotations match it and can be read"
    try:
        photos[0].pixels()
    except BrokenSample as error:
        return f"{len(photos)} that cannot be used; the first: {error}"
    return f"{len(photos)} whose masks are empty or cannot be decoded; the first: {photos[0].key}"


def as_markdown(result: dict[str, Table]) -> str:
    """One table row for each set and prompt."""
    lines = ["| set | prompt | all | small | medium | large |", "|---|---|---|---|---|---|"]
    for name, table in result.items():
        for prompt, scores in table.items():
            cells = [f"{scores[size]:.3f}" if size in scores else "" for size in ("all", "small", "medium", "large")]
            lines.append(f"| {name} | {prompt} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of ``python -m evsam.training.evaluate``; returns the exit status."""
    parser = argparse.ArgumentParser(description="Score a model on annotated photos.")
    parser.add_argument("model", help="weights file, variant name or folder of a run")
    parser.add_argument("data", type=Path, help="directory with SPLIT/SET.json and SPLIT/SET/FILE; see also --kind")
    kinds = get_args(SourceConfig.model_fields["kind"].annotation)
    parser.add_argument("--kind", choices=kinds, default="annotated", help="what DATA is (default: annotated)")
    parser.add_argument("--annotations", type=Path, help="json file, of the kinds coco and lvis")
    parser.add_argument("--split", default="val", help="of the kind annotated (default: val)")
    parser.add_argument("--sets", nargs="+", help="names of the sets, of the kind annotated; all by default")
    parser.add_argument("--every-nth", type=whole(1), default=1, help="only each n-th photo (default: 1)")
    parser.add_argument("--clicks", type=whole(0), default=5, help="clicks to simulate, 0 for boxes only (default: 5)")
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument("--threads", type=whole(1), default=2)
    parser.add_argument("--out", type=Path, help="also write the scores as json, null for NaN")
    options = parser.parse_args(arguments)
    if options.kind in ("coco", "lvis") and options.annotations is None:
        parser.error(f"--kind {options.kind} needs --annotations")
    torch.set_num_threads(options.threads)
    try:
        sets = {
            name: readable(photos, range(0, len(photos), options.every_nth)) for name, photos in _sets(options).items()
        }
        result = evaluate(load_model(options.model, options.device), sets, options.clicks)
    except EvsamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(as_markdown(result))
    if options.out:
        with replaced(options.out) as temporary:
            temporary.write_text(json.dumps(finite(result), indent=1, allow_nan=False) + "\n")
    return 0


def _sets(options: argparse.Namespace) -> dict[str, PhotoSource]:
    if options.kind == "annotated":
        names = options.sets or list_sets(options.data, options.split)
        if not names:
            raise DataError(f"data {options.data}: no sets of split {options.split}")
        return {name: read_set(options.data, options.split, name) for name in names}
    source = SourceConfig(kind=options.kind, path=options.data, annotations=options.annotations)
    return {source.name: open_source(source)}


if __name__ == "__main__":
    sys.exit(main())
