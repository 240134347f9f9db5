"""The examples in the docstrings run, with stand-in weights where they load a model."""

from __future__ import annotations

import doctest
from importlib import import_module

import numpy as np
import pytest

import evsam
from evsam import Embedding

MODULES = [
    "evsam",
    "evsam.boxes",
    "evsam.compat",
    "evsam.datasets.detections",
    "evsam.datasets.masks",
    "evsam.datasets.opening",
    "evsam.datasets.records",
    "evsam.embedding",
    "evsam.evaluation.clicks",
    "evsam.evaluation.fidelity",
    "evsam.evaluation.metrics",
    "evsam.everything",
    "evsam.formats",
    "evsam.images",
    "evsam.masks",
    "evsam.polygons",
    "evsam.prompts",
    "evsam.results",
    "evsam.rle",
    "evsam.sam",
    "evsam.stream",
    "evsam.transforms",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, sam, image, seeded_weights, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("evsam.weights.load_weights", lambda source, variant=None: seeded_weights(source))
    module = import_module(name)
    scope = {
        "np": np, "evsam": evsam, "Embedding": Embedding, "sam": sam, "image": image,
        "embedding": sam.encode(image), "folder": tmp_path, **vars(module),
    }  # fmt: skip
    scope["sam"] = sam
    results = doctest.testmod(module, extraglobs=scope)
    assert results.attempted > 0
    assert results.failed == 0


def test_every_public_name_is_documented() -> None:
    for name in evsam.__all__:
        if not name.startswith("__"):
            assert len(getattr(evsam, name).__doc__) > 40
    for name in ("encode", "predict", "segment_everything"):
        for part in ("Args:", "Returns:", "Raises:", "Example:"):
            assert part in getattr(evsam.Sam, name).__doc__
