"""Arrays that are on the device already, and features that stay there."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from evsam import BackendUnavailable, ImageError
from evsam.engines.tensorrt import TensorRTEngine
from evsam.engines.tensorrt_runtime.arrays import KEPT, DeviceMap
from evsam.transforms import image_to_pixels
from tests.tensorrt.stand_in.install import DeviceArray
from tests.tensorrt.stand_in.world import World
from tests.tensorrt.test_engine import PROFILES, check_decoding, expected_maps, prompts


@pytest.fixture(params=[False, True], ids=["plain", "graphs"])
def engine(request, world, small, weights) -> Iterator[TensorRTEngine]:
    made = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def pixels(image) -> np.ndarray:
    return np.stack([image_to_pixels(np.roll(image, shift, 0), 512) for shift in (0, 9, 20)])


def check_maps(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(np.asarray(a), b, rtol=1e-5, atol=1e-5)


def test_pixels_of_the_host(engine, pixels) -> None:
    check_maps(engine.encode_pixels(pixels), expected_maps(pixels))


@pytest.mark.parametrize("kind", [{}, {"dlpack": True}, {"offset": 256}, {"offset": 4}, {"stream": 1}])
def test_pixels_of_the_device(engine, world, pixels, kind) -> None:
    array = DeviceArray(world, pixels, **kind)
    for _ in range(3):
        check_maps(engine.encode_pixels(array), expected_maps(pixels))
    array.free()


def test_pixels_are_read_where_they_are(world, small, weights, pixels) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES)
    array = DeviceArray(world, pixels[:1])
    copies = world.calls.count("cudaMemcpyAsync")
    engine.encode_pixels(array)
    assert world.calls.count("cudaMemcpyAsync") - copies == 4, "one for each map"
    array.free()
    engine.close()


def test_pixels_that_another_stream_makes(engine, world, pixels) -> None:
    cuda = sys.modules["cuda.bindings.runtime"]
    stream = cuda.cudaStreamCreateWithFlags(1)[1]
    source, array = DeviceArray(world, pixels[:1]), DeviceArray(world, np.zeros_like(pixels[:1]), stream=int(stream))
    cuda.cudaMemcpyAsync(array.address, source.address, pixels[:1].nbytes, 3, stream)
    check_maps(engine.encode_pixels(array), expected_maps(pixels[:1]))
    for one in (source, array):
        one.free()
    cuda.cudaStreamDestroy(stream)


def test_a_dlpack_array_is_told_the_stream(engine, world, pixels) -> None:
    array = DeviceArray(world, pixels[:1], dlpack=True)
    engine.encode_pixels(array)
    assert array.asked_for == [handle for handle in world.streams if handle > 2]
    array.free()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: p[0], ImageError, r"pixels: expected shape \(B, 3, 512, 512\), got \(3, 512, 512\)"),
        (lambda p: p[..., :256], ImageError, r"pixels: expected shape \(B, 3, 512, 512\), got \(3, 3, 512, 256\)"),
        (lambda p: p.astype(np.float64), TypeError, "pixels: expected (a float32 array|float32), got (float64|<f8)"),
    ],
)
@pytest.mark.parametrize("on_device", [False, True])
def test_pixels_that_do_not_fit(engine, world, pixels, make, error, message, on_device) -> None:
    given = make(pixels)
    array = DeviceArray(world, given) if on_device else given
    with pytest.raises(error, match=message):
        engine.encode_pixels(array)
    if on_device:
        array.free()


def test_arrays_of_the_wrong_kind(engine, world, pixels) -> None:
    with pytest.raises(TypeError, match="pixels: expected a float32 array, got list"):
        engine.encode_pixels([1, 2])
    array = DeviceArray(world, pixels)
    array.__cuda_array_interface__["strides"] = (3 * 512 * 512 * 4, 4, 512 * 12, 12)
    with pytest.raises(ValueError, match="pixels: expected an array in C order, got strides"):
        engine.encode_pixels(array)
    array.free()
    array = DeviceArray(world, pixels, dlpack=True)
    array.__dlpack_device__ = lambda: (2, 1)
    with pytest.raises(ValueError, match="pixels: expected an array on cuda:0, got one on cuda:1"):
        engine.encode_pixels(array)
    array.free()
    array = DeviceArray(world, pixels.astype(np.float16), dlpack=True)
    with pytest.raises(TypeError, match="pixels: expected float32, got DLPack's type 2 of 16 bits"):
        engine.encode_pixels(array)
    array.free()


def test_features_of_other_libraries(engine, world, image) -> None:
    (features,) = engine.encode([image])
    arrays = tuple(DeviceArray(world, np.asarray(array) * 2, offset=4) for array in features)
    points, labels, _ = prompts(4)
    doubled = tuple(np.asarray(array) * 2 for array in features)
    logits, _ = engine.decode(arrays, points, labels, None)
    expected, _ = engine.decode(doubled, points, labels, None)
    np.testing.assert_array_equal(logits, expected)
    for array in arrays:
        array.free()


def fake_kernels(world: World) -> ModuleType:
    """`evsam._cuda` with the one kernel that the engine uses."""
    module: Any = ModuleType("evsam._cuda")
    module.driver_error = lambda: None

    def preprocess(image: DeviceArray, out: Any, *, stream: int) -> None:
        interface = out.__cuda_array_interface__
        shape, side = interface["shape"], interface["shape"][2]
        assert shape == (1, 3, side, side)
        assert interface["strides"] == (side * side * 12, 4, side * 12, 12)
        assert not interface["data"][1]

        def run() -> None:
            height, width, _ = image.__cuda_array_interface__["shape"]
            photo = world.find(image.address, height * width * 3).reshape(height, width, 3)
            target = world.find(interface["data"][0], side * side * 12).view(np.float32).reshape(side, side, 3)
            target[...] = image_to_pixels(photo, side).transpose(1, 2, 0)

        world.add(stream, "preprocess", run)

    module.preprocess = preprocess
    return module


def test_frames_on_the_device(engine, world, image, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "evsam._cuda", fake_kernels(world))
    frames = [DeviceArray(world, np.ascontiguousarray(np.roll(image, shift, 0))) for shift in (0, 9)]
    mixed = [frames[0], image[:40], frames[1]]
    found = engine.encode(mixed)
    host = [image, image[:40], np.roll(image, 9, 0)]
    check_maps(found, expected_maps(np.stack([image_to_pixels(one, 512) for one in host])))
    for frame in frames:
        frame.free()


def test_frames_without_kernels(engine, world, image, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "evsam._cuda", None)
    frame = DeviceArray(world, image)
    with pytest.raises(BackendUnavailable, match="expected evsam built with its CUDA kernels"):
        engine.encode([frame])
    frame.free()
    assert len(engine.encode([image])) == 1


def test_maps_as_arrays(engine, world, image) -> None:
    ((one, *_),) = engine.encode([image])
    assert isinstance(one, DeviceMap)
    assert (one.ndim, one.size, one.nbytes, len(one)) == (3, 128 * 32 * 32, 4 * 128 * 32 * 32, 128)
    assert repr(one) == "<DeviceMap float32 (128, 32, 32) on cuda:0>"
    with pytest.raises(ValueError, match="copy: expected True or None"):
        one.__array__(copy=False)
    first = np.asarray(one)
    assert np.asarray(one) is first, "copied once"
    assert world.calls.count("cudaMemcpy") == 1
    assert not first.flags.writeable
    assert np.array(one).flags.writeable
    assert np.asarray(one, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.array(one), first)


def test_maps_for_other_libraries(engine, world, image) -> None:
    ((one, *_),) = engine.encode([image])
    interface = one.__cuda_array_interface__
    address, read_only = interface["data"]
    assert read_only
    values = world.find(address, one.nbytes).view(np.float32).reshape(interface["shape"])
    np.testing.assert_array_equal(values, np.asarray(one))


def test_memory_of_maps_that_are_gone(engine, world, image) -> None:
    engine.encode([image])
    gc.collect()
    before = world.calls.count("cudaMalloc"), world.calls.count("cudaFree")
    for _ in range(3):
        engine.encode([image])
    assert (world.calls.count("cudaMalloc"), world.calls.count("cudaFree")) == before
    ((one, *_),) = engine.encode([image])
    address = one.__cuda_array_interface__["data"][0]
    del one
    gc.collect()
    assert world.allocations[address].freed, "somebody else may still be reading, which freeing waits for"
    many = [engine.encode([image])[0] for _ in range(KEPT + 2)]
    held = sum(not a.freed for a in world.allocations.values())
    del many
    gc.collect()
    assert sum(not a.freed for a in world.allocations.values()) < held, "not all of them are kept"


def test_decoding_while_features_go(engine, image) -> None:
    points, labels, _ = prompts(3)
    (kept,) = engine.encode([image])
    expected = engine.decode(kept, points, labels, None)
    for _ in range(3):
        found = engine.decode(engine.encode([image])[0], points, labels, None)
        np.testing.assert_array_equal(found[0], expected[0])
    check_decoding(engine, kept, points, labels, None)
