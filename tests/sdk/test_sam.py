from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evsam
from evsam import Embedding, EvsamError, ImageError, PromptError, WeightsError
from evsam.compat import SamPredictor
from evsam.embedding import embedding_shapes
from evsam.transforms import upscale_logits
from evsam.weights import encoder_fingerprint
from tests.golden import cases
from tests.own_variants import SAM_LIKE, own_weights

PROMPTS: dict[str, dict[str, Any]] = {
    "click": {"points": [(60, 40)], "labels": [1]},
    "clicks": {"points": [(60, 40), (5, 5)], "labels": [1, 0]},
    "box": {"box": (20, 10, 90, 70)},
    "box and click": {"box": (20, 10, 90, 70), "points": [(60, 40)], "labels": [0]},
    "boxes": {"boxes": [(20, 10, 90, 70), (0, 0, 30, 30), (5, 5, 119, 79)]},
    "boxes and clicks": {"boxes": [(20, 10, 90, 70), (0, 0, 30, 30)], "points": [[(60, 40)], [(3, 9)]]},
    "batched clicks": {"points": [[(60, 40)], [(3, 9)], [(100, 70)]], "labels": [[1], [1], [0]]},
    "mask": {"mask": np.linspace(-8, 8, 65536, dtype=np.float32).reshape(256, 256)},
    "mask and click": {"mask": np.full((1, 256, 256), 3.0), "points": [(60, 40)]},
}


@pytest.fixture(scope="module")
def embedding(sam, image) -> Embedding:
    return sam.encode(image)


def assert_close(one: evsam.Prediction, other: evsam.Prediction) -> None:
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    assert (one.masks == other.masks).mean() > 0.999


def assert_equal(one: evsam.Prediction, other: evsam.Prediction) -> None:
    assert np.array_equal(one.logits, other.logits)
    assert np.array_equal(one.scores, other.scores)
    assert np.array_equal(one.masks, other.masks)


class TestEncode:
    def test_embedding(self, sam, embedding) -> None:
        assert embedding.features.shape == (128, 32, 32)
        assert [a.shape for a in embedding.arrays] == embedding_shapes("nano")
        assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in embedding.arrays)
        assert embedding.original_size == (80, 120)
        assert embedding.resized_size == (683, 1024)
        assert (embedding.variant, embedding.fingerprint) == ("nano", sam.fingerprint)

    def test_same_picture_in_any_form(self, sam, image, embedding, tmp_path) -> None:
        Image.fromarray(image).save(tmp_path / "photo.png")
        forms = [image[..., ::-1][..., ::-1], np.dstack([image, image[..., 0]]), Image.fromarray(image)]
        forms += [tmp_path / "photo.png", str(tmp_path / "photo.png")]
        for form in forms:
            assert np.array_equal(sam.encode(form).features, embedding.features)
        assert np.array_equal(sam.encode(image[..., ::-1], bgr=True).features, embedding.features)
        assert not np.array_equal(sam.encode(image, bgr=True).features, embedding.features)

    def test_list(self, sam, image, embedding) -> None:
        images = [image, image[:30, :50], Image.fromarray(image[::-1]), image, image[:, :7], image[5:]]
        batch = sam.encode(images)
        assert [e.original_size for e in batch] == [(80, 120), (30, 50), (80, 120), (80, 120), (80, 7), (75, 120)]
        for one, alone in zip(batch, images, strict=True):
            np.testing.assert_allclose(one.features, sam.encode(alone).features, atol=1e-3)
            assert all(array.base is None or array.base.nbytes == array.nbytes for array in one.arrays)
        np.testing.assert_allclose(batch[0].features, embedding.features, atol=1e-3)

    def test_tuple_and_empty_list(self, sam, image) -> None:
        assert len(sam.encode((image,))) == 1
        assert sam.encode([]) == []

    def test_bad_image_in_a_list_is_named(self, sam, image) -> None:
        with pytest.raises(ImageError, match=r"image: expected .* \(item 1 of the list\)"):
            sam.encode([image, image.astype(float)])

    def test_input_is_not_changed(self, sam, image) -> None:
        before = image.copy()
        sam.encode([image, image[::-1]])
        assert np.array_equal(image, before)

    @pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (3, 1500), (5, 4)])
    def test_any_size(self, sam, size) -> None:
        picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        height, width = size
        result = sam.predict(picture, box=(0, 0, width, height))
        assert result.masks.shape == (1, 1, *size)
        assert np.isfinite(result.logits).all()
        result = sam.predict(picture, points=[(width - 1, height - 1)])
        assert result.masks.shape == (1, 3, *size)


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy, lambda sam: pickle.dumps(SamPredictor(sam))])
def test_stays_in_its_process(sam, send) -> None:
    with pytest.raises(EvsamError, match=r"^Sam: expected to stay in the process .*; load in each process"):
        send(sam)


def test_pools_are_told_to_load_in_each_process(sam) -> None:
    """By the parent, before anything hangs."""
    with (
        multiprocessing.get_context("spawn").Pool(1) as pool,
        pytest.raises(EvsamError, match="load in each process"),
    ):
        pool.map(sam.encode, [1])


class TestPredict:
    @pytest.mark.parametrize("name", PROMPTS)
    @pytest.mark.parametrize("multimask", [None, False, True])
    def test_shapes(self, sam, embedding, name, multimask) -> None:
        prompt = PROMPTS[name]
        result = sam.predict(embedding, multimask=multimask, **prompt)
        prompts = {"boxes": 3, "boxes and clicks": 2, "batched clicks": 3}.get(name, 1)
        masks = 3 if multimask or (multimask is None and name in ("click", "batched clicks")) else 1
        assert result.masks.shape == (prompts, masks, 80, 120)
        assert result.masks.dtype == bool
        assert result.scores.shape == (prompts, masks)
        assert result.logits.shape == (prompts, masks, 256, 256)
        assert result.scores.dtype == result.logits.dtype == np.float32
        assert result.logits.flags.c_contiguous

    @pytest.mark.parametrize("also", ["", "boxes", "mask"])
    def test_padding_changes_nothing(self, sam, embedding, also) -> None:
        clicks = [([(60, 40), (10, 5)], [1, 0]), ([(20, 30)], [1]), ([(90, 70), (4, 4), (60, 8)], [1, 0, 0])]
        points, labels = np.full((3, 3, 2), -7.0), np.full((3, 3), -1)
        points[0, 1:], labels[0, 1:] = clicks[0]  # padding first, last, and none
        points[1, :1], labels[1, :1] = clicks[1]
        points[2], labels[2] = clicks[2]
        others = {"boxes": [(50, 20, 90, 70), (0, 0, 60, 60), (10, 4, 110, 76)]} if also == "boxes" else {}
        if also == "mask":
            others = {"mask": sam.predict(embedding, points=points[:, 2:] % 50, multimask=False).logits[:, 0]}
        both = sam.predict(embedding, points=points, labels=labels, multimask=True, **others)
        for row, (xy, kind) in enumerate(clicks):
            own = {name: value[row : row + 1] for name, value in others.items()}
            alone = sam.predict(embedding, points=[xy], labels=[kind], multimask=True, **own)
            np.testing.assert_allclose(both.logits[row], alone.logits[0], atol=1e-4)
            np.testing.assert_allclose(both.scores[row], alone.scores[0], atol=1e-5)

    def test_lists_of_clicks_equal_one_by_one(self, sam, embedding) -> None:
        points, labels = [[(60, 40)], [(20, 30), (5, 5)], [(90, 70)]], [[1], [1, 0], [0]]
        together = sam.predict(embedding, points=points, labels=labels)
        assert together.masks.shape[:2] == (3, 1), "not all of them are a single click"
        for row, (xy, kind) in enumerate(zip(points, labels, strict=True)):
            alone = sam.predict(embedding, points=xy, labels=kind, multimask=False)
            np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-4)
            np.testing.assert_allclose(together.scores[row], alone.scores[0], atol=1e-5)
        ambiguous = sam.predict(embedding, points=[[(60, 40), (0, 0)], [(20, 30), (0, 0)]], labels=[[1, -1], [0, -1]])
        assert ambiguous.masks.shape[:2] == (2, 3), "padding is no click"

    def test_single_mask_is_the_first_token_and_three_are_the_others(self, sam, embedding) -> None:
        from evsam.prompts import read_prompts

        (group,) = read_prompts((80, 120), (683, 1024), points=[(60, 40)]).groups
        logits, scores = sam.engine.decode(embedding.arrays, group.points, group.labels, None)
        one = sam.predict(embedding, points=[(60, 40)], multimask=False)
        three = sam.predict(embedding, points=[(60, 40)], multimask=True)
        assert np.array_equal(one.logits, logits[:, :1])
        assert np.array_equal(one.scores, scores[:, :1])
        assert np.array_equal(three.logits, logits[:, 1:])
        assert np.array_equal(three.scores, scores[:, 1:])

    @pytest.mark.parametrize("name", ["boxes", "boxes and clicks", "batched clicks"])
    def test_many_prompts_equal_one_by_one(self, sam, embedding, name) -> None:
        prompt = PROMPTS[name]
        together = sam.predict(embedding, **prompt)
        for i in range(len(together)):
            alone = sam.predict(embedding, **{key: value[i : i + 1] for key, value in prompt.items()})
            np.testing.assert_allclose(alone.logits[0], together.logits[i], atol=1e-3)
            np.testing.assert_allclose(alone.scores[0], together.scores[i], atol=1e-4)

    def test_box_equals_boxes_of_one(self, sam, embedding) -> None:
        assert_equal(sam.predict(embedding, box=(20, 10, 90, 70)), sam.predict(embedding, boxes=[(20, 10, 90, 70)]))

    @pytest.mark.parametrize("name", PROMPTS)
    def test_image_is_encoded_on_the_fly(self, sam, image, embedding, name) -> None:
        assert_equal(sam.predict(image, **PROMPTS[name]), sam.predict(embedding, **PROMPTS[name]))

    def test_bgr_image(self, sam, image, embedding) -> None:
        assert_equal(sam.predict(image[..., ::-1], box=(1, 2, 30, 40), bgr=True),
                     sam.predict(embedding, box=(1, 2, 30, 40)))  # fmt: skip

    def test_every_part_of_a_prompt_counts(self, sam, embedding) -> None:
        base: dict[str, Any] = {"box": (20, 10, 90, 70), "points": [(60, 40)], "labels": [1]}
        reference = sam.predict(embedding, **base).logits
        changes: list[dict[str, Any]] = [
            {"box": (20, 10, 90, 71)},
            {"points": [(61, 40)]},
            {"labels": [0]},
            {"mask": np.ones((256, 256))},
        ]
        for change in changes:
            assert not np.array_equal(sam.predict(embedding, **{**base, **change}).logits, reference)

    def test_saved_embedding_predicts_the_same(self, sam, embedding, tmp_path) -> None:
        embedding.save(tmp_path / "embedding")
        again = Embedding.load(tmp_path / "embedding")
        assert_equal(sam.predict(again, box=(1, 2, 30, 40)), sam.predict(embedding, box=(1, 2, 30, 40)))

    def test_logits_serve_as_mask_prompt(self, sam, embedding) -> None:
        first = sam.predict(embedding, boxes=[(20, 10, 90, 70), (0, 0, 30, 30)])
        second = sam.predict(embedding, boxes=[(20, 10, 90, 70), (0, 0, 30, 30)], mask=first.logits[:, 0])
        assert second.masks.shape == first.masks.shape
        assert not np.array_equal(second.logits, first.logits)

    @pytest.mark.parametrize("multimask", ["yes", 2, [], np.array([True, False]), [[1], [1, 2]]])
    def test_multimask_must_be_a_truth_value(self, sam, embedding, multimask) -> None:
        with pytest.raises(PromptError, match="multimask: expected True, False or None, got"):
            sam.predict(embedding, box=(1, 2, 3, 4), multimask=multimask)

    def test_nothing_is_computed_for_a_bad_prompt(self, sam, image, monkeypatch) -> None:
        monkeypatch.setattr(sam.engine, "encode", lambda _: pytest.fail("encoded"))
        with pytest.raises(PromptError):
            sam.predict(image, points=[(120, 5)])
        with pytest.raises(PromptError):
            sam.predict(image)
        with pytest.raises(ImageError):
            sam.predict(image.astype(float), box=(1, 2, 3, 4))
        with pytest.raises(ImageError):
            sam.predict([image], box=(1, 2, 3, 4))

    def test_embedding_of_another_model_is_refused(self, sam, embedding) -> None:
        sizes = embedding.original_size, embedding.resized_size
        for variant, fingerprint in (("l0", embedding.fingerprint), ("nano", "0" * 16)):
            other = evsam.Embedding(embedding.features, embedding.lateral, *sizes, variant, fingerprint)
            with pytest.raises(ImageError, match=r"image: expected an embedding of this model, nano .*, got one of"):
                sam.predict(other, box=(1, 2, 3, 4))


def test_golden(seeded_weights, photo) -> None:
    """The public interface gives the reference implementation's numbers."""
    pytest.importorskip("torch")
    golden = cases.load("l0_chelsea_rot90")
    with evsam.load(seeded_weights(golden.variant), threads=1) as sam:
        embedding = sam.encode(photo(golden.image))
        assert embedding.original_size == golden.size
        difference = embedding.features[:, ::4, ::4] - golden.arrays["embedding"]
        assert np.abs(difference).max() <= cases.EMBEDDING_ATOL
        for prompt in golden.prompts.values():
            result = sam.predict(
                embedding,
                points=None if prompt.points is None else [prompt.points],
                labels=None if prompt.labels is None else [prompt.labels],
                boxes=prompt.boxes,
                mask=prompt.mask,
                multimask=prompt.multimask,
            )
            assert np.abs(result.logits[..., ::4, ::4] - prompt.logits).max() <= cases.LOGITS_ATOL
            assert np.abs(result.scores - prompt.iou).max() <= cases.IOU_ATOL
            assert (result.masks == prompt.masks).mean() >= cases.MASK_AGREEMENT


@pytest.mark.parametrize("threads", [None, 1])
def test_two_threads_get_the_answers_of_two_runs_in_turn(seeded_weights, image, threads) -> None:
    pytest.importorskip("torch")
    images = [image, np.ascontiguousarray(image[::-1, ::-1])[:60]]
    prompts: list[dict[str, Any]] = [{"box": (20, 10, 90, 50)}, {"points": [(30, 20), (50, 50)], "labels": [1, 0]}]
    with evsam.load(seeded_weights("nano"), threads=threads) as sam:
        expected = [sam.predict(i, **p) for i, p in zip(images, prompts, strict=True)]
        assert not np.array_equal(expected[0].logits, expected[1].logits)
        results: list[list[evsam.Prediction]] = [[], []]
        barrier = threading.Barrier(2)

        def run(which: int) -> None:
            barrier.wait()
            for _ in range(2):
                results[which].append(sam.predict(images[which], **prompts[which]))

        workers = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for which in range(2):
        assert len(results[which]) == 2
        for result in results[which]:
            assert_close(result, expected[which])


class TestLoad:
    def test_from_a_file(self, seeded_file, sam, embedding) -> None:
        for source in (seeded_file("nano"), str(seeded_file("nano"))):
            with evsam.load(source, engine="torch") as other:
                assert other.variant.name == "nano"
                assert other.fingerprint == sam.fingerprint
                assert other.device == "cpu"
                assert_close(other.predict(embedding, **PROMPTS["box"]), sam.predict(embedding, **PROMPTS["box"]))

    def test_variant_must_match(self, seeded_file) -> None:
        with pytest.raises(WeightsError, match="expected variant 'l0'"):
            evsam.load(seeded_file("nano"), variant="l0")

    @pytest.mark.parametrize("name", ["l7", "vit_h", "", "nowhere/model.safetensors"])
    def test_unknown_source(self, name) -> None:
        with pytest.raises(WeightsError):
            evsam.load(name)

    def test_unknown_variant(self, seeded_file) -> None:
        with pytest.raises(WeightsError, match="l7"):
            evsam.load(seeded_file("nano"), variant="l7")

    def test_damaged_file(self, seeded_file, tmp_path) -> None:
        path = tmp_path / "half.safetensors"
        path.write_bytes(Path(seeded_file("nano")).read_bytes()[:100_000])
        with pytest.raises(WeightsError):
            evsam.load(path)

    @pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2", 2**31, 2**70])
    def test_threads(self, threads) -> None:
        with pytest.raises(EvsamError, match="threads: expected a positive integer or None, got"):
            evsam.load("nano", threads=threads)

    def test_device_is_a_name(self) -> None:
        with pytest.raises(
            evsam.BackendUnavailable, match="device: expected a name such as cpu or cuda:0, or None, got 7"
        ):
            evsam.load("nano", device=7)  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", [3, b"cpu", [], np.array([]), bytearray(b"x")])
    def test_names_are_text(self, value) -> None:
        for name in ("source", "variant", "engine", "device", "precision"):
            with pytest.raises(evsam.EvsamError, match=r"(weights .*|\w+): expected .*, got"):
                evsam.load(**{name: value})

    def test_engine_is_checked_before_weights_are_read(self) -> None:
        with pytest.raises(evsam.BackendUnavailable, match=r"engine: expected one of auto, .*, got 'fast'"):
            evsam.load("no such weights", engine="fast")

    def test_repr(self, sam) -> None:
        assert repr(sam) == f"<Sam nano {sam.fingerprint}, engine native on cpu>"


class TestFingerprint:
    def test_depends_on_the_encoder_only(self, seeded_weights) -> None:
        weights = seeded_weights("nano")
        reference = encoder_fingerprint(weights)
        assert len(reference) == 16
        for name, same in (("image_encoder.norm.weight", False), ("mask_decoder.iou_token.weight", True)):
            array = weights.tensors[name].copy()
            array.flat[-1] += 1e-3
            changed = dataclasses.replace(weights, tensors={**weights.tensors, name: array})
            assert (encoder_fingerprint(changed) == reference) is same

    def test_does_not_depend_on_the_order_of_the_tensors(self, seeded_weights) -> None:
        weights = seeded_weights("nano")
        turned = dataclasses.replace(weights, tensors=dict(reversed(weights.tensors.items())))
        assert encoder_fingerprint(turned) == encoder_fingerprint(weights)


def test_closed_model(seeded_weights, image) -> None:
    pytest.importorskip("torch")
    sam = evsam.load(seeded_weights("nano"), threads=1)
    with sam:
        embedding = sam.encode(image)
    for call in (lambda: sam.encode(image), lambda: sam.predict(embedding, box=(1, 2, 3, 4))):
        with pytest.raises(EvsamError, match="engine: expected an open engine"):
            call()
    sam.close()  # twice does no harm
    assert embedding.features.shape == (128, 32, 32)


@pytest.mark.parametrize(("multimask", "masks"), [(None, 1), (True, 3)])
def test_no_boxes_give_an_empty_prediction(multimask, masks) -> None:
    result = evsam.load("nano").predict(np.zeros((6, 8, 3), np.uint8), boxes=np.zeros((0, 4)), multimask=multimask)
    assert len(result) == 0
    assert result.masks.shape == (0, masks, 6, 8)
    assert result.scores.shape == (0, masks)
    assert result.logits.shape == (0, masks, 256, 256)
    assert result.best().shape == (0, 6, 8)
    assert result.to_coco_rle() == []
    assert result.to_polygons() == []


@pytest.mark.parametrize("source", ["x" * 5000, "~nouser-of-this-name/x"])
def test_sources_that_are_no_path(source) -> None:
    with pytest.raises(WeightsError, match=r"^weights '.*': expected a path, got one that is none"):
        evsam.load(source)


def test_more_prompts_than_memory_holds(monkeypatch) -> None:
    sam = evsam.load("nano")

    def decode(*_):
        raise MemoryError("Unable to allocate 195. GiB")

    monkeypatch.setattr(sam.engine, "decode", decode)
    with pytest.raises(PromptError, match=r"got 2 on an image of 8 x 6 pixels; predict fewer .*195. GiB"):
        sam.predict(np.zeros((6, 8, 3), np.uint8), boxes=[(0, 0, 4, 4)] * 2)


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("quantile", [0.1, 0.9])
def test_mask_threshold(seeded_weights, image, engine, quantile) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    box = (20, 10, 90, 70)
    with evsam.load(seeded_weights("nano"), engine=engine) as sam:
        embedding = sam.encode(image)
        plain = sam.predict(embedding, box=box)
        full = upscale_logits(plain.logits, embedding.resized_size, embedding.original_size)
        threshold = float(np.quantile(full, quantile))
        sam.mask_threshold = threshold
        moved = sam.predict(embedding, box=box)
        predictor = SamPredictor(sam)
        predictor.set_embedding(embedding)
        compat = predictor.predict(box=np.array(box), multimask_output=False)[0]
    clear = abs(full - threshold) > 1e-3
    assert clear.mean() > 0.9
    assert np.array_equal(moved.masks[clear], full[clear] > threshold)
    assert (moved.masks != plain.masks).mean() > 0.02
    assert np.array_equal(compat, moved.masks[0])
    assert np.array_equal(moved.logits, plain.logits)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), "0", None])
def test_mask_threshold_is_a_finite_number(seeded_weights, image, threshold) -> None:
    with evsam.load(seeded_weights("nano")) as sam:
        sam.mask_threshold = threshold
        with pytest.raises(EvsamError, match="mask_threshold: expected a finite number"):
            sam.predict(image, box=(20, 10, 90, 70))


@pytest.fixture(scope="module", params=["nano", "own-sam"])
def both_decoders(request, image) -> tuple[evsam.Sam, Embedding]:
    """A model with nano's decoder, and one with SAM's, with an embedding of its own."""
    model = evsam.load("nano" if request.param == "nano" else own_weights(SAM_LIKE), engine="native")
    return model, model.encode(image)


class TestHugeNumbers:
    """Finite, but so large that sums overflow: an error, or a finite answer."""

    def test_mask(self, both_decoders) -> None:
        sam, embedding = both_decoders
        with pytest.raises(PromptError, match=r"^mask: expected logits from -1e6 to 1e6, got 3e\+38$"):
            sam.predict(embedding, mask=np.full((256, 256), 3e38, np.float32))
        largest = np.full((256, 256), 1e6, np.float32)
        largest[::2] *= -1
        result = sam.predict(embedding, mask=largest, multimask=True)
        assert np.isfinite(result.logits).all()
        assert np.isfinite(result.scores).all()

    @pytest.mark.parametrize("value", [1e38, np.nan])
    def test_embedding(self, both_decoders, value) -> None:
        sam, embedding = both_decoders
        damaged = Embedding(
            features=np.full_like(embedding.features, value),
            lateral=embedding.lateral,
            original_size=embedding.original_size,
            resized_size=embedding.resized_size,
            variant=embedding.variant,
            fingerprint=embedding.fingerprint,
        )
        for points in ([(60, 40)], [[(60, 40)]] * 9):  # alone, and many that share their image's work
            with pytest.raises(
                EvsamError, match=r"^weights or embedding: expected finite results, got NaN or infinity$"
            ):
                sam.predict(damaged, points=points)
