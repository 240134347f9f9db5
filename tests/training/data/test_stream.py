"""Streams: the same samples wherever a run goes on, on however many processes, and broken photos."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from evsam.datasets.records import BrokenSample, DataError, Photo
from evsam.training.data.mix import Mix
from evsam.training.data.stream import BatchStream, BrokenCounter, loader


class Numbers:
    """Photos that are known by their keys; some are broken."""

    def __init__(self, name: str, count: int, broken: frozenset[int] = frozenset()) -> None:
        self.name, self.count, self.broken = name, count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Photo:
        if index in self.broken:
            raise BrokenSample(f"{self.name}{index}", "made so")
        return Photo(f"{self.name}{index}", (), bytes)


class Drawn(NamedTuple):
    """A batch of keys and what was drawn with them."""

    keys: list[str]
    drawn: list[float]
    plan: float
    broken: tuple[str, ...]


class Maker:
    """Makes batches of keys."""

    def plan(self, rng: random.Random) -> float:
        return rng.random()

    def sample(self, photo: Photo, plan: float, rng: random.Random) -> tuple[str, float]:
        return photo.key, rng.random()

    def collate(self, samples: Sequence[tuple[str, float]], plan: float, broken: Sequence[str]) -> Drawn:
        return Drawn([key for key, _ in samples], [value for _, value in samples], plan, tuple(broken))


def make_mix(broken: frozenset[int] = frozenset()) -> Mix:
    return Mix({"a": Numbers("a", 7, broken), "b": Numbers("b", 50)}, {"a": 3, "b": 1}, 5)


def stream(**settings: Any) -> BatchStream[float, tuple[str, float], Drawn]:
    return BatchStream(make_mix(), Maker(), **{"images": 2, "seed": 1, **settings})


def test_a_stream_goes_on_from_anywhere() -> None:
    whole = list(stream(stop=9))
    assert whole == [stream().batch(number) for number in range(9)]
    assert list(stream(start=5, stop=9)) == whole[5:]
    assert len({tuple(batch.keys) for batch in whole}) > 5
    assert len({batch.plan for batch in whole}) == 9
    assert len({value for batch in whole for value in batch.drawn}) == 18
    assert list(stream(stop=9, seed=2)) != whole


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than a machine has cores
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_nothing(workers: int) -> None:
    before = torch.get_rng_state()
    batches = loader(stream(start=3, stop=10), workers)
    assert list(batches) == list(stream(start=3, stop=10))
    assert torch.get_rng_state().equal(before)


def test_a_stream_without_stop_does_not_end() -> None:
    assert len(list(itertools.islice(stream(), 40))) == 40


def test_processes_share_the_same_batches() -> None:
    alone = [stream(images=4).batch(number) for number in range(3)]
    for number, batch in enumerate(alone):
        parts = [stream(images=2, rank=rank, world=2).batch(number) for rank in range(2)]
        assert parts[0].keys + parts[1].keys == batch.keys
        assert parts[0].drawn + parts[1].drawn == batch.drawn
        assert parts[0].plan == parts[1].plan == batch.plan
    # one process that accumulates sees the samples of two in the same order
    accumulated = [stream(images=2).batch(number) for number in range(6)]
    assert [key for batch in accumulated for key in batch.keys] == [key for batch in alone for key in batch.keys]


@pytest.mark.parametrize("where", ["source", "maker"])
def test_broken_photos_are_replaced_and_told(where: str) -> None:
    class Refusing(Maker):
        def sample(self, photo: Photo, plan: float, rng: random.Random) -> tuple[str, float]:
            if photo.key in ("a2", "a5"):
                raise BrokenSample(photo.key, "made so")
            return super().sample(photo, plan, rng)

    whole = stream()
    if where == "source":
        damaged = BatchStream(make_mix(frozenset({2, 5})), Maker(), images=2, seed=1)
    else:
        damaged = BatchStream(make_mix(), Refusing(), images=2, seed=1)
    replaced, told = 0, 0
    for number in range(30):
        before, after = whole.batch(number), damaged.batch(number)
        assert damaged.batch(number) == after
        assert not {"a2", "a5"} & set(after.keys)
        for i, key in enumerate(before.keys):
            if key in ("a2", "a5"):
                replaced += 1
                assert after.drawn[i] != before.drawn[i]
            else:
                assert (after.keys[i], after.drawn[i]) == (key, before.drawn[i])
        told += len(after.broken)
        assert set(after.broken) <= {"a2: made so", "a5: made so"}
    assert told >= replaced > 5


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_broken_photos_ends_it(workers: int) -> None:
    every = Mix({"a": Numbers("a", 5, frozenset(range(5)))}, {"a": 1}, 0)
    batches = loader(BatchStream(every, Maker(), images=1, seed=0), workers)
    with pytest.raises(DataError, match=r"sample 0: 20 photos in a row cannot be used; check .*(\n  a\d: made so){3}"):
        next(iter(batches))


def test_mistakes_are_not_swallowed() -> None:
    class Wrong(Maker):
        def sample(self, photo: Photo, plan: float, rng: random.Random) -> tuple[str, float]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        BatchStream(make_mix(), Wrong(), images=1, seed=0).batch(0)


def test_too_many_broken_photos_stop_the_run(tmp_path: Path) -> None:
    log = tmp_path / "run" / "broken.jsonl"
    counter = BrokenCounter(limit_fraction=0.1, at_least=3, log=log)
    counter.add([], 6)
    assert not log.exists()
    counter.add(["v: bad", "w: bad", "x: bad"], 4)  # more than a tenth, but few
    counter.add([], 23)
    counter.add(["y: bad"], 3)  # four of 40: a tenth
    message = r"5 of 41 photos cannot be used \(.*broken\.jsonl lists them\); at most 10% may"
    with pytest.raises(DataError, match=message + r"\. .*\n  x: bad\n  y: bad\n  z: bad"):
        counter.add(["z: bad"], 0)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[0] == {"seen": 10, "broken": "v: bad"}
    assert [line["broken"][0] for line in lines] == list("vwxyz")


def test_counting_needs_no_log() -> None:
    counter = BrokenCounter(at_least=0)
    counter.add([], 99)
    counter.add(["a: bad"], 0)
    with pytest.raises(DataError, match="2 of 101 photos cannot be used; at most 1% may"):
        counter.add(["b: bad"], 0)
