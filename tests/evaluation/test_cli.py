"""``evsam eval``: what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from evsam.cli import main
from evsam.datasets.halves import half_of
from evsam.rle import encode_rle

SIZE = (200, 300)


def ellipse(x: float, y: float, a: float, b: float) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1


OBJECTS = {
    "cat.png": [ellipse(150, 100, 70, 60), ellipse(60, 60, 15, 15)],
    "cup.png": [ellipse(140, 90, 60, 50)],
    "rocket.png": [ellipse(150, 100, 20, 80), ellipse(250, 150, 10, 8)],
}
PHOTOS = {"cat.png": data.chelsea, "cup.png": data.coffee, "rocket.png": data.rocket}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one set, and the same as COCO's json beside it."""
    root = tmp_path_factory.mktemp("photos")
    folder = root / "val" / "three"
    folder.mkdir(parents=True)
    images: list[Any] = []
    annotations: list[Any] = []
    for number, (name, masks) in enumerate(OBJECTS.items()):
        Image.fromarray(PHOTOS[name]()).resize(SIZE[::-1]).save(folder / name)
        images.append({"file": name, "w": SIZE[1], "h": SIZE[0]})
        for mask in masks:
            rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
            box = [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            annotations.append({"image": number, "rle": encode_rle(mask), "area": int(mask.sum()), "bbox": box})
    (root / "val" / "three.json").write_text(json.dumps({"images": images, "anns": annotations}))
    coco = {
        "images": [
            {"id": n, "file_name": one["file"], "width": one["w"], "height": one["h"]} for n, one in enumerate(images)
        ],
        "annotations": [
            {**one, "id": n, "image_id": one["image"], "segmentation": one["rle"], "category_id": 1, "iscrowd": 0}
            for n, one in enumerate(annotations)
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (root / "instances_val2017.json").write_text(json.dumps(coco))
    return root


def evaluate(dataset: Path, out: Path, *arguments: object, model: object = "nano") -> int:
    return main(["eval", str(model), str(dataset), "-o", str(out), "--threads", "1", *map(str, arguments)])


def scores(out: Path) -> Any:
    return json.loads((out / "scores.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture(scope="session")
def plain(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "out"
    assert evaluate(dataset, out, "--clicks", 2, "--pictures", 1) == 0
    return out


def test_scores_are_written_in_three_forms(plain: Path) -> None:
    found = scores(plain)
    assert found["photos"] == {"scored": 3, "broken": 0}
    table = found["tables"]["three"]["box"]["mean"]
    assert table["objects"] == {"all": 5, "small": 2, "medium": 1, "large": 2}
    assert 0.3 < table["IoU"]["all"] < 1
    assert set(found["tables"]["three"]["clicks"]["mean"]) == {
        "IoU, 1 click", "IoU, 1 click, best of three", "IoU, 2 clicks", "objects",
    }  # fmt: skip
    assert found["settings"]["model"]["variant"] == "nano"
    text = (plain / "scores.md").read_text()
    assert f"| box: IoU | {table['IoU']['all']:.3f} |" in text
    assert "### three: 3 photos" in text


def test_what_a_prompt_reader_is_judged_by(dataset: Path, tmp_path: Path) -> None:
    arguments = ["--prompts", "box", "masks", "clicks-alone", "--clicks", 2, "--measures", "pieces", "calibration"]
    assert evaluate(dataset, tmp_path, *arguments, "--half", "report", "--pictures", 0) == 0
    found = scores(tmp_path)
    assert found["photos"]["scored"] == sum(half_of(name) == "report" for name in PHOTOS) == 1
    tables = found["tables"]["three"]
    objects = tables["box"]["mean"]["objects"]["all"]
    assert tables["box"]["calibration"]["box"]["masks"] == objects
    assert sum(tables["box"]["reliability"]["box, masks"].values()) == objects
    assert 0 <= tables["clicks-alone"]["mean"]["in pieces"]["all"] <= 1
    assert tables["masks"]["mean"]["IoU, box"]["all"] == tables["box"]["mean"]["IoU"]["all"], "the same boxes"
    drawn = (tmp_path / "reliability-1.svg").read_text()
    assert "clicks-alone, 2 clicks" in drawn
    page = (tmp_path / "report.html").read_text()
    assert "Real IoU over predicted IoU" in page
    assert ", which are a part of it" in page


def test_the_page_needs_no_other_file(plain: Path) -> None:
    page = (plain / "report.html").read_text()
    sources = re.findall(r"""(?:src=|href=|url\()["']?([^"')]{0,10})""", page)
    assert set(sources) == {"data:image"}
    assert page.count('src="data:image/jpeg;base64,') == 4, "worst and median, of boxes and of clicks"
    assert "<svg" in page
    assert "prefers-color-scheme: dark" in page
    assert "<td>nano (nano, weights " in page


@pytest.mark.parametrize("way", ["workers", "parts", "torchrun", "merged"])
def test_shared_out_photos_give_the_same_file(
    way: str, dataset: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out, options = tmp_path / "out", ("--clicks", 2, "--pictures", 0)
    if way == "workers":
        assert evaluate(dataset, out, *options, "--workers", 2) == 0
    elif way == "parts":
        assert evaluate(dataset, out, *options, "--part", "2/2") == 0
        said = capsys.readouterr().out
        assert "part 2/2 is done, 2 photos are left" in said
        assert "evsam eval --merge" in said
        assert not (out / "scores.json").exists()
        assert evaluate(dataset, out, *options, "--part", "1/2") == 0
    elif way == "torchrun":
        monkeypatch.setenv("WORLD_SIZE", "2")
        for rank in "01":
            monkeypatch.setenv("RANK", rank)
            assert evaluate(dataset, out, *options) == 0
        assert len(list(out.glob("rows-*-of-2.jsonl"))) == 2
    else:
        folders = [tmp_path / part for part in "12"]
        for index, folder in enumerate(folders, 1):
            assert evaluate(dataset, folder, *options, "--part", f"{index}/2") == 0
        assert main(["eval", "--merge", str(folders[0]), "-o", str(out)]) == 1
        assert "expected all 3 photos in" in capsys.readouterr().err
        assert main(["eval", "--merge", *map(str, folders), "-o", str(out)]) == 0
        assert "data:image" not in (out / "report.html").read_text()
        assert evaluate(dataset, out, "--pictures", 1, "--merge", *folders) == 0
        assert (out / "report.html").read_text().count("data:image") == 4
        assert evaluate(dataset, out, "--merge", *folders, "--precision", "int8") == 1
        assert 'expected an evaluation with model.precision "int8", got one with "fp32"' in capsys.readouterr().err
    assert (out / "scores.json").read_bytes() == (plain / "scores.json").read_bytes()


def test_finished_evaluations_side_by_side(dataset: Path, plain: Path, tmp_path: Path, capsys: Any) -> None:
    other, out = tmp_path / "int8", tmp_path / "both"
    assert evaluate(dataset, other, "--prompts", "box", "--measures", "f", "--pictures", 0, "--precision", "int8") == 0
    capsys.readouterr()
    assert main(["eval", "--side-by-side", str(plain), str(other), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    found = json.loads((out / "comparison.json").read_text())
    assert [run["name"] for run in found["runs"]] == ["out", "int8"]
    assert found["settings"]["model.precision"] == ["fp32", "int8"]
    assert found["settings"]["prompts.clicks.clicks"] == [2, None]
    assert not [name for name in found["settings"] if name.startswith(("photos", "evsam"))]
    ious = [scores(folder)["tables"]["three"]["box"]["mean"]["IoU"]["all"] for folder in (plain, other)]
    assert ious[0] != ious[1]
    box = found["tables"]["three"]["box"]["mean"]
    assert box["IoU"]["all"] == {"values": ious, "differences": [ious[1] - ious[0]]}
    assert box["objects"]["all"] == {"values": [5, 5], "differences": [0]}
    assert box["F"]["all"]["values"][0] is None
    assert box["F"]["all"]["differences"] == [None]
    assert found["tables"]["three"]["clicks"]["curve"]["IoU"]["1"]["values"][1] is None
    text = (out / "comparison.md").read_text()
    assert text.rstrip() in said
    assert "| | out | int8 | int8 - out |" in text
    assert f"| IoU, all | {ious[0]:.3f} | {ious[1]:.3f} | {ious[1] - ious[0]:+.3f} |" in text
    assert "| objects, all | 5 | 5 | 0 |" in text
    assert "| model.precision | fp32 | int8 |" in text
    assert "| F, all | – |" in text
    three = [str(folder) for folder in (plain, other / "scores.json", plain.parent / "." / "out")]
    assert main(["eval", "--side-by-side", *three[:2], "-o", str(out)]) == 0
    assert "| | out | scores.json | scores.json - out |" in (out / "comparison.md").read_text()
    assert main(["eval", "--side-by-side", *three, "-o", str(out)]) == 1
    assert "runs: expected each once, got" in capsys.readouterr().err


def test_only_scores_of_the_same_photos_are_compared(dataset: Path, plain: Path, tmp_path: Path, capsys: Any) -> None:
    few = tmp_path / "few"
    assert evaluate(dataset, few, "--prompts", "ellipse", "--limit", 2, "--pictures", 0) == 0
    assert main(["eval", "--side-by-side", str(plain), str(few), "-o", str(tmp_path / "both")]) == 1
    error = capsys.readouterr().err
    assert "few/scores.json: expected an evaluation with photos.limit none, got one with 2; scores of other" in error
    none = tmp_path / "none"
    assert evaluate(dataset, none, "--prompts", "ellipse", "--pictures", 0) == 0
    assert main(["eval", "--side-by-side", str(plain), str(none), "-o", str(tmp_path / "both")]) == 1
    assert "runs: expected some scores in all of out, none, got none" in capsys.readouterr().err
    assert not (tmp_path / "both").exists()


def _without(*keys: str) -> Callable[[Any], None]:
    """Takes an entry out of a document."""

    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        del document[keys[-1]]

    return change


def _with(value: Any, *keys: str) -> Callable[[Any], None]:
    """Puts a value into a document."""

    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("settings", "photos"), "expected settings.photos, an object, as evsam eval writes it, got none"),
        (_without("settings", "photos", "limit"), "expected settings.photos.limit, a whole number or null, as"),
        (_with("3", "settings", "photos", "every_nth"), "settings.photos.every_nth, a whole number, as evsam eval"),
        (_with([], "settings", "photos", "sets", "three"), "set three: expected photos, a whole number, as"),
        (_without("settings", "model", "weights"), "expected settings.model.weights, a text or an object, as"),
        (_without("given", "protocol"), "expected given.protocol, a text, as evsam eval writes it, got none"),
        (
            _with({"box": {"size": 3}}, "settings", "prompts"),
            "expected prompts and categories as this version of evsam",
        ),
        (_with({"line": {}}, "settings", "prompts"), "expected prompts and categories as this version of evsam"),
        (_with(None, "settings", "prompts", "box"), "expected prompts and categories as this version of evsam"),
        (_with({"three": [3]}, "given", "categories"), "expected prompts and categories as this version of evsam"),
    ],
)
def test_damaged_settings_are_named(
    change: Callable[[Any], None], message: str, plain: Path, tmp_path: Path, capsys: Any
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(plain, copy)
    document = json.loads((copy / "settings.json").read_text())
    change(document)
    (copy / "settings.json").write_text(json.dumps(document))
    assert main(["eval", "--merge", str(copy), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert str(copy) in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected the folder of a finished evaluation, with its scores.json, got No such file"),
        ("{", "scores.json: expected json, got a damaged file"),
        ("[]", "scores.json: expected given.model, a text, as evsam eval writes it, got none"),
        (_without("tables"), "scores.json: expected tables, an object, as evsam eval writes it, got none"),
        (_with(3, "tables", "three", "box"), "scores.json: expected a table in three: box, got 3"),
        (
            _with("high", "tables", "three", "box", "mean", "IoU", "all"),
            "scores.json: expected a number in three: box: mean: IoU: all, got 'high'",
        ),
        (_with(float("nan"), "tables", "three", "box", "mean", "IoU", "all"), "mean: IoU: all, got nan"),
        (_with("0.0.9", "settings", "photos", "sets"), "expected an evaluation with photos.sets"),
    ],
)
def test_damaged_scores_are_named(content: Any, message: str, plain: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    if callable(content):
        document = scores(plain)
        content(document)
        content = json.dumps(document)
    if content is not None:
        (copy / "scores.json").write_text(content)
    assert main(["eval", "--side-by-side", str(plain), str(copy), "-o", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err


def test_damaged_lines_are_named_where_their_photos_are_missing(plain: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(plain, copy)
    (path,) = copy.glob("rows-*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:50] + b"\n", lines[2]]))
    assert main(["eval", "--merge", str(copy), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert f"expected all 3 photos in {copy}, got 2" in error
    assert f"damaged: {path} line 2" in error


def test_a_finished_evaluation_is_not_computed_again(
    dataset: Path, plain: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    before = (plain / "scores.json").read_bytes()
    monkeypatch.setattr("evsam.cli.eval.open_model", pytest.fail)
    assert evaluate(dataset, plain, "--clicks", 2, "--pictures", 0) == 0
    assert (plain / "scores.json").read_bytes() == before
    assert evaluate(dataset, plain, "--clicks", 3) == 1
    assert "expected an evaluation with prompts.clicks.clicks 3, got one with 2" in capsys.readouterr().err


def test_another_model_is_refused(dataset: Path, plain: Path, seeded_file: Callable[..., Path], capsys: Any) -> None:
    assert evaluate(dataset, plain, "--clicks", 2, model=seeded_file("nano")) == 1
    assert re.search(r"expected an evaluation with model\.weights \"\w+\", got one with", capsys.readouterr().err)


def test_the_papers_numbers_stand_beside_those_of_its_protocol(dataset: Path, tmp_path: Path) -> None:
    arguments = ("--annotations", dataset / "instances_val2017.json", "--clicks", 1, "--pictures", 0)
    folder = dataset / "val" / "three"
    assert evaluate(folder, tmp_path / "paper", *arguments, "--protocol", "paper") == 0
    assert evaluate(folder, tmp_path / "other", *arguments) == 0
    text = (tmp_path / "paper" / "scores.md").read_text()
    value = scores(tmp_path / "paper")["tables"]["instances_val2017"]["box"]["mean"]["IoU"]["all"]
    assert f"| this evaluation | {100 * value:.1f} |" in text
    assert "| xl1 | 79.9 | 75.8 |" in text
    assert "| SAM ViT-H | 77.4 | – |" in text
    assert "published" not in (tmp_path / "other" / "scores.md").read_text()


@pytest.mark.parametrize("option", [("--masks", "one"), ("--sizes", "coco"), ("--stop-at", 0.9), ("--max-dets", 10)])
def test_the_papers_numbers_do_not_stand_beside_others(
    option: tuple[str, object], dataset: Path, tmp_path: Path
) -> None:
    arguments = ("--annotations", dataset / "instances_val2017.json", "--prompts", "ellipse", "box", "--pictures", 0)
    assert evaluate(dataset / "val" / "three", tmp_path, *arguments, "--protocol", "paper", *option) == 0
    assert scores(tmp_path)["given"]["protocol"] == f"paper, but for {option[0]}"
    assert "published" not in (tmp_path / "scores.md").read_text()


def test_the_paper_counts_crowds_of_photos_without_objects(dataset: Path, tmp_path: Path) -> None:
    document = json.loads((dataset / "instances_val2017.json").read_text())
    for one in document["annotations"]:
        one["iscrowd"] = int(one["image_id"] == 1)
    path = tmp_path / "crowds.json"
    path.write_text(json.dumps(document))
    counted = {}
    for protocol in ("paper", "evsam"):
        arguments = ("--annotations", path, "--prompts", "ellipse", "--pictures", 0, "--protocol", protocol)
        assert evaluate(dataset / "val" / "three", tmp_path / protocol, *arguments) == 0
        counted[protocol] = scores(tmp_path / protocol)["tables"]["crowds"]["ellipse"]["mean"]["objects"]["all"]
    assert counted == {"paper": 5, "evsam": 4}


def test_boxes_of_a_detector_are_scored_by_average_precision(dataset: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("pycocotools")
    annotations = json.loads((dataset / "instances_val2017.json").read_text())["annotations"]
    results = [{key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9} for one in annotations]
    file = tmp_path / "coco_vitdet.json"
    file.write_text(json.dumps(results))
    arguments = ("--annotations", dataset / "instances_val2017.json", "--prompts", "detections", "--protocol", "paper")
    folder, out = dataset / "val" / "three", tmp_path / "out"
    assert evaluate(folder, out, *arguments, "--detections", file) == 0
    table = scores(out)["tables"]["instances_val2017"]["detections"]["AP"]
    assert table["boxes"]["AP"] == 1, "the true boxes"
    assert 0 < table["masks"]["AP"] < 1
    text = (out / "scores.md").read_text()
    assert f"| this evaluation | {100 * table['masks']['AP']:.1f} |" in text
    assert "| l0 | 45.7 |" in text
    parts = [tmp_path / part for part in "12"]
    for index, part in enumerate(parts, 1):
        assert evaluate(folder, part, *arguments, "--detections", file, "--part", f"{index}/2") == 0
    assert main(["eval", "--merge", *map(str, parts), "-o", str(tmp_path / "merged")]) == 0
    assert (tmp_path / "merged" / "scores.json").read_bytes() == (out / "scores.json").read_bytes()
    file.write_text(json.dumps([{**one, "image_id": 99} for one in results]))
    assert evaluate(folder, tmp_path / "other", *arguments, "--detections", file) == 1
    assert "expected results for these photos, got none" in capsys.readouterr().err
    file.write_text(json.dumps(results[:2]))
    assert evaluate(folder, out, *arguments, "--detections", file) == 1
    assert "expected an evaluation with prompts.detections.file" in capsys.readouterr().err


def test_sets_of_exports_have_detections_each_and_a_mean(dataset: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("pycocotools")
    document = json.loads((dataset / "instances_val2017.json").read_text())
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    for name in ("Cats", "Cups"):
        folder = tmp_path / "sets" / name / "valid"
        shutil.copytree(dataset / "val" / "three", folder)
        (folder / "_annotations.coco.json").write_text(json.dumps(document))
        kept = document["annotations"][:: 1 if name == "Cats" else 2]
        results = [{key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9} for one in kept]
        (boxes / f"{name}.json").write_text(json.dumps(results))
    arguments = ("--kind", "sginw", "--prompts", "detections", "--detections", boxes)
    assert evaluate(tmp_path / "sets", tmp_path / "out", *arguments) == 0
    found = {name: of["detections"]["AP"]["boxes"]["AP"] for name, of in scores(tmp_path / "out")["tables"].items()}
    assert found["Cats"] == 1 > found["Cups"] > 0.5
    assert f"{sum(found.values()) / 2:.3f} |" in (tmp_path / "out" / "scores.md").read_text().split("mean of sets")[1]
    (boxes / "Cups.json").unlink()
    assert evaluate(tmp_path / "sets", tmp_path / "other", *arguments) == 1
    assert "Cups.json: cannot be read" in capsys.readouterr().err


def test_fidelity_compares_two_models(
    dataset: Path, seeded_file: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    arguments = ("--prompts", "fidelity", "blank-box", "--limit", 2)
    assert evaluate(dataset, tmp_path / "same", *arguments, "--compare", "nano") == 0
    tables = scores(tmp_path / "same")["tables"]["three"]
    assert tables["fidelity"]["mean"]["IoU of both, boxes"]["all"] == 1
    assert tables["fidelity"]["embedding"]["features"] == {"L2": 0, "L2 / norm": 0, "cosine": 1, "least cosine": 1}
    assert tables["blank-box"]["mean"]["IoU"]["all"] < 0.75
    assert evaluate(dataset, tmp_path / "int8", *arguments, "--precision", "int8", "--compare", "nano") == 0
    assert 0.9 < scores(tmp_path / "int8")["tables"]["three"]["fidelity"]["embedding"]["features"]["cosine"] < 1
    other = seeded_file("nano")
    assert evaluate(dataset, tmp_path / "other", *arguments, "--compare", other) == 0
    assert scores(tmp_path / "other")["tables"]["three"]["fidelity"]["embedding"]["features"]["cosine"] < 0.9
    assert evaluate(dataset, tmp_path / "same", *arguments, "--compare", other) == 1
    assert "expected an evaluation with prompts.fidelity.file.weights" in capsys.readouterr().err


def test_a_folder_that_is_no_model_is_named_before_anything_is_written(
    dataset: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "model").mkdir()
    assert evaluate(dataset, tmp_path / "out", model=tmp_path / "model") == 1
    assert str(tmp_path / "model") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_photos_that_cannot_be_used_are_listed(dataset: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "data"
    shutil.copytree(dataset, copy)
    (copy / "val" / "three" / "cup.png").write_bytes(b"no photo")
    out = tmp_path / "out"
    arguments = ("--prompts", "box", "--pictures", 0)
    assert evaluate(copy, out, *arguments) == 1
    error = capsys.readouterr().err
    assert "three: cup.png: left out: cannot be read as a photo" in error
    assert "expected at most 5.0% of 3 photos that cannot be used, got 1; the first: set three, cup.png" in error
    assert not (out / "scores.json").exists()
    assert evaluate(copy, out, *arguments, "--max-broken", 0.5) == 1
    assert "1 of 3 photos were left out" in capsys.readouterr().err
    assert [one["photo"] for one in scores(out)["broken"]] == ["cup.png"]
    assert "Photos that could not be used (1)" in (out / "report.html").read_text()
    shutil.copy(dataset / "val" / "three" / "cup.png", copy / "val" / "three" / "cup.png")
    assert evaluate(copy, out, *arguments) == 0
    assert scores(out)["photos"] == {"scored": 3, "broken": 0}


@pytest.mark.parametrize(
    ("rank", "world", "message"),
    [
        ("a", "2", "RANK of the environment: expected a whole number from 0 to 1, got a"),
        ("2", "2", "RANK of the environment: expected a whole number from 0 to 1, got 2"),
        ("0", "0", "WORLD_SIZE of the environment: expected a whole number from 1 to"),
    ],
)
def test_an_environment_that_is_not_torchruns(
    rank: str, world: str, message: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    assert evaluate(dataset, tmp_path / "out") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names of bytes that are no text")
def test_names_that_are_no_text(dataset: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    for folder in ("images", "masks"):
        (tmp_path / name / folder).mkdir(parents=True)
    shutil.copy(dataset / "val" / "three" / "cup.png", tmp_path / name / "images" / f"{name}.png")
    Image.fromarray(OBJECTS["cup.png"][0]).save(tmp_path / name / "masks" / f"{name}.png")
    (tmp_path / name / "images" / f"{name}2.png").write_bytes(b"no photo")
    shutil.copy(tmp_path / name / "masks" / f"{name}.png", tmp_path / name / "masks" / f"{name}2.png")
    out = tmp_path / "out"
    assert evaluate(tmp_path / name, out, "--prompts", "ellipse", "box", "--max-broken", 0.5) == 1
    assert scores(out)["photos"] == {"scored": 1, "broken": 1}
    assert r"caf\udce9.png, object 0" in (out / "report.html").read_text()
    assert scores(out)["broken"][0]["photo"] == f"{name}2.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nano"], "give a model and its data"),
        (["nano", "DATA", "--ignore", "edge"], "argument --ignore: expected a whole number from 0 to"),
        (["nano", "DATA", "--prompts", "detections"], "--prompts detections needs --detections"),
        (["nano", "--merge", "a"], "--merge: give the model and its data, for pictures, or neither"),
        (["--side-by-side", "a"], "--side-by-side: expected the folders of two evaluations at least, got one"),
        (["nano", "DATA", "--side-by-side", "a", "b"], "--side-by-side: expected no MODEL"),
        (["nano", "DATA", "--compare", "l0"], "--compare is of --prompts fidelity"),
        (["nano", "DATA", "--prompts", "box", "box"], "--prompts: expected each once"),
        (["nano", "DATA", "--crop-n-layers", "7"], "argument --crop-n-layers: expected a whole number from 0 to 6"),
        (["nano", "DATA", "--part", "5/4"], "expected a part such as 1/4, got 5/4"),
        (["nano", "DATA", "--prompts", "boxes"], "unknown 'boxes'; did you mean box?"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], message: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["eval", *arguments, "-o", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_data_that_is_not_there_is_named_before_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("evsam.cli.eval.open_model", pytest.fail)
    assert evaluate(tmp_path, tmp_path / "out") == 1
    assert "expected a folder of photos with annotations" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="folders that may not be written to")
def test_a_file_in_place_of_the_folder_is_an_error(dataset: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "out").write_text("")
    assert evaluate(dataset, tmp_path / "out") == 1
    assert "expected a folder to write to, got a file" in capsys.readouterr().err
