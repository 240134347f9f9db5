"""`evsam everything`, and the files for other programs that it and `evsam predict` write."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evsam
from evsam import Sam, cli
from evsam.cli.outputs import FORMATS
from evsam.cli.parser import make_parser
from evsam.rle import decode_rle

Run = Callable[..., tuple[str, str]]

SEARCH = ("--pred-iou-thresh", 0, "--stability-score-thresh", 0, "--points-per-side", 3)
"""Whatever thresholds the variant has."""

BOX = ("--box", 20, 10, 90, 70)


@pytest.fixture
def photos(image, tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(image[:, ::-1]).save(folder / "b.jpg")
    return folder


@pytest.fixture(scope="module")
def sam() -> Iterator[Sam]:
    """nano with its weights: masks of stand-in weights are empty."""
    with evsam.load("nano", threads=1) as model:
        yield model


@pytest.fixture
def run(capsys) -> Run:
    def call(command: str, *arguments: object, code: int = 0) -> tuple[str, str]:
        search = SEARCH if command == "everything" else ()
        given = [command, *arguments, *search, "--threads", 1]
        assert cli.main([str(word) for word in given]) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return call


@pytest.fixture
def found(sam, image) -> Any:
    return sam.segment_everything(image, pred_iou_thresh=0, stability_score_thresh=0, points_per_side=3)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def usage_error(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(word) for word in arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


class TestEverything:
    def test_a_photo(self, run, photos, found, image) -> None:
        out, err = run("everything", photos / "a.png")
        assert np.array_equal(np.asarray(Image.open(photos / "a_segments.png")), np.asarray(found.overlay(image)))
        first, second = out.splitlines()
        covered = (found.label_map() > 0).mean()
        assert first == f"{len(found)} masks on {covered:.1%} of the photo"
        assert second == f"wrote {photos / 'a_segments.png'}"
        assert err == ""

    def test_a_named_picture(self, run, photos, tmp_path) -> None:
        run("everything", photos / "a.png", "-o", tmp_path / "c.jpg", "--format", "svg", "--tags")
        assert names(tmp_path) == ["a.svg", "c.jpg", "photos"]
        assert names(photos) == ["a.png", "b.jpg"]

    def test_a_photo_into_a_folder(self, run, photos, tmp_path) -> None:
        run("everything", photos / "a.png", "-o", tmp_path / "out")
        assert names(tmp_path / "out") == ["a_segments.png"]

    def test_a_folder(self, run, photos, tmp_path) -> None:
        (photos / "broken.jpg").write_bytes((photos / "b.jpg").read_bytes()[:300])
        (photos / "a_segments.png").write_bytes((photos / "a.png").read_bytes())  # of earlier calls
        (photos / "a_labels.png").write_bytes((photos / "a.png").read_bytes())
        out, err = run("everything", photos, "-o", tmp_path / "out", "--coco", tmp_path / "all.json", code=1)
        assert names(tmp_path / "out") == ["a_segments.png", "b_segments.png"]
        assert re.fullmatch(rf"{photos / 'a.png'}: \d+ masks? on .*, wrote .*a_segments.png", out.splitlines()[0])
        broken, summary = err.splitlines()
        assert broken.startswith(f"evsam: {photos / 'broken.jpg'}: skipped: image: expected")
        assert summary == "evsam: 1 of 3 photos were skipped"
        document = json.loads((tmp_path / "all.json").read_text())
        assert [image["file_name"] for image in document["images"]] == ["photos/a.png", "photos/b.jpg"]

    def test_options_arrive(self, run, photos, found, monkeypatch) -> None:
        asked: dict[str, Any] = {}

        def segment_everything(_: Sam, image: np.ndarray, **options: Any) -> Any:
            asked.update(options)
            return found

        monkeypatch.setattr(Sam, "segment_everything", segment_everything)
        given = {
            "mode": "exact",
            "points-per-batch": 7,
            "stability-score-offset": 2.0,
            "box-nms-thresh": 0.5,
            "crop-n-layers": 1,
            "crop-nms-thresh": 0.6,
            "crop-overlap-ratio": 0.25,
            "crop-n-points-downscale-factor": 3,
            "min-mask-region-area": 9,
        }
        run("everything", photos / "a.png", *(word for name, value in given.items() for word in (f"--{name}", value)))
        assert callable(asked.pop("callback"))
        usual = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "points_per_side": 3}
        assert asked == {**usual, **{name.replace("-", "_"): value for name, value in given.items()}}
        asked.clear()
        cli.main(["everything", str(photos / "a.png"), "--threads", "1"])
        assert set(asked) == {"mode", "callback"}, "thresholds are the variant's"

    def test_which_masks(self, run, photos, found, tmp_path) -> None:
        areas = sorted(found.areas.tolist())
        least, most = areas[1], areas[-2]
        run(
            "everything", photos / "a.png", "--format", "coco", "--sort", "area", "--min-area", least,
            "--max-area", most, "--limit", 3,
        )  # fmt: skip
        written = [entry["area"] for entry in json.loads((photos / "a.coco.json").read_text())["annotations"]]
        assert written == sorted((area for area in areas if least <= area <= most), reverse=True)[:3]

    def test_nothing_found(self, run, photos) -> None:
        out, _ = run("everything", photos / "a.png", "--min-area", 80 * 120 + 1)
        assert out.startswith("0 masks on 0.0% of the photo\n")

    def test_standard_input_and_output(self, run, photos, monkeypatch, tmp_path) -> None:
        monkeypatch.chdir(tmp_path)
        with (photos / "a.png").open("rb") as file:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
            out, err = run("everything", "-", "--coco", "-", "--format", "svg")
        document = json.loads(out)
        assert document["images"] == [{"id": 1, "file_name": "", "height": 80, "width": 120}]
        assert "masks on" in err
        assert names(tmp_path) == ["photos", "stdin.svg"]
        assert "<image" not in (tmp_path / "stdin.svg").read_text()

    def test_an_interruption_keeps_what_is_done(self, run, photos, found, monkeypatch, tmp_path) -> None:
        calls: list[int] = []

        def segment_everything(*_: Any, **__: Any) -> Any:
            calls.append(1)
            if len(calls) > 1:
                raise KeyboardInterrupt
            return found

        monkeypatch.setattr(Sam, "segment_everything", segment_everything)
        run("everything", photos, "-o", tmp_path / "out", "--coco", tmp_path / "all.json", code=130)
        assert names(tmp_path / "out") == ["a_segments.png"]
        document = json.loads((tmp_path / "all.json").read_text())
        assert [len(document["images"]), len(document["annotations"])] == [1, len(found)]
        assert names(tmp_path) == ["all.json", "out", "photos"], "nothing temporary"

    def test_progress_bar_only_on_a_terminal(self, run, photos, monkeypatch, tmp_path) -> None:
        command = ("everything", photos / "a.png", "--format", "png", "--points-per-batch", 3, "--mode", "exact")
        assert run(*command)[1] == ""
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        _, err = run(*command)
        assert re.search(r"\r\x1b\[K\[#{8}-{16}\] 33%, 0:\d\d left  a.png", err)
        assert err.endswith("\r\x1b[K")
        _, err = run("everything", photos, *command[2:])
        assert re.search(r"\r\x1b\[K\[#{16}-{8}\] 1/2, 0:\d\d left  b.jpg", err)

    def test_usage(self, capsys, photos) -> None:
        a, b = photos / "a.png", photos / "b.jpg"
        assert "required: photo" in usage_error(capsys, "everything")
        assert "expected a folder for several" in usage_error(capsys, "everything", a, b, "-o", "x.png")
        assert "--format: unknown 'coc'; did you mean coco?" in usage_error(capsys, "everything", a, "--format", "coc")
        assert "--world is for --format geojson" in usage_error(capsys, "everything", a, "--world", "w.jgw")
        for option, value, message in [
            ("pred-iou-thresh", 88, "expected a number from 0 to 1, or a negative one for any score, got 88"),
            ("stability-score-thresh", "high", "expected a number, got high"),
            ("box-nms-thresh", "nan", "expected a number from 0 to 1, got nan"),
            ("points-per-side", 3.5, "expected a whole number, got 3.5"),
            ("crop-n-layers", 7, "expected 0 to 6, got 7"),
        ]:
            assert f"argument --{option}: {message}" in usage_error(capsys, "everything", a, f"--{option}", value)
        assert "--no-picture: expected --format" in usage_error(capsys, "everything", a, "--no-picture")
        assert cli.main(["everything", str(photos / "none.png")]) == 1
        assert "does not exist" in capsys.readouterr().err


class TestResume:
    FILES = ("--format", "coco", "--format", "png")

    @pytest.fixture
    def asked(self, monkeypatch) -> list[tuple[int, ...]]:
        """Shapes of the images that are segmented."""
        shapes: list[tuple[int, ...]] = []
        segment = Sam.segment_everything

        def segment_everything(sam: Sam, image: Any, **options: Any) -> Any:
            shapes.append(image.shape)
            return segment(sam, image, **options)

        monkeypatch.setattr(Sam, "segment_everything", segment_everything)
        return shapes

    def test_after_a_kill_all_files_are_those_of_one_run(self, run, photos, tmp_path) -> None:
        for number in range(10):
            Image.open(photos / "a.png").rotate(36 * number).save(photos / f"c{number}.png")
        whole, torn = tmp_path / "whole", tmp_path / "torn"
        for folder in (whole, torn):
            folder.mkdir()
        run("everything", photos, "-o", whole, *self.FILES, "--coco", whole / "all.json")
        command = ("everything", photos, "-o", torn, *self.FILES, "--coco", torn / "all.json")
        words = [str(word) for word in (*command, *SEARCH, "--threads", 1)]
        with subprocess.Popen([sys.executable, "-m", "evsam", *words], stdout=subprocess.DEVNULL) as process:
            while len(list(torn.glob("*_labels.png"))) < 2 and process.poll() is None:
                time.sleep(0.005)
            process.kill()
        assert process.returncode == -signal.SIGKILL, "it was not done"
        before = {path.name: path.stat().st_mtime_ns for path in torn.glob("*_labels.png")}
        _, err = run(*command, "--resume")
        assert re.fullmatch(r"[2-9] of 12 photos are done\n", err)
        assert names(torn) == names(whole), "nothing of the killed process is left"
        for name in names(whole):
            assert (torn / name).read_bytes() == (whole / name).read_bytes(), name
        kept = [name for name, changed in before.items() if (torn / name).stat().st_mtime_ns == changed]
        assert len(kept) >= int(err.split()[0])

    def test_a_photo_is_done_by_all_its_files(self, run, photos, asked) -> None:
        command = ("everything", photos, *self.FILES, "--resume")
        assert run(*command)[1] == ""
        assert len(asked) == 2
        assert run(*command) == ("", "2 of 2 photos are done\n")
        assert len(asked) == 2
        (photos / "a_labels.png").unlink()
        out, err = run(*command)
        assert err == "1 of 2 photos are done\n"
        assert [line.partition(":")[0] for line in out.splitlines()] == [str(photos / "a.png")]
        run(*command, "--format", "svg")
        assert len(asked) == 5, "no photo has that file"
        run(*command[:-1])
        assert len(asked) == 7, "without it, all are written anew"

    def test_a_photo_that_changed_is_not_done(self, run, photos, asked) -> None:
        command = ("everything", photos, "--format", "png", "--resume")
        run(*command)
        written = (photos / "b_labels.png").stat().st_mtime
        os.utime(photos / "b.jpg", (written + 5, written + 5))
        run(*command)
        assert len(asked) == 3

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[]",
            b'{"images": [], "annotations": [], "categories": []}',
            b'{"images": [{"id": 1}], "annotations": [{"image_id": 2, "category_id": 1}], "categories": []}',
        ],
    )
    def test_what_is_not_of_a_photo_is_not_taken_into_the_document(self, run, photos, asked, content) -> None:
        command = ("everything", photos, "--format", "coco", "--coco", photos / "all.json", "--resume")
        run(*command)
        document = (photos / "all.json").read_bytes()
        (photos / "a.coco.json").write_bytes(content)
        run(*command)
        assert len(asked) == 3
        assert (photos / "all.json").read_bytes() == document

    def test_broken_photos_are_tried_again(self, run, photos) -> None:
        command = ("everything", photos, "--format", "png", "--resume")
        (photos / "c.png").write_bytes(b"nothing")
        for _ in range(2):
            _, err = run(*command, code=1)
            assert err.endswith("1 of 3 photos were skipped\n")
        assert err.startswith("2 of 3 photos are done\n")
        _, err = run("everything", photos / "none.png", "--resume", code=1)
        assert "does not exist" in err

    def test_predict(self, run, photos, monkeypatch) -> None:
        run("predict", photos / "a.png", *BOX)
        out, err = run("predict", photos, *BOX, "--resume")
        assert err == "1 of 2 photos are done\n"
        assert [line.partition(":")[0] for line in out.splitlines()] == [str(photos / "b.jpg")]
        monkeypatch.setattr(evsam.sam, "load", None)
        assert run("predict", photos, *BOX, "--resume") == ("", "2 of 2 photos are done\n"), "no model is loaded"

    def test_usage(self, capsys, photos) -> None:
        a = photos / "a.png"
        message = usage_error(capsys, "predict", a, *BOX, "--json", "x.json", "--resume")
        assert "--resume: expected no --json" in message
        message = usage_error(capsys, "everything", a, "--coco", photos / "x.json", "--resume")
        assert "--coco takes photos that are done from their files: give --format coco too" in message
        message = usage_error(capsys, "everything", a, "--coco", photos / "x.json", "--no-picture", "--resume")
        assert "--resume" in message


class TestFormats:
    @pytest.mark.parametrize("command", ["everything", "predict"])
    def test_each(self, run, photos, sam, image, found, tmp_path, command) -> None:
        result = found if command == "everything" else sam.predict(image, box=(20, 10, 90, 70))
        prompts = () if command == "everything" else BOX
        wanted = [word for name in FORMATS for word in ("--format", name)]
        out, _ = run(command, photos / "a.png", *prompts, "-o", tmp_path / "out", *wanted)
        folder = tmp_path / "out"
        picture = "a_segments.png" if command == "everything" else "a_mask.png"
        assert names(folder) == sorted([picture, *(f"a{ending}" for ending, _ in FORMATS.values())])
        assert sum(line.startswith("wrote ") for line in out.splitlines()) == 8
        assert json.loads((folder / "a.coco.json").read_text()) == _plain(result.to_coco("../photos/a.png"))
        assert json.loads((folder / "a.geojson").read_text()) == _plain(result.to_geojson())
        assert json.loads((folder / "a.json").read_text()) == _plain(result.to_labelme("../photos/a.png"))
        assert [decode_rle(rle).sum() for rle in json.loads((folder / "a.rle.json").read_text())] == (
            result.areas.tolist()
        )
        assert np.array_equal(np.asarray(Image.open(folder / "a_labels.png")) > 0, result.label_map() > 0)
        root = ET.fromstring((folder / "a.svg").read_text())
        assert root[0].get("href") == "../photos/a.png"
        with np.load(folder / "a.npz") as arrays:
            assert "scores" in arrays or "counts" in arrays

    def test_files_alone_leave_the_picture_away(self, run, photos, tmp_path) -> None:
        run("predict", photos, *BOX, "--format", "labelme")
        assert names(photos) == ["a.json", "a.png", "b.jpg", "b.json"]
        assert json.loads((photos / "a.json").read_text())["imagePath"] == "a.png"
        run("predict", photos / "a.png", *BOX, "--format", "rle", "--picture")
        assert {"a_mask.png", "a.rle.json"} <= set(names(photos))
        run("predict", photos / "b.jpg", *BOX, "--format", "rle", "--no-picture", "-o", tmp_path / "out")
        assert names(tmp_path / "out") == ["b.rle.json"]

    def test_one_document_of_a_folder(self, run, photos, tmp_path) -> None:
        run("predict", photos, *BOX, "--box", 0, 0, 30, 30, "--coco", tmp_path / "all.json")
        coco = pytest.importorskip("pycocotools.coco").COCO(str(tmp_path / "all.json"))
        assert sorted(coco.imgs) == [1, 2]
        assert [coco.imgs[i]["file_name"] for i in (1, 2)] == ["photos/a.png", "photos/b.jpg"]
        assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
        assert {annotation["category_id"] for annotation in coco.anns.values()} == {1}
        assert list(coco.cats.values()) == [{"id": 1, "name": "object"}]
        # and it names the photos as --prompts wants them
        run("predict", "--prompts", tmp_path / "all.json", "--json", tmp_path / "again.json")
        again = json.loads((tmp_path / "again.json").read_text())
        assert [len(entry["predictions"]) for entry in again] == [len(coco.imgToAnns[i]) for i in (1, 2)]

    def test_places_on_a_map(self, run, photos, tmp_path) -> None:
        (photos / "a.pgw").write_text("0.5\n0\n0\n-0.5\n1000.25\n1999.75\n")
        (tmp_path / "own.wld").write_text("2\n0\n0\n-2\n1\n-1\n")

        def corner(name: str) -> list[float]:
            (feature,) = json.loads((photos / f"{name}.geojson").read_text())["features"]
            polygons = feature["geometry"]["coordinates"]
            rings = polygons if feature["geometry"]["type"] == "Polygon" else [r for p in polygons for r in p]
            points = np.array([point for ring in rings for point in ring])
            return [points[:, 0].min(), points[:, 1].max()]

        def write(*options: object) -> list[list[float]]:
            run("predict", photos, *BOX, "--format", "geojson", *options)
            return [corner("a"), corner("b")]

        (x, _), plain = (photos / "a.pgw").rename(photos / "hidden") and write()
        (photos / "hidden").rename(photos / "a.pgw")
        placed, beside = write()
        assert placed[0] == 1000 + 0.5 * x
        assert 1900 < placed[1] <= 2000, "north is up"
        assert beside == plain, "b.jpg has no world file"
        assert write("--world", tmp_path / "own.wld")[1][0] == 2 * plain[0]

    def test_a_damaged_world_file_skips_the_photo(self, run, photos) -> None:
        (photos / "b.jgw").write_text("1 2 3")
        out, err = run("predict", photos, *BOX, "--format", "geojson", code=1)
        assert "b.jpg: skipped: " in err
        assert "b.jgw: expected a world file of six numbers, got" in err
        assert "a.geojson" in out
        (photos / "c.wld").write_text("nothing")
        _, err = run("predict", photos, *BOX, "--format", "geojson", "--world", photos / "c.wld", code=1)
        assert "c.wld: expected a world file" in err
        _, err = run("predict", photos, *BOX, "--format", "geojson", "--world", photos / "d.wld", code=1)
        assert "d.wld: No such file" in err

    def test_names_that_would_meet(self, run, capsys, photos, tmp_path) -> None:
        (photos / "a.jpg").write_bytes((photos / "b.jpg").read_bytes())
        _, err = run("everything", photos, "--format", "svg", code=1)
        assert "expected a file for each photo, got" in err
        message = usage_error(capsys, "predict", photos, *BOX, "--json", "x.json", "--coco", "x.json")
        assert "--coco: expected another file than that of --json, got x.json" in message
        _, err = run("everything", photos / "a.png", "--coco", tmp_path / "no" / "all.json", code=1)
        assert "expected an existing folder" in err

    def test_the_help_names_them(self) -> None:
        text = make_parser()[1]["everything"].format_help()
        assert all(ending in text.replace("\n", "") for ending, _ in FORMATS.values())


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(document))
    return loaded
