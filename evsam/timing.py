"""How long calls take: the one loop that all of evsam's benchmarks share.

Candidates take turns in one run, so that a change of clock rate or load hits all of them alike. Each is called a few
times before it counts; what is reported are the median and the 10th and 90th percentile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

__all__ = ["HOST", "Clock", "Timing", "measure", "samples", "seconds_of", "take_turns"]

Name = TypeVar("Name")

WARM_UP = 10
"""Calls before a candidate counts, at most: fewer if two in a row differ by less than STEADY of the first of them."""

STEADY = 0.1


class Clock(Protocol):
    """What time is taken by: the host's clock, or events on a device."""

    def record(self) -> Any:
        """A mark behind everything that was started so far."""

    def seconds(self, begin: Any, end: Any) -> float:
        """Time between two marks, once both have been reached."""


class HostClock:
    """The time of calls that return when their work is done."""

    def record(self) -> float:
        """Now."""
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        """The difference."""
        return end - begin


HOST = HostClock()


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median, 10th and 90th percentile, and of how many calls."""

    median: float
    p10: float
    p90: float
    calls: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """What samples amount to."""
        p10, median, p90 = (float(x) for x in np.percentile(seconds, [10, 50, 90]))
        return cls(median, p10, p90, len(seconds))


def measure(
    candidates: Mapping[Name, Callable[[], object]],
    *,
    seconds: float = 0.0,
    calls: int = 5,
    before: Callable[[Callable[[], object]], object] | None = None,
    clock: Clock = HOST,
) -> dict[Name, Timing]:
    """Times each candidate; see :func:`samples`."""
    found = samples(candidates, seconds=seconds, calls=calls, before=before, clock=clock)
    return {name: Timing.of(values) for name, values in found.items()}


def samples(
    candidates: Mapping[Name, Callable[[], object]],
    *,
    seconds: float = 0.0,
    calls: int = 5,
    before: Callable[[Callable[[], object]], object] | None = None,
    clock: Clock = HOST,
) -> dict[Name, list[float]]:
    """Seconds of every call of each candidate, in turns, once all of them run steadily.

    Args:
        candidates: What to call.
        seconds: Host time to spend on each, what is not timed included.
        calls: How many of each at least.
        before: Given the candidate, does what must come before each of its calls and is not timed: spoiling caches,
            for example.
        clock: By which calls are timed.
    """

    def once(call: Callable[[], object]) -> float:
        if before is not None:
            before(call)
        return seconds_of(call, clock)

    for call in candidates.values():
        last = once(call)
        for _ in range(WARM_UP - 1):
            now = once(call)
            if abs(now - last) < STEADY * last:
                break
            last = now

    def turn(call: Callable[[], object]) -> Callable[[int], Sequence[float]]:
        return lambda _: [once(call)]

    return take_turns({name: turn(call) for name, call in candidates.items()}, rounds=calls, seconds=seconds)


def seconds_of(call: Callable[[], object], clock: Clock = HOST) -> float:
    """Seconds of one call."""
    begin = clock.record()
    call()
    return clock.seconds(begin, clock.record())


def take_turns(
    turns: Mapping[Name, Callable[[int], Sequence[float]]], *, rounds: int, seconds: float = 0.0
) -> dict[Name, list[float]]:
    """Seconds of every call by candidate, where each measures itself.

    Args:
        turns: Given the number of the round, the seconds of as many calls as the candidate makes of its turn.
        rounds: Turns of each at least.
        seconds: Host time to spend on each.
    """
    found: dict[Name, list[float]] = {name: [] for name in turns}
    spent = dict.fromkeys(turns, 0.0)
    number = 0
    while going := [name for name in turns if number < rounds or spent[name] < seconds]:
        for name in going:
            begin = time.perf_counter()
            found[name] += turns[name](number)
            spent[name] += time.perf_counter() - begin
        number += 1
    return found
