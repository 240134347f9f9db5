"""From a run to the runtime: weights file, calibration photos, masks of the native engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import evsam
from evsam.cli import main as evsam_main
from evsam.datasets.annotated import read_set
from evsam.export.calibration import calibration_folder
from evsam.record import write_record
from evsam.training import finetune
from evsam.training.convert import convert_run
from evsam.training.model import load_model, load_state
from evsam.training.validation import as_sam
from tests.own_variants import NANO_LIKE
from tests.training.runs import settings, write


def test_runs_reach_the_runtime(run: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.safetensors"
    assert evsam_main(["convert", str(run), str(path)]) == 0
    assert "nano" in capsys.readouterr().out
    sam = evsam.load(path, engine="native")
    photo = read_set(data_dir, "val", "blobs")[0]
    result = sam.predict(photo.pixels(), box=(40, 30, 120, 90))
    expected = as_sam(load_model(run)).predict(photo.pixels(), box=(40, 30, 120, 90))
    largest = np.abs(expected.logits).max()
    np.testing.assert_allclose(result.logits, expected.logits, atol=1e-3 * largest)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-3)
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


def test_a_variant_that_somebody_made_up(data_dir: Path, tmp_path: Path) -> None:
    """From its record alone to weights that the native engine runs."""
    record = tmp_path / "own.json"
    record.write_text(write_record(NANO_LIKE))
    config = write(tmp_path / "own.yaml", settings(data_dir, variant=str(record), optim={"lr": 1e-3, "steps": 1}))
    assert finetune.main([str(config), "--out", str(tmp_path / "run")]) == 0
    record.unlink()  # the run holds it
    weights = convert_run(tmp_path / "run", tmp_path / "own.safetensors", photos=0)
    assert weights.variant == NANO_LIKE
    with evsam.load(tmp_path / "own.safetensors", engine="native", threads=1) as sam:
        assert sam.predict(np.zeros((30, 40, 3), np.uint8), box=(5, 5, 20, 20)).masks.shape == (1, 1, 30, 40)
