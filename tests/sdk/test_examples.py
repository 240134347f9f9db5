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
def fails(run):
    """Calls an example, which must end with an error; answers what it prints last."""

    def call(name: str, *arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            run(name, *arguments)
        assert ended.value.code
        return str(ended.value.code)

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


@pytest.mark.parametrize("name", ["first_mask.py", "refine_by_clicks.py", "many_boxes.py", "embed_folder.py"])
def test_missing_arguments(monkeypatch, capsys, name) -> None:
    monkeypatch.setattr(sys, "argv", [name])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    error = capsys.readouterr().err
    assert f"{name}: error: the following arguments are required: photo" in error
    assert len(error.splitlines()) <= 3


def test_errors_of_first_mask(fails, photo_file) -> None:
    assert fails("first_mask.py", photo_file, "--box", 70, 10, 20, 90) == (
        "first_mask.py: box: expected x0 < x1 and y0 < y1, got (70, 10, 20, 90)"
    )
    assert "no.png', which does not exist" in fails("first_mask.py", "no.png", "--box", 1, 1, 9, 9)
    photo_file.write_bytes(photo_file.read_bytes()[:300])
    assert "expected a readable image file" in fails("first_mask.py", photo_file, "--box", 1, 1, 9, 9)


def test_many_boxes(run, photo_file, sam, image, tmp_path) -> None:
    detections = [{"image_id": 1, "bbox": [20, 10, 70, 60]}, {"image_id": 1, "bbox": [0, 0, 30.5, 30]}]
    (tmp_path / "in.json").write_text(json.dumps(detections))
    run("many_boxes.py", photo_file, tmp_path / "in.json", tmp_path / "out.json")
    results = json.loads((tmp_path / "out.json").read_text())
    expected = sam.predict(image, boxes=[(20, 10, 90, 70), (0, 0, 30.5, 30)]).best()
    for result, detection, mask in zip(results, detections, expected, strict=True):
        assert result["bbox"] == detection["bbox"]
        assert np.mean(decode_rle(result["segmentation"]) == mask) > 0.999


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[", "Expecting value"),
        ("{}", "got dict"),
        ('{"annotations": []}', "got dict"),
        ("null", "got NoneType"),
        ("[1]", "'int' object"),
        ('[{"id": 3}]', "got one without 'bbox'"),
        ('[{"bbox": [1, 2, 3]}]', "(1,4)"),
        ('[{"bbox": [1, 2, 30, 40]}, {"bbox": [1, 2, 3]}]', "inhomogeneous"),
        ('[{"bbox": [1, 2, "w", 3]}]', "'w'"),
        ('[{"bbox": [1, 2, 30, -3]}]', "boxes: expected x0 < x1 and y0 < y1"),
        ('[{"bbox": [1, 2, 30, null]}]', "boxes: expected finite numbers, got nan"),
        (
            '[{"bbox": [0, 0, 9, 9], "image_id": 7}, {"bbox": [0, 0, 9, 9], "image_id": 8}]',
            "one photo, got the image_ids 7, 8",
        ),
    ],
)
def test_detections_that_are_none(fails, photo_file, tmp_path, content, error) -> None:
    (tmp_path / "in.json").write_text(content)
    assert error in fails("many_boxes.py", photo_file, tmp_path / "in.json", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_no_detections(run, photo_file, tmp_path) -> None:
    (tmp_path / "in.json").write_text("[]")
    assert "wrote 0 masks" in run("many_boxes.py", photo_file, tmp_path / "in.json", tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "[]"


def test_refine_by_clicks(run, photo_file) -> None:
    output = run("refine_by_clicks.py", photo_file, "+", "60,40", "-", "5,5", "+", "50,30")
    assert [line.split(":")[0] for line in output.splitlines()[:3]] == ["1 clicks", "2 clicks", "3 clicks"]
    assert photo_file.with_name("photo_mask.png").exists()


@pytest.mark.parametrize(
    ("clicks", "got"),
    [
        (["x", "60,40"], "x 60,40"),
        (["+"], "+ "),
        (["+", "60,40", "-"], "- "),
        (["+", "60"], "+ 60"),
        (["+", "60,40,1"], "+ 60,40,1"),
        (["60,40", "+"], "60,40 +"),
    ],
)
def test_clicks_that_are_none(fails, photo_file, clicks, got) -> None:
    assert fails("refine_by_clicks.py", photo_file, *clicks) == f"clicks: expected + X,Y or - X,Y, got {got}"


def test_clicks_beside_the_photo(fails, photo_file) -> None:
    error = fails("refine_by_clicks.py", photo_file, "+", "60,400")
    assert error.startswith("refine_by_clicks.py: points: expected 0 <= x < 120 and 0 <= y < 80")


def test_embed_folder(run, image, tmp_path) -> None:
    photos, embeddings = tmp_path / "photos", tmp_path / "embeddings"
    photos.mkdir()
    for index in range(3):
        Image.fromarray(image[index * 5 :]).save(photos / f"{index}.png")
    assert "encoded 3 of 3" in run("embed_folder.py", photos, embeddings)
    assert Embedding.load(embeddings / "2.png.safetensors").original_size == (70, 120)
    (embeddings / "1.png.safetensors").unlink()
    output = run("embed_folder.py", photos, embeddings)
    assert "encoded 1 of 3" in output
    assert [line.split(":")[0] for line in output.splitlines()[1:]] == ["0.png", "1.png", "2.png"]


def test_embed_folder_skips_broken_photos(monkeypatch, run, image, tmp_path, seeded_file, capsys) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "a.jpg", "b.png"):
        Image.fromarray(image).save(photos / name)
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:300])
    (photos / "notes.txt").write_text("no photo")
    command = ["embed_folder.py", photos, tmp_path / "embeddings", "--model", seeded_file("nano")]
    monkeypatch.setattr(sys, "argv", [str(word) for word in command])
    runpy.run_path(str(EXAMPLES / "embed_folder.py"), run_name="__main__")
    printed = capsys.readouterr()
    assert printed.err.startswith("skipped: image: expected a readable image file")
    assert len(printed.err.splitlines()) == 1
    lines = printed.out.splitlines()
    assert lines[0] == "encoded 2 of 3 photos"
    assert [line.split(":")[0] for line in lines[1:]] == ["a.jpg", "a.png"]


def test_embed_folder_without_folder(fails, photo_file, tmp_path) -> None:
    assert "No such file or directory" in fails("embed_folder.py", tmp_path / "nothing", tmp_path)
    assert "Not a directory" in fails("embed_folder.py", photo_file, tmp_path)


def test_every_example_is_tested() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [file.name for file in EXAMPLES.glob("*.py") if f'run("{file.name}"' not in tests] == []
