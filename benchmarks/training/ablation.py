"""What each part of the evsam recipe is worth on nano: ``python -m benchmarks.training.ablation DATA``.

Trains nano once with the whole recipe and once more without each of its parts, with the same photos, seed, steps and
starting weights, and scores all of them. The whole recipe is trained with a second seed too: differences that are not
larger than the one between those two say nothing. Runs that are there already go on, or are only scored; each takes
as long as ``--dry-run`` says of the configuration, several at a time on as many cores.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from types import MappingProxyType

import torch

from benchmarks.models import report
from benchmarks.training.runs import train
from benchmarks.training.scoring import SETS, Scores, score, table
from evsam.training.loading import load_model

PARTS = MappingProxyType(
    {
        "whole recipe": "{base: evsam}",
        "no IoU head": "{base: evsam, iou: 0, choice: 0}",
        "no choice loss": "{base: evsam, choice: 0}",
        "no background clicks": "{base: evsam, prompts: {negative: 0}}",
        "later clicks anywhere in the object": "{base: evsam, click_on_error: false}",
        "no later clicks": "{base: evsam, rounds: [1]}",
        "no mask prompt": "{base: evsam, mask_prompt: false}",
        "exact boxes": "{base: evsam, prompts: {jitter: 0}}",
        "no weight on borders": "{base: evsam, boundary: 0}",
        "no resemblance loss": "{base: evsam, resemblance: 0}",
        "dice four times": "{base: evsam, dice: 4}",
        "paper's loss (focal 20 : 1 dice)": "{base: evsam, mask_loss: focal}",
        "paper's recipe": "{base: paper}",
        "authors' code": "{base: authors-code}",
    }
)
"""What is changed, by its name in the table; dice four times is what nano-frames adds."""

SYSTEM = MappingProxyType(
    {
        "whole recipe, another seed": ("seed=1",),
        "no average of weights": ("optim.ema=null",),
        "bfloat16": ("system.precision=bfloat16",),
    }
)
"""What is not of the recipe. bfloat16 is an order of magnitude slower on CPUs without instructions for it."""

CASES = MappingProxyType({name: (f"recipe={recipe}",) for name, recipe in PARTS.items()} | SYSTEM)
"""Overrides by the name of a run."""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="annotated photos, see training/README.md")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--start", default="imagenet", help="starting weights of all runs")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="RUN", help="in this order")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shared = [f"optim.steps={options.steps}", f"optim.lr={options.lr}", "optim.final=0.01", f"start={options.start}"]
    shared += [f"optim.warmup={options.steps // 12}"]
    shared += [f"train.{number}.path={options.data}" for number in range(5)] + ["validation={}"]

    common = {"steps": options.steps, "lr": options.lr, "start": options.start}
    path, saving = report.result_path("ablation"), Lock()

    def measure(name: str) -> Scores:
        folder = options.runs / "".join(c if c.isalnum() else "-" for c in name)
        train("finetune", "nano-crops", folder, [*shared, *CASES[name]])
        scores = score(load_model(folder), options.data)
        print(name, scores, flush=True)
        if options.save:
            with saving:
                report.save(path, [{"run": name, "set": of, **common, **scores[of]} for of in scores], ["run", "set"])
        return scores

    with ThreadPoolExecutor(options.jobs) as pool:
        found = dict(zip(options.only, pool.map(measure, options.only), strict=True))
    print(table(found, SETS))


if __name__ == "__main__":
    main()
