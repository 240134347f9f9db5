"""`Sam.segment_everything` and its drop-in: what is asked of engines, options, callbacks.

The algorithm itself is held to segment_anything's in test_generator.py.
"""

from __future__ import annotations

import gc
import inspect
import json
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import evsam
from evsam import EvsamError, ImageError, PromptError, Sam, Segments
from evsam.compat import SamAutomaticMaskGenerator
from evsam.engines.base import GeneratorEngine
from evsam.everything import Progress
from evsam.rle import decode_rle, encode_rle
from evsam.zoo import get_variant
from tests.sdk.test_generator import Predictor, invented, original

ALL: dict[str, Any] = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "points_per_side": 6}
"""Whatever thresholds the variant has."""


class Inventor:
    """An engine whose masks are ovals around the clicks, whatever the photo."""

    name, device = "inventor", "cpu"

    def __init__(self) -> None:
        self.encoded: list[tuple[int, ...]] = []
        self.batches: list[int] = []

    def encode(self, images: Any) -> list[tuple[np.ndarray, ...]]:
        self.encoded += [image.shape[:2] for image in images]
        assert all(image.flags.c_contiguous for image in images)
        return [(np.full((1, 1, 1), len(self.encoded), np.float32),) for _ in images]

    def decode(self, features: Any, points: Any, labels: Any, masks: Any, chosen: slice, above: float) -> Any:
        assert features[0].item() == len(self.encoded), "of the crop that was encoded last"
        assert masks is None
        assert labels.tolist() == [[1, -1]] * len(points)
        self.batches.append(len(points))
        logits, scores = (array[:, chosen] for array in invented(points[:, 0]))
        logits[scores <= above] = np.nan  # nobody reads them
        return logits, scores

    def masks(self, *_: Any) -> Any:
        raise AssertionError("no mask is made at the photo's size")

    def close(self) -> None:
        pass


@pytest.fixture
def inventor() -> Inventor:
    return Inventor()


@pytest.fixture
def inventive(inventor) -> Sam:
    return Sam(get_variant("nano"), inventor, "0")


@pytest.fixture(scope="module")
def sam() -> Iterator[Sam]:
    """nano with its weights: masks of stand-in weights are empty."""
    with evsam.load("nano", threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def found(sam, image) -> Segments:
    return sam.segment_everything(image, **ALL)


class TestSegmentEverything:
    def test_what_is_found(self, sam, image, found) -> None:
        assert found.size == (80, 120)
        assert len(found) > 0
        assert (np.diff(found.predicted_iou) <= 0).all(), "best first"
        for segment in found:
            assert segment.area == segment.mask.sum()
            assert segment.crop_box == (0, 0, 120, 80)
            assert json.loads(json.dumps(segment.rle)) == segment.rle
            assert [type(value) for value in (segment.area, segment.predicted_iou, *segment.point)] == [
                int, float, float, float,
            ]  # fmt: skip

    def test_an_embedding_is_as_good(self, sam, image, found) -> None:
        assert sam.segment_everything(sam.encode(image), **ALL) == found

    def test_masks_are_those_of_predict(self, sam, image) -> None:
        (segment, *_) = sam.segment_everything(image, mode="exact", box_nms_thresh=1, **ALL)
        result = sam.predict(image, points=[segment.point])
        best = int(np.abs(result.scores[0] - segment.predicted_iou).argmin())
        assert result.scores[0, best] == pytest.approx(segment.predicted_iou, abs=1e-4)
        assert (result.masks[0, best] == segment.mask).mean() > 0.999

    @pytest.mark.parametrize("mode", ["fast", "exact"])
    def test_engines_that_decode_and_those_that_answer(self, sam, image, mode) -> None:
        class Decoding(Inventor):
            def encode(self, images: Any) -> Any:
                return sam.engine.encode(images)

            def decode(self, *arguments: Any) -> Any:
                return sam.engine.decode(*arguments)

        assert isinstance(sam.engine, GeneratorEngine)
        assert not isinstance(Decoding(), GeneratorEngine)
        other = Sam(sam.variant, Decoding(), sam.fingerprint)
        options = {**ALL, "mode": mode, "crop_n_layers": int(mode == "exact"), "points_per_side": 3}
        assert other.segment_everything(image, **options) == sam.segment_everything(image, **options)

    def test_crops_are_encoded_one_by_one(self, inventive, inventor) -> None:
        image = np.zeros((200, 260, 3), np.uint8)
        inventive.segment_everything(image, crop_n_layers=1, points_per_side=3)
        assert inventor.encoded[0] == (200, 260)
        assert len(inventor.encoded) == 5
        assert all(100 < height < 200 and 130 < width < 260 for height, width in inventor.encoded[1:])

    def test_points(self, inventive, inventor) -> None:
        image = np.zeros((60, 90, 3), np.uint8)
        inventive.segment_everything(image, mode="exact", points_per_side=5, points_per_batch=10)
        assert inventor.batches == [10, 10, 5]
        inventor.batches.clear()
        inventive.segment_everything(image, mode="exact", point_grids=[[(0.1, 0.2), (0.5, 0.5)]])
        assert inventor.batches == [2]

    def test_thresholds_of_the_variant(self, inventive) -> None:
        image, stock = np.zeros((60, 90, 3), np.uint8), inventive.variant.everything
        given = {"pred_iou_thresh": stock.pred_iou_thresh, "stability_score_thresh": stock.stability_score_thresh}
        usual = inventive.segment_everything(image, points_per_side=8)
        assert usual == inventive.segment_everything(image, points_per_side=8, **given)
        assert len(inventive.segment_everything(image, points_per_side=8, **{**given, "pred_iou_thresh": 0.99})) < len(
            usual
        )

    def test_the_threshold_of_masks(self, inventive) -> None:
        image = np.zeros((60, 90, 3), np.uint8)
        options = {**ALL, "points_per_side": 3, "box_nms_thresh": 1, "mode": "exact"}
        before = {(s.point, s.predicted_iou): s.area for s in inventive.segment_everything(image, **options)}
        inventive.mask_threshold = 2.0
        after = {(s.point, s.predicted_iou): s.area for s in inventive.segment_everything(image, **options)}
        assert after.keys() == before.keys()
        assert sum(after.values()) < sum(before.values())

    def test_arrays_in_bgr(self, sam, image, found) -> None:
        assert sam.segment_everything(image[..., ::-1], bgr=True, **ALL) == found

    def test_any_size(self, sam) -> None:
        for size in ((1, 1), (1, 300), (257, 3)):
            found = sam.segment_everything(
                np.zeros((*size, 3), np.uint8), **{**ALL, "points_per_side": 2, "crop_n_layers": 1}
            )
            assert found.size == size

    def test_several_threads(self, sam, image, found) -> None:
        results: list[Segments] = []
        threads = [
            threading.Thread(target=lambda: results.append(sam.segment_everything(image, **ALL))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [found] * 3

    @pytest.mark.parametrize("engine", ["torch"])
    def test_another_engine(self, sam, image, engine) -> None:
        pytest.importorskip(engine)
        options = {**ALL, "mode": "exact", "points_per_side": 2, "box_nms_thresh": 1}
        with evsam.load("nano", engine=engine) as other:
            theirs = other.segment_everything(image, **options)
        ours = sam.segment_everything(image, **options)
        assert len(theirs) == len(ours) > 8
        assert np.abs(theirs.predicted_iou - ours.predicted_iou).max() < 1e-3
        assert (theirs.label_map() == ours.label_map()).mean() > 0.99


class TestCallback:
    def test_progress_and_what_was_found_so_far(self, sam, image) -> None:
        seen: list[tuple[int, int, int]] = []
        kept: list[Segments] = []

        def callback(progress: Progress) -> None:
            kept.append(progress.segments)
            seen.append((progress.done, progress.total, len(kept[-1])))

        found = sam.segment_everything(image, mode="exact", points_per_batch=12, callback=callback, **ALL)
        assert [done for done, _, _ in seen] == [12, 24, 36]
        assert {total for _, total, _ in seen} == {36}
        assert seen[0][2] > 0
        assert kept[-1] == found
        ys = {segment.point[1] for segment in kept[0]}
        assert max(ys) < 80 * 2 / 6, "of the first two rows of the grid"

    def test_stopping_gives_what_was_found_so_far(self, inventive, inventor) -> None:
        image = np.zeros((60, 90, 3), np.uint8)
        kept: list[Segments] = []

        def callback(progress: Progress) -> bool:
            kept.append(progress.segments)
            return len(kept) < 2

        found = inventive.segment_everything(image, mode="exact", points_per_batch=4, callback=callback, **ALL)
        assert inventor.batches == [4, 4]
        assert found == kept[-1]
        assert len(found) > 0

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
    def test_an_interruption_passes_through_and_leaves_nothing(self, sam, image, found, error) -> None:
        states: list[Any] = []

        def callback(progress: Progress) -> None:
            states.append(weakref.ref(progress))
            raise error

        with pytest.raises(error):
            sam.segment_everything(image, callback=callback, **ALL)
        gc.collect()
        assert states[0]() is None
        assert sam.segment_everything(image, **ALL) == found


NUMBERS = [
    name
    for name, parameter in inspect.signature(Sam.segment_everything).parameters.items()
    if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
] + ["pred_iou_thresh", "stability_score_thresh"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "slow"}, "mode: expected fast or exact, got 'slow'"),
            ({"points_per_side": 0}, "points_per_side: expected"),
            ({"points_per_side": 3.5}, "points_per_side: expected a whole number, got 3.5"),
            ({"points_per_side": "many"}, "points_per_side: expected a number, got 'many'"),
            ({"points_per_side": 10**400}, "points_per_side: expected a number, got 10"),
            ({"points_per_batch": 0}, "points_per_batch: expected"),
            ({"points_per_batch": True}, "points_per_batch: expected a number, got True"),
            ({"pred_iou_thresh": 88}, "pred_iou_thresh: expected a number from 0 to 1, or a negative one for any"),
            ({"pred_iou_thresh": "high"}, "pred_iou_thresh: expected a number, got 'high'"),
            ({"stability_score_thresh": [0.9]}, "stability_score_thresh: expected a number, got"),
            ({"stability_score_offset": -1}, "stability_score_offset: expected"),
            ({"crop_n_layers": -1}, "crop_n_layers: expected"),
            ({"crop_n_layers": 99}, "crop_n_layers: expected"),
            ({"crop_nms_thresh": None}, "crop_nms_thresh: expected a number, got None"),
            ({"crop_overlap_ratio": 2.0}, "crop_overlap_ratio: expected"),
            ({"crop_n_points_downscale_factor": 0}, "crop_n_points_downscale_factor: expected"),
            ({"min_mask_region_area": -5}, "min_mask_region_area: expected"),
            ({"point_grids": "grid"}, "point_grids: expected a list of arrays"),
            ({"point_grids": [[1, 2, 3]]}, r"point_grids: expected .*, got one of shape \(3,\)"),
            ({"point_grids": [[("a", 1)]]}, "point_grids: expected"),
            ({"point_grids": [[(0.5, 1.5)]]}, "point_grids: expected"),
            ({"point_grids": []}, "point_grids: expected"),
            ({"box_nms_thresh": 1e300}, r"box_nms_thresh: expected a number from 0 to 1, got 1e\+300$"),
            ({"box_nms_thresh": -1e-7}, "box_nms_thresh: expected a number from 0 to 1, got -1e-07$"),
            ({"mode": np.array(["fast", "exact"])}, "mode: expected fast or exact, got array"),
            ({"point_grids": [[(0.5, 0.5)]], "crop_n_layers": 1}, "point_grids: expected"),
            ({"callback": 3}, "callback: expected a function of the progress, or None, got 3"),
        ],
    )
    def test_options(self, inventive, inventor, options, message) -> None:
        with pytest.raises(PromptError, match=message):
            inventive.segment_everything(np.zeros((60, 90, 3), np.uint8), **options)
        assert not inventor.encoded

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e300, True, np.True_, "1", [1], 1j])
    @pytest.mark.parametrize("name", NUMBERS)
    def test_all_numbers_have_one_rule(self, inventive, name, value) -> None:
        for ask in (
            lambda **options: inventive.segment_everything(np.zeros((60, 90, 3), np.uint8), **options),
            lambda **options: SamAutomaticMaskGenerator(inventive, **options),
        ):
            with pytest.raises(PromptError, match=f"^{name}: expected .*, got "):
                ask(**{name: value})

    def test_images(self, sam, image) -> None:
        with pytest.raises(ImageError, match="image: expected"):
            sam.segment_everything(image.astype(np.float32))
        with pytest.raises(
            PromptError, match="crop_n_layers: expected 0 for an embedding, got 1; crops need the image"
        ):
            sam.segment_everything(sam.encode(image), crop_n_layers=1)

    def test_a_closed_model(self, image) -> None:
        sam = evsam.load("nano", threads=1)
        sam.close()
        with pytest.raises(EvsamError, match="engine: expected an open engine"):
            sam.segment_everything(image)


class TestDropIn:
    @pytest.mark.parametrize(
        ("output_mode", "options"),
        [
            ("binary_mask", {}),
            ("uncompressed_rle", {"crop_n_layers": 1, "points_per_batch": 9, "crop_n_points_downscale_factor": 2}),
            ("coco_rle", {"min_mask_region_area": 30}),
            ("coco_rle", {"points_per_side": None, "point_grids": [np.array([[0.2, 0.3], [0.9, 0.5]])]}),
        ],
    )
    def test_records_are_the_originals(self, inventive, options, output_mode) -> None:
        pytest.importorskip("segment_anything")
        if options.get("min_mask_region_area"):
            pytest.importorskip("cv2")
        image = np.zeros((90, 80, 3), np.uint8)
        chosen = {
            "points_per_side": 5,
            "pred_iou_thresh": 0.6,
            "stability_score_thresh": 0.8,
            "output_mode": output_mode,
            **options,
        }
        ours = SamAutomaticMaskGenerator(inventive, **chosen).generate(image)
        theirs = original(Predictor(invented), image, **chosen)
        assert len(ours) == len(theirs) > 1
        for mine, other in zip(ours, theirs, strict=True):
            assert list(mine) == list(other)
            assert {**_types(mine), "crop_box": 0} == {**_types(other), "crop_box": 0}, (
                "theirs: floats after empty crops"
            )
            if output_mode == "binary_mask":
                assert np.array_equal(mine.pop("segmentation"), other.pop("segmentation"))
            assert mine == other

    def test_signature_is_the_originals(self) -> None:
        segment_anything = pytest.importorskip("segment_anything")
        theirs = inspect.signature(segment_anything.SamAutomaticMaskGenerator).parameters
        ours = inspect.signature(SamAutomaticMaskGenerator).parameters
        assert list(ours) == list(theirs)
        other = {name for name in ours if ours[name].default != theirs[name].default}
        assert other == {"pred_iou_thresh", "stability_score_thresh"}
        assert {ours[name].default for name in other} == {None}, "the variant's"

    @pytest.mark.parametrize(
        "options",
        [
            {"pred_iou_thresh": -1, "stability_score_thresh": -10.0, "box_nms_thresh": 1},
            {"pred_iou_thresh": np.float32(1), "stability_score_thresh": np.int64(1)},
            {"pred_iou_thresh": np.float16(0.5), "points_per_side": np.int32(3), "stability_score_offset": 0},
            {"crop_n_layers": 1, "crop_overlap_ratio": 0, "crop_nms_thresh": 0, "points_per_batch": 10**5},
        ],
    )
    def test_what_the_original_takes_is_taken(self, inventive, options) -> None:
        pytest.importorskip("segment_anything")
        image = np.zeros((90, 80, 3), np.uint8)
        chosen = {"points_per_side": 4, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.8, **options}
        ours = SamAutomaticMaskGenerator(inventive, **chosen).generate(image)
        theirs = original(Predictor(invented), image, **chosen)
        assert [record["area"] for record in ours] == [record["area"] for record in theirs]

    def test_attributes_may_be_changed(self, inventive) -> None:
        image = np.zeros((60, 90, 3), np.uint8)
        generator = SamAutomaticMaskGenerator(inventive, 6)
        assert generator.pred_iou_thresh == inventive.variant.everything.pred_iou_thresh
        many = len(generator.generate(image))
        generator.pred_iou_thresh = 0.97
        assert len(generator.generate(image)) < many

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"points_per_side": None}, "points_per_side, point_grids: expected one of them.*, got neither"),
            ({"point_grids": [np.zeros((1, 2))]}, "points_per_side, point_grids: expected one of them.*, got both"),
            ({"output_mode": "png"}, "output_mode: expected binary_mask, uncompressed_rle, coco_rle, got 'png'"),
            ({"output_mode": np.array(["coco_rle"] * 2)}, "output_mode: expected binary_mask"),
            ({"points_per_batch": 0}, "points_per_batch: expected"),
            ({"crop_overlap_ratio": "a"}, "crop_overlap_ratio: expected a number, got 'a'"),
        ],
    )
    def test_bad_arguments(self, inventive, options, message) -> None:
        with pytest.raises(PromptError, match=message):
            SamAutomaticMaskGenerator(inventive, **options)


def _masks() -> list[np.ndarray]:
    """Blocks with holes and specks, some of them alike once those are gone."""
    rng = np.random.default_rng(4)
    masks = []
    for _ in range(12):
        mask = np.zeros((50, 60), bool)
        y, x = rng.integers(0, 20, 2)
        mask[y : y + 25, x : x + 30] = True
        mask ^= rng.random(mask.shape) < rng.choice([0, 0.02])
        masks.append(mask)
    return [*masks, masks[0], np.eye(50, 60, dtype=bool), np.zeros((50, 60), bool)]


class TestSmallRegions:
    @pytest.mark.parametrize("min_area", [1, 5, 80])
    @pytest.mark.parametrize("form", ["MaskData", "dict"])
    def test_as_the_original(self, min_area, form) -> None:
        amg: Any = pytest.importorskip("segment_anything.utils.amg")
        generator: Any = pytest.importorskip("segment_anything").SamAutomaticMaskGenerator
        pytest.importorskip("cv2")
        import torch

        masks = _masks()

        def data() -> dict[str, Any]:
            stack = torch.from_numpy(np.stack(masks))
            return {
                "rles": amg.mask_to_rle_pytorch(stack),
                "boxes": amg.batched_mask_to_box(stack).numpy(),
                "iou_preds": np.arange(len(masks)) / 10,
            }

        theirs = amg.MaskData(**data())
        generator.postprocess_small_regions(theirs, min_area, 0.7)
        ours = amg.MaskData(**data()) if form == "MaskData" else data()
        assert SamAutomaticMaskGenerator.postprocess_small_regions(ours, min_area, 0.7) is ours
        assert len(ours["rles"]) < len(masks), "the double is gone"
        assert ours["rles"] == theirs["rles"]
        assert np.array_equal(ours["boxes"], theirs["boxes"])
        assert np.array_equal(ours["iou_preds"], theirs["iou_preds"])

    def test_compressed_ones_stay_compressed(self) -> None:
        mask = _masks()[0]
        mask[5, 5] = not mask[5, 5]
        data: dict[str, Any] = {"rles": [encode_rle(mask)], "boxes": [[0, 0, 1, 1]]}
        SamAutomaticMaskGenerator.postprocess_small_regions(data, 50, 0.7)
        assert isinstance(data["rles"][0]["counts"], str)
        y, x = decode_rle(data["rles"][0]).nonzero()
        assert data["boxes"] == [[x.min(), y.min(), x.max(), y.max()]]

    def test_nothing(self) -> None:
        data: dict[str, Any] = {"rles": [], "boxes": []}
        assert SamAutomaticMaskGenerator.postprocess_small_regions(data, 5, 0.7) == {"rles": [], "boxes": []}


def _types(record: dict[str, Any]) -> dict[str, Any]:
    """Types of a record's values, down to the numbers in lists and dicts."""

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: of(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return sorted({str(of(inner)) for inner in value}), len(value)
        return getattr(value, "dtype", type(value))

    return {name: of(value) for name, value in record.items()}
