"""The builder with TensorRT for RTX, which has nearly the same interface and builds without a GPU. Nothing runs."""

from __future__ import annotations

from typing import Any

import pytest

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"the exported models need {package}")
trt: Any = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 not installed")

from evsam import EvsamError
from evsam.engines.tensorrt_runtime import builder
from evsam.engines.tensorrt_runtime.cuda import Cuda, Device
from evsam.engines.tensorrt_runtime.facts import BuildOptions, Profiles
from evsam.engines.tensorrt_runtime.library import Library
from evsam.export.onnx import build_encoder, build_models
from evsam.export.options import PLUGINS, ExportOptions
from evsam.weights import Weights
from evsam.zoo import get_variant

DEVICE = Device(Cuda(None), 0, "SM 86", "8.6", 0)


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(trt)


@pytest.fixture
def for_sm86(monkeypatch) -> None:
    """This library builds for the GPU at hand unless it is told another one."""
    configure = builder._configure

    def with_target(module: Any, *arguments: Any) -> Any:
        config = configure(module, *arguments)
        config.num_compute_capabilities = 1
        assert config.set_compute_capability(module.ComputeCapability.SM86, 0)
        return config

    monkeypatch.setattr(builder, "_configure", with_target)


@pytest.mark.usefixtures("one_calibration_image")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_both_parts_with_the_default_profiles(library, for_sm86, seeded_tensors, precision) -> None:
    models = build_models(Weights(get_variant("nano"), seeded_tensors("nano"), None, {}), precision)
    profiles = Profiles()
    options = BuildOptions(workspace=1 << 30, level=1)
    for model, shapes in (
        (models.encoder, profiles.encoder("nano")),
        (models.decoder, profiles.decoder("nano")),
    ):
        plan = builder.build_plan(library, DEVICE, model.SerializeToString(), shapes, options=options)
        assert len(plan) > 1 << 20


def test_every_plugin_that_is_missing_is_told(library, seeded_tensors) -> None:
    weights = Weights(get_variant("nano"), seeded_tensors("nano"), None, {})
    model = build_encoder(weights, ExportOptions("fp16", frozenset(PLUGINS)))
    with pytest.raises(EvsamError, match=r"expected an ONNX model that TensorRT .* can parse, got: ") as caught:
        builder.build_plan(library, DEVICE, model.SerializeToString(), Profiles().encoder("nano"))
    for operator in ("EvsamLiteMLA", "EvsamUpsampleAdd", "EvsamLayerNorm2d"):
        assert f"operator {operator})" in str(caught.value)
