"""What each part of the evsam recipe is worth on nano: ``python -m benchmarks.training.ablation DATA``.

Trains nano once with the whole recipe and once more without each of its parts, with the same photos, seed, steps and
starting weights, and scores all of them. Runs that are there already go on, or are only scored; a part costs about as
much time as ``--dry-run`` says of the configuration.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import torch

from benchmarks.models import report
from benchmarks.training.scoring import SETS, score, table
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
        "paper's loss (focal 20 : 1 dice)": "{base: evsam, mask_loss: focal}",
        "paper's recipe": "{base: paper}",
        "authors' code": "{base: authors-code}",
    }
)
"""What is changed, by its name in the table."""

SYSTEM = MappingProxyType({"no average of weights": ("optim.ema=null",), "bfloat16": ("system.precision=bfloat16",)})
"""Parts that are not of the recipe."""


def run(folder: Path, overrides: list[str], processes: int) -> None:
    """Train, or go on with, one run."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    changes = [part for override in overrides for part in ("--set", override)]
    command = [*launcher, "-m", "evsam.training.finetune", "nano-crops", "--out", str(folder), *changes]
    subprocess.run([sys.executable, *command], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="annotated photos, see training/README.md")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--start", default="imagenet", help="starting weights of all runs")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="names of the table")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(options.processes)
    shared = [f"optim.steps={options.steps}", f"optim.lr={options.lr}", "optim.final=0.01", f"start={options.start}"]
    shared += [f"train.{number}.path={options.data}" for number in range(5)] + ["validation={}"]
    cases = {name: [f"recipe={recipe}"] for name, recipe in PARTS.items()}
    cases |= {name: list(overrides) for name, overrides in SYSTEM.items()}
    found = {}
    for name, overrides in cases.items():
        if options.only and name not in options.only:
            continue
        folder = options.runs / "".join(c if c.isalnum() else "-" for c in name)
        run(folder, shared + overrides, options.processes)
        found[name] = score(load_model(folder), options.data)
        print(table(found, SETS), flush=True)
    if options.save:
        common = {"steps": options.steps, "lr": options.lr, "start": options.start}
        lines = [{"run": name, "set": of, **common, **scores[of]} for name, scores in found.items() for of in scores]
        report.save(report.result_path("ablation"), lines, ["run", "set"])


if __name__ == "__main__":
    main()
