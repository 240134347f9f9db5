"""The encoder on fused operators: the specification on the CPU, and the emulated CUDA kernels."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="evsam.nn needs torch")
pytest.importorskip("evsam.ops.torch_ops", reason="needs torch.library of PyTorch 2.7", exc_type=ImportError)

from evsam.errors import BackendUnavailable
from evsam.nn import fused
from evsam.ops import torch_ops
from tests.cuda.conftest import emulated, emulated_module  # noqa: F401 - fixtures
from tests.thorough import sparing


def photo(side: int, channels: int = 3) -> Any:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, channels, side, side, generator=generator)
    x[:, 3:] = 0
    return x


def cosine(a: Any, b: Any) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), 0))


@pytest.mark.parametrize("variant", ["l0", "l2", "xl0"])
def test_is_the_encoder_in_float64(seeded_model, variant: str) -> None:
    encoder = seeded_model(variant).image_encoder
    x = photo(128 if variant == "xl0" else 64).double()
    with torch.inference_mode():
        (expected,) = copy.deepcopy(encoder).double()(x)
        (got,) = fused.fuse(encoder, torch.float64)(x)
    # biases, gains and the folded norms are float32
    assert got.shape == expected.shape
    assert float((got - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    assert got.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("variant", sparing(["l0", "xl0"], "xl0"))
def test_emulated_kernels(seeded_model, monkeypatch, emulated, variant: str) -> None:  # noqa: F811
    """Every launch of an encoder, one after the other, on a photo that is small enough for the emulation."""
    encoder = seeded_model(variant).image_encoder
    model = fused.fuse(encoder)
    x = photo(64 if variant == "l0" else 128)
    with torch.inference_mode():
        (expected,) = encoder(x)
        (eager,) = model(x)  # the specification, rounded to float16 behind every operator
        monkeypatch.setattr(fused, "ops", SimpleNamespace(**torch_ops.LAUNCHES))
        (got,) = model(x)
    assert got.dtype == torch.float16
    distance, allowed = 1 - cosine(got, expected), 1 - cosine(eager, expected)
    assert distance <= 2 * allowed + 1e-6, (distance, allowed)


def test_compiles_and_exports_as_one_graph(seeded_model) -> None:
    model = fused.fuse(seeded_model("l0").image_encoder, torch.float32)
    x = photo(64, fused.PHOTO_CHANNELS)
    program = torch.export.export(model, (x,))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    names = ("conv3x3", "pointwise", "fused_mbconv", "mbconv", "lite_mla", "upsample_add", "layer_norm_2d")
    assert {f"evsam.{name}.default" for name in names} <= called
    with torch.inference_mode():
        assert torch.equal(program.module()(x)[0], model(x)[0])


def test_nano_has_no_fused_encoder(seeded_model) -> None:
    with pytest.raises(BackendUnavailable, match="fuse: expected"):
        fused.fuse(seeded_model("nano").image_encoder)
