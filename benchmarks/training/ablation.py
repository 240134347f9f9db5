"""What each part of the evsam recipe is worth on nano: ``python -m benchmarks.training.ablation DATA``.

Trains nano once with the whole recipe and once more with each of its parts changed, with the same photos, steps and
starting weights, all of them with each of some seeds, and scores them. Differences that are not larger than those
between two seeds of one recipe say nothing. Runs that are there already go on, or are only scored; each takes as long
as ``--dry-run`` says of the configuration, several at a time on as many cores.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any

import torch
import yaml
from pydantic import TypeAdapter

from benchmarks import harness
from benchmarks.training.comparison import score, train
from evsam.cli.arguments import number, whole
from evsam.training.finetune import Recipe, RecipeChoice
from evsam.training.model import load_model

WHOLE, TENTH = "whole recipe", "learning rate falls to a tenth only"


@dataclass(frozen=True)
class Case:
    """A run: what it changes in the recipe, and in the rest of the configuration."""

    recipe: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()


CASES: Mapping[str, Case] = MappingProxyType(
    {
        WHOLE: Case(),
        "no IoU head": Case({"iou": 0, "choice": 0}),
        "no choice loss": Case({"choice": 0}),
        "no background clicks": Case({"prompts": {"negative": 0}}),
        "later clicks anywhere in the object": Case({"click_on_error": False}),
        "no later clicks": Case({"rounds": [1]}),
        "no mask prompt": Case({"mask_prompt": False}),
        "exact boxes": Case({"prompts": {"jitter": 0}}),
        "boxes jittered by up to 20 pixels": Case({"prompts": {"jitter_limit": 20}}),
        "boxes jittered without limit": Case({"prompts": {"jitter_limit": None}}),
        "no weight on borders": Case({"boundary": 0}),
        "no weight on borders, boxes jittered without limit": Case({"boundary": 0, "prompts": {"jitter_limit": None}}),
        "no resemblance loss": Case({"resemblance": 0}),
        "dice once": Case({"dice": 1}),
        "dice four times": Case({"dice": 4}),
        "paper's loss (focal 20 : 1 dice)": Case({"mask_loss": "focal"}),
        "paper's recipe": Case({"base": "paper"}),
        "authors' code": Case({"base": "authors-code"}),
        # slow on CPUs without instructions for it
        "bfloat16": Case(overrides=("system.precision=bfloat16",)),
        # as nano-crops has it, since nano-frames goes on from there
        TENTH: Case(overrides=("optim.final=0.1",)),
    }
)
"""By the name in the table. What a recipe has so already is no case of it."""

NO_AVERAGE: Mapping[str, str] = MappingProxyType(
    {WHOLE: "no average of weights", TENTH: f"{TENTH}, no average of weights"}
)
"""Names under which a run is scored again with its last weights: to average them changes nothing in training."""


def changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as configurations have it, ``base`` and what differs from it, with some values changed."""
    if "base" in changes:
        return dict(changes)
    prompts = {**base.get("prompts", {}), **changes.get("prompts", {})}
    return {**base, **changes, **({"prompts": prompts} if prompts else {})}


def cases_of(base: Mapping[str, Any]) -> dict[str, Case]:
    """The cases that differ from the whole recipe, and it."""
    recipe: TypeAdapter[Recipe] = TypeAdapter(RecipeChoice)
    whole = recipe.validate_python(dict(base))
    return {
        name: case
        for name, case in CASES.items()
        if name == WHOLE or case.overrides or recipe.validate_python(changed(base, case.recipe)) != whole
    }


def slug(text: str) -> str:
    """A text as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="annotated photos, see training/README.md")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--recipe", type=yaml.safe_load, default={"base": "evsam"}, help="the whole recipe, as YAML")
    parser.add_argument("--start", default="imagenet", help="starting weights of all runs")
    parser.add_argument("--steps", type=whole(1), default=600)
    parser.add_argument("--lr", type=number(0, 1e9), default=1e-3)
    parser.add_argument("--seeds", nargs="+", type=whole(0), default=[0, 1])
    parser.add_argument("--jobs", type=whole(1), default=2, help="runs at a time, of one thread each")
    parser.add_argument("--only", nargs="+", metavar="RUN", help="by their names in the table, in this order")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    base = {"base": options.recipe} if isinstance(options.recipe, str) else dict(options.recipe)
    cases = cases_of(base)
    if unknown := set(options.only or ()) - set(cases):
        parser.error(f"--only: expected some of {', '.join(cases)}, got {', '.join(unknown)}")
    torch.set_num_threads(1)
    shared = [f"optim.steps={options.steps}", f"optim.lr={options.lr}", "optim.final=0.01", f"start={options.start}"]
    shared += [f"optim.warmup={options.steps // 12}", "optim.ema=0.998"]
    shared += [f"train.{number}.path={options.data}" for number in range(5)] + ["validation={}"]
    common = {"recipe": json.dumps(base), "steps": options.steps, "lr": options.lr, "start": options.start}
    path, saving = harness.result_path("ablation"), Lock()

    def measure(job: tuple[str, int]) -> None:
        name, seed = job
        recipe = json.dumps(changed(base, cases[name].recipe))
        folder = options.runs / slug(" ".join(map(str, common.values()))) / slug(f"{name} seed {seed}")
        train("finetune", "nano-crops", folder, [*shared, f"recipe={recipe}", *cases[name].overrides, f"seed={seed}"])
        for run in (name, NO_AVERAGE[name]) if name in NO_AVERAGE else (name,):
            scores = score(load_model(folder, averaged=run == name), options.data)
            print(run, seed, scores, flush=True)
            if options.save:
                lines = [{"run": run, "seed": seed, **common, "set": of, **scores[of]} for of in scores]
                with saving:
                    harness.save(path, lines, ["run", "seed", *common, "set"])

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(measure, [(name, seed) for name in options.only or cases for seed in options.seeds]))


if __name__ == "__main__":
    main()
