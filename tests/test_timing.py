"""The timing loop, with time that goes by only where something is called."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import partial

import pytest

from evsam.timing import WARM_UP, Timing, measure, samples, seconds_of, take_turns


class Clock:
    """Marks are numbers of seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.order: list[str] = []
        monkeypatch.setattr("evsam.timing.time.perf_counter", lambda: self.now)

    def record(self) -> float:
        self.order.append("mark")
        return self.now

    def seconds(self, begin: float, end: float) -> float:
        return end - begin

    def call(self, name: str, times: Iterable[float]) -> Callable[[], None]:
        """A candidate that takes each of the times, again and again."""
        return partial(self._spend, name, itertools.cycle(times))

    def _spend(self, name: str, times: Iterable[float]) -> None:
        self.now += next(iter(times))
        self.order.append(name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_summary() -> None:
    timing = Timing.of([1.0, 2.0, 3.0, 4.0, 10.0])
    assert [timing.median, timing.p10, timing.p90, timing.calls] == pytest.approx([3.0, 1.4, 7.6, 5])


def test_candidates_take_turns(clock: Clock) -> None:
    candidates = {"a": clock.call("a", [1.0]), "b": clock.call("b", [3.0])}
    assert measure(candidates, calls=3) == {"a": Timing(1.0, 1.0, 1.0, 3), "b": Timing(3.0, 3.0, 3.0, 3)}
    assert clock.order == ["a", "a", "b", "b", *("a", "b") * 3], "two calls of each come before"


def test_warm_up_ends_when_calls_are_steady(clock: Clock) -> None:
    cooling = clock.call("x", itertools.chain([9.0, 4.0, 2.0, 1.0], [1.05], itertools.repeat(1.0)))
    assert samples({"x": cooling}, calls=2) == {"x": [pytest.approx(1.0)] * 2}
    assert len(clock.order) == 5 + 2


def test_warm_up_ends_for_what_is_never_steady(clock: Clock) -> None:
    samples({"x": clock.call("x", [1.0, 2.0])}, calls=1)
    assert len(clock.order) == WARM_UP + 1


def test_slow_candidates_are_called_less_often(clock: Clock) -> None:
    found = samples({"slow": clock.call("slow", [1.0]), "fast": clock.call("fast", [0.25])}, seconds=2.0, calls=1)
    assert {name: len(values) for name, values in found.items()} == {"slow": 2, "fast": 8}


def test_what_comes_before_is_not_timed_but_spent(clock: Clock) -> None:
    call = clock.call("x", [1.0])
    seen = []

    def before(candidate: Callable[[], object]) -> None:
        clock.now += 4.0
        seen.append(candidate)

    assert samples({"x": call}, seconds=10.0, calls=1, before=before) == {"x": [1.0, 1.0]}
    assert seen == [call] * 4


def test_other_clock(clock: Clock) -> None:
    assert seconds_of(clock.call("x", [2.0]), clock) == 2.0
    assert clock.order == ["mark", "x", "mark"]
    samples({"x": clock.call("x", [2.0])}, calls=1, clock=clock)
    assert clock.order == ["mark", "x", "mark"] * 4


def test_turns_of_several_calls(clock: Clock) -> None:
    def turn(number: int) -> list[float]:
        clock.now += 1.0
        return [float(number)] * (number % 2 * 2)

    assert take_turns({"x": turn}, rounds=4) == {"x": [1.0, 1.0, 3.0, 3.0]}
    assert take_turns({"x": turn}, rounds=1, seconds=2.5) == {"x": [1.0, 1.0]}
