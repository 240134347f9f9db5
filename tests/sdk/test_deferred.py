"""Predictions whose masks are computed when they are first asked for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import evsam
from evsam import Prediction, PromptError

BOXES = np.array([(20, 10, 90, 70), (0, 0, 30, 30), (40, 5, 110, 79)])


@pytest.fixture
def both(sam, image) -> Any:
    return tuple(sam.predict(image, boxes=BOXES, multimask=True, masks=masks) for masks in (True, False))


def test_equals_the_usual(both, image, monkeypatch) -> None:
    usual, deferred = both
    assert "masks" not in vars(deferred)
    assert issubclass(type(deferred), Prediction)
    assert (len(deferred), deferred.size, repr(deferred)) == (len(usual), usual.size, repr(usual))
    assert deferred.prompts.boxes.tolist() == usual.prompts.boxes.tolist()
    for name in ("scores", "logits"):
        assert np.array_equal(getattr(deferred, name), getattr(usual, name))
    assert "masks" not in vars(deferred)
    assert np.array_equal(deferred.masks, usual.masks)
    assert deferred.masks is deferred.masks
    assert np.array_equal(deferred.best(), usual.best())
    assert deferred.to_coco_rle() == usual.to_coco_rle()
    assert np.array_equal(np.asarray(deferred.overlay(image)), np.asarray(usual.overlay(image)))
    assert np.array_equal(deferred.clean(min_area=9).masks, usual.clean(min_area=9).masks)


def test_parts_compute_their_own(both) -> None:
    usual, deferred = both
    for one, expected in zip(deferred[[2, 0]], usual[[2, 0]], strict=True):
        assert np.array_equal(one.masks, expected.masks)
        assert one.prompts.boxes.tolist() == expected.prompts.boxes.tolist()
    assert "masks" not in vars(deferred)


def test_threshold_is_that_of_the_prediction(sam, image) -> None:
    with evsam.load("nano") as own:
        own.mask_threshold = 1.5
        usual = own.predict(image, box=BOXES[0])
        deferred = own.predict(image, box=BOXES[0], masks=False)
        own.mask_threshold = 0
        default = own.predict(image, box=BOXES[0])
    assert np.array_equal(deferred.masks, usual.masks), "without the engine, which is closed"
    assert not np.array_equal(deferred.masks, default.masks)


def test_copies(both) -> None:
    usual, deferred = both
    for asked in (False, True):
        if asked:
            _ = deferred.masks
        text = pickle.dumps(deferred)
        assert len(text) < deferred.logits.nbytes + 4096, "masks travel with it"
        assert np.array_equal(pickle.loads(text).masks, usual.masks)
        assert np.array_equal(copy.copy(deferred).masks, usual.masks)


def test_is_frozen(both) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        both[1].masks = both[0].masks


def test_from_threads(both) -> None:
    usual, deferred = both
    with ThreadPoolExecutor(4) as pool:
        for masks in pool.map(lambda _: deferred.masks, range(16)):
            assert np.array_equal(masks, usual.masks)


def test_large_photos() -> None:
    """60 masks of 24 megapixels would be 1.4 GB."""
    photo = np.zeros((4000, 6000, 3), np.uint8)
    photo[1000:3000, 1000:4000] = 200
    with evsam.load("nano") as own:
        embedding = own.encode(photo)
        tracemalloc.start()
        result = own.predict(embedding, boxes=[(900 + i, 900, 4100, 3100) for i in range(60)], masks=False)
        for one in result[:2]:
            assert one.masks.shape == (1, 1, 4000, 6000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 200e6


def test_no_prompts(sam, image) -> None:
    assert sam.predict(image, boxes=[], masks=False).masks.shape == (0, 1, 80, 120)


def test_refused(sam, image) -> None:
    with pytest.raises(PromptError, match="masks: expected True or False, got array"):
        sam.predict(image, masks=np.zeros((256, 256)))
