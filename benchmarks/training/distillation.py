"""Whether a teacher helps nano: ``python -m benchmarks.training.distillation DATA``.

Trains a teacher (nano-wide); then nano from the same ImageNet weights: on masks alone, on the teacher's embeddings
first and on masks afterwards, with the teacher's decoder but without its embeddings, and on the feature maps of an
ImageNet-trained EfficientNet-Lite2 first. Steps are chosen so that those of two phases take about as long as masks
alone; the teacher's own time is reported beside them. Runs that are there already go on, or are only scored.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks import harness
from benchmarks.training.comparison import SETS, score, table, train
from evsam.cli.arguments import whole
from evsam.training.model import load_model


def curve(folder: Path) -> list[dict[str, Any]]:
    """Scores of a run's validations, with the minutes of training before each."""
    points, minutes = [], 0.0
    for line in map(json.loads, (folder / "curves.jsonl").read_text().splitlines()):
        minutes = line.get("minutes", minutes)
        if "validation" in line:
            when = {"step": line["step"], "minutes": round(minutes, 1)}
            points += [
                {**when, "set": name, "box": of["box"], "click": of["click1"]}
                for name, of in line["validation"].items()
            ]
    return points


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="annotated photos, see training/README.md")
    parser.add_argument("--runs", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--teacher-steps", type=whole(0), default=1000)
    parser.add_argument("--plain-steps", type=whole(0), default=800, help="nano without a teacher")
    parser.add_argument("--distil-steps", type=whole(0), default=250, help="nano on the teacher's embeddings")
    parser.add_argument("--tune-steps", type=whole(0), default=500, help="and then on masks")
    parser.add_argument("--validate-every", type=whole(1), default=200)
    parser.add_argument("--recipe", default="evsam", help="of all runs on masks, as YAML")
    parser.add_argument("--processes", type=whole(1), default=2)
    parser.add_argument(
        "--only", nargs="+", metavar="RUN", help="by their names in the table; those they start from exist"
    )
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(options.processes)
    paths = [f"train.{number}.path={options.data}" for number in range(5)]
    paths += [f"validation.sources.{number}.path={options.data}" for number in range(3)]
    shared = [*paths, "optim.final=0.01", "optim.warmup=100", "optim.ema=0.998"]
    shared += [f"log.validate_every={options.validate_every}"]
    teacher, distilled, decoder, lite = (options.runs / n for n in ("teacher", "distilled", "decoder", "lite"))
    stages = {
        "teacher (nano-wide)": ("finetune", "nano-wide-crops", teacher, options.teacher_steps, []),
        "nano, masks alone": ("finetune", "nano-crops", options.runs / "plain", options.plain_steps, []),
        "nano, teacher's embeddings alone": (
            "distill",
            "nano-distill",
            distilled,
            options.distil_steps,
            [f"teacher.weights={teacher}"],
        ),
        "nano, teacher's embeddings, then masks": (
            "finetune",
            "nano-crops",
            options.runs / "tuned",
            options.tune_steps,
            [f"start={distilled}"],
        ),
        "nano, teacher's decoder alone": (
            "distill",
            "nano-distill",
            decoder,
            1,
            [f"teacher.weights={teacher}", "optim.lr=1e-9"],
        ),
        "nano, teacher's decoder, then masks": (
            "finetune",
            "nano-crops",
            options.runs / "tuned-decoder",
            options.tune_steps,
            [f"start={decoder}"],
        ),
        "nano, Lite2's features alone": (
            "distill",
            "nano-distill",
            lite,
            options.distil_steps,
            ["teacher={kind: lite}", "decoder=false"],
        ),
        "nano, Lite2's features, then masks": (
            "finetune",
            "nano-crops",
            options.runs / "tuned-lite",
            options.tune_steps,
            [f"start={lite}"],
        ),
    }
    if unknown := set(options.only or ()) - set(stages):
        parser.error(f"--only: expected some of {', '.join(stages)}, got {', '.join(unknown)}")
    found = {}
    for name in options.only or stages:
        command, config, folder, steps, own = stages[name]
        recipe = [f"recipe={options.recipe}"] if command == "finetune" else []
        train(command, config, folder, [*shared, *recipe, f"optim.steps={steps}", *own], options.processes)
        found[name] = score(load_model(folder), options.data)
        points = curve(folder)
        print(name, json.dumps(points), flush=True)
        lines = [{"run": name, "kind": "curve", **point} for point in points]
        last = {key: points[-1][key] for key in ("step", "minutes")}
        lines += [{"run": name, "kind": "final", **last, "set": of, **scores} for of, scores in found[name].items()]
        if options.save:
            harness.save(harness.result_path("distillation"), lines, ["run", "kind", "step", "set"])
    print(table(found, SETS))


if __name__ == "__main__":
    main()
