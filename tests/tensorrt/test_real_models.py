"""The exported models on the stand-in, against the PyTorch engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

for package in ("torch", "onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"the exported models and the expected numbers need {package}")

from evsam.engines.tensorrt import TensorRTEngine
from evsam.engines.tensorrt_runtime.facts import Profiles
from evsam.export.onnx import build_decoder, build_encoder
from evsam.weights import Weights
from evsam.zoo import get_variant
from tests.own_variants import NANO_LIKE, SAM_LIKE, own_weights
from tests.tensorrt.stand_in.network import read_tensors

PROFILES = Profiles(batch=(1, 1, 2), prompts=(1, 2, 3), points=(1, 2, 4))


@pytest.fixture(scope="module")
def nano_on_torch(weights) -> Iterator[Any]:
    from evsam.engines.torch import TorchEngine

    made = TorchEngine(weights, 1)
    yield made
    made.close()


@pytest.mark.usefixtures("one_calibration_image")
@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-4), ("fp16", 2e-2)])
@pytest.mark.parametrize("version", ["10.3.0", "11.4.0"])
def test_agrees_with_pytorch(machine, weights, nano_on_torch, image, precision, error, version) -> None:
    machine(tensorrt=version)
    engine = TensorRTEngine(weights, 1, precision=precision, profiles=PROFILES, graphs=version == "11.4.0")
    check_agreement(engine, nano_on_torch, image, error)
    engine.close()


@pytest.mark.parametrize("variant", [SAM_LIKE, NANO_LIKE], ids=lambda variant: variant.name)
def test_a_made_up_variant_agrees_with_pytorch(machine, image, variant) -> None:
    from evsam.engines.torch import TorchEngine

    weights = own_weights(variant)
    torch_engine = TorchEngine(weights, 1)  # before the stand-in, which PyTorch would look for
    machine()
    engine = TensorRTEngine(weights, 1, precision="fp32", profiles=PROFILES)
    check_agreement(engine, torch_engine, image, 1e-4)
    engine.close()
    torch_engine.close()


def check_agreement(engine: Any, torch_engine: Any, image: np.ndarray, error: float) -> None:
    images = [image, image[:50], image[:, :30]]
    found, expected = engine.encode(images), torch_engine.encode(images)
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(np.asarray(a), b, rtol=0, atol=error * np.abs(b).max())
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 680, (4, 2, 2)).astype(np.float32)
    labels = np.array([[1, -1], [1, 0], [2, 3], [0, -1]], np.int32)
    masks = rng.standard_normal((4, 1, 256, 256)).astype(np.float32)
    for given, length in ((None, 2), (masks, 2), (masks, 0)):
        prompts = points[:, :length], labels[:, :length]
        logits, scores = engine.decode(found[0], *prompts, given)
        theirs = torch_engine.decode(expected[0], *prompts, given)
        np.testing.assert_allclose(logits, theirs[0], rtol=0, atol=error * np.abs(theirs[0]).max())
        np.testing.assert_allclose(scores, theirs[1], rtol=0, atol=error)


@pytest.mark.parametrize("name", ["nano", "l0"])
def test_profiles_fit_the_exported_inputs(seeded_tensors, name) -> None:
    weights = Weights(get_variant(name), seeded_tensors(name), None, {})
    for model, profiles in (
        (build_encoder(weights), PROFILES.encoder(name)),
        (build_decoder(weights), PROFILES.decoder(name)),
    ):
        inputs = {tensor.name: tensor.shape for tensor in read_tensors(model) if tensor.is_input}
        varying = {name: shape for name, shape in inputs.items() if -1 in shape}
        for profile in profiles:
            assert set(profile) == set(varying)
            for tensor, shapes in profile.items():
                for shape in shapes:
                    assert all(a in (-1, b) for a, b in zip(varying[tensor], shape, strict=True))
