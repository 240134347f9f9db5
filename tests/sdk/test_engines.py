from __future__ import annotations

import inspect
import threading
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import pytest

from evsam import BackendUnavailable, EvsamError, WeightsError, engines
from evsam.engines import ENGINES, EngineInfo, create_engine
from evsam.engines.base import Engine
from evsam.transforms import fitted_size, masks_from_logits

MISSING = EngineInfo("native", "evsam.engines.native", ("no_such_package", "numpy"), "fast", "not there")


def test_unknown_engine() -> None:
    with pytest.raises(BackendUnavailable, match=r"engine: expected one of auto, torch.*, got 'warp'"):
        create_engine("warp", cast(Any, None))


def test_missing_package_is_named_with_its_extra(monkeypatch) -> None:
    monkeypatch.setattr(engines, "ENGINES", MappingProxyType({"native": MISSING}))
    with pytest.raises(BackendUnavailable, match=r"native needs no_such_package, .* use pip install 'evsam\[fast\]'"):
        create_engine("native", cast(Any, None))


def test_auto_takes_the_first_that_is_available(monkeypatch) -> None:
    here = EngineInfo("here", "json", ("numpy",), "here", "")
    later = EngineInfo("later", "json", (), "later", "")
    table = {e.name: e for e in (MISSING, here, later)}
    monkeypatch.setattr(engines, "ENGINES", MappingProxyType(table))
    assert engines.find_engine("auto") is here


def test_auto_without_any_engine(monkeypatch) -> None:
    monkeypatch.setattr(engines, "ENGINES", MappingProxyType({"native": MISSING}))
    with pytest.raises(BackendUnavailable, match=r"expected at least one engine .* use pip install 'evsam\[fast\]'"):
        create_engine("auto", cast(Any, None))


def test_errors_are_also_runtime_errors() -> None:
    assert issubclass(BackendUnavailable, RuntimeError)
    assert issubclass(BackendUnavailable, EvsamError)


@pytest.fixture
def engine(sam) -> Engine:
    return sam.engine


def test_registry_and_protocol_agree(engine) -> None:
    assert engine.name in ENGINES
    for name in ("encode", "decode", "masks", "close"):
        wanted = list(inspect.signature(getattr(Engine, name)).parameters)[1:]
        assert list(inspect.signature(getattr(engine, name)).parameters) == wanted


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (300, 200), (683, 1024), (1300, 900)])
def test_masks_follow_the_specification(engine, size) -> None:
    logits = np.random.default_rng(0).standard_normal((2, 3, 256, 256)).astype(np.float32)
    resized = fitted_size(size)
    masks = engine.masks(logits, resized, size)
    assert masks.shape == (2, 3, *size)
    assert masks.dtype == bool
    # Logits of random sign cross zero often; only there may rounding decide otherwise.
    assert (masks != masks_from_logits(logits, resized, size)).mean() < 1e-4


def test_masks_in_parts(engine, monkeypatch) -> None:
    from evsam.engines import torch as torch_engine

    logits = np.random.default_rng(0).standard_normal((5, 1, 256, 256)).astype(np.float32)
    whole = engine.masks(logits, (683, 1024), (200, 300))
    monkeypatch.setattr(torch_engine, "UPSCALED_VALUES", 2 * 1024**2)
    assert np.array_equal(engine.masks(logits, (683, 1024), (200, 300)), whole)


def test_decoding_in_parts(engine, image, monkeypatch) -> None:
    from evsam.engines import torch as torch_engine

    (features,) = engine.encode([image])
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 700, (5, 2, 2)).astype(np.float32)
    labels = np.tile(np.array([1, -1], np.int32), (5, 1))
    masks = rng.standard_normal((5, 1, 256, 256)).astype(np.float32)
    whole = engine.decode(features, points, labels, masks)
    monkeypatch.setattr(torch_engine, "CPU_PROMPTS", 2)
    parts = engine.decode(features, points, labels, masks)
    assert whole[0].shape == (5, 4, 256, 256)
    assert whole[1].shape == (5, 4)
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-3)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-4)


def test_encoding_in_parts(engine, image, monkeypatch) -> None:
    from evsam.engines import torch as torch_engine

    images = [image, image[:50], image[:, :50]]
    whole = engine.encode(images)
    monkeypatch.setattr(torch_engine, "CPU_PIXELS", 1)
    for one, other in zip(engine.encode(images), whole, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)


def test_read_only_input_is_taken_without_a_warning(engine, image) -> None:
    (features,) = engine.encode([image])
    for array in features:
        array.setflags(write=False)
    before = [array.copy() for array in features]
    points, labels = np.zeros((1, 2, 2), np.float32), np.array([[1, -1]], np.int32)
    for array in (points, labels):
        array.setflags(write=False)
    engine.decode(features, points, labels, None)
    assert all(np.array_equal(a, b) for a, b in zip(features, before, strict=True))


def test_threads_hold_for_the_engine_and_leave_the_process_alone(seeded_weights, image) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    seen: list[int] = []
    counted: Any = create_engine("torch", seeded_weights("nano"), threads=before + 1)
    try:
        counted.encode([image])
        seen.append(counted._run(lambda _: torch.get_num_threads()))
        assert torch.get_num_threads() == before
        fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        fresh.start()
        fresh.join()
    finally:
        counted.close()
    assert seen == [before + 1, before]


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "device: expected cpu, cuda, cuda:N or mps, got 'gpu'"),
        ("xpu", "device: expected cpu, cuda, cuda:N or mps, got 'xpu'"),
        ("cuda:99", "device: expected one of .* CUDA devices that PyTorch sees, got 'cuda:99'"),
    ],
)
def test_device_that_is_not_there(seeded_weights, device, message) -> None:
    pytest.importorskip("torch")
    with pytest.raises(BackendUnavailable, match=message):
        create_engine("torch", seeded_weights("nano"), device=device)


def test_mps_where_there_is_none(seeded_weights) -> None:
    torch = pytest.importorskip("torch")
    if torch.backends.mps.is_available():
        pytest.skip("this machine has Apple's GPU")
    with pytest.raises(BackendUnavailable, match="device: expected a machine with Apple's GPU"):
        create_engine("torch", seeded_weights("nano"), device="mps")


def test_tensors_must_fit(seeded_weights) -> None:
    pytest.importorskip("torch")
    from dataclasses import replace

    weights = seeded_weights("nano")
    fewer = {k: v for k, v in weights.tensors.items() if k != "image_encoder.norm.bias"}
    with pytest.raises(WeightsError, match=r"image_encoder\.norm\.bias"):
        create_engine("torch", replace(weights, tensors=fewer))
    with pytest.raises(WeightsError, match=r"unknown ones for .*extra"):
        create_engine("torch", replace(weights, tensors={**weights.tensors, "extra": np.zeros(1, np.float32)}))
