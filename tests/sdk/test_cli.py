from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam import WeightsError, cli, engines, info
from evsam.cli import info as info_command
from evsam.cli import predict as predict_command
from evsam.cli.parser import make_parser
from evsam.rle import decode_rle
from evsam.zoo import VARIANTS, get_variant


@pytest.fixture
def photo_file(image, tmp_path) -> Path:
    Image.fromarray(image).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def predict(photo_file, seeded_file, tmp_path):
    """Runs `evsam predict` and returns the JSON document."""

    def run(*arguments: object) -> dict[str, Any]:
        command = [
            "predict",
            photo_file,
            "--model",
            seeded_file("nano"),
            "--threads",
            1,
            "--json",
            tmp_path / "out.json",
        ]
        assert cli.main([str(a) for a in (*command, *arguments)]) == 0
        return json.loads((tmp_path / "out.json").read_text())

    return run


def failure(capsys, *arguments: object) -> str:
    assert cli.main([str(a) for a in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("evsam: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("one_calibration_image")
def test_warnings_are_a_line(capsys, monkeypatch, photo_file, seeded_file, tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    native = replace(engines.ENGINES["native"], precisions=("fp32",))
    monkeypatch.setattr(engines, "ENGINES", MappingProxyType({**engines.ENGINES, "native": native}))
    arguments = ["predict", photo_file, "--model", seeded_file("nano"), "--threads", 1, "--point", 9, 9]
    assert cli.main([*map(str, arguments), "--precision", "fp16", "--json", str(tmp_path / "out.json")]) == 0
    assert capsys.readouterr().err == (
        "evsam: warning: engine: native has no fp16 on cpu, onnxruntime computes instead; "
        "give engine='onnxruntime' to take it without this warning\n"
    )


def usage_error(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(a) for a in arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


class TestPredict:
    def test_box(self, predict, sam, image, tmp_path, capsys) -> None:
        document = predict("--box", 20, 10, 90, 70, "-o", tmp_path / "out.png")
        result = sam.predict(image, box=(20, 10, 90, 70))
        assert (document["height"], document["width"], document["variant"]) == (80, 120, "nano")
        assert document["image"] == str(tmp_path / "photo.png")
        (prediction,) = document["predictions"]
        assert prediction["prompt"] == {"box": [20, 10, 90, 70]}
        (mask,) = prediction["masks"]
        decoded = decode_rle(mask["segmentation"])
        assert (decoded == result.masks[0, 0]).mean() > 0.999
        assert mask["area"] == decoded.sum()
        assert mask["score"] == pytest.approx(float(result.scores[0, 0]), abs=1e-3)
        y, x = decoded.nonzero()
        assert mask["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        with Image.open(tmp_path / "out.png") as overlay:
            assert overlay.size == (120, 80)
            drawn = np.asarray(overlay)
        assert (drawn != image).any(-1).sum() >= 0.99 * decoded.sum() > 0
        assert np.mean(drawn == np.asarray(result.overlay(image))) > 0.99  # with the box and the score
        output = capsys.readouterr().out
        assert "mask 1 (box): score" in output
        assert f"wrote {tmp_path / 'out.png'}" in output

    def test_boxes(self, predict) -> None:
        document = predict("--box", 20, 10, 90, 70, "--box", 0, 0, 30, 30)
        assert [p["prompt"]["box"] for p in document["predictions"]] == [[20, 10, 90, 70], [0, 0, 30, 30]]

    def test_points(self, predict, sam, image) -> None:
        (prediction,) = predict("--point", 60, 40, "--negative-point", 5, 5)["predictions"]
        assert prediction["prompt"] == {"points": [[60, 40], [5, 5]], "labels": [1, 0]}
        expected = sam.predict(image, points=[(60, 40), (5, 5)], labels=[1, 0])
        decoded = decode_rle(prediction["masks"][0]["segmentation"])
        assert (decoded == expected.masks[0, 0]).mean() > 0.999

    def test_box_and_points(self, predict) -> None:
        (prediction,) = predict("--box", 20, 10, 90, 70, "--point", 60, 40)["predictions"]
        assert prediction["prompt"] == {"points": [[60, 40]], "labels": [1], "box": [20, 10, 90, 70]}

    @pytest.mark.parametrize("kind", ["1", "L", "P", "0 and 1", "RGB", "soft", "16 bits", "numbers"])
    def test_mask(self, predict, sam, image, tmp_path, kind) -> None:
        mask = np.zeros((80, 120), bool)
        mask[20:60, 30:80] = True
        values: np.ndarray = mask.astype(np.uint8) * (1 if kind in ("P", "0 and 1") else 255)
        if kind == "soft":
            values[20] //= 3  # darker than grey: outside
            mask[20] = False
        if kind == "16 bits":
            values = values.astype(np.uint16) * 257
        if kind == "numbers":  # of many objects, some beyond 8 bits
            values = mask * np.arange(1, 9601, dtype=np.uint16).reshape(mask.shape)
        picture = Image.fromarray(values)
        if kind == "P":
            picture.putpalette([0, 0, 0, 255, 0, 0])
        picture.convert(kind if kind in ("1", "RGB") else picture.mode).save(tmp_path / "mask.png")
        (prediction,) = predict("--mask", tmp_path / "mask.png")["predictions"]
        assert prediction["prompt"] == {"mask": str(tmp_path / "mask.png")}
        expected = sam.predict(image, mask=mask)
        assert prediction["masks"][0]["score"] == pytest.approx(float(expected.scores.max()), abs=1e-3)
        assert (decode_rle(prediction["masks"][0]["segmentation"]) == expected.best()[0]).mean() > 0.999

    def test_mask_with_others(self, predict, tmp_path) -> None:
        Image.new("L", (120, 80), 255).save(tmp_path / "mask.png")
        document = predict("--mask", tmp_path / "mask.png", "--point", 5, 6, "--box", 1, 2, 30, 40)
        (prediction,) = document["predictions"]
        told = {"points": [[5, 6]], "labels": [1], "box": [1, 2, 30, 40], "mask": str(tmp_path / "mask.png")}
        assert prediction["prompt"] == told

    def test_masks_that_are_none(self, capsys, photo_file, seeded_file, tmp_path) -> None:
        command = ("predict", photo_file, "--model", seeded_file("nano"), "--json", tmp_path / "o", "--mask")
        for name, size, colour, message in (
            ("black.png", (120, 80), 0, "expected an image with light pixels for the object, got .*, which is black"),
            ("small.png", (12, 8), 255, r"mask: expected .* of the image of shape \(80, 120\)"),
        ):
            Image.new("L", size, colour).save(tmp_path / name)
            assert re.search(message, failure(capsys, *command, tmp_path / name))
        (tmp_path / "text.png").write_text("no image")
        for name in ("text.png", "missing.png"):
            assert "--mask: expected an image file, got" in failure(capsys, *command, tmp_path / name)
        box = ("--box", 1, 2, 30, 40)
        assert "at most one --box" in usage_error(capsys, "predict", photo_file, *box, *box, "--mask", "m.png")

    @pytest.mark.parametrize(("flag", "masks"), [((), 3), (("--multimask",), 3), (("--no-multimask",), 1)])
    def test_masks_come_best_first(self, predict, flag, masks) -> None:
        (prediction,) = predict("--point", 60, 40, *flag)["predictions"]
        scores = [mask["score"] for mask in prediction["masks"]]
        assert len(scores) == masks
        assert scores == sorted(scores, reverse=True)

    def test_empty_mask(self) -> None:
        entry = predict_command._mask_entry(np.zeros((4, 5), bool), 0.5)
        assert (entry["area"], entry["bbox"]) == (0, [0, 0, 0, 0])

    def test_missing_photo(self, capsys, tmp_path) -> None:
        message = failure(capsys, "predict", tmp_path / "none.jpg", "--point", 1, 1, "-o", tmp_path / "o.png")
        assert "none.jpg" in message
        assert "does not exist" in message

    def test_point_outside(self, capsys, photo_file, seeded_file, tmp_path) -> None:
        output = tmp_path / "o.png"
        message = failure(
            capsys, "predict", photo_file, "--model", seeded_file("nano"), "--point", -5, 1, "-o", output
        )  # fmt: skip
        assert "points: expected 0 <= x < 120" in message
        assert not output.exists()

    def test_unknown_model_and_engine(self, capsys, photo_file, tmp_path) -> None:
        command = ("predict", photo_file, "--point", 1, 1, "-o", tmp_path / "o.png")
        assert "l9: no such file" in failure(capsys, *command, "--model", "l9")
        assert "did you mean nano?" in failure(capsys, *command, "--model", "nanno")
        assert "--engine: unknown 'natve'; did you mean native?" in usage_error(capsys, *command, "--engine", "natve")
        message = usage_error(capsys, *command, "--engine", "warp")
        assert "--engine: unknown 'warp' (expected auto, native" in message

    def test_folder_that_does_not_exist(self, capsys, photo_file, tmp_path) -> None:
        for option in ("-o", "--json"):
            message = failure(capsys, "predict", photo_file, "--point", 1, 1, option, tmp_path / "no" / "out.png")
            assert "expected an existing folder" in message

    @pytest.mark.parametrize("name", ["masks.xyz", "masks.blp", "masks.hdf5", "masks.palm"])
    def test_formats_that_cannot_be_written(self, capsys, monkeypatch, photo_file, tmp_path, name) -> None:
        monkeypatch.setattr("evsam.sam.load", lambda *_, **__: pytest.fail("refused only after the work"))
        message = usage_error(capsys, "predict", photo_file, "--point", 1, 1, "-o", tmp_path / name)
        assert re.search("-o: expected (the name of an image file|a format that holds RGB)", message)

    def test_a_full_disk_leaves_the_old_file(self, capsys, photo_file, seeded_file, tmp_path, monkeypatch) -> None:
        command = ("predict", photo_file, "--point", 1, 1, "--model", seeded_file("nano"))
        for option, name in (("-o", "out.png"), ("--json", "out.json")):
            (tmp_path / name).write_text("old")
            with monkeypatch.context() as patch:
                patch.setattr(Image.Image, "save", _full_disk)
                patch.setattr(Path, "write_text", _full_disk)
                if option == "-o":
                    patch.setattr("evsam.cli.photos.picture_format", lambda _: "PNG")
                message = failure(capsys, *command, option, tmp_path / name)
            assert message == f"evsam: {tmp_path / name}: No space left on device\n"
            assert (tmp_path / name).read_text() == "old"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.png", "photo.png"]

    def test_all_scores_are_told(self, predict, capsys) -> None:
        (prediction,) = predict("--box", 20, 10, 90, 70, "--multimask")["predictions"]
        scores = ", ".join(f"{mask['score']:.3f}" for mask in prediction["masks"])
        assert f"mask 1 (box): scores {scores}; the best has {prediction['masks'][0]['area']} pixels" in (
            capsys.readouterr().out
        )

    def test_json_on_standard_output(self, capsys, photo_file, seeded_file, tmp_path) -> None:
        command = ["predict", photo_file, "--model", seeded_file("nano"), "--point", 60, 40, "--json", "-"]
        assert cli.main([str(a) for a in (*command, "-o", tmp_path / "o.png")]) == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out)["image"] == str(photo_file)
        assert "mask 1 (points): scores" in captured.err
        assert f"wrote {tmp_path / 'o.png'}" in captured.err

    def test_without_an_output_beside_the_photo(self, capsys, photo_file, seeded_file) -> None:
        command = ["predict", str(photo_file), "--model", str(seeded_file("nano")), "--point", "60", "40"]
        assert cli.main(command) == 0
        with Image.open(photo_file.with_name("photo_mask.png")) as overlay:
            assert overlay.size == (120, 80)

    def test_standard_input(self, monkeypatch, photo_file, seeded_file, tmp_path) -> None:
        monkeypatch.chdir(tmp_path)
        with photo_file.open("rb") as file:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
            assert cli.main(["predict", "-", "--model", str(seeded_file("nano")), "--box", "5", "5", "90", "70"]) == 0
        assert (tmp_path / "stdin_mask.png").exists()

    def test_large_and_16_bit_photos(self, capsys, photo_file, seeded_file, tmp_path) -> None:
        command = ["--model", seeded_file("nano"), "--point", 60, 40, "--json", tmp_path / "o.json"]
        message = failure(capsys, "predict", photo_file, *command, "--max-pixels", 80 * 120 - 1)
        assert "expected no more pixels than the limit" in message
        assert "9600 pixels" in message
        deep = tmp_path / "deep.png"
        Image.fromarray(np.arange(9600, dtype=np.uint16).reshape(80, 120)).save(deep)
        assert "--scale-16bit" in failure(capsys, "predict", deep, *command)
        for how in ("full", "stretch"):
            run = [str(a) for a in ("predict", deep, *command, "--max-pixels", 9600, "--scale-16bit", how)]
            assert cli.main(run) == 0


def _full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestManyPhotos:
    @pytest.fixture
    def photos(self, image, tmp_path) -> Path:
        folder = tmp_path / "photos"
        folder.mkdir()
        Image.fromarray(image).save(folder / "a.png")
        Image.fromarray(image[:, ::-1]).save(folder / "b.jpg")
        (folder / "broken.jpg").write_bytes((folder / "b.jpg").read_bytes()[:300])
        (folder / "a_mask.png").write_bytes((folder / "a.png").read_bytes())  # of an earlier call
        (folder / "notes.txt").touch()
        return folder

    @pytest.fixture
    def run(self, seeded_file, capsys):
        def call(*arguments: object, expected: int) -> tuple[str, str]:
            code = cli.main(["predict", *map(str, arguments), "--model", str(seeded_file("nano")), "--threads", "1"])
            captured = capsys.readouterr()
            assert code == expected, captured
            return captured.out, captured.err

        return call

    def test_folder(self, run, photos, tmp_path) -> None:
        out, err = run(
            photos, "--box", 20, 10, 90, 70, "-o", tmp_path / "out", "--json", tmp_path / "o.json", expected=1
        )
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_mask.png", "b_mask.png"]
        documents = json.loads((tmp_path / "o.json").read_text())
        assert [document["image"] for document in documents] == [str(photos / "a.png"), str(photos / "b.jpg")]
        assert len(out.splitlines()) == 3
        assert f"{photos / 'a.png'}: 1 mask, score" in out
        broken, summary = err.splitlines()
        assert broken.startswith(f"evsam: {photos / 'broken.jpg'}: skipped: image: expected")
        assert summary == "evsam: 1 of 3 photos were skipped"

    def test_the_photo_does_not_depend_on_the_others(self, run, photos, predict, tmp_path) -> None:
        run(photos / "a.png", photos / "b.jpg", "--point", 60, 40, "--json", tmp_path / "many.json", expected=0)
        _, second = json.loads((tmp_path / "many.json").read_text())
        run(photos / "b.jpg", "--point", 60, 40, "--json", tmp_path / "one.json", expected=0)
        assert second == json.loads((tmp_path / "one.json").read_text())

    def test_pattern_and_default_outputs(self, run, photos) -> None:
        out, _ = run(photos.parent / "**" / "*.png", "--box", 20, 10, 90, 70, expected=0)
        assert out == f"{photos / 'a.png'}: 1 mask, score {out.split('score ')[1][:5]}, wrote {photos / 'a_mask.png'}\n"

    def test_a_prompt_that_does_not_fit_skips_the_photo(self, run, photos, image, tmp_path) -> None:
        Image.fromarray(image[:30]).save(photos / "c.png")
        _, err = run(photos / "c.png", photos / "a.png", "--point", 60, 40, "--json", tmp_path / "o", expected=1)
        assert "c.png: skipped: points: expected 0 <= x < 120 and 0 <= y < 30" in err

    def test_nothing_that_can_be_read(self, run, photos, monkeypatch) -> None:
        monkeypatch.setattr("evsam.sam.load", lambda *_, **__: pytest.fail("loaded for nothing"))
        _, err = run(photos / "broken.jpg", photos / "no.jpg", "--point", 60, 40, expected=1)
        assert "2 of 2 photos were skipped" in err

    def test_usage(self, capsys, photos, photo_file) -> None:
        a, b, point = photos / "a.png", photos / "b.jpg", ("--point", 1, 1)
        assert "expected a folder for several" in usage_error(capsys, "predict", a, b, *point, "-o", "x.png")
        assert "expected a folder for several" in usage_error(capsys, "predict", a, b, *point, "-o", photo_file)
        assert "unexpected argument" in usage_error(capsys, "predict", a, *point, b)
        (photos / "a.jpg").touch()
        message = failure(capsys, "predict", a, photos / "a.jpg", *point)
        assert f"expected a file for each photo, got {photos / 'a_mask.png'} for {a} and {photos / 'a.jpg'}" in message
        (photos / "empty").mkdir()
        assert "which has none" in failure(capsys, "predict", photos / "empty", *point)
        assert "fits none" in failure(capsys, "predict", photos / "*.bmp", *point)

    def test_progress_bar_only_on_a_terminal(self, run, photos, monkeypatch, tmp_path) -> None:
        command = (photos / "a.png", photos / "b.jpg", "--point", 60, 40, "--json", tmp_path / "o.json")
        assert run(*command, expected=0)[1] == ""
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        _, err = run(*command, expected=0)
        assert re.search(r"\r\x1b\[K\[#{12}-{12}\] 1/2, 0:\d\d left  b.jpg", err)
        assert err.endswith("\r\x1b[K")

    def test_own_prompts(self, run, photos, tmp_path) -> None:
        boxes = [[20, 10, 90, 70], [0, 0, 30, 30]]
        entries = {"a.png": {"boxes": boxes}, "photos/b.jpg": {"points": [[60, 40]], "labels": [1]}}
        (tmp_path / "prompts.json").write_text(json.dumps(entries))
        run(photos, "--prompts", tmp_path / "prompts.json", "--json", tmp_path / "o.json", expected=1)
        first, second = json.loads((tmp_path / "o.json").read_text())
        assert [entry["prompt"] for entry in first["predictions"]] == [{"box": box} for box in boxes]
        assert [entry["prompt"] for entry in second["predictions"]] == [entries["photos/b.jpg"]]
        run(photos / "a.png", *("--box", *boxes[0], "--box", *boxes[1]), "--json", tmp_path / "one.json", expected=0)
        assert first == json.loads((tmp_path / "one.json").read_text())

    def test_prompts_are_told_one_by_one(self, run, photos, image, sam, tmp_path) -> None:
        boxes, points = [[20, 10, 90, 70], [0, 0, 30, 30]], [[[60, 40]], [[10, 9], [5, 6]]]
        entries = {"a.png": {"boxes": boxes, "points": points, "labels": None, "box": None}}
        file = tmp_path / "prompts.json"
        for content in ({"a.png": {"points": points, "labels": None, "boxes": None}}, entries):
            for encoding in ("utf-8", "utf-8-sig", "utf-16"):  # as editors on Windows write them
                file.write_text(json.dumps(content), encoding=encoding)
                run(photos / "a.png", "--prompts", file, "--json", tmp_path / "o.json", expected=0)
                predictions = json.loads((tmp_path / "o.json").read_text())["predictions"]
                assert [entry["prompt"].pop("points") for entry in predictions] == points
        assert [entry["prompt"] for entry in predictions] == [{"box": box} for box in boxes]
        expected = sam.predict(image, boxes=boxes, points=points)
        assert [entry["masks"][0]["area"] for entry in predictions] == expected.areas.tolist()

    def test_prompts_of_coco(self, run, photos, tmp_path) -> None:
        coco = {
            "images": [{"id": 1, "file_name": "photos\\a.png"}, {"id": "2", "file_name": "photos/b.jpg"}],
            "annotations": [
                {"image_id": "1", "bbox": [20, 10, 70, 60]},
                {"image_id": 1, "bbox": [0, 0, 0, 5]},
                {"image_id": 7, "bbox": [0, 0, 5, 5]},
                {"image_id": 1},
            ],
        }
        (tmp_path / "coco.json").write_text(json.dumps(coco))
        out, err = run("--prompts", tmp_path / "coco.json", "--json", tmp_path / "o.json", expected=0)
        first, second = json.loads((tmp_path / "o.json").read_text())
        assert first["image"] == str(photos / "a.png")
        assert [entry["prompt"] for entry in first["predictions"]] == [{"box": [20, 10, 90, 70]}]
        assert second["predictions"] == []
        assert f"{photos / 'b.jpg'}: no prompts" in out
        assert "3 annotations have no photo or no box" in err

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[]", "which holds no names of photos"),
            ("{}", "which has no photos"),
            ("{", "which is damaged"),
            ("[" * 100_000, "which is damaged"),
            ('{"a.png": {"boxs": []}}', "got 'boxs'; did you mean box"),
            ('{"a.png": {"box": null}}', "expected an object with box, boxes, points, labels for 'a.png', got {'box'"),
            ('{"a.png": []}', "expected an object with box, boxes, points, labels for 'a.png', got []"),
            ('{"images": [{"id": 1}], "annotations": []}', "looks like COCO's form, but is not"),
            ('{"images": 3, "annotations": []}', "looks like COCO's form, but is not"),
        ],
    )
    def test_prompt_files_that_are_none(self, run, photos, tmp_path, content, message) -> None:
        (tmp_path / "prompts.json").write_text(content)
        _, err = run(photos / "a.png", "--prompts", tmp_path / "prompts.json", expected=1)
        assert err.count("\n") == 1
        assert message in err

    @pytest.mark.parametrize(
        "entry", [{"boxes": [["a"]]}, {"box": {}}, {"points": [[1, 2]], "labels": [[[]]]}, {"box": 1}]
    )
    def test_prompts_that_cannot_be_meant(self, run, photos, tmp_path, entry) -> None:
        (tmp_path / "prompts.json").write_text(json.dumps({"a.png": entry}))
        _, err = run(photos / "a.png", "--prompts", tmp_path / "prompts.json", expected=1)
        assert "expected" in err


ODD = ("nan", "inf", "-inf", "-1", "1e400", str(10**30), str(2**70), "", "x", "1_0_x", "\0", "0x10")
"""Values that no numeric option takes."""

TEXTUAL = ("--name",)
"""Options with a type of their own that are no numbers."""

NUMERIC = [
    (command, option)
    for command, parser in make_parser()[1].items()
    for action in parser._actions
    if action.type is not None and action.type is not Path
    for option in action.option_strings[:1]
    if option not in TEXTUAL
]

NEGATIVE = ("--box", "--point", "--points", "--negative-point", "--pred-iou-thresh", "--stability-score-thresh")
"""Options that take -1: coordinates, and thresholds that let everything pass."""

OUT_OF_RANGE = [(*row, value) for row in NUMERIC for value in ODD if not (value == "-1" and row[1] in NEGATIVE)]

MANDATORY = {
    "predict": ["photo.png"],
    "everything": ["photo.png"],
    "embed": ["photo.png", "--out", "folder"],
    "track": ["video.mp4"],
    "export": ["nano", "--format", "onnx", "-o", "folder"],
    "convert": ["nano", "x.safetensors"],
}


class TestUsage:
    def test_numeric_options_are_known(self) -> None:
        assert {"--threads", "--box", "--point", "--max-pixels", "--seconds", "--photos", "--headroom"} <= {
            option for _, option in NUMERIC
        }

    @pytest.mark.parametrize(("command", "option", "value"), OUT_OF_RANGE)
    def test_numbers_out_of_range(self, capsys, command, option, value) -> None:
        nargs = next(a.nargs for a in make_parser()[1][command]._actions if option in a.option_strings)
        given = [option, value, *["1"] * (nargs - 1 if isinstance(nargs, int) else 0)]
        message = usage_error(capsys, command, *MANDATORY.get(command, []), *given)
        assert f"{option.lstrip('-')}" in message
        assert "expected" in message

    @pytest.mark.parametrize(
        "value", ["", "\0", "a\0b.png", "x" * 5000, "~nobody/x", "/dev/null", "\udcff", "-", "[", "\n"]
    )
    @pytest.mark.parametrize("command", list(make_parser()[1]))
    def test_odd_names(self, capsys, monkeypatch, photo_file, tmp_path, command, value) -> None:
        """Whatever a name is, an error of evsam's, or none; models are not loaded."""

        def refuse(*_: object, **__: object) -> None:
            raise WeightsError("here the work would begin")

        monkeypatch.chdir(tmp_path)
        work = ("sam.load", "weights.load_weights", "weights.convert", "weights.download", "selftest.cpu.selftest_cpu")
        for place in work:
            monkeypatch.setattr(f"evsam.{place}", refuse)
        parser = make_parser()[1][command]
        fixed = [*MANDATORY.get(command, []), *(["--point", "1", "1"] if command == "predict" else [])]
        named = [action for action in parser._actions if action.type is None or action.type is Path]
        for action in (action for action in named if action.nargs != 0 and action.dest != "multimask"):
            given = [action.option_strings[0], value] if action.option_strings else [value]
            code: object
            try:
                code = cli.main([command, *fixed, *given] if action.option_strings else [command, *given, *fixed[1:]])
            except SystemExit as error:
                code = error.code
            assert code in (0, 1, 2)
            if value in ("", "\0"):
                assert code == 2
        assert "Traceback" not in capsys.readouterr().err

    def test_predict(self, capsys, photo_file, tmp_path) -> None:
        output = ("-o", tmp_path / "o.png")
        box = ("--box", 1, 2, 30, 40)
        assert "give at least one --box or --point" in usage_error(capsys, "predict", photo_file, *output)
        assert "at most one --box" in usage_error(capsys, "predict", photo_file, *box, *box, "--point", 1, 1, *output)
        assert "give a photo" in usage_error(capsys, "predict", *box)
        assert "--prompts has the prompts" in usage_error(capsys, "predict", photo_file, *box, "--prompts", "x.json")
        assert "x.json (No such file" in failure(capsys, "predict", photo_file, "--prompts", "x.json")
        assert "expected 4 arguments" in usage_error(capsys, "predict", photo_file, "--box", 1, 2, *output)

    def test_messages_are_short_and_say_what_was_meant(self, capsys) -> None:
        for arguments, meant in (
            (["predictt"], "argument COMMAND: unknown 'predictt'; did you mean predict?"),
            (["predict", "x", "--bx", "1"], "unknown option --bx; did you mean --box?"),
            (["export", "nano", "--formt", "onnx"], "unknown option --formt; did you mean --format?"),
            (["export", "nano", "--format", "onx"], "unknown 'onx'; did you mean onnx?"),
            (["--verson"], "unknown option --verson; did you mean --version?"),
            (["download", "nan"], "unknown 'nan'; did you mean nano?"),
            (["download", "l7"], "unknown 'l7' (expected nano, l0, l1"),
            (["completion", "bsh"], "unknown 'bsh'; did you mean bash?"),
            (["info", "more"], "unexpected argument 'more'"),
        ):
            message = usage_error(capsys, *arguments)
            assert meant in message
            assert message.count("\n") == 2
            assert "--help says how to use it" in message

    def test_no_command(self, capsys) -> None:
        assert cli.main([]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert all(name in captured.err for name in ("predict", "completion", "--version", "examples:"))

    def test_values_that_begin_with_a_dash(self, predict) -> None:
        document = predict("--box", "-1e1", "-5", 90, 70)
        assert document["predictions"][0]["prompt"] == {"box": [-10, -5, 90, 70]}


class TestInfo:
    def test_text(self, capsys) -> None:
        assert cli.main(["info"]) == 0
        output = capsys.readouterr().out
        for name in (*VARIANTS, "torch", "numpy", f"evsam {version('evsam')}"):
            assert name in output

    def test_json(self, capsys) -> None:
        assert cli.main(["info", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert [v["name"] for v in document["variants"]] == list(VARIANTS)
        assert document["variants"][1]["image_size"] == 512
        assert document["cpu"]["cpus"] >= 1
        (chosen,) = (k for k in document["cpu"]["kernels"] if k["isa"] == document["cpu"]["isa"])
        assert chosen["supported"]
        assert {"conv3x3", "lite_mla", "two_way_attention"} <= set(chosen["ops"])
        assert document["cpu"]["kernels"][0]["isa"] == "scalar"
        assert document["packages"]["numpy"] == version("numpy")

    def test_cuda(self, capsys, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "evsam._cuda", None)
        assert info.cuda() == {
            "kernels": 0,
            "devices": [],
            "problem": "not in this build: needs -C cmake.define.EVSAM_CUDA=ON",
        }
        module = SimpleNamespace(
            kernels=lambda: [{}] * 3,
            device_count=lambda: 2,
            device_name=lambda index: f"GPU {index}",
            driver_error=lambda: None,
        )
        monkeypatch.setitem(sys.modules, "evsam._cuda", module)
        assert info.cuda() == {"kernels": 3, "devices": ["GPU 0", "GPU 1"], "problem": None}
        assert cli.main(["info"]) == 0
        assert "CUDA     GPU 0, GPU 1\nkernels  3\n" in capsys.readouterr().out

    def test_engine_that_is_not_installed(self, capsys, monkeypatch) -> None:
        from evsam import engines

        absent = engines.EngineInfo(
            name="warp", module="evsam.engines.warp", summary="", requires=("no_such_package",), extra="warp"
        )
        monkeypatch.setattr(info, "ENGINES", {"warp": absent})
        assert cli.main(["info"]) == 0
        assert "warp         not installed: pip install 'evsam[warp]'" in capsys.readouterr().out

    def test_whereabouts(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("EVSAM_CACHE", str(tmp_path))
        l0 = get_variant("l0")
        assert info.whereabouts(l0) == "hub"
        (tmp_path / "l0.safetensors").touch()
        assert info.whereabouts(l0) == "cached"
        monkeypatch.setattr(info, "bundled", lambda _: tmp_path)
        assert info.whereabouts(l0) == "bundled"
        monkeypatch.setattr(info, "bundled", lambda _: None)
        assert info.whereabouts(get_variant("nano")) == "missing"


class TestWeights:
    def test_convert(self, capsys, seeded_file, tmp_path) -> None:
        target = tmp_path / "half.safetensors"
        assert cli.main(["convert", str(seeded_file("nano")), str(target), "--dtype", "float16"]) == 0
        assert f"wrote {target}: nano" in capsys.readouterr().out
        assert target.stat().st_size < 0.6 * seeded_file("nano").stat().st_size

    def test_convert_the_wrong_variant(self, capsys, seeded_file, tmp_path) -> None:
        message = failure(capsys, "convert", seeded_file("nano"), tmp_path / "x.safetensors", "--variant", "l0")
        assert "nano" in message

    def test_download(self, capsys, monkeypatch) -> None:
        from evsam import weights

        monkeypatch.setattr(weights, "download", lambda variant: Path(f"/somewhere/{variant}.pt"))
        assert cli.main(["download", "l0"]) == 0
        assert capsys.readouterr().out == "/somewhere/l0.pt\n"


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"evsam {version('evsam')}\n"


def test_interrupt(monkeypatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(info_command, "run", interrupt)
    assert cli.main(["info"]) == 130


def test_errors_take_one_line(monkeypatch, capsys) -> None:
    def fail(_: object) -> None:
        raise OSError("first\n  second")

    monkeypatch.setattr(info_command, "run", fail)
    assert failure(capsys, "info") == "evsam: first second\n"


def test_module_runs_as_a_program(tmp_path) -> None:
    command = [
        sys.executable,
        "-m",
        "evsam",
        "predict",
        tmp_path / "none.png",
        "--point",
        "1",
        "1",
        "--json",
        tmp_path / "o",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "none.png" in done.stderr
    assert "Traceback" not in done.stderr


class TestPipes:
    def test_a_reader_that_stops_is_no_error(self) -> None:
        for arguments in ("info", "--help", "predict --help", "completion bash"):
            command = f"{sys.executable} -m evsam {arguments} | head -1 >{os.devnull}; exit ${{PIPESTATUS[0]}}"
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")

    def test_closed_and_full_streams(self) -> None:
        for redirection, code, message in (
            (">&-", 0, ""),
            ("2>&-", 0, ""),
            (">/dev/full", 1, "evsam: standard output: No space left on device\n"),
        ):
            command = f"{sys.executable} -m evsam info {redirection}"
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (code, message)

    def test_names_that_the_terminal_cannot_show(self, tmp_path) -> None:
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        command = [sys.executable, "-m", "evsam", "predict", "m\xfcll.png", "--point", "1", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        assert done.returncode == 1
        assert "m\\xfcll.png" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What is started here takes SIGINT, also where a shell runs the tests in the background, which ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("start", ["-m", "-c"])
def test_interrupt_while_it_starts(start, interruptible) -> None:
    """By Python's own start-up, a signal ends it too; from evsam's first line on, it is the exit code alone."""
    what = "evsam" if start == "-m" else "import sys; from evsam.cli import main; sys.exit(main())"
    marked = [sys.executable, "-X", "importtime", start, what, "predict", "-", "--point", "1", "1"]
    for module in ("evsam.errors", "numpy.linalg", "evsam.engines.base", "evsam.cli.photos"):
        with subprocess.Popen(marked, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if line.split("|")[-1].strip() == module:
                    process.send_signal(signal.SIGINT)
                    process.stdin.close()  # what does not stop ends by itself
            assert process.wait() == 130, "".join(lines)[-3000:]
        assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize("start", [["-m", "start"], ["start.py"]])
def test_interrupt_in_code_made_from_a_string(start, tmp_path) -> None:
    (tmp_path / "start.py").write_text(
        "import sys\nfrom evsam.cli import main, parser\n"
        "def run(argv):\n    exec('raise KeyboardInterrupt')\n"
        "parser.run = run\nsys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, *start], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "")


class TestCompletion:
    def complete(self, *words: str) -> set[str]:
        """What bash offers for the last word."""
        quoted = " ".join(f"'{word}'" for word in words)
        code = f"""
eval "$({sys.executable} -m evsam completion bash)"
COMP_WORDS=({quoted}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_evsam; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return set(done.stdout.split())

    def test_bash(self) -> None:
        assert self.complete("evsam", "") >= {"predict", "bench", "info", "completion"}
        assert self.complete("evsam", "pre") == {"predict"}
        assert self.complete("evsam", "--ver") == {"--version"}
        assert self.complete("evsam", "predict", "cat.jpg", "--po") == {"--point"}
        assert self.complete("evsam", "predict", "--model", "x") == {"xl0", "xl1"}
        assert self.complete("evsam", "predict", "--engine", "") >= {"auto", "native"}
        assert self.complete("evsam", "download", "l") == {"l0", "l1", "l2"}
        assert self.complete("evsam", "export", "nano", "--format", "t") == {"tensorrt", "triton"}
        assert self.complete("evsam", "predict", "ca") == set(), "files, by bash itself"

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_every_option_is_there(self, capsys, shell) -> None:
        assert cli.main(["completion", shell]) == 0
        script = capsys.readouterr().out
        for parser in make_parser()[1].values():
            for option in (name for action in parser._actions for name in action.option_strings):
                spelled = (
                    f"-{'l' if option.startswith('--') else 's'} {option.lstrip('-')}" if shell == "fish" else option
                )
                assert spelled in script

    @pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
    def test_the_shell_takes_it(self, capsys, tmp_path, shell, check) -> None:
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        assert cli.main(["completion", shell]) == 0
        (tmp_path / "script").write_text(capsys.readouterr().out)
        done = subprocess.run([shell, check, tmp_path / "script"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
