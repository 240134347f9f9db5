"""What only the native engine has: threads, its arrays, weights of several dtypes, profile."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evsam
from evsam import _C, BackendUnavailable, WeightsError
from evsam.engines import create_engine
from evsam.engines.native import NativeEngine, pin_threads
from evsam.info import collect
from evsam.record import write_record
from evsam.transforms import image_to_pixels
from evsam.weights import Weights
from evsam.zoo import VARIANTS

RECORD = write_record(VARIANTS["nano"])


@pytest.fixture(scope="module")
def weights(seeded_weights) -> Weights:
    return seeded_weights("nano")


@pytest.fixture(scope="module")
def engine(weights) -> Iterator[NativeEngine]:
    made = NativeEngine(weights, threads=2)
    yield made
    made.close()


def answers(engine: NativeEngine, image: np.ndarray) -> list[np.ndarray]:
    (features,) = engine.encode([image])
    points, labels = np.full((2, 2, 2), 300, np.float32), np.array([[1, -1], [1, 0]], np.int32)
    logits, scores = engine.decode(features, points, labels, None)
    return [*features, logits, scores, engine.masks(logits, (683, 1024), (80, 120))]


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("threads", [1, 3, None])
def test_threads_do_not_change_a_bit(weights, engine, image, threads) -> None:
    assert engine.threads == 2
    other = NativeEngine(weights, threads=threads)
    assert other.threads == (threads or _C.get_num_threads())
    assert equal(answers(other, image), answers(engine, image))


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_checked(weights, threads) -> None:
    with pytest.raises(WeightsError, match="threads: expected a number from 1 to 2147483647 or None"):
        NativeEngine(weights, threads=threads)
    with pytest.raises(evsam.EvsamError, match="threads: expected a positive integer"):
        evsam.load(weights, engine="native", threads=threads)


@pytest.mark.parametrize("device", ["cuda", "gpu", "cpu:0"])
def test_device(weights, device) -> None:
    with pytest.raises(BackendUnavailable, match=f"device: expected cpu for engine native, got '{device}'"):
        create_engine("native", weights, device=device)
    assert create_engine("native", weights, device="cpu").device == "cpu"


def test_weights_are_not_kept(weights, engine, image) -> None:
    copies = {name: np.array(tensor) for name, tensor in weights.tensors.items()}
    other = NativeEngine(replace(weights, tensors=copies), threads=1)
    counts = {sys.getrefcount(tensor) for tensor in copies.values()}
    assert counts == {sys.getrefcount(np.zeros(3)) + 2}, "somebody else holds the arrays"
    for tensor in copies.values():
        tensor[...] = np.nan
    assert equal(answers(other, image), answers(engine, image))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_other_dtypes(weights, image, dtype) -> None:
    stored = {name: tensor.astype(dtype) for name, tensor in weights.tensors.items()}
    widened = {name: tensor.astype(np.float32) for name, tensor in stored.items()}
    one, other = (NativeEngine(replace(weights, tensors=tensors), threads=1) for tensors in (stored, widened))
    assert equal(answers(one, image), answers(other, image))


def test_int8() -> None:
    """With trained weights and a photo: what random weights, or noise, make of rounding says nothing."""
    image = Path(__file__).parents[2] / "examples" / "cat.jpg"
    exact, rounded = (evsam.load("nano", threads=1, precision=precision) for precision in ("fp32", "int8"))
    a, b = exact.encode(image), rounded.encode(image)
    assert not np.array_equal(a.features, b.features)
    cosine = np.vdot(a.features, b.features) / np.linalg.norm(a.features) / np.linalg.norm(b.features)
    assert cosine > 0.999
    masks = [sam.predict(a, box=(60, 20, 420, 290)).masks for sam in (exact, rounded)]
    assert (masks[0] != masks[1]).mean() < 0.01


def test_bf16(weights, engine, image) -> None:
    """By instructions that are faster than float32's, or in float32."""
    (exact,), (rounded,) = (each.encode([image]) for each in (engine, NativeEngine(weights, 1, precision="bf16")))
    if _C.narrow_kernels()["bf16"] is None:
        assert equal(list(exact), list(rounded))
        return
    a, b = (np.asarray(maps[0], np.float64) for maps in (exact, rounded))
    assert 0.9999 < np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) < 1 - 1e-9


@pytest.mark.parametrize(
    ("precision", "error", "overlap"), [("bf16", 0.005, 0.99), ("fp16", 0.002, 0.99), ("int8", 0.02, 0.98)]
)
def test_precision_of_the_decoder(precision, error, overlap) -> None:
    """Trained weights, one embedding, clicks, boxes and masks: logits' error, masks' IoU, each prompt's bits alone."""
    image = Path(__file__).parents[2] / "examples" / "cat.jpg"
    exact, rounded = (evsam.load("nano", threads=2, precision=name).engine for name in ("fp32", precision))
    features = evsam.load("nano", threads=2).encode(image).arrays
    points = np.array([[[120, 60], [840, 580]], [[500, 300], [0, 0]], [[300, 200], [700, 400]]], np.float32)
    labels = np.array([[2, 3], [1, -1], [1, 0]], np.int32)
    logits, _ = exact.decode(features, points, labels, None)
    for given in (None, logits[:, :1]):
        (a, _), (b, _) = (engine.decode(features, points, labels, given) for engine in (exact, rounded))
        if _C.narrow_kernels()[precision] is None:
            assert np.array_equal(a, b)
            continue
        assert 0 < np.linalg.norm(a - b) / np.linalg.norm(a) < error
        assert ((a > 0) & (b > 0)).sum() / ((a > 0) | (b > 0)).sum() > overlap
        for n in range(len(points)):
            one = slice(n, n + 1)
            alone, _ = rounded.decode(features, points[one], labels[one], None if given is None else given[one])
            assert np.array_equal(alone[0], b[n])


def test_narrow_kernels_are_told() -> None:
    """What computes each precision here: an extension of the instruction set that is chosen, or nothing."""
    found = _C.narrow_kernels()
    assert set(found) == {"bf16", "fp16", "int8"}
    assert collect()["cpu"]["precisions"] == found
    if _C.selected_isa() in ("scalar", "avx2", "avx512"):
        assert found["int8"] is not None


def test_weights_of_a_wrong_dtype(weights) -> None:
    name = "image_encoder.norm.bias"
    tensors = {**weights.tensors, name: weights.tensors[name].astype(np.int32)}
    with pytest.raises(WeightsError, match=f"weights: {name}: expected dtype float32, float16 or float64, got int32"):
        NativeEngine(replace(weights, tensors=tensors))


def test_strided_weights(weights, engine, image) -> None:
    strided = {name: np.asfortranarray(tensor) for name, tensor in weights.tensors.items()}
    assert equal(answers(NativeEngine(replace(weights, tensors=strided), threads=1), image), answers(engine, image))


def test_cannot_be_pickled(engine) -> None:
    with pytest.raises(TypeError, match="Engine"):
        pickle.dumps(engine)


def test_encoder_alone(engine, image) -> None:
    (expected,) = engine.encode([image])
    got = engine.encode_pixels(image_to_pixels(image, 512))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"pixels: expected float32 \(3, 512, 512\), got float32 \(3, 8, 8\)"):
        engine.encode_pixels(np.zeros((3, 8, 8), np.float32))


def test_profile(engine, image) -> None:
    engine.begin_profile()
    answers(engine, image)
    answers(engine, image)
    rows = engine.end_profile()
    assert len({row["name"] for row in rows}) == len(rows) > 10
    assert {row["calls"] for row in rows} == {2}
    assert all(row["seconds"] > 0 for row in rows)
    total = sum(row["macs"] for row in rows)
    assert total > 1e9


def test_a_profile_adds_up_the_calls_since_it_began(engine, image) -> None:
    engine.begin_profile()
    answers(engine, image)
    engine.begin_profile()
    begin = time.perf_counter()
    for _ in range(6):
        engine.encode([image])
    passed = time.perf_counter() - begin
    rows = engine.end_profile()
    assert {row["calls"] for row in rows} == {6}
    assert 0.5 * passed < sum(row["seconds"] for row in rows) <= passed
    assert engine.end_profile() == []


def test_pinning_can_be_undone(engine, image) -> None:
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    expected = answers(engine, image)
    try:
        if pin_threads():
            assert equal(answers(engine, image), expected)
    finally:
        pin_threads(False)
    assert before is None or os.sched_getaffinity(0) == before


def arguments() -> dict[str, Any]:
    return {
        "features": tuple(
            np.zeros(s, np.float32) for s in ((128, 32, 32), (64, 64, 64), (32, 128, 128), (8, 256, 256))
        ),
        "points": np.zeros((1, 2, 2), np.float32),
        "labels": np.array([[1, -1]], np.int32),
        "masks": None,
        "logits": np.zeros((1, 4, 256, 256), np.float32),
        "scores": np.zeros((1, 4), np.float32),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ()}, "features: expected 4 arrays, got 0"),
        ({"features": (np.zeros(3),) * 4}, r"features: expected float32 \(128, 32, 32\), got float64 \(3,\)"),
        ({"points": np.zeros((1, 2, 3), np.float32)}, r"points: expected float32 \(-1, -1, 2\), got"),
        ({"points": np.zeros((2, 2, 1), np.float32).T}, "points: expected C order"),
        ({"labels": np.zeros((1, 2), np.int64)}, r"labels: expected int32 \(1, 2\), got int64"),
        ({"labels": np.array([[4, 0]], np.int32)}, "labels: expected .* -1 to 3, got 4"),
        ({"masks": np.zeros((1, 256, 256), np.float32)}, r"masks: expected float32 \(1, 1, 256, 256\), got"),
        ({"logits": np.zeros((2, 4, 256, 256), np.float32)}, r"logits: expected float32 \(1, -1, 256, 256\), got"),
        ({"logits": np.zeros((1, 5, 256, 256), np.float32)}, r"filter: expected .* of masks among 4, got \(0, 5\)"),
        ({"logits": np.zeros((1, 0, 256, 256), np.float32)}, r"filter: expected .* of masks among 4, got \(0, 0\)"),
        ({"first": 1}, r"filter: expected \(first, count\) of masks among 4, got \(1, 4\)"),
        ({"first": -1}, r"filter: expected \(first, count\) of masks among 4, got \(-1, 4\)"),
        ({"above": float("nan")}, r"filter.above: expected a number, got NaN"),
        ({"scores": np.zeros((1, 4, 1), np.float32)}, r"scores: expected float32 \(1, 4\), got"),
        ({"scores": np.broadcast_to(np.float32(0), (1, 4))}, "scores: expected a writable array"),
    ],
)
def test_compiled_module_checks_arrays(weights, change, message) -> None:
    engine = _C.Engine(RECORD, dict(weights.tensors), threads=1)
    engine.decode(**arguments())
    with pytest.raises(ValueError, match=message):
        engine.decode(**{**arguments(), **change})


def test_masks_that_are_not_wanted_are_not_computed(weights, engine, image) -> None:
    (features,) = engine.encode([image])
    points, labels = np.full((3, 2, 2), 300, np.float32), np.array([[1, -1], [1, 0], [2, 3]], np.int32)
    points[:, 0] += [[0, 0], [90, 40], [-200, -100]]
    logits, scores = engine.decode(features, points, labels, None)
    above = float(np.median(scores[:, 1:]))
    some = np.full((3, 3, 256, 256), np.nan, np.float32)
    all_scores = np.empty((3, 4), np.float32)
    _C.Engine(RECORD, dict(weights.tensors), threads=2).decode(
        list(features), points, labels, None, some, all_scores, first=1, above=above
    )
    wanted = scores[:, 1:] > above
    assert 0 < wanted.sum() < wanted.size
    assert np.array_equal(all_scores, scores)
    assert np.array_equal(some[wanted], logits[:, 1:][wanted])
    assert np.isnan(some[~wanted]).all()


def test_compiled_module_checks_images(weights) -> None:
    engine = _C.Engine(RECORD, dict(weights.tensors), threads=1)
    features = arguments()["features"]
    engine.encode_pixels(np.zeros((3, 512, 512), np.float32), features)
    assert np.isfinite(features[0]).all()
    with pytest.raises(ValueError, match=r"pixels: expected float32 \(3, 512, 512\), got"):
        engine.encode_pixels(np.zeros((3, 512, 511), np.float32), features)
    with pytest.raises(ValueError, match=r"image: expected uint8 \(-1, -1, 3\), got"):
        engine.encode(np.zeros((5, 5, 4), np.uint8), features)
    with pytest.raises(ValueError, match=r"out: expected uint8 \(1, -1, -1\), got"):
        engine.masks(np.zeros((1, 256, 256), np.float32), 1024, 683, np.zeros((2, 5, 5), np.uint8))
    with pytest.raises(ValueError, match="variant: expected the field 'name', got none"):
        _C.Engine("{}", {})
    with pytest.raises(TypeError, match="x: expected an array"):
        _C.Engine(RECORD, {"x": 3})  # type: ignore[dict-item]


def test_works_after_a_fork(weights, image, tmp_path) -> None:
    """Worker threads do not exist in a child; it starts its own."""
    np.save(tmp_path / "image.npy", image)
    program = f"""
import os, numpy as np, evsam
image = np.load({str(tmp_path / "image.npy")!r})
sam = evsam.load("nano", engine="native", threads=2)
expected = sam.predict(image, box=(20, 10, 90, 70)).logits
pid = os.fork()
if pid == 0:
    os._exit(0 if np.array_equal(sam.predict(image, box=(20, 10, 90, 70)).logits, expected) else 3)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_default_engine_imports_no_torch() -> None:
    program = """
import sys, numpy as np, evsam
sam = evsam.load("nano")
assert sam.engine.name == "native"
sam.predict(np.zeros((50, 60, 3), np.uint8), box=(1, 2, 30, 40))
print(*[name for name in ("torch", "safetensors", "onnxruntime") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
