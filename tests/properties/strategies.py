"""What property tests draw, and how many examples: few and always the same ones, or by EVSAM_THOROUGH many new ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from evsam import Prediction
from tests.thorough import THOROUGH

Mask = NDArray[np.bool_]

PROPERTY = settings(
    max_examples=1000 if THOROUGH else 25,
    derandomize=not THOROUGH,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],  # the machine's, not the property's
)
"""Applied to each property: a profile would hold for the other users of hypothesis in the same process too."""

SLOW = settings(PROPERTY, max_examples=200 if THOROUGH else 8)
"""The same where each example encodes or tracks."""

SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))


@st.composite
def masks(draw: st.DrawFn, size: tuple[int, int] | None = None) -> Mask:
    """Bool (H, W): pixels that hypothesis chooses, which shrink, or noise of any density, which has most corners."""
    shape = draw(SIZES) if size is None else size
    if draw(st.booleans()):
        return draw(hnp.arrays(np.bool_, shape))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return np.asarray(rng.random(shape) < draw(st.sampled_from([0.05, 0.3, 0.5, 0.7, 0.95])))


@st.composite
def mask_lists(draw: st.DrawFn, least: int = 0) -> tuple[list[Mask], tuple[int, int]]:
    """Up to four masks of one photo, and its size."""
    size = draw(SIZES)
    return draw(st.lists(masks(size), min_size=least, max_size=4)), size


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    """A prediction of one to three prompts, with one or three masks each."""
    size, prompts, each = draw(SIZES), draw(st.integers(1, 3)), draw(st.sampled_from([1, 3]))
    drawn = [draw(masks(size)) for _ in range(prompts * each)]
    scores = draw(hnp.arrays(np.float32, (prompts, each), elements=st.floats(0, 1, width=32)))
    logits = np.zeros((prompts, each, 256, 256), np.float32)
    return Prediction(np.stack(drawn).reshape(prompts, each, *size), scores, logits)


def best(result: Prediction) -> list[Mask]:
    """The best mask of each prompt, by NumPy."""
    return [result.masks[row, result.scores[row].argmax()] for row in range(len(result))]


_NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.integers(-2, 130), st.floats(), st.booleans())

_SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)

_ARRAYS = st.one_of(*(hnp.arrays(dtype, _SHAPES) for dtype in (bool, np.int64, np.uint8, np.float32, complex, "U3")))

_LEAVES = st.one_of(_NUMBERS, st.text(max_size=5), st.binary(max_size=5), st.none(), _ARRAYS, st.builds(object))

JUNK: st.SearchStrategy[Any] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    max_leaves=8,
)
"""Anything that somebody may hand in by mistake."""


@contextmanager
def or_refused(kind: type[Exception] | tuple[type[Exception], ...], *names: str) -> Iterator[None]:
    """What must work, or raise such an error, whose message begins with one of the names."""
    try:
        yield
    except AssertionError:
        raise
    except kind as error:
        if not str(error).startswith(names):
            raise AssertionError(f"expected a message that begins with one of {names}, got: {error}") from error
