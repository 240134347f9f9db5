"""The ROS 2 packages in examples/ros2: their logic without ROS, the node with a stand-in of it, and their files."""

from __future__ import annotations

import compileall
import importlib
import io
import math
import runpy
import sys
import threading
from array import array
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from PIL import Image

import evsam
from tests.sdk import ros2_stand_in as ros
from tests.sdk.ros2_stand_in import box_message, detections_message, header, image_message, pixels_of, point_message

BOX, OTHER = (30.0, 20.0, 80.0, 60.0), (2.0, 2.0, 40.0, 30.0)


@pytest.fixture(autouse=True)
def _ros(monkeypatch) -> None:
    ros.install(monkeypatch)


@pytest.fixture
def images() -> Any:
    return importlib.import_module("evsam_ros.images")


@pytest.fixture
def logic() -> Any:
    return importlib.import_module("evsam_ros.segmenter")


@pytest.fixture
def frame(images, image) -> Any:
    return images.Frame(image, bgr=False)


@pytest.fixture
def make_node(sam):
    """Nodes of a test, which are destroyed behind it."""
    nodes = []

    def make(**parameters: Any) -> Any:
        node = importlib.import_module("evsam_ros.node").EvsamNode(sam, parameters=parameters)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()
        assert node.destroyed


# Images


@pytest.mark.parametrize(("encoding", "padding"), [("rgb8", 0), ("rgb8", 8), ("bgr8", 5), ("rgba8", 4), ("bgra8", 0)])
def test_colours(images, image, encoding, padding) -> None:
    order = [2, 1, 0] if encoding.startswith("bgr") else [0, 1, 2]
    pixels = image[..., order]
    if "a8" in encoding:
        pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 9)], 2)
    read = images.read_frame(image_message(pixels, encoding, padding=padding))
    assert (evsam.images.read_image(read.image, bgr=read.bgr) == image).all()


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey(images, image, encoding) -> None:
    read = images.read_frame(image_message(image[..., 0], encoding, padding=3))
    assert (evsam.images.read_image(read.image) == image[..., :1]).all()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_16_bits(images, encoding, big) -> None:
    depth = (np.arange(80 * 120).reshape(80, 120) * 6).astype(np.uint16)
    read = images.read_frame(image_message(depth, encoding, padding=6, big=big))
    assert read.image.dtype == np.uint16
    assert (read.image[..., 0] == depth).all()
    for scale in ("full", "stretch"):
        expected = evsam.images.read_image(depth, scale_16bit=scale)
        assert (evsam.images.read_image(read.image, scale_16bit=scale) == expected).all()


def test_arrays_are_views(images, image) -> None:
    message = image_message(image, "rgb8")
    assert np.shares_memory(images.image_array(message), np.frombuffer(message.data, np.uint8))


def test_last_row_without_padding(images, image) -> None:
    message = image_message(image, "rgb8", padding=8)
    message.data = message.data[:-8]
    assert (images.image_array(message) == image).all()
    message.data = message.data[:-1]
    with pytest.raises(evsam.ImageError, match="expected 29432 bytes for 120 x 80 rgb8, got 29431"):
        images.image_array(message)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"encoding": "bayer_rggb8"}, "got 'bayer_rggb8'; debayer it, for example by image_proc"),
        ({"encoding": "yuv422_yuy2"}, "expected an encoding of rgb8, bgr8, .*, got 'yuv422_yuy2'$"),
        ({"step": 359}, "expected a step of at least 360 bytes for rgb8, got 359"),
        ({"height": 81}, "expected 29160 bytes"),
        ({"width": 0}, "at least one pixel, got 0 x 80"),
    ],
)
def test_images_that_are_none(images, image, changes, error) -> None:
    message = image_message(image, "rgb8")
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(evsam.ImageError, match=error):
        images.read_frame(message)


def test_compressed(images, image) -> None:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "png")
    read = images.read_frame(ros.compressed_message(content.getvalue(), "rgb8; png compressed bgr8"))
    assert (evsam.images.read_image(read.image, bgr=read.bgr) == image).all()
    with pytest.raises(evsam.ImageError, match="compressedDepth"):
        images.read_frame(ros.compressed_message(b"", "16UC1; compressedDepth png"))


def test_written_images(images) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    message = ros.image_message(np.zeros((1, 1), np.uint8), "mono8")
    images.fill_image(message, pixels.T)
    assert (pixels_of(message) == pixels.T).all()


# Logic


def test_segment_boxes(logic, sam, image, frame) -> None:
    prompts = [logic.Prompt("a", "cup", BOX), logic.Prompt("b", "pen", OTHER)]
    result = logic.Segmenter(sam).segment(frame, prompts)
    expected = sam.predict(image, boxes=[BOX, OTHER])
    assert [(o.number, o.id, o.class_id) for o in result.objects] == [(1, "a", "cup"), (2, "b", "pen")]
    for found, mask, box in zip(result.objects, expected.best(), expected.boxes, strict=True):
        assert (found.mask == mask).all()
        assert found.box == tuple(box)
    assert (result.binary_mask() == 255 * expected.best().any(0)).all()
    assert result.refused == []


def test_segment_points(logic, sam, image, frame) -> None:
    result = logic.Segmenter(sam).segment(frame, [logic.Prompt("0", points=((50, 40), (60, 45)), labels=(1, 1))])
    expected = sam.predict(image, points=[(50, 40), (60, 45)])
    assert (result.objects[0].mask == expected.best()[0]).all()
    assert result.objects[0].score == pytest.approx(float(np.clip(expected.scores.max(), 0, 1)))


def test_segment_with_mask(logic, sam, image, frame) -> None:
    mask = np.zeros((80, 120), np.uint8)
    mask[25:55, 35:75] = 200
    prompts = [logic.Prompt("a", box=BOX), logic.Prompt("b", box=OTHER)]
    result = logic.Segmenter(sam).segment(frame, prompts, mask)
    expected = sam.predict(image, boxes=[BOX, OTHER], mask=np.stack([mask > 0] * 2)).best()
    for found in result.objects:
        assert (found.mask == expected[found.number - 1]).all()


def test_refused_boxes(logic, sam, frame) -> None:
    wrong = [(-9, -9, 0, 0), (200, 0, 300, 40), (20, 20, 20, 40), (math.nan, 0, 9, 9)]
    segmenter = logic.Segmenter(sam, max_batch_size=5)
    result = segmenter.segment(frame, [logic.Prompt(str(i), box=b) for i, b in enumerate([*wrong, BOX, OTHER])])
    assert [found.id for found in result.objects] == ["4"]
    assert len(result.refused) == 5
    assert result.refused[0] == "6 prompts, of max_batch_size"
    assert not segmenter.segment(frame, [logic.Prompt("a", box=wrong[0])]).label_image.any()


def test_orig_img_dims(logic, sam, frame) -> None:
    half = tuple(value / 2 for value in BOX)
    expected = logic.Segmenter(sam).segment(frame, [logic.Prompt("a", box=BOX)])
    result = logic.Segmenter(sam, orig_img_dims=(40, 60)).segment(frame, [logic.Prompt("a", box=half)])
    assert (result.binary_mask() == expected.binary_mask()).all()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"max_batch_size": 0}, "max_batch_size: expected 1 to 255, got 0"),
        ({"max_batch_size": 256}, "max_batch_size: expected 1 to 255, got 256"),
        ({"orig_img_dims": (480,)}, r"orig_img_dims: expected height and width, or 0 and 0, got \[480\]"),
        ({"orig_img_dims": (480, 0)}, "orig_img_dims"),
    ],
)
def test_settings_that_are_none(logic, sam, settings, error) -> None:
    with pytest.raises(ValueError, match=error):
        logic.Segmenter(sam, **settings)


def test_label_image_of_overlaps(logic) -> None:
    left, right = np.zeros((2, 1, 4), bool)
    left[0, :3], right[0, 1:] = True, True
    found = [logic.Found(5, "a", "", 0.9, (), left), logic.Found(9, "b", "", 0.8, (), right)]
    assert logic.Result((1, 4), found).label_image.tolist() == [[5, 5, 5, 9]]
    assert logic.Result((1, 4), found).binary_mask().tolist() == [[255] * 4]


def test_track(logic, sam, image, frame) -> None:
    segmenter, tracker = logic.Segmenter(sam), sam.track()
    assert segmenter.idle
    assert segmenter.add([logic.Prompt("cup", box=BOX)]) == {"cup": 1}
    assert not segmenter.idle
    number = tracker.add(image, box=BOX)
    for _ in range(2):
        result, expected = segmenter.track(frame), tracker.step(image)[number]
        found = [(o.number, o.id, o.score, o.box) for o in result.objects]
        assert found == ([] if expected.lost else [(1, "cup", expected.score, tuple(expected.box))])
        assert result.lost == (["cup"] if expected.lost else [])


def test_numbers_are_used_again(logic, sam, frame) -> None:
    segmenter = logic.Segmenter(sam)
    segmenter.add([logic.Prompt(name, box=BOX) for name in "abc"])
    segmenter.track(frame)
    assert segmenter.remove("b") == {"a": 1, "c": 3}
    assert segmenter.add([logic.Prompt("d", box=OTHER)]) == {"a": 1, "c": 3, "d": 2}
    result = segmenter.track(frame)
    assert sorted([found.id for found in result.objects] + list(result.lost)) == ["a", "c", "d"]


def test_removed_before_it_was_shown(logic, sam, frame) -> None:
    segmenter = logic.Segmenter(sam)
    segmenter.add([logic.Prompt("a", box=BOX)])
    segmenter.remove("a")
    segmenter.add([logic.Prompt("a", box=OTHER)])
    segmenter.track(frame)
    segmenter.remove("a")
    result = segmenter.track(frame)
    assert (list(result.objects), list(result.lost), segmenter.idle) == ([], [], True)


def test_shown_in_an_earlier_frame(logic, images, sam, image) -> None:
    """The tracker gets the frame that was meant: of a red object, and then of nothing."""
    earlier, now = images.Frame(image, bgr=False), images.Frame(np.zeros_like(image), bgr=False)
    seen = []

    def add(embedding: evsam.Embedding, **_: object) -> int:
        seen.append(embedding)
        return 1

    tracker = SimpleNamespace(add=add, step=lambda _: {1: TRACK})
    model = SimpleNamespace(encode=sam.encode, track=lambda: tracker)
    segmenter = logic.Segmenter(model)
    segmenter.add([logic.Prompt("a", box=BOX)], earlier)
    segmenter.track(now)
    assert (seen[0].features == sam.encode(image).features).all()


TRACK = evsam.Track(1, np.ones((80, 120), bool), np.array([0, 0, 120, 80], np.float32), 0.9, lost=False)


def test_objects_that_cannot_be_shown(logic, images, sam, image, frame) -> None:
    segmenter = logic.Segmenter(sam)
    segmenter.add([logic.Prompt("beside", points=((500, 500),), labels=(1,)), logic.Prompt("a", box=BOX)])
    result = segmenter.track(frame)
    assert result.refused[0].startswith("object beside: points: expected 0 <= x < 120")
    assert segmenter.numbers() == {"a": 2}
    segmenter.add([logic.Prompt("old", box=BOX)], images.Frame(image[:40], bgr=False))
    assert segmenter.track(frame).refused == ["object old: shown in a frame of (40, 120), not (80, 120)"]


def test_another_size(logic, images, sam, image, frame) -> None:
    segmenter = logic.Segmenter(sam)
    segmenter.add([logic.Prompt("a", box=BOX)])
    segmenter.track(frame)
    segmenter.add([logic.Prompt("b", box=(5, 5, 30, 30))])
    result = segmenter.track(images.Frame(image[:40], bgr=False))
    assert result.refused == ["object a: lost when the frame's size changed"]
    assert segmenter.numbers() == {"b": 2}


def test_shown_in_a_frame_that_cannot_be_read(logic, images, sam, frame) -> None:
    """It costs this object alone, not those that are shown together with it."""
    segmenter = logic.Segmenter(sam)
    segmenter.add([logic.Prompt("a", box=BOX)], images.Frame(b"broken", bgr=False))
    segmenter.add([logic.Prompt("b", box=BOX)])
    result = segmenter.track(frame)
    assert [text.split(":")[0] for text in result.refused] == ["object a"]
    assert [found.id for found in result.objects] + list(result.lost) == ["b"]
    assert segmenter.numbers() == {"b": 2}


def test_same_name_again_in_another_size(logic, images, sam, image, frame) -> None:
    """An object that was removed is not lost, and the one that has its name now is followed."""
    segmenter, smaller = logic.Segmenter(sam), images.Frame(image[:60], bgr=False)
    segmenter.add([logic.Prompt("a", box=BOX)])
    segmenter.track(frame)
    segmenter.remove("a")
    segmenter.add([logic.Prompt("a", box=BOX)])
    for _ in range(2):
        result = segmenter.track(smaller)
        assert (list(result.refused), segmenter.numbers()) == ([], {"a": 1})
        assert [found.id for found in result.objects] + list(result.lost) == ["a"]


def test_same_name_again_while_it_is_refused(logic, images, sam, image, frame) -> None:
    """By another thread, between the look at what waits and the refusal: that of the old object."""
    segmenter = logic.Segmenter(sam)

    def encode(given: Any, **options: Any) -> evsam.Embedding:
        if isinstance(given, bytes):
            segmenter.remove("a")
            assert segmenter.add([logic.Prompt("a", box=BOX)]) == {"a": 1}
        return sam.encode(given, **options)

    segmenter.sam = SimpleNamespace(encode=encode, track=sam.track)
    segmenter.add([logic.Prompt("a", box=BOX)], images.Frame(b"broken", bgr=False))
    assert len(segmenter.track(frame).refused) == 1
    assert segmenter.numbers() == {"a": 1}
    result = segmenter.track(frame)
    assert [found.id for found in result.objects] + list(result.lost) == ["a"]


@pytest.mark.parametrize(
    ("prompts", "error"),
    [
        ([("a", BOX), ("a", OTHER)], "expected a new one, got 'a', which exists"),
        ([("there", BOX)], "expected a new one, got 'there', which exists"),
        ([("a", (9, 9, 9, 20))], "expected a box with an area"),
        ([("a", (9, 9, math.inf, 20))], "expected finite numbers"),
        ([("a", BOX), ("b", BOX), ("c", BOX)], r"expected at most 3 \(max_batch_size\), got 4"),
    ],
)
def test_objects_that_are_none(logic, sam, prompts, error) -> None:
    segmenter = logic.Segmenter(sam, max_batch_size=3)
    segmenter.add([logic.Prompt("there", box=BOX)])
    with pytest.raises(evsam.PromptError, match=error):
        segmenter.add([logic.Prompt(name, box=box) for name, box in prompts])
    assert segmenter.numbers() == {"there": 1}
    with pytest.raises(evsam.PromptError, match=r"expected one of \['there'\], got 'no'"):
        segmenter.remove("no")


def test_shown_objects(logic) -> None:
    found = logic.shown_objects(["a"], [BOX], ["b", "a", "b"], [(1, 2), (3, 4), (5, 6)], [1, 0, 0])
    assert [(p.id, p.box, p.points, p.labels) for p in found] == [
        ("a", BOX, ((3, 4),), (0,)),
        ("b", None, ((1, 2), (5, 6)), (1, 0)),
    ]
    assert logic.shown_objects([], [], ["a"], [(1, 2)], [])[0].labels == (1,)
    for wrong, error in [
        ((["a"], [], [], [], []), "bbox_coords: expected one for each of 1 ids, got 0"),
        (([], [], [], [(1, 2)], []), "point_coords: expected one for each of 0 ids, got 1"),
        (([], [], ["a"], [(1, 2)], [1, 1]), "point_labels: expected one for each of 1 points, got 2"),
        ((["a", "a"], [BOX, BOX], [], [], []), "bbox_object_ids: expected each once"),
    ]:
        with pytest.raises(evsam.PromptError, match=error):
            logic.shown_objects(*wrong)


def test_matching(logic) -> None:
    matching = logic.Matching(["frame", "detections"], 3)
    for stamp in (1, 2, 3):
        assert matching.put("frame", stamp, f"frame {stamp}") is None
    assert matching.put("detections", 2, "boxes") == {"frame": "frame 2", "detections": "boxes"}
    assert matching.put("detections", 1, "too old") is None
    assert matching.put("detections", 3, "boxes") == {"frame": "frame 3", "detections": "boxes"}
    for stamp in range(4, 9):
        matching.put("detections", stamp, "boxes")
    assert matching.unmatched == 3  # 1 went with the set of 3, and three of five still wait
    assert matching.put("frame", 8, "late") is not None


# The node


def test_node_segments(make_node, sam, image) -> None:
    node = make_node()
    node.send("image_rect", image_message(image[..., ::-1], "bgr8", stamp=4, padding=4))
    node.send("detections_output", detections_message(4, ("cup", BOX), ("", OTHER)))
    (mask,) = node.publishers_of["binary_mask"].wait(1)
    (labels,) = node.publishers_of["label_image"].wait(1)
    (detections,) = node.publishers_of["detection_array"].wait(1)
    expected = sam.predict(image, boxes=[BOX, OTHER])
    assert (pixels_of(mask) == 255 * expected.best().any(0)).all()
    assert set(np.unique(pixels_of(labels))) <= {0, 1, 2}
    for message in (mask, labels, detections, *detections.detections):
        assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (4, 500, "camera")
    found = {d.id: d for d in detections.detections}
    assert [d.results[0].hypothesis.class_id for d in detections.detections] == ["cup", "mask"]
    x0, y0, x1, y1 = map(float, expected.boxes[0])
    box = found["0"].bbox
    assert (box.center.position.x, box.center.position.y) == ((x0 + x1) / 2, (y0 + y1) / 2)
    assert (box.size_x, box.size_y) == (x1 - x0, y1 - y0)
    assert found["0"].results[0].hypothesis.score == pytest.approx(float(np.clip(expected.scores[0].max(), 0, 1)))


def test_node_takes_centres_as_points(make_node, sam, image) -> None:
    node = make_node(prompt_input_type="point")
    node.send("detections_output", detections_message(1, ("", (45, 35, 55, 45)), ("", (55, 40, 65, 50))))
    node.send("image_rect", image_message(image, "rgb8", stamp=1))
    (mask,) = node.publishers_of["binary_mask"].wait(1)
    assert (pixels_of(mask) == 255 * sam.predict(image, points=[(50, 40), (60, 45)]).best()[0]).all()


def test_node_takes_a_mask(make_node, sam, image) -> None:
    node = make_node(has_input_mask=True)
    mask = np.zeros((80, 120), np.uint8)
    mask[25:55, 35:75] = 255
    node.send("image_rect", image_message(image, "rgb8"))
    node.send("mask", image_message(mask, "mono8"))
    node.send("detections_output", detections_message(1, ("", BOX)))
    (found,) = node.publishers_of["binary_mask"].wait(1)
    assert (pixels_of(found) == 255 * sam.predict(image, box=BOX, mask=mask > 0).best()[0]).all()


def test_node_without_detections(make_node, image) -> None:
    node = make_node()
    node.send("image_rect", image_message(image, "rgb8"))
    node.send("detections_output", detections_message(1))
    assert node._stream.stats.put == 0


def test_node_takes_compressed_images(make_node, sam, image) -> None:
    node = make_node(image_transport="compressed")
    content = io.BytesIO()
    Image.fromarray(image).save(content, "png")
    node.send("image_rect/compressed", ros.compressed_message(content.getvalue(), "png"))
    node.send("detections_output", detections_message(1, ("", BOX)))
    (mask,) = node.publishers_of["binary_mask"].wait(1)
    assert (pixels_of(mask) == 255 * sam.predict(image, box=BOX).best()[0]).all()


def test_node_tracks(make_node, sam, image) -> None:
    node = make_node(mode="track")
    node.send("image_rect", image_message(image, "rgb8", stamp=1))  # nothing to follow: not even encoded
    assert node._stream.stats.put == 0
    answer = node.call(
        "add_objects",
        request_header=header(1),
        bbox_object_ids=["cup"],
        bbox_coords=[box_message(*BOX)],
        point_object_ids=["pen", "pen"],
        point_coords=[point_message(10, 10), point_message(100, 70)],
        point_labels=[1, 0],
    )
    assert (answer.success, answer.object_ids, answer.object_indices) == (True, ["cup", "pen"], [1, 2])
    node.send("image_rect", image_message(image, "rgb8", stamp=2))
    (detections,) = node.publishers_of["detection_array"].wait(1)
    tracker = sam.track()
    tracker.add(image, box=BOX)
    tracker.add(image, points=[(10, 10), (100, 70)], labels=[1, 0])
    expected = [track for track in tracker.step(image).values() if not track.lost]
    assert [d.results[0].hypothesis.score for d in detections.detections] == [track.score for track in expected]
    (mask,) = node.publishers_of["binary_mask"].wait(1)
    union = np.any([track.mask for track in expected], 0) if expected else np.zeros((80, 120), bool)
    assert (pixels_of(mask) == 255 * union).all()

    assert node.call("remove_object", object_id="cup").object_ids == ["pen"]
    failed = node.call("remove_object", object_id="cup")
    assert (failed.success, failed.object_ids, failed.object_indices) == (False, ["pen"], [2])
    assert "expected one of ['pen'], got 'cup'" in failed.message
    failed = node.call("add_objects", bbox_object_ids=["pen"], bbox_coords=[box_message(*BOX)])
    assert (failed.success, failed.message) == (False, "object id: expected a new one, got 'pen', which exists")


def test_objects_wait_for_the_first_frame(make_node, image) -> None:
    node = make_node(mode="track")
    assert node.call("add_objects", bbox_object_ids=["cup"], bbox_coords=[box_message(*BOX)]).success
    node.send("image_rect", image_message(image, "rgb8", stamp=2))
    node.publishers_of["binary_mask"].wait(1)


def test_newest_frame_wins(make_node, monkeypatch, image) -> None:
    node = make_node(mode="track")
    node.call("add_objects", bbox_object_ids=["cup"], bbox_coords=[box_message(*BOX)])
    begun, go = threading.Event(), threading.Event()
    track = node._segmenter.track

    def slow(frame: Any) -> Any:
        begun.set()
        assert go.wait(30)
        return track(frame)

    monkeypatch.setattr(node._segmenter, "track", slow)
    node.send("image_rect", image_message(image, "rgb8", stamp=1))
    assert begun.wait(30)
    for stamp in range(2, 10):
        node.send("image_rect", image_message(image, "rgb8", stamp=stamp))
    go.set()
    masks = node.publishers_of["binary_mask"].wait(2)
    assert [mask.header.stamp.sec for mask in masks] == [1, 9]
    assert diagnosed(node)["frames dropped: replaced"] == "7"


def diagnosed(node: Any, level: bytes | None = None) -> dict[str, str]:
    """Values of the next diagnostics."""
    node.timers[0][1]()
    (status,) = node.publishers_of["/diagnostics"].messages[-1].status
    if level is not None:
        assert status.level == level, status.message
    return {"message": status.message, **{value.key: value.value for value in status.values}}


def test_diagnostics(make_node, image) -> None:
    node = make_node(diagnostic_period=0.5)
    assert node.timers[0][0] == 0.5
    assert diagnosed(node, b"\0")["message"] == "no frame yet"
    node.send("image_rect", image_message(image, "rgb8"))
    node.send("detections_output", detections_message(1, ("", BOX)))
    node.publishers_of["detection_array"].wait(1)
    node._stream.submit(int).result()  # the one before is counted now
    values = diagnosed(node, b"\0")
    assert (values["message"], values["frames taken"], values["frames done"]) == ("1 objects", "1", "1")
    assert float(values["latency p50 [ms]"]) >= float(values["work p50 [ms]"]) > 0
    for stamp in range(100, 115):
        node.send("detections_output", detections_message(stamp, ("", BOX)))
    assert diagnosed(node, b"\1")["detections without frame"] == "5"
    diagnosed(node, b"\0")  # nothing new
    assert node.publishers_of["/diagnostics"].messages[-1].status[0].hardware_id == "nano on cpu"


def test_a_frame_that_cannot_be_read(make_node, image) -> None:
    node = make_node()
    for stamp, encoding in enumerate(["bayer_rggb8", "rgb8"]):
        message = image_message(image, "rgb8", stamp=stamp)
        message.encoding = encoding
        node.send("image_rect", message)
        node.send("detections_output", detections_message(stamp, ("", BOX)))
        node._stream.submit(int).result()  # behind this frame
    (mask,) = node.publishers_of["binary_mask"].wait(1)
    assert mask.header.stamp.sec == 1
    assert len(node.logged) == 1
    assert "debayer" in node.logged[0]
    assert diagnosed(node, b"\1")["failures"] == "1"


def test_error_of_the_program_ends_the_node(make_node, monkeypatch, image) -> None:
    node = make_node()
    monkeypatch.setattr(node._segmenter, "segment", lambda *_: 1 / 0)
    node.send("image_rect", image_message(image, "rgb8", stamp=1))
    node.send("detections_output", detections_message(1, ("", BOX)))
    node._stream._worker.thread.join(30)
    assert diagnosed(node, b"\2")["message"] == "the stream has ended"
    node.send("image_rect", image_message(image, "rgb8", stamp=2))
    with pytest.raises(ZeroDivisionError):
        node.send("detections_output", detections_message(2, ("", BOX)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("mode", "both"), ("prompt_input_type", "text"), ("image_transport", "theora"), ("input_qos", "BEST")],
)
def test_parameters_that_are_none(make_node, name, value) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected .* or .*, got '{value}'"):
        make_node(**{name: value})


def test_names_are_those_of_isaac_ros(make_node) -> None:
    segment, track = make_node(has_input_mask=True), make_node(mode="track", output_qos="SENSOR_DATA")
    assert list(segment.subscriptions_of) == ["image_rect", "detections_output", "mask"]
    assert list(segment.services_of) == []
    assert list(track.subscriptions_of) == ["image_rect"]
    assert list(track.services_of) == ["add_objects", "remove_object"]
    assert {qos.reliability for _, _, qos in segment.subscriptions_of.values()} == {"BEST_EFFORT"}
    topics = ["binary_mask", "label_image", "detection_array"]
    assert list(segment.publishers_of) == [*topics, "/diagnostics"]
    assert {segment.publishers_of[topic].qos.reliability for topic in topics} == {"RELIABLE"}
    assert {track.publishers_of[topic].qos.reliability for topic in topics} == {"BEST_EFFORT"}
    isaac = make_node(mode="track", interfaces="isaac_ros_segment_anything2_interfaces")
    services = importlib.import_module("isaac_ros_segment_anything2_interfaces.srv")
    assert isaac.services_of["add_objects"][0] is services.AddObjects


def test_model_of_the_parameters(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(evsam, "load", lambda model, **options: asked.append((model, options)), raising=False)
    node = importlib.import_module("evsam_ros.node")
    node._load({**node.DEFAULTS, "model": "l0", "threads": 2, "precision": "fp16"})
    expected = {"engine": "auto", "device": None, "precision": "fp16", "threads": 2}
    assert asked == [("l0", expected)]


# The packages' files


def test_services_have_the_fields_of_isaac_ros() -> None:
    parts = {file.stem: ros.service_class(file) for file in (ros.INTERFACES / "srv").glob("*.srv")}
    answer = {"object_ids": "string[]", "object_indices": "int32[]", "success": "bool", "message": "string"}
    shown = {
        "bbox_object_ids": "string[]",
        "bbox_coords": "vision_msgs/BoundingBox2D[]",
        "point_object_ids": "string[]",
        "point_coords": "vision_msgs/Point2D[]",
        "point_labels": "int32[]",
    }
    stamp = {"request_header": "std_msgs/Header"}
    add: Any = parts.pop("AddObjects")
    remove: Any = parts.pop("RemoveObject")
    assert not parts
    assert list(add.Request.fields.items()) == [*stamp.items(), *shown.items()]
    assert list(remove.Request.fields.items()) == [*stamp.items(), ("object_id", "string")]
    assert list(add.Response.fields.items()) == list(remove.Response.fields.items()) == list(answer.items())


def test_parameters_file() -> None:
    node = importlib.import_module("evsam_ros.node")
    text = (ros.PACKAGE / "config" / "evsam.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["/**"]["ros__parameters"] == node.DEFAULTS
    readme = (ros.PACKAGE / "README.md").read_text(encoding="utf-8")
    assert [name for name in node.DEFAULTS if f"| `{name}` |" not in readme] == []


@pytest.mark.parametrize("package", [ros.PACKAGE, ros.INTERFACES], ids=lambda path: path.name)
def test_package_files(package) -> None:
    root = ET.parse(package / "package.xml").getroot()
    assert root.get("format") == "3"
    text = {child.tag: child.text for child in root}
    assert (text["name"], text["license"]) == (package.name, "Apache-2.0")
    build = "ament_cmake" if (package / "CMakeLists.txt").exists() else "ament_python"
    assert root.findtext("export/build_type") == build
    if build == "ament_python":
        assert (package / "resource" / package.name).is_file()
        assert f"$base/lib/{package.name}" in (package / "setup.cfg").read_text(encoding="utf-8")


def test_setup(monkeypatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "setuptools", SimpleNamespace(setup=lambda **options: given.update(options)))
    runpy.run_path(str(ros.PACKAGE / "setup.py"))
    version = ET.parse(ros.PACKAGE / "package.xml").findtext("version")
    assert (given["name"], given["version"]) == ("evsam_ros", version)
    assert [file for _, files in given["data_files"] for file in files if not (ros.PACKAGE / file).is_file()] == []
    module, function = given["entry_points"]["console_scripts"][0].split(" = ")[1].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_all_compiles(tmp_path) -> None:
    monkey = sys.pycache_prefix
    sys.pycache_prefix = str(tmp_path)
    try:
        assert compileall.compile_dir(ros.EXAMPLE, quiet=2, force=True)
    finally:
        sys.pycache_prefix = monkey


def test_launch(monkeypatch) -> None:
    """What the launch file starts, with stand-ins of launch and launch_ros."""
    started = []

    def module(name: str, **contents: Any) -> None:
        made = ModuleType(name)
        made.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, made)

    class Configuration:
        def __init__(self, name: str) -> None:
            self.name = name

        def perform(self, context: dict[str, str]) -> str:
            return context[self.name]

    def argument(name: str, *, default_value: str, description: str) -> tuple[str, str]:
        assert description
        return name, default_value

    module("ament_index_python")
    module("ament_index_python.packages", get_package_share_directory=lambda name: str(ros.EXAMPLE / name))
    module("launch", LaunchContext=dict, LaunchDescription=list)
    module("launch.actions", DeclareLaunchArgument=argument, OpaqueFunction=lambda function: function)
    module("launch.substitutions", LaunchConfiguration=Configuration)
    module("launch_ros")
    module("launch_ros.actions", Node=lambda **options: started.append(options))
    file = runpy.run_path(str(ros.PACKAGE / "launch" / "evsam.launch.py"))
    *arguments, start = file["generate_launch_description"]()
    context = dict(arguments)
    node = importlib.import_module("evsam_ros.node")
    assert set(file["PARAMETERS"]) <= set(node.DEFAULTS)
    assert Path(context["params_file"]).is_file()
    start(
        {
            **context,
            "image": "/camera/image",
            "mode": "track",
            "max_batch_size": "5",
            "orig_img_dims": "[480, 640]",
            "deadline": "1",
        }
    )
    (options,) = started
    assert options["parameters"][1] == {
        "mode": "track",
        "max_batch_size": 5,
        "orig_img_dims": [480, 640],
        "deadline": 1.0,
    }
    assert type(options["parameters"][1]["deadline"]) is float
    assert dict(options["remappings"])["image_rect"] == "/camera/image"
    assert dict(options["remappings"])["image_rect/compressed"] == "/camera/image/compressed"
    assert dict(options["remappings"])["detections_output"] == "detections_output"


def test_stand_in_is_strict() -> None:
    """A stand-in that took everything would hide mistakes."""
    message = image_message(np.zeros((2, 2), np.uint8), "mono8")
    for name, value in [("data", b"1234"), ("width", -1), ("width", 2.0), ("encoding", 8), ("is_bigendian", None)]:
        with pytest.raises(AssertionError):
            setattr(message, name, value)
    with pytest.raises(AttributeError, match="no field depth"):
        message.depth = 3
    with pytest.raises(KeyError):
        ros.message_class("X", "float99 x")
    assert message.data == array("B", bytes(4))
