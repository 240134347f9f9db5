"""From a configuration to the runtime: two steps, curves, pictures, weights file, masks of the native engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import evsam
from evsam.cli import main as evsam_main
from evsam.export.calibration import calibration_folder
from evsam.nn import EfficientViTSam
from evsam.training import finetune
from evsam.training.convert import convert_run
from evsam.training.data.sources import read_set
from evsam.training.finetune import FinetuneConfig
from evsam.training.model import initialise, load_model, load_state
from evsam.training.validation import encode_photo


def settings(data: Path, **changes: Any) -> dict[str, Any]:
    """A run of two steps on the tiny data set."""
    return {
        "variant": "nano",
        "norms": "frozen",
        "train": [{"kind": "annotated", "path": str(data), "split": "train", "set": "blobs"}],
        "samples": {"size": 64, "image_size": 512, "masks": 2, "scale": [0.45, 1.4]},
        "batch": {"images": 2},
        "optim": {"lr": 1e-3, "steps": 2},
        "system": {"device": "cpu", "workers": 0, "threads": 1},
        "log": {"every": 1, "pictures": 1, "tensorboard": False},
        "validation": {
            "sources": [{"kind": "annotated", "path": str(data), "split": "val", "set": "blobs"}],
            "masks": 2,
        },
        **changes,
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def run(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run."""
    folder = tmp_path_factory.mktemp("finetune")
    config = write(folder / "tiny.yaml", settings(data_dir))
    assert finetune.main([str(config), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_a_run_leaves_curves_pictures_and_its_configuration(run: Path, data_dir: Path) -> None:
    lines = [json.loads(line) for line in (run / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert {"loss", "lr", "images_per_second", "minutes_left", "waiting", "box"} <= set(lines[0])
    assert {"box", "click1", "ellipse", "box_best"} <= set(lines[-1]["validation"]["blobs"])
    assert [p.name for p in (run / "pictures").rglob("*.jpg")] == ["blobs-0.jpg"]
    full = yaml.safe_load((run / "config.yaml").read_text())
    assert FinetuneConfig.model_validate(full) == FinetuneConfig.model_validate(settings(data_dir))
    assert full["recipe"]["iou"] == 3.0  # defaults are spelt out


def test_runs_reach_the_runtime(run: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.safetensors"
    assert evsam_main(["convert", str(run), str(path)]) == 0
    assert "nano" in capsys.readouterr().out
    sam = evsam.load(path, engine="native")
    photo = read_set(data_dir, "val", "blobs")[0]
    result = sam.predict(photo.pixels(), box=(40, 30, 120, 90))
    model = load_model(run)
    with torch.no_grad():
        frame = encode_photo(model, photo.pixels())
        scale = torch.tensor([frame.resized[1] / 160, frame.resized[0] / 120])
        corners = torch.tensor([[[40.0, 30.0], [120.0, 90.0]]]) * scale
        logits, iou = model.decode(frame.features, corners, torch.tensor([[2, 3]]))
    expected = logits[0, 0].numpy()
    np.testing.assert_allclose(result.logits[0, 0], expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(result.scores[0, 0], iou[0, 0].item(), atol=1e-3)
    stored = sorted(calibration_folder(path).iterdir())
    assert len(stored) == 32
    kept = load_state(run).state
    for name, value in load_state(path).state.items():
        torch.testing.assert_close(kept[name], value, rtol=1e-6, atol=0)


def test_exports_find_ranges_on_the_photos_beside_the_weights(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "out.safetensors"
    convert_run(run, path, photos=2)
    out = tmp_path / "exported"
    assert evsam_main(["export", str(path), "--format", "onnx", "--precision", "fp16", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "generated images" not in printed
    assert "2 images" in printed or " 2 " in printed


def test_convert_refuses_what_is_no_run(run: Path, tmp_path: Path) -> None:
    with pytest.raises(evsam.WeightsError, match=r"expected a folder with config\.yaml"):
        convert_run(tmp_path, tmp_path / "x.safetensors")
    with pytest.raises(evsam.WeightsError, match=r"ends in \.safetensors"):
        convert_run(run, tmp_path / "x.pt")
    (tmp_path / "config.yaml").write_text("variant: nano\n")
    with pytest.raises(evsam.WeightsError, match="has no checkpoint yet"):
        convert_run(tmp_path, tmp_path / "x.safetensors")


def test_convert_checks_before_it_writes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.safetensors"
    assert evsam_main(["convert", str(run), str(path), "--variant", "l0"]) == 1
    assert "expected l0, got nano" in capsys.readouterr().err
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    (moved / "config.yaml").write_text((run / "config.yaml").read_text().replace("set: blobs", "set: gone"))
    assert evsam_main(["convert", str(moved), str(path)]) == 1
    assert "--photos 0" in capsys.readouterr().err
    assert not path.exists()
    assert evsam_main(["convert", str(moved), str(path), "--photos", "0"]) == 0
    assert not calibration_folder(path).exists()
    for photos in (3, 2):
        convert_run(run, path, photos=photos)
        assert len(list(calibration_folder(path).iterdir())) == photos


def test_the_mean_of_runs(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.safetensors"
    assert evsam_main(["convert", str(run), str(path), "--photos", "0", "--mean-with", "nano", str(run)]) == 0
    one, other = load_state(run).state, load_state("nano").state
    for name, value in load_state(path).state.items():
        torch.testing.assert_close(value, (2 * one[name] + other[name]) / 3)
    assert evsam_main(["convert", str(run), str(path), "--photos", "0", "--mean-with", "l0"]) == 1
    capsys.readouterr()


def test_a_run_starts_from_another(run: Path, tmp_path: Path) -> None:
    model = EfficientViTSam("nano")
    initialise(model, str(run))
    for name, value in load_state(run).state.items():
        assert model.state_dict()[name].equal(value), name
    with pytest.raises(evsam.WeightsError, match="expected weights of l0, got nano"):
        initialise(EfficientViTSam("l0"), str(run))


def test_two_processes_start_from_another_run(run: Path, data_dir: Path, tmp_path: Path) -> None:
    config = write(tmp_path / "tiny.yaml", settings(data_dir, start=str(run)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "evsam.training.finetune", str(config), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert load_state(tmp_path / "run").step == 2


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": {"image_size": 1024}}, "samples.image_size: nano reads images of 512, got 1024"),
        ({"samples": {"sizes": [256, 512]}}, "samples.sizes: nano hands finer maps"),
    ],
)
def test_samples_have_to_fit_the_variant(
    changes: dict[str, Any], message: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path / "tiny.yaml", settings(data_dir, **changes))
    assert finetune.main([str(config), "--out", str(tmp_path / "run")]) == 1
    assert message in capsys.readouterr().err


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


def test_several_sizes_fill_the_same_grid(data_dir: Path, tmp_path: Path) -> None:
    """Multi-resolution, on l0, whose neck makes a grid of 64 x 64 cells of every photo."""
    samples = {
        "size": 512,
        "image_size": 512,
        "sizes": [128, 192],
        "masks": 2,
        "scale": [1, 1],
        "stretch": 0,
        "shift": False,
        "paste": 0,
    }
    content = settings(data_dir, variant="l0", samples=samples, batch={"images": 1}, validation={})
    config = FinetuneConfig.model_validate(content)
    from evsam.training.distributed import World
    from evsam.training.trainer import StepRandom

    trained = finetune.build(config, World(0, 1, torch.device("cpu")))
    sizes = set()
    for number, batch in zip(range(4), trained.loader(0), strict=False):
        sizes.add(batch.images.shape[1])
        assert batch.targets.shape[-2:] == (256, 256)
        if number == 0:
            loss, _ = trained.task(batch, StepRandom(0, 0))
            assert torch.isfinite(loss)
    assert sizes == {128, 192}
