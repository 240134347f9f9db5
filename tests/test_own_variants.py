"""A variant that somebody made up runs on every engine, from the record in its weights file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evsam
from evsam.embedding import Embedding
from evsam.errors import WeightsError
from evsam.weights import convert, encoder_fingerprint, load_weights, save_weights
from evsam.weights.files import read_tensor_file, write_tensor_file
from evsam.zoo import VARIANTS, EverythingConfig, Variant
from tests.own_variants import NANO_LIKE, SAM_LIKE, own_weights

torch = pytest.importorskip("torch")

from evsam.training.efficientnet_lite import TEACHERS

OWN = (SAM_LIKE, NANO_LIKE, TEACHERS["nano-wide"])
PROMPTS: tuple[dict[str, Any], ...] = (
    {"box": (20, 10, 90, 70)},
    {"points": [(50, 40), (5, 5)], "labels": [1, 0]},
    {"points": [(50, 40)], "mask": np.linspace(-6, 6, 65536, dtype=np.float32).reshape(256, 256)},
)


@pytest.fixture(scope="module", params=OWN, ids=lambda variant: variant.name)
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


@pytest.fixture(scope="module")
def path(variant: Variant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.safetensors"
    save_weights(path, own_weights(variant).tensors, variant)
    return path


@pytest.fixture(scope="module")
def reference(path: Path) -> Iterator[evsam.Sam]:
    with evsam.load(path, engine="torch", threads=1) as sam:
        yield sam


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)


def test_the_file_says_what_it_is(path: Path, variant: Variant, tmp_path: Path) -> None:
    weights = load_weights(path)
    assert (weights.variant.name, weights.variant.encoder) == (variant.name, variant.encoder)
    assert (weights.variant.image_size, weights.variant.decoder) == (variant.image_size, variant.decoder)
    assert load_weights(path, variant.name).variant == load_weights(path, variant).variant == weights.variant
    assert convert(path, tmp_path / "half.safetensors", dtype="float16").variant == weights.variant
    with pytest.raises(WeightsError, match=f"expected variant 'nano', but its metadata says '{variant.name}'"):
        load_weights(path, "nano")
    other = replace(variant, encoder=replace(variant.encoder, activation="relu6"), image_size=1024)
    with pytest.raises(WeightsError, match=f"expected the architecture of '{variant.name}' that was asked for"):
        load_weights(path, other)


def test_files_without_a_record_need_the_variant(path: Path, variant: Variant, tmp_path: Path) -> None:
    write_tensor_file(tmp_path / "old.safetensors", read_tensor_file(path).tensors, {})
    assert load_weights(tmp_path / "old.safetensors", variant).variant is variant
    with pytest.raises(WeightsError, match="fits no variant"):
        load_weights(tmp_path / "old.safetensors")
    torch.save({key: torch.tensor(array) for key, array in own_weights(variant).tensors.items()}, tmp_path / "own.pt")
    with evsam.load(tmp_path / "own.pt", variant, threads=1) as sam:
        assert sam.variant is variant


def test_tensors_are_checked_against_the_record(path: Path, variant: Variant, tmp_path: Path) -> None:
    file = read_tensor_file(path)
    tensors = {**file.tensors, "image_encoder.norm.bias": np.zeros(3, np.float32)}
    write_tensor_file(tmp_path / "w.safetensors", tensors, file.metadata)
    message = rf"does not fit variant '{variant.name}': 1 tensor of another shape: image_encoder.norm.bias"
    with pytest.raises(WeightsError, match=message):
        load_weights(tmp_path / "w.safetensors")


def _check(sam: evsam.Sam, reference: evsam.Sam, image: np.ndarray) -> None:
    assert sam.variant == reference.variant
    found, expected = sam.encode(image), reference.encode(image)
    for a, b in zip(found.arrays, expected.arrays, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=0, atol=2e-5 * np.abs(np.asarray(b)).max() + 1e-5)
    for prompt in PROMPTS:
        got, right = sam.predict(expected, **prompt), reference.predict(expected, **prompt)
        np.testing.assert_allclose(got.logits, right.logits, rtol=0, atol=2e-4 * max(1, np.abs(right.logits).max()))
        np.testing.assert_allclose(got.scores, right.scores, rtol=0, atol=1e-4)


def test_native(path: Path, reference: evsam.Sam, image: np.ndarray) -> None:
    with evsam.load(path, engine="native", threads=2) as sam:
        _check(sam, reference, image)
        embedding = sam.encode(image)
    with evsam.load(path, engine="native", threads=1) as sam:
        assert all(np.array_equal(a, b) for a, b in zip(sam.encode(image).arrays, embedding.arrays, strict=True))


def test_native_int8(path: Path, reference: evsam.Sam, image: np.ndarray) -> None:
    with evsam.load(path, engine="native", precision="int8", threads=1) as sam:
        found, expected = sam.encode(image).features, reference.encode(image).features
    assert np.vdot(found, expected) / np.linalg.norm(found) / np.linalg.norm(expected) > 0.98


def test_onnxruntime(path: Path, reference: evsam.Sam, image: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    with evsam.load(path, engine="onnxruntime", threads=1) as sam:
        _check(sam, reference, image)


def test_exported(path: Path, reference: evsam.Sam, image: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from evsam.export.onnx import export_onnx

    export_onnx(load_weights(path), tmp_path / "export")
    with evsam.load(tmp_path / "export", threads=1) as sam:
        assert sam.fingerprint == reference.fingerprint
        _check(sam, reference, image)


def test_embeddings(path: Path, variant: Variant, image: np.ndarray, tmp_path: Path) -> None:
    with evsam.load(path, threads=1) as sam:
        embedding = sam.encode(image)
        embedding.save(tmp_path / "embedding.safetensors")
        back = Embedding.load(tmp_path / "embedding.safetensors")
        assert back.variant == variant.name
        assert np.array_equal(
            sam.predict(back, box=(1, 2, 30, 40)).logits, sam.predict(embedding, box=(1, 2, 30, 40)).logits
        )


def test_fingerprints_tell_architectures_apart() -> None:
    weights = own_weights(SAM_LIKE)
    turned = replace(SAM_LIKE, encoder=replace(SAM_LIKE.encoder, activation="gelu"))
    assert encoder_fingerprint(weights) != encoder_fingerprint(replace(weights, variant=turned))
    decoder = replace(SAM_LIKE, decoder=replace(SAM_LIKE.decoder, mlp_dim=50))
    assert encoder_fingerprint(weights) == encoder_fingerprint(replace(weights, variant=decoder))
    kept = replace(weights.variant, everything=EverythingConfig(0.5, 0.5))
    assert encoder_fingerprint(weights) == encoder_fingerprint(replace(weights, variant=kept))
    zoos = load_weights("nano")
    kept = replace(zoos.variant, everything=EverythingConfig(0.5, 0.5))
    assert encoder_fingerprint(zoos) == encoder_fingerprint(replace(zoos, variant=kept))


def test_a_variant_of_the_zoo_under_another_name(tmp_path: Path) -> None:
    """Tensors of l0 that are read as something else: the record counts, not the shapes."""
    nano = load_weights("nano")
    own = replace(VARIANTS["nano"], name="own", encoder=replace(VARIANTS["nano"].encoder, activation="gelu"))
    save_weights(tmp_path / "own.safetensors", nano.tensors, own)
    assert load_weights(tmp_path / "own.safetensors").variant.encoder.activation == "gelu"
