"""Scores: sizes, ellipses, ignored pixels, and the command that writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from evsam.data.annotated import read_set
from evsam.data.records import BrokenSample, Photo
from evsam.nn import EfficientViTSam
from evsam.training import evaluate
from evsam.training.model import load_model
from evsam.training.validation import (
    Frame,
    Objects,
    Scores,
    full_size,
    readable,
    score_prompts,
    validate,
)
from evsam.transforms import fitted_size
from tests.data.made import png


def test_ellipses_are_their_own_ellipse(data_dir: Path) -> None:
    """The annotated objects are ellipses, so the trivial answer must score high and the sizes must be known."""
    model = EfficientViTSam("nano").eval()
    scores = validate(model, read_set(data_dir, "val", "blobs"), clicks=0).summary()
    assert scores["ellipse"]["all"] > 0.6
    assert "click1" not in scores


def test_ignored_pixels_do_not_count(data_dir: Path) -> None:
    annotation = read_set(data_dir, "val", "blobs")[0].annotations[0]
    mask = torch.from_numpy(annotation.decode().astype(bool))
    half = mask.clone()
    half[:, mask.any(0).nonzero().median() :] = False
    objects = Objects.read([annotation], torch.device("cpu"))
    plain = objects.iou(half[None, None])
    ignoring = Objects(objects.masks, (~(mask & ~half))[None, None])
    assert plain.item() < 0.7
    assert ignoring.iou(half[None, None]).item() == 1


@pytest.mark.parametrize("original", [(300, 451), (1500, 1000), (7, 100)])
def test_full_size_is_sams_two_resizes(original: tuple[int, int]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 256, 256)
    frame = Frame((), fitted_size(original), original)
    height, width = frame.resized
    resize = partial(torch.nn.functional.interpolate, mode="bilinear", align_corners=False)
    expected = resize(resize(logits, (1024, 1024))[..., :height, :width], original)
    torch.testing.assert_close(full_size(logits, frame), expected, rtol=1e-4, atol=1e-5)


def test_scores_of_parts_join() -> None:
    first, second = Scores(), Scores()
    for scores, values in ((first, [0.2, 0.4]), (second, [0.9])):
        scores.sizes += ["small"] * len(values)
        scores.add("box", values)
    assert Scores.joined([first, second]).summary()["box"] == {"all": pytest.approx(0.5), "small": pytest.approx(0.5)}


def test_broken_photos_are_left_out(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos = list(read_set(data_dir, "val", "blobs"))
    whole = validate(load_model("nano"), photos, clicks=0)
    smaller = replace(photos[0], key="smaller", read=partial(bytes, png(photos[0].pixels()[1:])))
    broken = [Photo("gone", photos[0].annotations, bytes), smaller, *photos]
    assert validate(load_model("nano"), broken, clicks=0).summary() == whole.summary()
    assert "a photo is left out: gone" in caplog.text
    assert "a photo is left out: smaller: expected masks of 119 x 160 pixels" in caplog.text

    class Torn(list[Photo]):
        def __getitem__(self, index: Any) -> Any:
            if index == 1:
                raise BrokenSample("torn", "its record ends early")
            return super().__getitem__(index)

    assert readable(Torn(photos), range(2)) == photos[:1]
    assert "torn: its record ends early" in caplog.text


def test_evaluate_reads_coco(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((data_dir / "val" / "blobs.json").read_text())
    images = [
        {"id": number, "file_name": image["file"], "width": image["w"], "height": image["h"]}
        for number, image in enumerate(content["images"])
    ]
    annotations = [
        {"id": number, "image_id": record["image"], "segmentation": record["rle"], "iscrowd": 0, **record}
        for number, record in enumerate(content["anns"])
    ]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    folder, found = data_dir / "val" / "blobs", []
    for where in ([str(data_dir)], [str(folder), "--kind", "coco", "--annotations", str(path)]):
        out = tmp_path / "scores.json"
        assert evaluate.main(["nano", *where, "--clicks", "0", "--threads", "1", "--out", str(out)]) == 0
        found.append(json.loads(out.read_text())["blobs"]["box"])
    assert found[0] == found[1]
    assert evaluate.main(["nano", str(tmp_path / "nowhere"), "--sets", "x"]) == 1
    assert "error: set x: no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "record", "message"),
    [
        ({}, {"image_id": "7"}, None),
        ({"id": "7"}, {}, None),
        ({"file_name": "blobs\\0.png"}, {}, None),
        (
            {},
            {"image_id": 8},
            "expected each image_id to be the id of an image, got none that is: image_id 8; 1 images",
        ),
        (
            {"file_name": "absent.png"},
            {},
            "set val: expected photos with masks, got 1 that cannot be used; the first: abs",
        ),
    ],
    ids=["image_id is text", "id is text", "backslash", "other ids", "no file"],
)
def test_evaluate_matches_what_it_can_or_says_what_did_not_match(
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    image: dict[str, Any],
    record: dict[str, Any],
    message: str | None,
) -> None:
    rle = json.loads((data_dir / "val" / "blobs.json").read_text())["anns"][0]["rle"]
    content = {
        "images": [{"id": 7, "file_name": "blobs/0.png", "width": 160, "height": 120, **image}],
        "annotations": [{"image_id": 7, "segmentation": rle, **record}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    where = [str(data_dir / "val"), "--kind", "coco", "--annotations", str(path)]
    status = evaluate.main(["nano", *where, "--clicks", "0", "--threads", "1"])
    output = capsys.readouterr()
    if message is None:
        assert status == 0
        assert "| val | box |" in output.out
    else:
        assert status == 1
        assert message in output.err


def test_evaluate_writes_scores(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores.json"
    evaluate.main(["nano", str(data_dir), "--clicks", "2", "--threads", "1", "--out", str(out)])
    table = json.loads(out.read_text())["blobs"]
    assert {"box", "click1", "click2", "blank_box", "ellipse"} <= set(table)
    assert "| blobs | box |" in capsys.readouterr().out


def test_scores_that_are_no_numbers_are_null(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"blobs": {"box": {"all": float("nan"), "small": 0.5, "large": float("inf")}}}
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: table)
    out = tmp_path / "scores.json"
    assert evaluate.main(["nano", str(data_dir), "--threads", "1", "--out", str(out)]) == 0
    found = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found == {"blobs": {"box": {"all": None, "small": 0.5, "large": None}}}
    assert "| blobs | box | nan |" in capsys.readouterr().out


class Answering:
    """A model with given answers, which keeps what it was asked."""

    def __init__(self, masks: list[np.ndarray], iou: list[float]) -> None:
        self.logits = torch.from_numpy(np.stack(masks).astype(np.float32) * 20 - 10)[None]
        self.iou = torch.tensor([iou])
        self.asked: list[tuple[Any, ...]] = []

    def decode(self, *asked: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.asked.append(asked)
        return self.logits, self.iou


SIDE = 256
FRAME = Frame((torch.zeros(1),), (1024, 1024), (SIDE, SIDE))


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


def objects(mask: np.ndarray, ignored: np.ndarray | None = None) -> Objects:
    counted = np.ones_like(mask) if ignored is None else ~ignored
    return Objects([mask], torch.from_numpy(counted)[None, None])


def test_boxes_are_scored_by_the_masks_that_their_names_say() -> None:
    true = rectangle(0, 0, 200, 100)
    answers = [rectangle(0, 0, right, 100) for right in (20, 60, 140, 180)]  # IoU 0.1, 0.3, 0.7, 0.9
    model, scores = Answering(answers, [0.5, 0.6, 0.8, 0.7]), Scores()
    score_prompts(cast(EfficientViTSam, model), FRAME, objects(true), 0, scores)
    found = {name: values[0] for name, values in scores.values.items()}
    assert found["box"] == pytest.approx(0.1, abs=0.02)
    assert found["box_chosen"] == pytest.approx(0.7, abs=0.02), "of the highest predicted IoU"
    assert found["box_best"] == pytest.approx(0.9, abs=0.02)
    (asked,) = model.asked
    assert asked[1].tolist() == [[[0, 0], [800, 400]]]
    assert asked[2].tolist() == [[2, 3]]


def test_the_union_leaves_out_what_is_ignored() -> None:
    true, answer, ignored = rectangle(0, 0, 100, 100), rectangle(0, 0, 200, 100), rectangle(100, 0, 150, 100)
    found = objects(true, ignored).iou(torch.from_numpy(answer)[None, None])
    assert found.item() == pytest.approx(100 / 150)


@pytest.mark.parametrize(("right", "label", "middle"), [(60, 1, 130), (240, 0, 220)])
def test_clicks_go_to_the_largest_error_and_the_last_mask_is_fed_back(right: int, label: int, middle: int) -> None:
    true = rectangle(0, 0, 200, 100)
    masks = [rectangle(0, 0, 30, 30), rectangle(0, 0, 10, 10), rectangle(0, 0, right, 100), rectangle(0, 0, 20, 20)]
    model, scores = Answering(masks, [0.99, 0.1, 0.9, 0.2]), Scores()
    score_prompts(cast(EfficientViTSam, model), FRAME, objects(true), 2, scores)
    first, second = model.asked[1:]
    assert first[3] is None
    assert first[2].tolist() == [[1, -1]], "a click on the object, and SAM's padding point"
    assert torch.equal(second[3], model.logits[:, 2:3]), "the best of the three by predicted IoU"
    assert second[2].tolist() == [[1, label, -1]]
    x, y = (second[1][0, 1] / 4).tolist()
    assert abs(x - middle) < 45
    assert 0 < y < 100
    assert true[int(y), int(x)] == (label == 1)
    assert masks[2][int(y), int(x)] == (label == 0)
    found = {name: values[0] for name, values in scores.values.items()}
    assert found["click1"] == pytest.approx(min(right, 200) / max(right, 200), abs=0.02)
    assert found["click1_best"] == found["click1"]
    assert found["click2"] == pytest.approx(0.045, abs=0.01), "the single mask"
