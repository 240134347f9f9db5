from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

import evsam
from evsam import Embedding, ImageError, PromptError
from evsam.compat import ResizeLongestSide, SamPredictor
from evsam.embedding import embedding_shapes

SIZE = (80, 120)


@pytest.fixture
def predictor(sam, image) -> SamPredictor:
    made = SamPredictor(sam)
    made.set_image(image)
    return made


@pytest.fixture(scope="module")
def l0(seeded_weights):
    """l0, whose decoder is SAM's own, with an embedding that no image gave."""
    pytest.importorskip("torch")
    with evsam.load(seeded_weights("l0"), threads=1) as sam:
        features = np.random.default_rng(0).standard_normal(embedding_shapes("l0")[0]).astype(np.float32)
        yield sam, Embedding(features, (), SIZE, (683, 1024), "l0", sam.fingerprint)


class TestPredict:
    @pytest.mark.parametrize("multimask", [False, True])
    @pytest.mark.parametrize("kind", ["points", "box", "both", "mask"])
    def test_equals_the_model(self, sam, image, predictor, kind, multimask) -> None:
        ours, theirs = {}, {}
        if kind in ("points", "both", "mask"):
            ours = {"points": [(60, 40), (7, 9)], "labels": [1, 0]}
            theirs = {"point_coords": np.array([(60, 40), (7, 9)]), "point_labels": np.array([1, 0])}
        if kind in ("box", "both"):
            ours["box"] = (20, 10, 90, 70)
            theirs["box"] = np.array([20, 10, 90, 70])
        if kind == "mask":
            ours["mask"] = theirs["mask_input"] = np.ones((1, 256, 256), np.float32)
        result = sam.predict(image, multimask=multimask, **ours)
        masks, scores, logits = predictor.predict(multimask_output=multimask, **theirs)
        assert np.array_equal(masks, result.masks[0])
        assert np.array_equal(scores, result.scores[0])
        assert np.array_equal(logits, result.logits[0])
        assert (masks.dtype, scores.dtype, logits.dtype) == (bool, np.float32, np.float32)
        assert masks.shape == (3 if multimask else 1, *SIZE)

    def test_three_masks_by_default(self, predictor) -> None:
        assert predictor.predict(box=np.array([20, 10, 90, 70]))[0].shape == (3, *SIZE)

    def test_logits_of_full_size(self, predictor) -> None:
        box = np.array([20, 10, 90, 70])
        masks = predictor.predict(box=box)[0]
        logits = predictor.predict(box=box, return_logits=True)[0]
        assert logits.dtype == np.float32
        assert logits.shape == masks.shape
        assert ((logits > 0) == masks).mean() > 0.999

    def test_points_outside_are_taken_as_the_original_takes_them(self, predictor) -> None:
        predictor.predict(np.array([[-3.0, 200.0]]), np.array([1]))

    def test_box_in_a_batch_of_one(self, predictor) -> None:
        box = np.array([20, 10, 90, 70])
        assert np.array_equal(predictor.predict(box=box)[2], predictor.predict(box=box[None])[2])

    def test_without_a_prompt(self, predictor) -> None:
        assert predictor.predict()[0].shape == (3, *SIZE)

    def test_arguments_are_not_changed(self, predictor) -> None:
        points, box = np.array([[60.0, 40.0]]), np.array([20.0, 10.0, 90.0, 70.0])
        predictor.predict(points, np.array([1]), box)
        assert points.tolist() == [[60, 40]]
        assert box.tolist() == [20, 10, 90, 70]

    BAD: ClassVar[dict[str, tuple[dict[str, Any], str]]] = {
        "labels missing": ({"point_coords": np.ones((1, 2))}, "point_labels: expected labels for point_coords"),
        "too many labels": ({"point_coords": np.ones((1, 2)), "point_labels": np.ones(2)}, "one label for each point"),
        "flat point": ({"point_coords": np.ones(2), "point_labels": np.ones(1)}, "point_coords: expected shape"),
        "label 7": ({"point_coords": np.ones((1, 2)), "point_labels": np.array([7])}, "point_labels: expected 1"),
        "nan": ({"point_coords": np.array([[np.nan, 1]]), "point_labels": np.ones(1)}, "expected finite numbers"),
        "long box": ({"box": np.ones(5)}, r"box: expected shape \(4,\)"),
        "mask shape": ({"mask_input": np.ones((1, 64, 64))}, "mask_input: expected shape"),
        "mask rank": ({"mask_input": np.ones((256, 256))}, "mask_input: expected shape"),
        "own mask": ({"mask_input": np.eye(256, dtype=bool)[None]}, "mask_input: expected logits, got only 0 and 1"),
        "mask nan": ({"mask_input": np.full((1, 256, 256), np.nan)}, "mask_input: expected finite"),
    }

    @pytest.mark.parametrize("name", BAD)
    def test_bad_prompts(self, predictor, name) -> None:
        prompt, message = self.BAD[name]
        with pytest.raises(PromptError, match=message):
            predictor.predict(**prompt)


class TestState:
    def test_before_an_image(self, sam) -> None:
        predictor = SamPredictor(sam)
        assert predictor.model is sam
        assert not predictor.is_image_set
        assert predictor.features is None
        calls = (
            predictor.predict,
            predictor.get_image_embedding,
            lambda: predictor.predict_torch(None, None),
        )
        for call in calls:
            with pytest.raises(RuntimeError, match="call set_image before"):
                call()

    def test_after_an_image(self, sam, predictor) -> None:
        torch = pytest.importorskip("torch")
        assert predictor.is_image_set
        assert predictor.original_size == SIZE
        assert predictor.input_size == (683, 1024)
        assert predictor.device == torch.device("cpu")
        assert predictor.transform.target_length == 1024
        embedding = predictor.get_image_embedding()
        assert embedding.shape == (1, 128, 32, 32)
        assert embedding.dtype == torch.float32
        assert torch.equal(embedding, predictor.features)

    def test_after_reset(self, predictor) -> None:
        predictor.reset_image()
        assert not predictor.is_image_set
        assert predictor.features is None
        with pytest.raises(RuntimeError):
            predictor.predict(box=np.array([1, 2, 3, 4]))

    def test_bgr(self, sam, image, predictor) -> None:
        other = SamPredictor(sam)
        other.set_image(image[..., ::-1], "BGR")
        assert bool((other.features == predictor.features).all())

    @pytest.mark.parametrize("image_format", ["rgb", "GRAY", None])
    def test_bad_format(self, predictor, image, image_format) -> None:
        with pytest.raises(ImageError, match="image_format: expected 'RGB' or 'BGR', got"):
            predictor.set_image(image, image_format)

    def test_failed_image_keeps_the_current_one(self, predictor, image) -> None:
        with pytest.raises(ImageError):
            predictor.set_image(image.astype(float))
        assert predictor.is_image_set

    def test_embedding_as_image(self, sam, image, predictor) -> None:
        other = SamPredictor(sam)
        other.set_embedding(sam.encode(image))
        box = np.array([20, 10, 90, 70])
        assert np.array_equal(other.predict(box=box)[2], predictor.predict(box=box)[2])

    def test_kept_features(self, l0) -> None:
        sam, embedding = l0
        predictor = SamPredictor(sam)
        predictor.set_embedding(embedding)
        expected = predictor.predict(box=np.array([20, 10, 90, 70]))
        kept = predictor.features
        predictor.reset_image()
        predictor.features, predictor.original_size, predictor.input_size = kept, SIZE, (683, 1024)
        predictor.is_image_set = True
        for ours, before in zip(predictor.predict(box=np.array([20, 10, 90, 70])), expected, strict=True):
            assert np.array_equal(ours, before)

    def test_features_that_do_not_fit(self, l0, predictor) -> None:
        with pytest.raises(ImageError, match="got nano; use set_embedding"):
            predictor.features = np.zeros((1, 128, 32, 32), np.float32)
        other = SamPredictor(l0[0])
        with pytest.raises(ImageError, match=r"features: expected shape \(1, 256, 64, 64\), got \(256, 64, 64\)"):
            other.features = np.zeros((256, 64, 64), np.float32)
        other.features = None


class TestTorch:
    def test_image_that_was_scaled_before(self, sam, image) -> None:
        torch = pytest.importorskip("torch")
        part = image[:64, :96]
        transform = ResizeLongestSide(1024)
        tensor = torch.as_tensor(transform.apply_image(part)).permute(2, 0, 1)[None]
        once, twice = SamPredictor(sam), SamPredictor(sam)
        once.set_image(part)
        for image_tensor in (tensor, tensor.float()):
            twice.set_torch_image(image_tensor, (64, 96))
            assert twice.original_size == (64, 96)
            assert twice.input_size == once.input_size == (683, 1024)
            # scaled up and down again: nearly the same picture
            assert twice.features is not None
            assert once.features is not None
            assert float((twice.features - once.features).abs().mean()) < 0.1 * float(once.features.std())

    @pytest.mark.parametrize("shape", [(3, 683, 1024), (1, 3, 683, 1000), (2, 3, 683, 1024), (1, 1, 683, 1024)])
    def test_scaled_image_of_wrong_shape(self, sam, shape) -> None:
        torch = pytest.importorskip("torch")
        with pytest.raises(ImageError, match="transformed_image: expected"):
            SamPredictor(sam).set_torch_image(torch.zeros(shape), SIZE)

    @pytest.mark.parametrize("multimask", [False, True])
    def test_batch(self, sam, image, predictor, multimask) -> None:
        torch = pytest.importorskip("torch")
        boxes = np.array([[20, 10, 90, 70], [0, 0, 30, 30]])
        scaled = predictor.transform.apply_boxes_torch(torch.as_tensor(boxes), SIZE)
        masks, scores, logits = predictor.predict_torch(None, None, scaled, None, multimask)
        result = sam.predict(image, boxes=boxes, multimask=multimask)
        assert (masks.dtype, scores.dtype, logits.dtype) == (torch.bool, torch.float32, torch.float32)
        np.testing.assert_allclose(logits.numpy(), result.logits, atol=1e-4)
        np.testing.assert_allclose(scores.numpy(), result.scores, atol=1e-5)
        assert (masks.numpy() == result.masks).mean() > 0.999

    def test_points_and_one_mask_for_all(self, sam, image, predictor) -> None:
        torch = pytest.importorskip("torch")
        points = np.array([[[60, 40]], [[7, 9]]])
        scaled = predictor.transform.apply_coords_torch(torch.as_tensor(points), SIZE)
        mask = torch.ones(1, 1, 256, 256)
        logits = predictor.predict_torch(scaled, torch.tensor([[1], [0]]), None, mask)[2]
        expected = sam.predict(
            image, points=points, labels=[[1], [0]], mask=np.ones((2, 256, 256), np.float32), multimask=True
        )
        np.testing.assert_allclose(logits.numpy(), expected.logits, atol=1e-4)

    def test_batches_of_different_size(self, predictor) -> None:
        torch = pytest.importorskip("torch")
        with pytest.raises(PromptError, match=r"expected batches of one size, got \[1, 2\]"):
            predictor.predict_torch(torch.ones(1, 1, 2), torch.ones(1, 1), torch.ones(2, 4))
        with pytest.raises(PromptError, match=r"expected batches of one size, got \[0\]"):
            predictor.predict_torch(None, None, torch.ones(0, 4))
        with pytest.raises(PromptError, match="boxes: expected shape"):
            predictor.predict_torch(None, None, torch.ones(4))


class TestTransform:
    def test_shapes_and_dtypes(self) -> None:
        torch = pytest.importorskip("torch")
        transform = ResizeLongestSide(256)
        assert transform.get_preprocess_shape(*SIZE, 256) == (171, 256)
        coords = transform.apply_coords(np.array([[60, 40]]), SIZE)
        np.testing.assert_allclose(coords, [[128, 85.5]])
        assert transform.apply_boxes(np.array([0, 0, 60, 40]), SIZE).tolist() == [[0, 0, 128, 85.5]]
        tensor = transform.apply_coords_torch(torch.tensor([[60, 40]]), SIZE)
        assert tensor.dtype == torch.float32
        assert tensor.tolist() == [[128, 85.5]]
        assert transform.apply_image_torch(torch.zeros(2, 3, *SIZE)).shape == (2, 3, 171, 256)
        assert transform.apply_image(np.zeros((*SIZE, 3), np.uint8)).shape == (171, 256, 3)


@pytest.fixture(scope="module")
def originals(l0, seeded_tensors):
    """segment_anything's predictor and ours, with the same decoder and the same image."""
    pytest.importorskip("segment_anything")
    import torch
    from segment_anything import SamPredictor as Original
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    sam, embedding = l0
    encoder: Any = torch.nn.Identity()
    encoder.img_size = 1024
    prompt_encoder = PromptEncoder(256, (64, 64), (1024, 1024), 16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048)
    decoder = MaskDecoder(transformer_dim=256, transformer=transformer)
    model = Sam(encoder, prompt_encoder, decoder)
    tensors = {k: torch.from_numpy(v) for k, v in seeded_tensors("l0").items() if not k.startswith("image_encoder.")}
    assert not model.load_state_dict(tensors, strict=False).unexpected_keys
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6  # as EfficientViT-SAM sets it everywhere
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    theirs = Original(model.eval())
    theirs.features = torch.from_numpy(embedding.features.copy())[None]
    theirs.original_size, theirs.input_size, theirs.is_image_set = SIZE, (683, 1024), True
    ours = SamPredictor(sam)
    ours.set_embedding(embedding)
    yield SimpleNamespace(theirs=theirs, ours=ours)
    torch.set_num_threads(threads)


def assert_alike(ours, theirs) -> None:
    """Same types, dtypes and shapes; equal numbers as far as float32 allows."""
    for one, other in zip(ours, theirs, strict=True):
        assert type(one) is type(other)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        left, right = np.asarray(one), np.asarray(other)
        if left.dtype == bool:
            assert (left == right).mean() > 0.999
        else:
            np.testing.assert_allclose(left, right, atol=2e-3)


class TestAgainstTheOriginal:
    PROMPTS: ClassVar = {
        "click": {"point_coords": np.array([[60, 40]]), "point_labels": np.array([1])},
        "clicks": {"point_coords": np.array([[60.5, 40], [3, 7]]), "point_labels": np.array([1, 0])},
        "box": {"box": np.array([20, 10, 90, 70])},
        "box and click": {
            "box": np.array([20, 10, 90, 70]),
            "point_coords": np.array([[60, 40]]),
            "point_labels": np.array([0]),
        },
        "mask": {"mask_input": np.random.default_rng(1).standard_normal((1, 256, 256)).astype(np.float32)},
        "outside": {"point_coords": np.array([[-10, 400]]), "point_labels": np.array([1])},
    }

    @pytest.mark.parametrize("name", PROMPTS)
    @pytest.mark.parametrize(("multimask", "return_logits"), [(False, True), (True, False)])
    def test_predict(self, originals, name, multimask, return_logits) -> None:
        arguments = {**self.PROMPTS[name], "multimask_output": multimask, "return_logits": return_logits}
        assert_alike(originals.ours.predict(**arguments), originals.theirs.predict(**arguments))

    @pytest.mark.parametrize("kind", ["points", "boxes", "both", "mask"])
    def test_predict_torch(self, originals, kind) -> None:
        import torch

        generator = torch.Generator().manual_seed(0)
        points = 600 * torch.rand(3, 2, 2, generator=generator)
        labels = torch.tensor([[1, 0], [1, 1], [1, -1]])
        boxes = torch.tensor([[20.0, 10, 500, 400], [100, 200, 300, 300], [0, 0, 1024, 683]])
        mask = torch.randn(3, 1, 256, 256, generator=generator)
        arguments = {
            "points": (points, labels),
            "boxes": (None, None, boxes),
            "both": (points, labels, boxes),
            "mask": (points, labels, None, mask),
        }[kind]
        assert_alike(originals.ours.predict_torch(*arguments), originals.theirs.predict_torch(*arguments))

    def test_embedding(self, originals) -> None:
        assert_alike([originals.ours.get_image_embedding()], [originals.theirs.get_image_embedding()])
        assert originals.ours.device == originals.theirs.device

    @pytest.mark.parametrize("size", [(80, 120), (451, 300), (33, 1000), (1024, 1024), (1500, 999)])
    def test_transform(self, originals, size) -> None:
        import torch

        ours, theirs = originals.ours.transform, originals.theirs.transform
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        points = rng.uniform(0, 30, (3, 4, 2))
        boxes = rng.uniform(0, 30, (5, 4))
        assert ours.target_length == theirs.target_length
        assert np.array_equal(ours.apply_image(image), theirs.apply_image(image))
        assert np.array_equal(ours.apply_coords(points, size), theirs.apply_coords(points, size))
        assert np.array_equal(ours.apply_boxes(boxes, size), theirs.apply_boxes(boxes, size))
        for name, tensor in (("apply_coords_torch", points), ("apply_boxes_torch", boxes)):
            one, other = (getattr(t, name)(torch.from_numpy(tensor), size) for t in (ours, theirs))
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other)
        # apply_image_torch is left out: release 1.0 of the original takes batch and channels for height and width

    def test_state_before_an_image(self, originals) -> None:
        for predictor in (SamPredictor(originals.ours.model), type(originals.theirs)(originals.theirs.model)):
            assert predictor.is_image_set is False
            assert predictor.features is None
            for call in (
                predictor.predict,
                predictor.get_image_embedding,
                lambda p=predictor: p.predict_torch(None, None),
            ):
                with pytest.raises(RuntimeError):
                    call()
