"""Two processes over gloo learn what one learns from all of their photos, and go on from each other's checkpoints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

WORKER = Path(__file__).with_name("distributed_worker.py")


def run(shard: str, folder: Path, steps: int, processes: int) -> dict[str, Any]:
    """Train in a folder; what the first process saved."""
    folder.mkdir(exist_ok=True)
    out = folder / "found.pt"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), str(WORKER), shard, str(out), str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = torch.load(out, weights_only=True)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """One process, two steps, and its run's folder."""
    folder = tmp_path_factory.mktemp("alone")
    return run("ddp", folder, 2, 1), folder


@pytest.mark.parametrize("shard", ["ddp", "fsdp2"])
def test_two_processes_do_as_one(shard: str, alone: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    one, folder = alone
    two = run(shard, tmp_path, 2, 2)
    assert {name for name, g in one["gradients"].items() if g.any()} == {
        name for name, g in two["gradients"].items() if g.any()
    }
    # some gradients are zero but for rounding, such as those of the keys' biases
    largest = max(g.abs().max().item() for g in one["gradients"].values())
    for name, expected in one["gradients"].items():
        if name in two["gradients"]:
            scale = expected.abs().max().item()
            torch.testing.assert_close(two["gradients"][name], expected, rtol=1e-3, atol=1e-4 * scale + 2e-6 * largest)

    if shard == "ddp":
        return  # whose checkpoints are as those of one process
    # what one has written two can read, and the other way round: weights and moments are the same to the bit
    shutil.copytree(folder / "run", tmp_path / "crossed" / "run")
    for read, written in ((run(shard, tmp_path / "crossed", 2, 2), one), (run(shard, tmp_path, 2, 1), two)):
        assert read["step"] == 2
        for kind in ("weights", "moments"):
            assert read[kind].keys() == written[kind].keys()
            for name, value in written[kind].items():
                assert read[kind][name].equal(value), f"{kind} of {name}"
