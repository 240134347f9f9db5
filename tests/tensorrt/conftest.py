from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from evsam.weights import Weights
from evsam.zoo import get_variant

if TYPE_CHECKING:
    from tests.tensorrt.stand_in.world import World


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("EVSAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def machine(monkeypatch) -> Iterator[Callable[..., World]]:
    """Makes a machine the one that the test runs on; at the end nothing may be left of its work or broken."""
    from tests.tensorrt.stand_in.install import install
    from tests.tensorrt.stand_in.world import World

    worlds: list[World] = []

    def start(old_cuda: bool = False, **properties: Any) -> World:
        worlds.append(install(monkeypatch, World(**properties), old_cuda))
        return worlds[-1]

    # What other tests left in memory is not searched for leaks: in a long run of tests that takes seconds each time.
    gc.freeze()
    try:
        yield start
        for world in worlds:
            assert world.leaks() == []
            assert world.violations == []
    finally:
        for world in worlds:
            world.close()
        gc.unfreeze()


@pytest.fixture
def world(machine) -> World:
    return machine()


@pytest.fixture(scope="session")
def weights(seeded_tensors) -> Weights:
    """nano with stand-in weights."""
    return Weights(get_variant("nano"), seeded_tensors("nano"), None, {})


@pytest.fixture
def small(monkeypatch) -> None:
    """Small models take the place of the exported ones."""
    from evsam.export import tensorrt
    from tests.tensorrt import small_models

    monkeypatch.setattr(
        tensorrt._WeightsModel,
        "part",
        lambda self, name: getattr(small_models, name)(self.variant),
    )


@pytest.fixture
def quiet(caplog) -> Any:
    caplog.set_level(logging.INFO, "evsam.tensorrt")
    return caplog


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    """A small picture, uint8 (80, 120, 3), read-only."""
    picture = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    picture.setflags(write=False)
    return picture
