"""The programs in examples/ run and do what they say."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evsam import Embedding
from evsam.rle import decode_rle

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch, seeded_file, capsys):
    def call(name: str, *arguments: object) -> str:
        command = [name, *arguments, "--model", seeded_file("nano")]
        monkeypatch.setattr(sys, "argv", [str(a) for a in command])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.fixture
def photo_file(image, tmp_path) -> Path:
    Image.fromarray(image).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_first_mask(run, photo_file, sam, image) -> None:
    output = run("first_mask.py", photo_file, "--box", 20, 10, 90, 70)
    expected = int(sam.predict(image, box=(20, 10, 90, 70)).best().sum())
    assert abs(int(output.split()[0]) - expected) <= 0.01 * expected
    with Image.open(photo_file.with_name("photo_mask.png")) as overlay:
        assert overlay.size == (120, 80)


def test_many_boxes(run, photo_file, sam, image, tmp_path) -> None:
    detections = [{"image_id": 1, "bbox": [20, 10, 70, 60]}, {"image_id": 1, "bbox": [0, 0, 30.5, 30]}]
    (tmp_path / "in.json").write_text(json.dumps(detections))
    run("many_boxes.py", photo_file, tmp_path / "in.json", tmp_path / "out.json")
    results = json.loads((tmp_path / "out.json").read_text())
    expected = sam.predict(image, boxes=[(20, 10, 90, 70), (0, 0, 30.5, 30)]).best()
    for result, detection, mask in zip(results, detections, expected, strict=True):
        assert result["bbox"] == detection["bbox"]
        assert np.mean(decode_rle(result["segmentation"]) == mask) > 0.999


def test_refine_by_clicks(run, photo_file) -> None:
    output = run("refine_by_clicks.py", photo_file, "+", "60,40", "-", "5,5", "+", "50,30")
    assert [line.split(":")[0] for line in output.splitlines()[:3]] == ["1 clicks", "2 clicks", "3 clicks"]
    assert photo_file.with_name("photo_mask.png").exists()


def test_embed_folder(run, image, tmp_path) -> None:
    photos, embeddings = tmp_path / "photos", tmp_path / "embeddings"
    photos.mkdir()
    for index in range(3):
        Image.fromarray(image[index * 5 :]).save(photos / f"{index}.png")
    assert "encoded 3 of 3" in run("embed_folder.py", photos, embeddings)
    assert Embedding.load(embeddings / "2.safetensors").original_size == (70, 120)
    (embeddings / "1.safetensors").unlink()
    output = run("embed_folder.py", photos, embeddings)
    assert "encoded 1 of 3" in output
    assert [line.split(":")[0] for line in output.splitlines()[1:]] == ["0.png", "1.png", "2.png"]
