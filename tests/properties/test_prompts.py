"""Whatever is handed in as a prompt or an option: an answer of the promised form, or an error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import evsam
from tests.properties.strategies import JUNK, PROPERTY, or_refused

HEIGHT, WIDTH = 40, 60

ARGUMENTS = ("points", "labels", "box", "boxes", "mask")

COORDINATES = st.one_of(st.integers(-5, 70), st.floats(), st.floats(-1, 61))

NEARLY = {
    "points": st.lists(st.lists(COORDINATES, min_size=1, max_size=3), max_size=3),
    "labels": st.lists(st.integers(-2, 3), max_size=3),
    "box": st.lists(COORDINATES, min_size=3, max_size=5),
    "boxes": st.lists(st.lists(COORDINATES, min_size=4, max_size=4), max_size=3),
    "mask": hnp.arrays(st.sampled_from([np.bool_, np.uint8]), (HEIGHT, WIDTH), fill=st.just(0)),
}
"""Prompts with one thing wrong, or nothing."""


@pytest.fixture(scope="module")
def sam() -> Iterator[evsam.Sam]:
    with evsam.load("nano", engine="native", threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def embedding(sam: evsam.Sam) -> evsam.Embedding:
    return sam.encode(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


def check_answer(result: evsam.Prediction) -> None:
    count = len(result)
    assert result.masks.dtype == bool
    assert result.masks.shape == (count, result.masks.shape[1], HEIGHT, WIDTH)
    assert result.scores.shape == result.masks.shape[:2]
    assert result.logits.shape == (*result.scores.shape, 256, 256)
    assert np.isfinite(result.scores).all()
    assert np.isfinite(result.logits).all()


@PROPERTY
@given(
    st.one_of(
        st.fixed_dictionaries({}, optional={name: st.one_of(NEARLY[name], JUNK) for name in ARGUMENTS}),
        *(st.fixed_dictionaries({name: kind}) for name, kind in NEARLY.items()),
    )
)
def test_prompts_are_answered_or_named(sam: evsam.Sam, embedding: evsam.Embedding, prompt: dict[str, Any]) -> None:
    with or_refused((evsam.EvsamError, ValueError, TypeError), *ARGUMENTS, "prompt"):
        check_answer(sam.predict(embedding, **prompt))


@PROPERTY
@given(st.data())
def test_sound_prompts_are_answered(sam: evsam.Sam, embedding: evsam.Embedding, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3))
    prompt: dict[str, Any] = {}
    if clicked := data.draw(st.booleans()):
        clicks = data.draw(st.integers(1, 3))
        place = st.tuples(st.floats(0, WIDTH - 1), st.floats(0, HEIGHT - 1))
        row = st.lists(place, min_size=clicks, max_size=clicks)
        prompt["points"] = data.draw(st.lists(row, min_size=count, max_size=count))
        prompt["labels"] = data.draw(hnp.arrays(np.int64, (count, clicks), elements=st.integers(0, 1)))
    if not clicked or data.draw(st.booleans()):
        corner = st.tuples(st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2))
        corners = data.draw(st.lists(corner, min_size=count, max_size=count))
        prompt["boxes"] = [(x, y, data.draw(st.integers(x + 1, WIDTH)), y + 1) for x, y in corners]
    result = sam.predict(embedding, **prompt)
    check_answer(result)
    assert len(result) == count
    deferred = sam.predict(embedding, **prompt, masks=False)
    assert np.array_equal(deferred.masks, result.masks)
    for index, alone in enumerate(result):
        assert np.array_equal(alone.masks[0], result.masks[index])


@PROPERTY
@given(st.sampled_from(["engine", "device", "precision", "threads", "packed_cache"]), JUNK)
def test_options_of_load_are_taken_or_named(option: str, value: Any) -> None:
    if option == "threads" and isinstance(value, int) and value > 1:
        value = -value  # a number of threads that nobody has cores for is taken
    with or_refused(evsam.EvsamError, option):
        evsam.load("nano", **{option: value}).close()


@PROPERTY
@given(JUNK)
def test_images_are_read_or_refused(value: Any) -> None:
    from evsam.images import read_image

    if isinstance(value, str):
        value = f"/nowhere/{value}"  # never a file that is there
    with or_refused(evsam.ImageError, "image"):
        pixels = read_image(value)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
