from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import pytest

import evsam
from evsam import BackendUnavailable, EvsamError, EvsamWarning, WeightsError, engines
from evsam.engines import ENGINES, EngineInfo, create_engine
from evsam.engines.base import Engine
from evsam.transforms import fitted_size, masks_from_logits

MISSING = EngineInfo(
    name="native",
    module="evsam.engines.native",
    summary="not there",
    requires=("no_such_package", "numpy"),
    extra="fast",
)


def test_unknown_engine() -> None:
    with pytest.raises(BackendUnavailable, match=r"engine: expected one of auto, native, torch.*, got 'warp'"):
        create_engine("warp", cast(Any, None))


def test_missing_package_is_named_with_its_extra(monkeypatch) -> None:
    monkeypatch.setattr(engines, "ENGINES", MappingProxyType({"native": MISSING}))
    with pytest.raises(BackendUnavailable, match=r"native needs no_such_package, .* use pip install 'evsam\[fast\]'"):
        create_engine("native", cast(Any, None))


def test_auto_takes_the_first_that_is_available(monkeypatch) -> None:
    here = EngineInfo(name="here", module="json", summary="", requires=("numpy",), extra="here")
    later = EngineInfo(name="later", module="json", summary="", extra="later")
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


def test_auto_looks_at_device_and_precision(monkeypatch) -> None:
    first = EngineInfo(name="first", module="json", summary="")
    gpu = EngineInfo(name="gpu", module="json", summary="", extra="gpu", devices=("cpu", "cuda"))
    small = EngineInfo(name="small", module="json", summary="", precisions=("fp32", "int8"))
    monkeypatch.setattr(engines, "ENGINES", MappingProxyType({e.name: e for e in (first, gpu, small)}))
    assert engines.find_engine("auto") is first
    assert engines.find_engine("auto", "cpu") is first
    assert engines.find_engine("auto", "cuda:1") is gpu
    with pytest.warns(EvsamWarning, match="first has no int8 on cpu, small computes instead"):
        assert engines.find_engine("auto", precision="int8") is small
    with pytest.warns(EvsamWarning, match="first has no int8 on cpu:0, small computes"):
        assert engines.find_engine("auto", "cpu:0", "int8") is small
    assert engines.find_engine("auto", "tpu") is first, "which then says what it expects"
    for name in ("auto", "first"):
        with pytest.raises(BackendUnavailable, match="precision: expected fp32 or fast for engine first, got 'int3'"):
            engines.find_engine(name, precision="int3")


@pytest.mark.usefixtures("one_calibration_image")
def test_another_engine_because_of_the_precision_is_said_at_the_users_line(seeded_weights, monkeypatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    native = replace(ENGINES["native"], precisions=("fp32",))
    monkeypatch.setattr(engines, "ENGINES", MappingProxyType({**ENGINES, "native": native}))
    with pytest.warns(EvsamWarning) as caught:
        made = evsam.load(seeded_weights("nano"), precision="fp16", threads=1)
    made.close()
    assert made.engine.name == "onnxruntime"
    (warning,) = caught
    assert str(warning.message) == (
        "engine: native has no fp16 on cpu, onnxruntime computes instead; "
        "give engine='onnxruntime' to take it without this warning"
    )
    assert warning.filename == __file__
    lines, first = inspect.getsourcelines(test_another_engine_because_of_the_precision_is_said_at_the_users_line)
    assert "evsam.load" in lines[warning.lineno - first]


def test_an_engine_that_was_named_or_is_the_usual_one_is_taken_in_silence() -> None:
    pytest.importorskip("onnxruntime")  # warnings are errors
    assert engines.find_engine("onnxruntime", precision="fp16").name == "onnxruntime"
    assert engines.find_engine("auto", precision="int8").name == "native"
    assert engines.find_engine("auto", precision="fp16").name == "native"
    assert engines.find_engine("auto", precision="fp32").name == "native"


def test_auto_without_an_engine_of_the_precision(monkeypatch) -> None:
    first = EngineInfo(name="first", module="json", summary="")
    half = replace(MISSING, name="half", precisions=("fp16",))
    monkeypatch.setattr(engines, "ENGINES", MappingProxyType({e.name: e for e in (first, half)}))
    with pytest.raises(BackendUnavailable, match=r"at least one engine that computes in fp16 .* 'evsam\[fast\]'"):
        engines.find_engine("auto", precision="fp16")


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_onnxruntime_that_falls_back_to_the_cpu(seeded_weights, monkeypatch) -> None:
    """As where CUDA's own libraries are missing: this onnxruntime has no CUDA, but says that it has."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(BackendUnavailable, match="compute on 'cuda:0' by CUDAExecutionProvider, got CPUExecution"):
        create_engine("onnxruntime", seeded_weights("nano"), device="cuda")


def test_native_comes_first_and_needs_nothing() -> None:
    assert engines.find_engine("auto") is ENGINES["native"]
    assert ENGINES["native"].requires == ()
    assert ENGINES["native"].install == "pip install evsam"


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request, seeded_weights) -> Iterator[Engine]:
    """Each engine, with nano and stand-in weights."""
    for package in ENGINES[request.param].requires:
        pytest.importorskip(package)
    made = create_engine(request.param, seeded_weights("nano"), threads=1, precision="fp32")
    yield made
    made.close()


@pytest.fixture(scope="module")
def torch_engine(seeded_weights) -> Iterator[Engine]:
    pytest.importorskip("torch")
    made = create_engine("torch", seeded_weights("nano"), threads=1)
    yield made
    made.close()


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


def test_masks_in_parts(torch_engine, monkeypatch) -> None:
    from evsam.engines import torch as module

    logits = np.random.default_rng(0).standard_normal((5, 1, 256, 256)).astype(np.float32)
    whole = torch_engine.masks(logits, (683, 1024), (200, 300))
    monkeypatch.setattr(module, "UPSCALED_VALUES", 2 * 1024**2)
    assert np.array_equal(torch_engine.masks(logits, (683, 1024), (200, 300)), whole)


def test_decoding_in_parts(torch_engine, image, monkeypatch) -> None:
    from evsam.engines import torch as module

    (features,) = torch_engine.encode([image])
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 700, (5, 2, 2)).astype(np.float32)
    labels = np.tile(np.array([1, -1], np.int32), (5, 1))
    masks = rng.standard_normal((5, 1, 256, 256)).astype(np.float32)
    whole = torch_engine.decode(features, points, labels, masks)
    monkeypatch.setattr(module, "CPU_PROMPTS", 2)
    parts = torch_engine.decode(features, points, labels, masks)
    assert whole[0].shape == (5, 4, 256, 256)
    assert whole[1].shape == (5, 4)
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-3)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-4)


def test_onnxruntime_in_parts(seeded_weights, image, monkeypatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from evsam.engines import onnxruntime as module

    made = create_engine("onnxruntime", seeded_weights("nano"), threads=1)
    images = [image, image[:50], image[:, :50]]
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 700, (5, 2, 2)).astype(np.float32)
    labels = np.array([[1, -1], [2, 3], [1, 0], [0, 1], [1, -1]], np.int32)
    masks = rng.standard_normal((5, 1, 256, 256)).astype(np.float32) * 5
    features = made.encode(images)
    whole = made.decode(features[0], points, labels, masks)
    monkeypatch.setattr(module, "PIXELS", 1)
    monkeypatch.setattr(module, "PROMPTS", 2)
    for one, other in zip(made.encode(images), features, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)
    parts = made.decode(features[0], points, labels, masks)
    assert np.abs(np.diff(whole[0], axis=0)).reshape(4, -1).max(1).min() > 0.1, "prompts whose answers differ"
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-3)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-4)


def test_onnxruntime_computes_on_the_device_that_was_named(monkeypatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from evsam.engines.onnxruntime import find_providers

    every = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: every)
    assert find_providers("cpu") == ("cpu", every[2:])
    assert find_providers("cuda") == ("cuda:0", [(every[1], {"device_id": 0}), every[2]])
    assert find_providers("cuda:3") == ("cuda:3", [(every[1], {"device_id": 3}), every[2]])
    third = {"device_id": 2}
    assert find_providers("tensorrt:2") == ("tensorrt:2", [(every[0], third), (every[1], third), every[2]])


def test_encoding_in_parts(torch_engine, image, monkeypatch) -> None:
    from evsam.engines import torch as module

    images = [image, image[:50], image[:, :50]]
    whole = torch_engine.encode(images)
    monkeypatch.setattr(module, "CPU_PIXELS", 1)
    for one, other in zip(torch_engine.encode(images), whole, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)


def test_read_only_input_is_taken_without_a_warning(engine, image) -> None:
    features = tuple(np.array(array) for array in engine.encode([image])[0])
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


@pytest.mark.parametrize("name", ENGINES)
def test_tensors_must_fit(name, seeded_weights) -> None:
    for package in ENGINES[name].requires:
        pytest.importorskip(package)
    weights = seeded_weights("nano")
    fewer = {k: v for k, v in weights.tensors.items() if k != "image_encoder.norm.bias"}
    with pytest.raises(WeightsError, match=r"image_encoder\.norm\.bias"):
        create_engine(name, replace(weights, tensors=fewer))
    with pytest.raises(WeightsError, match=r"(unknown ones for|not known to it).*extra"):
        create_engine(name, replace(weights, tensors={**weights.tensors, "extra": np.zeros(1, np.float32)}))


def test_precision_that_an_engine_lacks(seeded_weights) -> None:
    pytest.importorskip("torch")
    with pytest.raises(BackendUnavailable, match="precision: expected fp32 or fast for engine torch, got 'int8'"):
        create_engine("torch", seeded_weights("nano"), precision="int8")
    expected = "precision: expected fp32 or bf16 or fp16 or int8 or fast for engine native, got 'fp8'"
    with pytest.raises(BackendUnavailable, match=expected):
        create_engine("native", seeded_weights("nano"), precision="fp8")


def some_prompts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 680, (3, 2, 2)).astype(np.float32)
    labels = np.array([[1, -1], [1, 0], [2, 3]], np.int32)
    return points, labels, rng.standard_normal((3, 1, 256, 256)).astype(np.float32)


def test_engines_agree(engine, torch_engine, image) -> None:
    (ours,), (theirs,) = engine.encode([image]), torch_engine.encode([image])
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())
    points, labels, masks = some_prompts()
    for given in (None, masks):
        logits, scores = engine.decode(theirs, points, labels, given)
        expected = torch_engine.decode(theirs, points, labels, given)
        np.testing.assert_allclose(logits, expected[0], rtol=0, atol=1e-4 * np.abs(expected[0]).max())
        np.testing.assert_allclose(scores, expected[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("chosen", [slice(0, 1), slice(1, 4), slice(2, 3)])
def test_only_some_masks(engine, image, chosen) -> None:
    """They are those that they are among all; of masks below a limit only the expected IoU is promised."""
    (features,) = engine.encode([image])
    points, labels, masks = some_prompts()
    for given in (None, masks):
        logits, scores = engine.decode(features, points, labels, given)
        some = engine.decode(features, points, labels, given, chosen)
        assert np.array_equal(some[0], logits[:, chosen])
        assert np.array_equal(some[1], scores[:, chosen])
        above = float(np.median(scores[:, chosen]))
        fewer = engine.decode(features, points, labels, given, chosen, above)
        assert np.array_equal(fewer[1], scores[:, chosen])
        passing = scores[:, chosen] > above
        assert passing.any()
        assert np.array_equal(fewer[0][passing], logits[:, chosen][passing])


def test_prompts_without_points(engine, image) -> None:
    (features,) = engine.encode([image])
    masks = some_prompts()[2]
    logits, scores = engine.decode(features, np.zeros((3, 0, 2), np.float32), np.zeros((3, 0), np.int32), masks)
    assert logits.shape == (3, 4, 256, 256)
    assert np.isfinite(scores).all()


def run_all(engine: Engine, image: np.ndarray) -> list[np.ndarray]:
    """Everything that an engine computes."""
    points, labels, masks = some_prompts()
    (features,) = engine.encode([image])
    logits, scores = engine.decode(features, points, labels, masks)
    return [*map(np.asarray, features), logits, scores, engine.masks(logits, (683, 1024), (80, 120))]


def test_calls_from_many_threads(engine, image) -> None:
    pictures = [image, np.ascontiguousarray(image[::-1]), np.ascontiguousarray(image[:50])]
    expected = [run_all(engine, picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda picture: run_all(engine, picture), pictures * 4))
    for i, answer in enumerate(answers):
        for a, b in zip(answer, expected[i % len(pictures)], strict=True):
            if engine.name == "native":
                assert np.array_equal(a, b)
            else:
                np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("name", ENGINES)
def test_close(name, seeded_weights, image) -> None:
    for package in ENGINES[name].requires:
        pytest.importorskip(package)
    made = create_engine(name, seeded_weights("nano"), threads=1)
    (features,) = made.encode([image])
    points, labels, _ = some_prompts()
    made.close()
    made.close()
    for call in (
        lambda: made.encode([image]),
        lambda: made.decode(features, points, labels, None),
        lambda: made.masks(np.zeros((1, 1, 256, 256), np.float32), (683, 1024), (80, 120)),
    ):
        with pytest.raises(EvsamError, match=r"engine: expected an open engine, got one after close\(\)"):
            call()
