"""Training runs that comparisons start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def train(command: str, config: str, folder: Path, overrides: Sequence[str], processes: int = 1) -> None:
    """Train, or go on with, one run, on processes of one thread each; what it prints goes into its folder.

    Args:
        command: ``finetune`` or ``distill``.
        config: file, or name of a configuration that ships with evsam.
        folder: of the run.
        overrides: ``key=value`` each.
        processes: how many.

    Raises:
        subprocess.CalledProcessError: it failed; see ``output.txt`` in the folder.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    changes = [part for override in overrides for part in ("--set", override)]
    arguments = [*launcher, "-m", f"evsam.training.{command}", config, "--out", str(folder), *changes]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a") as output:
        subprocess.run(
            [sys.executable, *arguments],
            check=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
