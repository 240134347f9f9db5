"""Licences of the photos that a run learns from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evsam.training import licences
from evsam.training.config import SourceConfig
from evsam.training.data.sources import open_source
from tests.training.runs import settings, write


@pytest.fixture
def licensed(data_dir: Path, tmp_path: Path) -> Path:
    """The tiny data directory, with a licence for each photo but the last."""
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)
    file = folder / "train" / "blobs.json"
    content = json.loads(file.read_text())
    for number, image in enumerate(content["images"][:-1]):
        image["license"] = "CC0" if number else "by | nc"
    file.write_text(json.dumps(content))
    return folder


def test_licences_are_told_as_they_are_stated(
    licensed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path / "run.yaml", settings(licensed))
    assert licences.main([str(config)]) == 0
    *_, row = capsys.readouterr().out.splitlines()
    source = open_source(SourceConfig(kind="annotated", path=licensed, set="blobs"))
    masks = sum(len(photo.annotations) for photo in source)
    head, _, told = row.strip("| ").rpartition(" | ")
    assert head == f"blobs | {len(source)} | {masks} | 1.000"
    assert set(told.split("; ")) == {"by \\| nc (1)", f"CC0 ({len(source) - 2})", "none stated (1)"}
    assert licences.main([str(config), "--set", "train.0.path=/nowhere"]) == 1
    assert "error: source blobs" in capsys.readouterr().err


def test_photos_of_some_licences_alone(licensed: Path) -> None:
    every = SourceConfig(kind="annotated", path=licensed, set="blobs")
    free = open_source(every.model_copy(update={"licences": ("CC0",)}))
    assert len(free) == len(open_source(every)) - 2 > 0
    assert {photo.licence for photo in free} == {"CC0"}
    with pytest.raises(ValueError, match="licences: only sources of kind annotated state"):
        SourceConfig(kind="sa1b", path=licensed, licences=("CC0",))
