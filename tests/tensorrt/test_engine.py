"""The engine on the stand-in, with small models whose answers NumPy knows."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evsam import BackendUnavailable, EvsamError, ImageError, PromptError, WeightsError
from evsam.engines.base import Engine
from evsam.engines.tensorrt import TensorRTEngine, create
from evsam.engines.tensorrt_runtime.arrays import DeviceMap
from evsam.engines.tensorrt_runtime.facts import Profiles
from evsam.ops import preprocess
from evsam.transforms import image_to_pixels, masks_from_logits
from tests.tensorrt import small_models
from tests.tensorrt.stand_in.network import Network

PROFILES = Profiles(batch=(1, 1, 2), prompts=(1, 2, 3), points=(1, 2, 8))

VERSIONS = [{"tensorrt": "10.3.0", "old_cuda": True}, {"tensorrt": "10.16.1.2"}, {"tensorrt": "11.4.0"}]


@pytest.fixture(params=VERSIONS, ids=lambda version: version["tensorrt"])
def engine(request, machine, small, weights) -> Iterator[TensorRTEngine]:
    machine(**request.param)
    made = TensorRTEngine(weights, 1, profiles=PROFILES)
    yield made
    made.close()


@pytest.fixture(params=[False, True], ids=["plain", "graphs"])
def any_engine(request, world, small, weights) -> Iterator[TensorRTEngine]:
    made = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=request.param)
    yield made
    made.close()


def expected_maps(pixels: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    found = Network(small_models.encoder()).run({"images": pixels})
    return [tuple(found[name][i] for name in small_models.map_names("nano")) for i in range(len(pixels))]


def prompts(count: int, length: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    points = rng.uniform(0, 1, (count, length, 2)).astype(np.float32)
    labels = rng.integers(-1, 4, (count, length)).astype(np.int32)
    return points, labels, rng.standard_normal((count, 1, 256, 256)).astype(np.float32)


def check_decoding(engine: Any, features: Any, points: np.ndarray, labels: np.ndarray, masks: Any) -> None:
    logits, scores = engine.decode(features, points, labels, masks)
    expected = small_models.decode(features, points, labels, masks)
    assert logits.shape == (len(points), 4, 256, 256)
    np.testing.assert_allclose(logits, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-5)


def test_protocol() -> None:
    for name in ("encode", "decode", "masks", "close"):
        wanted = list(inspect.signature(getattr(Engine, name)).parameters)
        assert list(inspect.signature(getattr(TensorRTEngine, name)).parameters) == wanted


def test_encoding_in_batches(engine, image) -> None:
    images = [image, image[:50], image[:, :40]]
    found = engine.encode(images)
    expected = expected_maps(np.stack([image_to_pixels(i, 512) for i in images]))
    assert engine.encode([]) == []
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert isinstance(a, DeviceMap)
            assert (a.shape, a.dtype, a.device) == (b.shape, b.dtype, "cuda:0")
            np.testing.assert_allclose(np.asarray(a), b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
@pytest.mark.parametrize("length", [0, 1, 8])
def test_decoding_in_parts(engine, image, count, length) -> None:
    (features,) = engine.encode([image])
    points, labels, masks = prompts(count, length)
    check_decoding(engine, features, points, labels, masks)
    check_decoding(engine, features, points, labels, None)


def test_features_of_the_host(engine, image) -> None:
    (features,) = engine.encode([image])
    arrays = tuple(np.array(array) + 1 for array in features)
    points, labels, _ = prompts(5)
    check_decoding(engine, arrays, points, labels, None)
    mixed = (features[0], *arrays[1:])
    check_decoding(engine, mixed, points, labels, None)


def test_repeated_shapes(any_engine, image) -> None:
    (features,) = any_engine.encode([image])
    for round_ in range(4):
        for count in (1, 2, 5):
            points, labels, masks = prompts(count)
            shifted = tuple(np.array(array) * (round_ + 1) for array in features)
            check_decoding(any_engine, shifted, points + round_, labels, None)
            check_decoding(any_engine, features, points + round_, labels, masks * (round_ + 1))
        picture = np.roll(image, 10 * round_, 0)
        (found,) = any_engine.encode([picture])
        (expected,) = expected_maps(image_to_pixels(picture, 512)[None])
        np.testing.assert_allclose(np.asarray(found[0]), expected[0], rtol=1e-5, atol=1e-5)


def test_a_mask_of_an_earlier_call_leaves_nothing(engine, image) -> None:
    (features,) = engine.encode([image])
    points, labels, masks = prompts(2)
    engine.decode(features, points, labels, np.full_like(masks, np.inf))
    check_decoding(engine, features, points, labels, None)


def test_many_threads(any_engine, image) -> None:
    pictures = [image, np.ascontiguousarray(image[::-1]), np.ascontiguousarray(image[:50])]
    points, labels, masks = prompts(4)

    def call(picture: np.ndarray) -> list[np.ndarray]:
        (features,) = any_engine.encode([picture])
        return [*map(np.asarray, features), *any_engine.decode(features, points, labels, masks)]

    expected = [call(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, pictures * 5))
    for i, answer in enumerate(answers):
        for a, b in zip(answer, expected[i % 3], strict=True):
            np.testing.assert_array_equal(a, b)


def test_calls_are_limited(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES, calls=2)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: engine.encode([image]), range(12)))
    assert 1 <= len([handle for handle in world.streams if handle > 2]) <= 2, "a stream for each call in progress"
    engine.close()
    with pytest.raises(EvsamError, match="calls: expected a positive number, got 0"):
        TensorRTEngine(weights, 1, profiles=PROFILES, calls=0)


def test_memory_is_reused(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES)
    points, labels, masks = prompts(5)

    def call() -> None:
        (features,) = engine.encode([image])
        engine.decode(features, points, labels, masks)

    call()
    before = world.calls.count("cudaMalloc"), world.calls.count("cudaMallocHost")
    for _ in range(5):
        call()
    assert (world.calls.count("cudaMalloc"), world.calls.count("cudaMallocHost")) == before
    engine.close()


def test_device_features_are_not_copied(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES)
    (features,) = engine.encode([image])
    points, labels, _ = prompts(1)
    engine.decode(features, points, labels, None)
    copies = world.calls.count("cudaMemcpyAsync")
    engine.decode(features, points, labels, None)
    # points, labels and the mask's flag go in, logits and scores come out
    assert world.calls.count("cudaMemcpyAsync") - copies == 5
    assert "cudaMemcpy" not in world.calls
    engine.close()


def test_features_outlive_the_engine(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES)
    (features,) = engine.encode([image])
    engine.close()
    (expected,) = expected_maps(image_to_pixels(image, 512)[None])
    np.testing.assert_allclose(np.asarray(features[0]), expected[0], rtol=1e-5, atol=1e-5)


def test_features_of_another_engine(world, small, weights, image) -> None:
    one, other = (TensorRTEngine(weights, 1, profiles=PROFILES) for _ in range(2))
    (features,) = one.encode([image])
    one.close()
    points, labels, _ = prompts(2)
    check_decoding(other, features, points, labels, None)
    other.close()


def test_masks(engine) -> None:
    logits = np.random.default_rng(0).standard_normal((2, 3, 256, 256)).astype(np.float32)
    found = engine.masks(logits, (683, 1024), (40, 60))
    assert (found != masks_from_logits(logits, (683, 1024), (40, 60))).mean() < 1e-4
    assert engine.masks(logits[:, ::2], (683, 1024), (40, 60)).shape == (2, 2, 40, 60)


def test_close(engine, image) -> None:
    (features,) = engine.encode([image])
    points, labels, _ = prompts(1)
    engine.close()
    engine.close()
    for call in (
        lambda: engine.encode([image]),
        lambda: engine.encode_pixels(np.zeros((1, 3, 512, 512), np.float32)),
        lambda: engine.decode(features, points, labels, None),
        lambda: engine.masks(np.zeros((1, 1, 256, 256), np.float32), (683, 1024), (80, 120)),
    ):
        with pytest.raises(EvsamError, match=r"engine: expected an open engine, got one after close\(\)"):
            call()


def test_close_waits_for_calls(world, small, weights, image, monkeypatch) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES)
    entered, leave = threading.Event(), threading.Event()

    def slow(*arguments: Any, **more: Any) -> Any:
        entered.set()
        assert leave.wait(10)
        return preprocess(*arguments, **more)

    monkeypatch.setattr("evsam.engines.tensorrt.preprocess", slow)
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(engine.encode, [image])
        assert entered.wait(10)
        closing = pool.submit(engine.close)
        assert not closing.done()
        assert [handle for handle in world.streams if handle > 2], "nothing is freed while it is in use"
        leave.set()
        assert len(call.result(10)) == 1
        closing.result(10)


def test_too_many_points(engine, image) -> None:
    (features,) = engine.encode([image])
    points, labels, _ = prompts(1, 9)
    with pytest.raises(PromptError, match=r"points: expected at most 8 for each prompt, .* got 9"):
        engine.decode(features, points, labels, None)


def test_plans_without_a_profile_for_masks_alone(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=replace(PROFILES, mask_alone=False))
    (features,) = engine.encode([image])
    check_decoding(engine, features, *prompts(2)[:2], None)
    points, labels, masks = prompts(2, 0)
    with pytest.raises(PromptError, match="points: expected at least one for each prompt"):
        engine.decode(features, points, labels, masks)
    engine.close()


def test_features_of_another_shape(engine, image) -> None:
    (features,) = engine.encode([image])
    points, labels, _ = prompts(1)
    wrong = (np.zeros((3, 4, 5), np.float32), *features[1:])
    with pytest.raises(ImageError, match=r"features: expected image_embeddings of shape \(128, 32, 32\), got"):
        engine.decode(wrong, points, labels, None)
    check_decoding(engine, features, points, labels, None)


@pytest.mark.parametrize(
    "call", ["cudaMemcpyAsync", "cudaStreamSynchronize", "cudaMalloc", "cudaMallocHost", "cudaStreamCreateWithFlags"]
)
def test_errors_of_cuda(world, small, weights, image, call) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES)
    world.failing[call] = 2
    with pytest.raises(EvsamError, match=rf"{call}: out of memory \(cudaErrorMemoryAllocation, 2\)"):
        engine.encode([image])
    world.failing.clear()
    (features,) = engine.encode([image])
    check_decoding(engine, features, *prompts(2))
    engine.close()


def test_an_execution_that_fails_is_dropped(world, small, weights, image, monkeypatch) -> None:
    from tests.tensorrt.stand_in.tensorrt import Context, Severity

    engine = TensorRTEngine(weights, 1, profiles=PROFILES)
    engine.encode([image])

    def fail(self: Context, stream: int) -> bool:
        self.log(Severity.ERROR, "Error Code 1: Cuda Runtime (an illegal memory access was encountered)")
        return False

    with monkeypatch.context() as patch:
        patch.setattr(Context, "execute_async_v3", fail)
        with pytest.raises(EvsamError, match=r"execute_async_v3 of encoder: Error Code 1: .*illegal memory access"):
            engine.encode([image])
    assert not [handle for handle in world.streams if handle > 2], "nobody knows what state it is in"
    assert len(engine.encode([image])) == 1
    engine.close()


def test_device_and_precision_that_are_not_there(machine, small, weights) -> None:
    world = machine(devices=2)
    for name, message in [
        ("cpu", "device: expected cuda or cuda:N for engine tensorrt, got 'cpu'"),
        ("cuda:", "device: expected cuda or cuda:N for engine tensorrt, got 'cuda:'"),
        ("cuda:2", "device: expected one of 2 CUDA devices, got 'cuda:2'"),
    ]:
        with pytest.raises(BackendUnavailable, match=message):
            create(weights, None, name)
    expected = "precision: expected one of fp32, fp16, int8, fp8 for engine tensorrt, got 'bf16'"
    with pytest.raises(BackendUnavailable, match=expected):
        create(weights, None, None, "bf16")
    world.devices = 0
    with pytest.raises(BackendUnavailable, match=r"device: expected a CUDA device .*driver version is insufficient"):
        create(weights, None, None)


def test_the_calling_threads_device_is_left_alone(machine, small, weights, image) -> None:
    world = machine(devices=2)
    engine = TensorRTEngine(weights, 1, "cuda:1", profiles=PROFILES)
    assert engine.device == "cuda:1"
    (features,) = engine.encode([image])
    check_decoding(engine, features, *prompts(2))
    np.asarray(features[0])
    engine.close()
    assert world.current.device == 0


def test_tensors_must_fit(world, small, weights) -> None:
    fewer = {k: v for k, v in weights.tensors.items() if k != "image_encoder.norm.bias"}
    with pytest.raises(WeightsError, match=r"image_encoder\.norm\.bias"):
        TensorRTEngine(replace(weights, tensors=fewer))


def test_plans_of_something_else(world, weights, monkeypatch) -> None:
    from evsam.export import tensorrt

    monkeypatch.setattr(tensorrt._WeightsModel, "part", lambda self, name: small_models.encoder())
    monkeypatch.setattr(Profiles, "decoder", Profiles.encoder)
    with pytest.raises(
        EvsamError, match=r"decoder: expected a plan with inputs and outputs .*mask_input.*, got images"
    ):
        TensorRTEngine(weights, 1, profiles=PROFILES)
