from __future__ import annotations

import io
import itertools
import json
import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam import EvsamError, ImageError, Prediction
from evsam.prompts import PhotoPrompts
from evsam.rle import decode_rle

PHOTO = np.zeros((20, 30, 3), np.uint8)


@pytest.fixture
def prediction() -> Prediction:
    masks = np.zeros((2, 3, 20, 30), bool)
    masks[0, 1, 5:10, 5:15] = True
    masks[0, 2, 0] = True
    masks[1, 0, 10:12, 20:30] = True
    scores = np.array([[0.1, 0.9, 0.5], [0.8, 0.2, 0.3]], np.float32)
    return Prediction(masks, scores, np.zeros((2, 3, 256, 256), np.float32))


def test_best_has_the_highest_score(prediction) -> None:
    best = prediction.best()
    assert best.shape == (2, 20, 30)
    assert np.array_equal(best[0], prediction.masks[0, 1])
    assert np.array_equal(best[1], prediction.masks[1, 0])


def test_rle_of_the_best_masks(prediction) -> None:
    rles = prediction.to_coco_rle()
    assert [np.array_equal(decode_rle(rle), mask) for rle, mask in zip(rles, prediction.best(), strict=True)] == [
        True
    ] * 2


def test_polygons_of_the_best_masks(prediction) -> None:
    (first,), (second,) = prediction.to_polygons()
    assert first.outer.tolist() == [[5, 5], [15, 5], [15, 10], [5, 10]]
    assert second.outer.tolist() == [[20, 10], [30, 10], [30, 12], [20, 12]]


@pytest.mark.parametrize("form", [np.asarray, lambda a: a[..., 0], Image.fromarray])
def test_overlay(prediction, form) -> None:
    image = np.full((20, 30, 3), 100, np.uint8)
    drawn = prediction.overlay(form(image))
    assert drawn.size == (30, 20)
    assert drawn.mode == "RGB"
    changed = (np.asarray(drawn) != 100).any(-1)
    assert changed[prediction.best().any(0)].all()
    assert not changed[:3].any()
    assert not changed[15:].any()


def test_notebooks_show_the_overlay_on_grey(prediction) -> None:
    shown = Image.open(io.BytesIO(prediction._repr_png_()))
    assert shown.format == "PNG"
    pixels = np.asarray(shown)
    ground = np.broadcast_to(pixels[-1, 0], pixels.shape)
    assert len(set(ground[0, 0].tolist())) == 1, "grey"
    assert np.array_equal(pixels, np.asarray(prediction.overlay(ground)))
    assert (pixels != ground).any(-1)[prediction.best().any(0)].all()


def test_notebooks_show_large_photos_smaller() -> None:
    masks = np.zeros((1, 1, 1000, 3000), bool)
    masks[..., 600:] = True
    result = Prediction(masks, np.ones((1, 1), np.float32), np.zeros((1, 1, 256, 256), np.float32))
    pixels = np.asarray(Image.open(io.BytesIO(result._repr_png_())))
    assert pixels.shape == (341, 1024, 3)
    assert (pixels[170, 100] != pixels[170, 900]).any()


def test_overlay_draws_what_is_asked_for() -> None:
    image = np.full((300, 400, 3), 100, np.uint8)
    masks = np.zeros((2, 1, 300, 400), bool)
    masks[0, 0, 100:200, 50:150] = masks[1, 0, 100:200, 250:350] = True
    prompts = PhotoPrompts(np.array([[[60.0, 250.0]], [[300.0, 250.0]]]), np.ones((2, 1), int))
    result = Prediction(masks, np.ones((2, 1), np.float32), np.zeros((2, 1, 256, 256), np.float32), prompts)
    area = {}
    for drawn_prompts in (False, True):
        for tags in (False, True, ["cat", "a longer name"]):
            picture = np.asarray(result.overlay(image, prompts=drawn_prompts, tags=tags))
            changed = (picture != 100).any(-1)
            assert changed[245:255, 55:65].any() == drawn_prompts
            assert changed[80:98].any() == (tags is not False)
            area[drawn_prompts, str(tags)] = changed[80:98].sum()
    assert area[True, "True"] != area[True, "['cat', 'a longer name']"]
    assert (np.asarray(result[1].overlay(image, tags=False))[245:255, 295:305] != 100).any()
    assert (np.asarray(result[1].overlay(image, tags=False))[:, :200] == 100).all()
    wrong: list[Any] = [["cat"], None, 3, [1, 2], ["a", "b", "c"]]
    for value in wrong:
        with pytest.raises(EvsamError, match="tags: expected a text, or one for each of 2 masks, got"):
            result.overlay(image, tags=value)


def test_overlay_on_another_image(prediction) -> None:
    with pytest.raises(
        ImageError, match=r"image: expected height and width \(20, 30\) as the masks have, got \(30, 20\)"
    ):
        prediction.overlay(np.zeros((30, 20, 3), np.uint8))


def numbered(count: int) -> Prediction:
    """Scores say which prompt it was."""
    scores = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    masks = (scores[..., None, None] + np.arange(4)[:, None] * np.arange(5)) % 3 == 0
    logits = np.broadcast_to(scores[..., None, None], (count, 3, 256, 256)).astype(np.float32)
    prompts = PhotoPrompts(np.full((count, 2, 2), scores[:, :2, None]), np.ones((count, 2), int), np.ones((count, 4)))
    return Prediction(masks, scores, logits, prompts)


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (0, [0]),
        (4, [4]),
        (-1, [4]),
        (-5, [0]),
        (np.int64(2), [2]),
        (np.array(2), [2]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -2), [4, 2, 0]),
        (slice(9, 12), []),
        ([3, 0, 0, -1], [3, 0, 0, 4]),
        (np.array([1, -2], np.int8), [1, 3]),
        (np.array([255 - 251], np.uint8), [4]),
        ([], []),
        ([True, False, False, True, False], [0, 3]),
        (np.zeros(5, bool), []),
    ],
)
def test_indices_choose_prompts(index, rows: list[int]) -> None:
    result = numbered(5)
    chosen = result[index]
    assert len(chosen) == len(rows)
    for name in ("masks", "scores", "logits"):
        assert np.array_equal(getattr(chosen, name), getattr(result, name)[rows])
    for name in ("points", "labels", "boxes"):
        assert np.array_equal(getattr(chosen.prompts, name), getattr(result.prompts, name)[rows])


@pytest.mark.parametrize(
    "index",
    [
        *(5, -6, 10**30, [0, 5], [-6], 1.0, "0", None, [True], np.ones((5, 1), bool), True, [[0]], [0.0], ["a"], ...),
        *([[0], [1, 2]], slice(0, 5, 0), slice("a", None), slice(None, 1.5)),
    ],
)
def test_other_indices_are_refused(index) -> None:
    with pytest.raises(EvsamError, match="index: expected") as caught:
        numbered(5)[index]
    assert isinstance(caught.value, IndexError)


def test_a_loop_goes_over_the_prompts(prediction) -> None:
    parts = list(prediction)
    assert [part.masks.shape for part in parts] == [(1, 3, 20, 30)] * 2
    assert np.array_equal(np.concatenate([part.best() for part in parts]), prediction.best())
    assert list(prediction[:0]) == []
    assert prediction[0].prompts is None


def test_boxes_and_areas(prediction) -> None:
    assert prediction.boxes.tolist() == [[5, 5, 15, 10], [20, 10, 30, 12]]
    assert prediction.areas.tolist() == [50, 20]
    empty = Prediction(np.zeros((1, 1, 4, 5), bool), np.ones((1, 1), np.float32), prediction.logits[:1, :1])
    assert empty.boxes.tolist() == [[0, 0, 0, 0]]
    assert empty.areas.tolist() == [0]
    none = prediction[:0]
    assert (none.boxes.shape, none.boxes.dtype, none.areas.shape) == ((0, 4), np.int64, (0,))


def test_boxes_serve_as_prompts(sam, image) -> None:
    result = sam.predict(image, boxes=[(20, 10, 90, 70), (0, 0, 120, 80)])
    again = sam.predict(image, boxes=result.boxes)
    assert np.array_equal(again.prompts.boxes, result.boxes)
    assert len(result[:0].boxes) == 0


def test_a_prediction_knows_its_prompts(sam, image) -> None:
    result = sam.predict(image, points=[[(60.25, 40), (3, 79)]], labels=[[1, 0]])
    assert result.prompts.points.tolist() == [[[60.25, 40], [3, 79]]]
    assert result.prompts.labels.tolist() == [[1, 0]]
    assert result.prompts.boxes is None
    boxed = sam.predict(image, points=[[(60, 40)], [(1, 2)]], boxes=[(20, 10, 90.5, 70), (0, 0, 500, 30)])
    assert boxed.prompts.points.tolist() == [[[60, 40]], [[1, 2]]]
    assert boxed.prompts.boxes.tolist() == [[20, 10, 90.5, 70], [0, 0, 120, 30]]  # clipped to the photo
    alone = sam.predict(image, mask=result.logits[:, 0])
    assert alone.prompts.points.shape[:1] == (1,)
    assert alone.prompts.boxes is None
    assert np.asarray(alone.overlay(image)).shape == image.shape


def test_clean(prediction) -> None:
    masks = np.zeros((1, 2, 12, 12), bool)
    masks[:, :, 1:7, 1:7] = True
    masks[:, :, 3, 3] = False  # a hole
    masks[0, 0, 9, 9:11] = True  # a piece
    given = Prediction(masks, prediction.scores[:1, :2], prediction.logits[:1, :2])
    cleaned = given.clean(min_area=3, fill_holes=2)
    solid = np.zeros((12, 12), bool)
    solid[1:7, 1:7] = True
    assert np.array_equal(cleaned.masks[0], [solid, solid])
    assert cleaned.scores is given.scores
    assert not given.masks[0, 0, 3, 3]
    assert np.array_equal(given.clean().masks, given.masks)
    assert np.array_equal(given.clean(min_area=2, fill_holes=1).masks, given.masks)
    assert np.array_equal(given.clean(fill_holes=True).masks[0, 1], solid)
    assert np.array_equal(given.clean(fill_holes=False).masks, given.masks)
    nothing = Prediction(np.zeros_like(given.masks), given.scores, given.logits)
    assert not nothing.clean(fill_holes=10**6).masks.any(), "an empty photo is no gap"
    assert len(prediction[:0].clean(5, 5)) == 0


@pytest.mark.parametrize("value", [-1, 1.5, "9", None, float("nan"), np.bool_(True)])
@pytest.mark.parametrize("name", ["min_area", "fill_holes"])
def test_clean_refuses_what_is_no_number_of_pixels(prediction, name, value) -> None:
    with pytest.raises(EvsamError, match=f"{name}: expected a number of pixels, 0 or more, got"):
        prediction.clean(**{name: value})


def test_save_writes_by_extension(prediction, tmp_path) -> None:
    for name in ("a.png", "b.json", "c.SVG", "d.npz"):
        prediction.save(tmp_path / "new" / name, file_name="photo.jpg")
    labels = np.asarray(Image.open(tmp_path / "new" / "a.png"))
    expected = np.zeros((20, 30), int)
    expected[5:10, 5:15] = 1
    expected[10:12, 20:30] = 2
    assert np.array_equal(labels, expected)
    assert json.loads((tmp_path / "new" / "b.json").read_text()) == prediction.to_coco("photo.jpg")
    assert (tmp_path / "new" / "c.SVG").read_text() == prediction.to_svg()
    with np.load(tmp_path / "new" / "d.npz") as arrays:
        for name in ("masks", "scores", "logits"):
            assert np.array_equal(arrays[name], getattr(prediction, name))
    assert len(list((tmp_path / "new").iterdir())) == 4


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.txt", ".png"])
def test_save_refuses_other_extensions(prediction, tmp_path, name) -> None:
    with pytest.raises(
        EvsamError, match=r"path: expected a name that ends in \.png, \.json, \.geojson, \.svg, \.npz, got"
    ):
        prediction.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_name_is_refused(prediction, tmp_path) -> None:
    for call, message in (
        (lambda: prediction.to_coco(3), "file_name: expected a path, got builtins.int"),
        (lambda: prediction.to_coco(image_id=1.5), "image_id: expected an integer or a text, got 1.5"),
        (lambda: prediction.to_coco(names=None), "names: expected a text, or one for each of 2 masks, got None"),
        (lambda: prediction.to_labelme(None), "image_path: expected a path, got builtins.NoneType"),
        (lambda: prediction.to_svg(b"a.jpg"), "photo: expected a path, got builtins.bytes"),
        (lambda: prediction.to_svg(opacity=2), "opacity: expected a number from 0 to 1, got 2"),
        (lambda: prediction.save(None), "path: expected a path, got builtins.NoneType"),
        (lambda: prediction.save("a\0.png"), r"path: expected a path, got 'a\\x00.png', which has a NUL character"),
        (lambda: prediction.save("\ud800.png"), r"path: expected a path, got '\\ud800.png', which is no Unicode text"),
        (lambda: prediction.to_coco(names=np.array(3)), r"names: expected a text, or one for each .*, got array\(3\)"),
        (lambda: prediction.to_coco(names=itertools.repeat("a")), r"names: expected .* got repeat\('a'\)"),
        (
            lambda: prediction.overlay(np.zeros((20, 30), np.uint8), prompts="no"),
            "prompts: expected True or False, got 'no'",
        ),
        (lambda: prediction.clean(np.zeros((300, 300))), r"min_area: expected .{,140}\.\.\.$"),
    ):
        with pytest.raises(EvsamError, match=message):
            call()
    document = prediction.to_coco(tmp_path / "a.jpg", image_id=np.int64(4))
    assert json.loads(json.dumps(document)) == document


def test_documents_have_the_best_masks_and_scores(prediction) -> None:
    coco = prediction.to_coco("p.jpg", image_id=7, names=["cat", "dog"])
    assert [a["score"] for a in coco["annotations"]] == pytest.approx([0.9, 0.8])
    assert [a["bbox"] for a in coco["annotations"]] == [[5, 5, 10, 5], [20, 10, 10, 2]]
    labelme = prediction.to_labelme("p.jpg", names="cat")
    assert [shape["points"] for shape in labelme["shapes"]] == [
        [[5, 5], [15, 5], [15, 10], [5, 10]],
        [[20, 10], [30, 10], [30, 12], [20, 12]],
    ]
    assert "1  0.90" in prediction.to_svg("p.jpg")


def test_length_pickle_and_repr(prediction) -> None:
    assert len(prediction) == 2
    copy = pickle.loads(pickle.dumps(prediction))
    assert np.array_equal(copy.masks, prediction.masks)
    assert repr(copy) == "<Prediction of 2 x 3 masks for an image of 30 x 20 pixels>"
