"""Fidelity: maps whose distances are derived by hand, and a model against itself and its neighbours."""

from __future__ import annotations

import json
import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evsam
from evsam import EvsamError
from evsam.evaluation.fidelity import EmbeddingFiles, Fidelity, compare_maps
from evsam.evaluation.truth import Truth
from tests.evaluation.made import annotation, rectangle, truth


def test_equal_maps() -> None:
    values = np.random.default_rng(0).normal(size=(7, 6, 6)).astype(np.float32)
    assert compare_maps(values, values) == {"l2": 0, "relative_l2": 0, "cosine": 1, "least_cosine": 1}
    assert compare_maps(values.astype(np.float16), values)["cosine"] > 0.999
    nothing = np.zeros((7, 6, 6))
    assert compare_maps(nothing, nothing) == {"l2": 0, "relative_l2": 0, "cosine": 1, "least_cosine": 1}
    assert compare_maps(nothing, values)["cosine"] == 0
    assert compare_maps(values, nothing)["relative_l2"] == 1


def test_distances_by_hand() -> None:
    expected, found = np.zeros((2, 1, 2)), np.zeros((2, 1, 2))
    expected[:, 0, 0], found[:, 0, 0] = (3, 4), (0, 5)  # sqrt(10) apart, 20 of 25
    expected[:, 0, 1], found[:, 0, 1] = (0, 1), (1, 0)  # sqrt(2) apart, at a right angle
    table = compare_maps(found, expected)
    l2 = (math.sqrt(10) + math.sqrt(2)) / 2
    assert table == pytest.approx({"l2": l2, "relative_l2": l2 / 3, "cosine": 0.4, "least_cosine": 0})


def test_only_cells_with_some_of_the_photo_count() -> None:
    expected = np.ones((3, 8, 8))
    found = expected.copy()
    found[:, :, 5:], found[:, 7:] = -1, -1
    # 640 of 1024 are five of eight columns, 800 six and a bit of eight rows
    assert compare_maps(found, expected, (896, 640))["least_cosine"] == 1
    assert compare_maps(found, expected, (897, 640))["least_cosine"] == -1
    assert compare_maps(found, expected, (896, 641))["least_cosine"] == -1


def test_shapes_are_compared() -> None:
    with pytest.raises(EvsamError, match=r"found: expected shape \(3, 4, 4\) as the other map, got \(3, 8, 8\)"):
        compare_maps(np.ones((3, 8, 8)), np.ones((3, 4, 4)))


@pytest.fixture(scope="module")
def pixels(photo) -> np.ndarray:
    picture: np.ndarray = photo("rocket.jpg")[:300, 100:500]
    return picture


@pytest.fixture(scope="module")
def nano():
    with evsam.load("nano", threads=1) as sam:
        yield sam


@pytest.fixture(scope="module")
def one(pixels) -> Truth:
    made = truth(*[annotation(rectangle(x, 40, x + 60, 200, (300, 400))) for x in (40, 200)], size=(300, 400))
    return Truth(made.photo, made.size, made.objects, (), pixels)


def test_a_model_agrees_with_itself(nano, one, pixels) -> None:
    protocol = Fidelity(partial(evsam.load, "nano", threads=1))
    rows = protocol.rows(nano, nano.encode(pixels), one)
    assert [row.get("object") for row in rows] == [None, 0, 1]
    tables = protocol.summary(json.loads(json.dumps(rows[::-1])))
    assert list(tables["embedding"]) == ["features", "lateral 1", "lateral 2", "lateral 3"]
    for table in tables["embedding"].values():
        assert table == {"L2": 0, "L2 / norm": 0, "cosine": 1, "least cosine": 1}
    assert tables["mean"]["IoU of both, boxes"]["all"] == tables["mean"]["IoU of both, one click"]["all"] == 1
    assert tables["mean"]["objects"]["all"] == 2


def test_another_precision_nearly_agrees(nano, one, pixels) -> None:
    protocol = Fidelity(partial(evsam.load, "nano", threads=1, precision="int8"))
    tables = protocol.summary(protocol.rows(nano, nano.encode(pixels), one))
    cosine = tables["embedding"]["features"]["cosine"]
    least = tables["embedding"]["features"]["least cosine"]
    assert cosine is not None
    assert least is not None
    assert 0.95 < least < cosine < 1
    agreed = tables["mean"]["IoU of both, boxes"]["all"]
    assert agreed is not None
    assert 0.8 < agreed <= 1


def test_protocols_travel_to_other_processes_without_the_model(nano, one, pixels) -> None:
    protocol = Fidelity(partial(evsam.load, "nano", threads=1), masks=False)
    embedding = nano.encode(pixels)
    rows = protocol.rows(nano, embedding, one)
    assert pickle.loads(pickle.dumps(protocol)).rows(nano, embedding, one) == rows
    assert Fidelity(masks=False).summary(rows) == protocol.summary(rows)
    with pytest.raises(EvsamError, match="reference: expected a model or embeddings to compare with, got none"):
        Fidelity().rows(nano, embedding, one)


@pytest.mark.parametrize("ending", [".npy", ".safetensors", "cache"])
def test_a_teachers_files(nano, one, pixels, tmp_path, ending: str) -> None:
    embedding = nano.encode(pixels)
    near = embedding.features + np.float32(0.01)
    if ending == ".npy":
        np.save(tmp_path / "photo.npy", near.astype(np.float16))
    elif ending == ".safetensors":
        sizes = embedding.original_size, embedding.resized_size
        evsam.Embedding(near, embedding.lateral, *sizes, "nano", "other").save(tmp_path / "photo.safetensors")
    else:
        folder = tmp_path / "own"
        folder.mkdir()
        record = {
            "range": {"source": "own"},
            "keys": ["own/other.png", "own/photo.png"],
            "broken": {"own/other.png": "-"},
        }
        (folder / "shard-000000.json").write_text(json.dumps(record))
        np.save(folder / "shard-000000.map0.npy", np.stack([near * 0, near]))
    protocol = Fidelity(EmbeddingFiles(tmp_path))
    tables = protocol.summary(protocol.rows(nano, embedding, one))
    assert tables["embedding"]["features"]["L2"] == pytest.approx(0.01 * math.sqrt(128), rel=0.05)
    assert tables["embedding"]["lateral 1"]["cosine"] == 1
    agreed = tables["mean"]["IoU of both, boxes"]["all"]
    assert agreed is not None
    assert agreed > 0.9


def test_embeddings_that_cannot_be_compared_are_named(nano, one, pixels, tmp_path: Path) -> None:
    protocol = Fidelity(EmbeddingFiles(tmp_path))
    embedding = nano.encode(pixels)
    with pytest.raises(EvsamError, match=r"expected photo.safetensors or photo.npy for photo.png, got none"):
        protocol.rows(nano, embedding, one)
    np.save(tmp_path / "photo.npy", np.zeros((256, 64, 64)))
    with pytest.raises(EvsamError, match=r"expected shape \(128, 32, 32\) as those of nano, got \(256, 64, 64\) for p"):
        protocol.rows(nano, embedding, one)
    np.save(tmp_path / "photo.npy", np.zeros((32, 32)))
    with pytest.raises(EvsamError, match=r"expected floats \(C, G, G\) for photo.png, got \(32, 32\)"):
        protocol.rows(nano, embedding, one)
    np.save(tmp_path / "photo.npy", np.full((128, 32, 32), np.nan))
    with pytest.raises(EvsamError, match=r"expected finite numbers for photo.png, got NaN or infinity"):
        protocol.rows(nano, embedding, one)
    whole = (tmp_path / "photo.npy").read_bytes()
    for size in (0, 4, 60, len(whole) // 2):
        (tmp_path / "photo.npy").write_bytes(whole[:size])
        with pytest.raises(EvsamError, match=r"that of photo.png cannot be read: "):
            protocol.rows(nano, embedding, one)


class Coarser:
    """nano, whose embeddings pretend to have another shape."""

    def __init__(self, nano: evsam.Sam) -> None:
        self.nano, self.masks_from_logits = nano, nano.masks_from_logits

    def encode(self, pixels: np.ndarray) -> evsam.Embedding:
        own = self.nano.encode(pixels)
        features = np.ascontiguousarray(own.features[:, ::2, ::2])
        return evsam.Embedding(features, (), own.original_size, own.resized_size, "coarser", own.fingerprint)

    def predict(self, embedding: evsam.Embedding, **asked: Any) -> Any:
        assert embedding.variant == "coarser"
        return self.nano.predict(self.pixels, **asked)

    pixels: np.ndarray


def test_models_of_other_shapes_are_compared_by_their_masks(nano, one, pixels) -> None:
    coarser: Any = Coarser(nano)
    coarser.pixels = pixels
    protocol = Fidelity(lambda: coarser)
    rows = protocol.rows(nano, nano.encode(pixels), one)
    assert rows[0]["maps"] == {}
    tables = protocol.summary(rows)
    assert tables["embedding"] == {}
    assert tables["mean"]["IoU of both, boxes"]["all"] == 1


def test_nothing_gives_empty_tables() -> None:
    tables = Fidelity().summary([])
    assert tables["embedding"] == {}
    assert tables["mean"]["IoU of both, boxes"]["all"] is None
