"""How long a model takes here, and where the time goes: what ``evsam bench`` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from evsam.errors import BackendUnavailable
from evsam.sam import Sam
from evsam.timing import Timing, measure
from evsam.weights import Weights, expected_tensors
from evsam.zoo import get_variant

PHOTO = (720, 1280)
"""Height and width of the photo that is encoded."""

_MIN_RUNS = 3


@dataclass(frozen=True)
class BlockCost:
    """A block of the model in a profile.

    Attributes:
        name: which block.
        ms: milliseconds per call.
        gflops: 10^9 FLOP/s, a multiply-accumulate of the definition counted as two. Winograd convolutions do fewer.
        percent: of the machine's measured fused multiply-add rate with as many threads; 0 for what has no products.
    """

    name: str
    ms: float
    gflops: float
    percent: float


class ProfileRow(TypedDict):
    """What an engine measured of one block: seconds of all calls, multiply-accumulates of one."""

    name: str
    seconds: float
    macs: float
    calls: int


@runtime_checkable
class ProfilingEngine(Protocol):
    """An engine that can measure its blocks."""

    @property
    def threads(self) -> int:
        """Upper limit of CPU threads."""

    def begin_profile(self) -> None:
        """Start anew."""

    def end_profile(self) -> list[ProfileRow]:
        """Stop, and return what was measured since."""


def random_weights(variant: str) -> Weights:
    """Weights without meaning, for timing: values spread so that activations stay in range.

    Args:
        variant: name of a variant.

    Raises:
        WeightsError: no variant has that name.
    """
    rng = np.random.default_rng(0)
    tensors = {name: _random_tensor(rng, name, shape) for name, shape in expected_tensors(variant).items()}
    return Weights(get_variant(variant), tensors, None, {})


def _random_tensor(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 1:  # biases and means 0, gains and variances 1: norms that change nothing
        return np.full(shape, float(name.endswith(("weight", "running_var"))), np.float32)
    values: np.ndarray = rng.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))
    return values


def time_model(sam: Sam, seconds: float = 2.0) -> dict[str, Timing]:
    """Times to encode a photo of 1280 x 720 pixels, and to predict full-size masks for one box and for 16.

    Args:
        sam: the model.
        seconds: time to spend on each, at least three calls.
    """
    timings: dict[str, Timing] = {}
    for name, call in _calls(sam).items():  # one after the other, each with the caches to itself
        timings |= measure({name: call}, seconds=seconds, calls=_MIN_RUNS)
    return timings


def profile_model(sam: Sam, seconds: float = 2.0) -> list[BlockCost]:
    """Milliseconds and rates of every block of the model, while photos are encoded and masks predicted for one box.

    Args:
        sam: the model.
        seconds: time to spend, at least three calls of each.

    Raises:
        BackendUnavailable: the model's engine cannot measure its blocks.
    """
    from evsam import _C

    engine: object = sam.engine
    if not isinstance(engine, ProfilingEngine):
        raise BackendUnavailable(
            f"profile: expected an engine that measures its blocks (native), got {sam.engine.name}"
        )
    calls = list(_calls(sam).values())[:2]
    for call in calls:
        call()
    engine.begin_profile()
    for call in calls:
        measure({"": call}, seconds=seconds / 2, calls=_MIN_RUNS)
    rows = engine.end_profile()
    roof = _C.measure_fma_gflops(_C.selected_isa(), engine.threads)
    return [_block_cost(row, roof) for row in rows if row["calls"]]


def _block_cost(row: ProfileRow, roof: float) -> BlockCost:
    each = row["seconds"] / row["calls"]
    gflops = 2e-9 * row["macs"] / each if each > 0 else 0.0
    return BlockCost(row["name"], 1e3 * each, gflops, 100.0 * gflops / roof)


def _calls(sam: Sam) -> Mapping[str, Callable[[], Any]]:
    height, width = PHOTO
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    embedding = sam.encode(photo)
    left = np.linspace(0, width / 2, 16)
    boxes = np.stack([left, left / 4, left + width / 3, left / 4 + height / 2], -1)
    return {
        "encode": lambda: sam.encode(photo),
        "predict, 1 box": lambda: sam.predict(embedding, box=boxes[0]),
        "predict, 16 boxes": lambda: sam.predict(embedding, boxes=boxes),
    }
