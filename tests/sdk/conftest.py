from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

import evsam
from evsam.weights import Weights
from evsam.zoo import get_variant

if TYPE_CHECKING:
    from evsam.sam import Sam


@pytest.fixture(scope="session")
def seeded_weights(seeded_tensors) -> Callable[[str], Weights]:
    """Stand-in weights of a variant as `load_weights` would return them."""
    return lambda variant: Weights(get_variant(variant), seeded_tensors(variant), None, {})


@pytest.fixture(scope="session")
def sam(seeded_weights) -> Iterator[Sam]:
    """nano with stand-in weights, on the default engine."""
    with evsam.load(seeded_weights("nano"), threads=1) as model:
        yield model


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    """A small picture with some structure, uint8 (80, 120, 3), read-only."""
    y, x = np.mgrid[:80, :120]
    channels = (2 * x, 3 * y, 128 + 100 * np.sin(x / 9) * np.cos(y / 7))
    picture = np.stack([np.asarray(c).astype(np.uint8) for c in channels], -1)
    picture[20:60, 30:80] = (200, 40, 60)
    picture.setflags(write=False)
    return picture
