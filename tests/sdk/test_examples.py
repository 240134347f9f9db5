"""The programs in examples/ run and do what they say."""

from __future__ import annotations

import json
import re
import runpy
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam import Embedding
from evsam.rle import decode_rle

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch, seeded_file, capsys):
    def call(name: str, *arguments: object, model: str | None = None) -> str:
        command = [name, *arguments, "--model", model or seeded_file("nano")]
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


def block(height: int = 40, width: int = 80) -> np.ndarray:
    """A BGR frame with a red object."""
    frame = np.full((120, 160, 3), (50, 70, 40), np.uint8)
    frame[40 : 40 + height, 40 : 40 + width] = (40, 50, 210)
    return frame


class Screen:
    """Stands for OpenCV: a camera that shows one thing, a window, and a user who reacts to what it shows."""

    EVENT_LBUTTONDOWN, EVENT_RBUTTONDOWN = 1, 2

    def __init__(self, opens: bool = True, frames: int = 100_000) -> None:
        self.opens, self.frames = opens, frames
        self.log: list[str] = []
        self.pictures: list[np.ndarray] = []
        self.mouse: Any = None

    def VideoCapture(self, number: int) -> Screen:
        self.log.append(f"camera {number}")
        return self

    def isOpened(self) -> bool:
        return self.opens

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.frames -= 1
        return (True, block()) if self.frames >= 0 else (False, None)

    def namedWindow(self, name: str) -> None:
        pass

    def setMouseCallback(self, name: str, mouse: Any) -> None:
        self.mouse = mouse

    def imshow(self, name: str, picture: np.ndarray) -> None:
        self.pictures.append(picture)

    def waitKey(self, milliseconds: int) -> int:
        """Click beside all, on the object, and once it is marked forget it; then quit."""
        time.sleep(0.001)
        if not self.pictures:
            self.mouse(self.EVENT_LBUTTONDOWN, 80, 60, 0, None)  # before anything is shown
            return -1
        marked = (self.pictures[-1] != block()).any()
        if "added" not in self.log:
            self.mouse(self.EVENT_LBUTTONDOWN, 80, 60, 0, None)
            self.mouse(self.EVENT_LBUTTONDOWN, 500, 60, 0, None)
            self.log.append("added")
        elif marked and "removed" not in self.log:
            self.mouse(self.EVENT_RBUTTONDOWN, 80, 60, 0, None)
            self.log.append("removed")
        elif "removed" in self.log and not marked:
            return ord("q")
        return -1

    def release(self) -> None:
        self.log.append("released")

    def destroyAllWindows(self) -> None:
        self.log.append("closed")


def test_webcam(run, monkeypatch) -> None:
    screen = Screen()
    monkeypatch.setitem(sys.modules, "cv2", screen)
    output = run("webcam.py", "--camera", 2, model="nano")
    assert screen.log == ["camera 2", "added", "removed", "released", "closed"]
    marked = [picture for picture in screen.pictures if (picture != block()).any()]
    changed = (marked[0] != block()).any(-1)
    assert changed[45:75, 45:115].mean() > 0.9, "the object"
    assert changed[100:].sum() == 0
    assert "points: expected 0 <= x < 160" in output, "the click beside the picture"
    assert "frames" in output.splitlines()[-1]


def test_webcam_without_a_camera_and_at_its_end(run, fails, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", Screen(opens=False))
    assert fails("webcam.py") == "webcam.py: camera 0 cannot be opened"
    screen = Screen(frames=1)
    monkeypatch.setitem(sys.modules, "cv2", screen)
    assert run("webcam.py", "--deadline", 5).startswith("1 frames")
    assert screen.log[-2:] == ["released", "closed"]


@pytest.fixture(scope="module")
def arm() -> SimpleNamespace:
    """What robot_arm.py defines."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / "robot_arm.py")))


def test_points_of_a_mask(arm) -> None:
    camera = arm.Intrinsics(200.0, 100.0, 2.0, 1.0)
    mask = np.ones((3, 5), bool)
    depth = np.full((3, 5), 2.0)
    points = arm.segment_points(mask, depth, camera)
    expected = [((u - 2) / 200 * 2, (v - 1) / 100 * 2, 2.0) for v in range(3) for u in range(5)]
    assert np.array_equal(points, np.array(expected))
    depth[0, 0], depth[0, 1], depth[0, 2] = 0.0, np.nan, 2.5  # nothing, nothing, and what is behind
    mask[2] = False
    assert np.array_equal(arm.segment_points(mask, depth, camera), np.array(expected)[3:10])
    assert arm.segment_points(mask & False, depth, camera).shape == (0, 3)


@pytest.mark.parametrize("degrees", [0, 30, 90, 150])
def test_the_grasp_of_a_block(arm, degrees) -> None:
    turn = np.radians(degrees)
    long, across = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
    grid = np.stack(np.meshgrid(np.linspace(-0.1, 0.1, 41), np.linspace(-0.03, 0.03, 13)), -1).reshape(-1, 2)
    grasp = arm.measure(grid @ np.stack([long, across]) + (0.1, -0.2, 0.8))
    assert np.allclose(grasp.centroid, (0.1, -0.2, 0.8), atol=1e-12)
    assert np.allclose(grasp.extent, (0.2, 0.06, 0.0), atol=1e-12)
    assert np.allclose(np.abs(grasp.axes @ np.stack([long, across, (0, 0, 1)]).T), np.eye(3), atol=1e-9)
    assert (np.take_along_axis(grasp.axes, np.abs(grasp.axes).argmax(1)[:, None], 1) > 0).all()


def read_numbers(output: str) -> dict[str, list[float]]:
    """The lines of three numbers that robot_arm.py prints."""
    lines = re.findall(r"^(centroid|extent|long axis|grasp axis) (\S+) (\S+) (\S+)", output, re.MULTILINE)
    return {name: [float(number) for number in numbers] for name, *numbers in lines}


def test_robot_arm(run, arm, tmp_path) -> None:
    found = read_numbers(run("robot_arm.py", model="nano"))
    assert found["centroid"] == pytest.approx([0.05, -0.02, 0.8], abs=0.003)
    assert found["extent"] == pytest.approx([0.2, 0.06, 0.0], abs=0.006)
    assert found["long axis"] == pytest.approx([0.866, 0.5, 0.0], abs=0.01)
    assert found["grasp axis"] == pytest.approx([-0.5, 0.866, 0.0], abs=0.01)
    color, depth = arm.made_scene(arm.Intrinsics(300, 300, 159.5, 119.5))
    Image.fromarray(color).save(tmp_path / "c.png")
    Image.fromarray((1000 * depth).round().astype(np.uint16)).save(tmp_path / "d.png")
    again = read_numbers(
        run("robot_arm.py", "--color", tmp_path / "c.png", "--depth", tmp_path / "d.png", model="nano")
    )
    assert again == found


def test_errors_of_robot_arm(fails, arm, tmp_path, photo_file) -> None:
    Image.fromarray(np.zeros((80, 120), np.uint16)).save(tmp_path / "d.png")
    given = ("--color", photo_file, "--depth", tmp_path / "d.png", "--box", 20, 10, 90, 70)
    assert "expected an object with measured depth, got 0 points" in fails("robot_arm.py", *given)
    Image.fromarray(np.zeros((8, 12), np.uint16)).save(tmp_path / "d.png")
    assert "--depth: expected (80, 120) as the colours have, got (8, 12)" in fails("robot_arm.py", *given)
    assert fails("robot_arm.py", "--color", photo_file) == "2"


def test_every_example_is_tested() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [file.name for file in EXAMPLES.glob("*.py") if f'run("{file.name}"' not in tests] == []
