"""Embeddings whose maps stay on the device."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Iterator

import numpy as np
import pytest

from evsam import Embedding
from evsam.compat import SamPredictor
from evsam.engines.native import NativeEngine
from evsam.engines.tensorrt import TensorRTEngine
from evsam.engines.tensorrt_runtime.arrays import DeviceMap
from evsam.sam import Sam
from tests.tensorrt.stand_in.world import World
from tests.tensorrt.test_engine import PROFILES


@pytest.fixture
def sam(world, small, weights) -> Iterator[Sam]:
    with Sam(weights.variant, TensorRTEngine(weights, 1, profiles=PROFILES), "0123456789abcdef") as model:
        yield model


def copies(world: World) -> int:
    return world.calls.count("cudaMemcpy")


def test_nothing_is_copied_before_somebody_asks(sam, world, image) -> None:
    embedding = sam.encode(image)
    assert all(isinstance(array, DeviceMap) for array in embedding.arrays)
    sam.predict(embedding, points=[(10, 20)])
    sam.predict(embedding, box=(10, 20, 30, 40))
    repr(embedding)
    assert copies(world) == 0
    assert isinstance(embedding.features, np.ndarray)
    assert copies(world) == 1
    assert np.array_equal(embedding.features, embedding.features)
    assert [type(array) for array in embedding.lateral] == [np.ndarray] * 3
    assert copies(world) == 4
    for host, device in zip((embedding.features, *embedding.lateral), embedding.arrays, strict=True):
        assert isinstance(device, DeviceMap)
        np.testing.assert_array_equal(host, device)
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        embedding.colour  # noqa: B018


def test_copies_are_on_the_host(sam, image, tmp_path) -> None:
    embedding = sam.encode(image)
    embedding.save(tmp_path / "photo.safetensors")
    others = [
        pickle.loads(pickle.dumps(embedding)),
        copy.copy(embedding),
        copy.deepcopy(embedding),
        Embedding.load(tmp_path / "photo.safetensors"),
        embedding.on_host(),
    ]
    points = [(10, 20)]
    expected = sam.predict(embedding, points=points)
    for other in others:
        assert all(isinstance(array, np.ndarray) and not array.flags.writeable for array in other.arrays)
        assert (other.original_size, other.resized_size, other.variant, other.fingerprint) == (
            embedding.original_size,
            embedding.resized_size,
            embedding.variant,
            embedding.fingerprint,
        )
        np.testing.assert_array_equal(sam.predict(other, points=points).logits, expected.logits)
    assert others[-1].on_host() is others[-1]


def test_close_frees_the_device(sam, world, image) -> None:
    sam.encode(image)
    assert any(not a.freed for a in world.allocations.values())
    sam.close()
    gc.collect()
    assert all(a.freed for a in world.allocations.values())


def test_embeddings_without_the_model(world, small, weights, image) -> None:
    with Sam(weights.variant, TensorRTEngine(weights, 1, profiles=PROFILES), "0123456789abcdef") as model:
        embedding = model.encode(image)
    assert any(not a.freed for a in world.allocations.values())
    kept = embedding.on_host()
    del embedding
    gc.collect()
    assert all(a.freed for a in world.allocations.values())
    assert np.isfinite(kept.features).all()


def test_other_engines_take_them(sam, weights, image) -> None:
    embedding = sam.encode(image)
    engine = NativeEngine(weights, 1)
    points, labels = np.zeros((1, 2, 2), np.float32), np.array([[1, -1]], np.int32)
    found = engine.decode(embedding.arrays, points, labels, None)
    expected = engine.decode((embedding.features, *embedding.lateral), points, labels, None)
    np.testing.assert_array_equal(found[0], expected[0])


def test_the_predictor_keeps_them_there(sam, world, image) -> None:
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    masks, _, _ = predictor.predict(np.array([[10, 20]]), np.array([1]))
    assert masks.shape == (3, 80, 120)
    assert copies(world) == 0


def test_the_predictor_scales_without_copies(sam, world) -> None:
    torch = pytest.importorskip("torch")
    predictor = SamPredictor(sam)
    predictor.set_torch_image(torch.zeros(1, 3, 683, 1024), (400, 600))
    assert (predictor.original_size, predictor.input_size) == ((400, 600), (683, 1024))
    predictor.predict(box=np.array([10, 20, 30, 40]))
    assert copies(world) == 0
