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

from evsam.training.distributed import pick_device
from tests.thorough import sparing

ROOT = Path(__file__).parents[2]
WORKER = "tests.training.distributed_worker"


def run(shard: str, folder: Path, steps: int, processes: int, kind: str = "finetune") -> dict[str, Any]:
    """Train in a folder; what the first process saved."""
    folder.mkdir(exist_ok=True)
    out = folder / "found.pt"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", WORKER, kind, shard, str(out), str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = torch.load(out, weights_only=True)
    return found


def assert_same_gradients(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Equal but for the order of sums; and what is used is used in both."""
    assert expected
    assert {name for name, g in expected.items() if g.any()} == {name for name, g in found.items() if g.any()}
    # some gradients are zero but for rounding, such as those of the keys' biases
    largest = max(g.abs().max().item() for g in expected.values())
    for name, value in expected.items():
        if name in found:
            scale = value.abs().max().item()
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4 * scale + 2e-6 * largest)


@pytest.mark.parametrize("shard", ["ddp", "fsdp2"])
def test_two_processes_distil_as_one(shard: str, tmp_path: Path) -> None:
    one = run("ddp", tmp_path / "one", 2, 1, "distill")
    two = run(shard, tmp_path / "two", 2, 2, "distill")
    assert_same_gradients(two["gradients"], one["gradients"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """One process, two steps, and its run's folder."""
    folder = tmp_path_factory.mktemp("alone")
    return run("ddp", folder, 2, 1), folder


@pytest.mark.parametrize("shard", sparing(["ddp", "fsdp2"], "fsdp2"))
def test_two_processes_do_as_one(shard: str, alone: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    one, folder = alone
    two = run(shard, tmp_path, 2, 2)
    assert_same_gradients(two["gradients"], one["gradients"])
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


def test_each_process_takes_the_device_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    assert pick_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert pick_device("cuda") == torch.device("cuda", 3)
    assert pick_device("cpu") == torch.device("cpu")
    for there, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert pick_device("auto").type == name
