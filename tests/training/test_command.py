"""What the commands that train share: trials, folders of other runs, and what is said of mistakes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from evsam.training import finetune
from evsam.training.command import advice
from evsam.training.trainer import TrainingError
from tests.training.distributed_worker import config as worker_config
from tests.training.runs import settings, write


def test_a_trial_changes_nothing_and_tells_all(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path / "tiny.yaml", settings(data_dir, optim={"lr": 1e-3, "epochs": 30}))
    assert finetune.main([str(config), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "3.11 M, of which 3.11 M learn" in printed
    assert "steps        45 (30.00 epochs)" in printed
    assert "hours without validation" in printed
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_scalars_and_pictures(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = write(tmp_path / "tiny.yaml", settings(data_dir))
    assert finetune.main([str(config), "--out", str(tmp_path / "run"), "--set", "log.tensorboard=true"]) == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"train/loss", "validation/blobs/box"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["blobs-0"]


def test_mistakes_end_with_a_message(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write(tmp_path / "tiny.yaml", settings(data_dir))
    assert finetune.main([str(config), "--set", "optim.speed=1"]) == 1
    assert "optim.speed" in capsys.readouterr().err


def test_a_folder_of_another_run_is_refused(
    run: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "config.yaml").read_text()
    config = write(tmp_path / "tiny.yaml", settings(data_dir))
    assert finetune.main([str(config), "--out", str(run), "--set", "seed=3", "--set", "optim.ema=null"]) == 1
    assert "seed was 0, is 3; optim.ema was 0.999, is None" in capsys.readouterr().err
    assert (run / "config.yaml").read_text() == before


def test_another_command_does_not_go_on_with_a_run(
    run: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(run, out)
    config = write(tmp_path / "tiny.yaml", settings(data_dir, optim={"lr": 1e-3, "steps": 4}))
    shorter = {**settings(data_dir, optim={"lr": 1e-3, "steps": 4}), "recipe": "paper"}
    assert finetune.main([str(write(tmp_path / "paper.yaml", shorter)), "--out", str(out)]) == 0
    assert finetune.main([str(config), "--out", str(out)]) == 1
    assert "choose another --out, or start from it" in capsys.readouterr().err


def test_running_out_of_memory_says_what_to_change() -> None:
    message = r"batch\.images=4: try batch\.images=2 with batch\.accumulate=2 .*checkpoint_activations=true"
    with pytest.raises(TrainingError, match=message), advice(worker_config("ddp", 1, 4)):
        raise torch.OutOfMemoryError
    with pytest.raises(TrainingError, match=message), advice(worker_config("ddp", 1, 4)):
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="of something else"), advice(worker_config("ddp", 1, 4)):
        raise RuntimeError("of something else")
