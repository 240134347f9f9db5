"""The loader's benchmark on tiny tars."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydantic")
pytest.importorskip("pycocotools")

from benchmarks import harness
from benchmarks.training import loading
from benchmarks.training.tars import Shape, make_tars
from evsam.datasets.sa1b import Sa1bTars

SHAPE = Shape(60, 80, 5)


def test_made_tars_are_read_as_sa1b(tmp_path: Path) -> None:
    made = make_tars(tmp_path / "tars", 2, 7, SHAPE)
    source = Sa1bTars(tmp_path / "tars")
    assert source.groups == (7, 7)
    loading.check(source, made)
    photo = source[9]
    assert photo.key == "sa_000001/sa_9"
    assert photo.pixels().shape == (60, 80, 3)
    assert len(photo.annotations) == 5
    for annotation in photo.annotations:
        x, y, width, height = (int(v) for v in annotation.box)
        mask = annotation.decode()
        assert mask.sum() == annotation.area > 0
        assert mask[y : y + height, x : x + width].sum() == annotation.area
        assert np.flatnonzero(mask.any(0))[[0, -1]].tolist() == [x, x + width - 1]
    with pytest.raises(RuntimeError, match="sa_000000/sa_0: not the pair that was written"):
        loading.check(source, made[::-1])


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "device-loading.json"
    monkeypatch.setattr(harness, "result_path", lambda _: path)
    case = "crops of 256, 6 masks"
    sizes = ["--tars", "1", "2", "--pairs", "6", "--indexed", "20", "--size", "60", "80", "--masks", "5"]
    runs = ["--cases", case, "--workers", "0", "1", "--images", "2", "--batches", "1", "--save"]
    assert loading.main([*sizes, *runs]) == 0
    printed = capsys.readouterr().out
    assert printed.count("load a photo") == 2
    lines = json.loads(path.read_text())["lines"]
    found = [(line["op"], line["tars"], line["workers"]) for line in lines]
    assert found == [
        ("index a tar", 1, 0), ("index a tar", 2, 0), ("find a photo", 500, 0), ("find a photo", 1000, 0),
        ("load a photo", 1, 0), ("load a photo", 2, 0), ("load a photo", 1, 1), ("load a photo", 2, 1),
        ("train nano on a photo", 1, 1), ("train nano on a photo", 2, 1),
    ]  # fmt: skip
    assert all(line["median_ms"] >= 0 for line in lines)
    assert lines[0]["kept_median_ms"] > 0
    assert all(0 < line["masks_per_photo"] <= 5 for line in lines[4:8])
    assert all(0 <= line["waiting"] <= 1 for line in lines[8:])
    assert str(tmp_path) not in path.read_text()
