"""Embeddings and trackers as files: equal when they come back, and an error, never anything else, when damaged."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import evsam
from evsam.transforms import fitted_size
from tests.properties.strategies import JUNK, PROPERTY, SLOW, or_refused

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@st.composite
def embeddings(draw: st.DrawFn) -> evsam.Embedding:
    """One of a variant that nobody knows, of any size."""
    side = draw(st.integers(1, 3))
    maps = [
        draw(hnp.arrays(np.float32, (draw(st.integers(1, 3)), side << level, side << level), elements=FINITE))
        for level in range(draw(st.integers(1, 3)))
    ]
    size = draw(st.tuples(st.integers(1, 30000), st.integers(1, 30000)))
    name = draw(st.text(st.characters(codec="utf-8"), max_size=8))
    return evsam.Embedding(maps[0], tuple(maps[1:]), size, fitted_size(size), f"own {name}", name)


def described(embedding: evsam.Embedding) -> list[Any]:
    """All that an embedding is, down to the bits."""
    arrays = [array.tobytes() for array in (embedding.features, *embedding.lateral)]
    sizes = embedding.original_size, embedding.resized_size
    return [*arrays, *sizes, embedding.variant, embedding.fingerprint]


@PROPERTY
@given(embeddings())
def test_embeddings_there_and_back(embedding: evsam.Embedding) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photo.safetensors"
        embedding.save(path)
        assert described(evsam.Embedding.load(path)) == described(embedding)
    assert described(pickle.loads(pickle.dumps(embedding))) == described(embedding)


@PROPERTY
@given(embeddings(), st.data())
def test_damaged_embeddings_are_refused(embedding: evsam.Embedding, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photo.safetensors"
        embedding.save(path)
        content = damaged(path.read_bytes(), data)
        path.write_bytes(content)
        with or_refused(evsam.ImageError, "path: "):  # or the damage was in numbers or names
            assert np.isfinite(evsam.Embedding.load(path).features).all()


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """The same, cut off somewhere, with another byte somewhere, or something else altogether."""
    place = data.draw(st.integers(0, len(content) - 1))
    return data.draw(
        st.sampled_from([content[:place], content[:place] + b"\xff" + content[place + 1 :], content + b"x"])
        | st.binary(max_size=40)
    )


@pytest.fixture(scope="module")
def sam() -> Iterator[evsam.Sam]:
    with evsam.load("nano", engine="native", threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def frames(sam: evsam.Sam) -> list[evsam.Embedding]:
    """Two frames, a bright thing that moves."""
    pictures = np.full((2, 40, 60, 3), 60, np.uint8)
    pictures[0, 10:25, 10:30] = pictures[1, 12:27, 14:34] = (220, 200, 30)
    return [sam.encode(picture) for picture in pictures]


@SLOW
@given(
    boxes=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 15)), max_size=3),
    window=st.none() | st.floats(1.5, 4),
)
def test_trackers_there_and_back(
    sam: evsam.Sam, frames: list[evsam.Embedding], boxes: list[tuple[int, int]], window: float | None
) -> None:
    tracker = evsam.Tracker(sam, window=window)
    for x, y in boxes:
        mask = np.zeros((40, 60), bool)
        mask[y : y + 15, x : x + 20] = True
        tracker.add(frames[0], mask=mask)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tracker.evsam"
        tracker.save(path)
        again = evsam.Tracker.load(path, sam)
    assert (again.ids, again.window, again.state()) == (tracker.ids, tracker.window, tracker.state())
    if boxes:
        for old, new in zip(tracker.step(frames[1]).values(), again.step(frames[1]).values(), strict=True):
            assert (old.id, old.score, old.lost, old.box.tolist()) == (new.id, new.score, new.lost, new.box.tolist())
            assert np.array_equal(old.mask, new.mask)
        assert again.state() == tracker.state()


@PROPERTY
@given(st.data())
def test_damaged_states_are_refused(sam: evsam.Sam, frames: list[evsam.Embedding], data: st.DataObject) -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:25, 10:30] = True
    tracker = evsam.Tracker(sam)
    tracker.add(frames[0], mask=mask)
    state = tracker.state()
    value = data.draw(JUNK) if data.draw(st.booleans()) else damaged(state, data)
    with or_refused(evsam.EvsamError, "state: "):
        evsam.Tracker.restore(sam, value)
