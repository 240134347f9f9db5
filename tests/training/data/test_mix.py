"""Order of photos: exact shares, passes in which each photo comes once, and photos that lie together."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter

import pytest

from evsam.datasets.records import DataError, Photo, Photos
from evsam.training.data.mix import BLOCK, Mix, Order, Place, shuffled


class Numbers(Photos):
    """Photos that are known by their keys, in groups of ten."""

    def __init__(self, count: int) -> None:
        self.total = count

    def __len__(self) -> int:
        return self.total

    @property
    def groups(self) -> tuple[int, ...]:
        return (*(10,) * (self.total // 10), self.total % 10)

    def photo(self, index: int) -> Photo:
        return Photo(str(index), (), bytes)


def make(seed: int = 5) -> Mix:
    return Mix({"a": Numbers(7), "b": Numbers(57), "c": Numbers(9)}, {"a": 3, "b": 1, "c": 0}, seed)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 16, 17, 1000, 1025])
def test_shuffled_numbers_are_a_permutation(length: int) -> None:
    found = [shuffled(position, length, "key") for position in range(length)]
    assert sorted(found) == list(range(length))
    if length > 16:
        assert found != [shuffled(position, length, "other") for position in range(length)]
    if length > 100:  # mean distance of neighbours in a random order: a third of the length
        distance = sum(abs(a - b) for a, b in itertools.pairwise(found)) / (length - 1)
        assert distance / length == pytest.approx(1 / 3, rel=0.1)


def test_every_number_comes_to_every_place() -> None:
    counts = Counter(shuffled(0, 5, f"{key}") for key in range(2000))
    assert sorted(counts) == list(range(5))
    assert min(counts.values()) > 300


def test_large_sources_need_no_memory() -> None:
    found = {shuffled(position, 10**12, "key") for position in range(1000)}
    assert len(found) == 1000
    assert max(found) > 9 * 10**11


@pytest.mark.parametrize("groups", [(25,), (10, 3, 10, 2)])
def test_every_photo_comes_once_in_a_pass(groups: tuple[int, ...]) -> None:
    order = Order(groups, 2, "key")
    passes = [[order[25 * number + position] for position in range(25)] for number in range(4)]
    for found in passes:
        assert sorted(found) == list(range(25))
    assert len({tuple(found) for found in passes}) == 4


def test_positions_can_be_asked_for_in_any_order() -> None:
    forward, backward = (Order((4, 5), 1, "key") for _ in range(2))
    assert [forward[i] for i in range(30)] == [backward[i] for i in reversed(range(30))][::-1]


def test_groups_are_mixed_with_few_others() -> None:
    order = Order((10,) * 10, 2, "key")
    found = [order[position] // 10 for position in range(100)]
    windows = [set(found[start : start + 20]) for start in range(0, 100, 20)]
    assert [len(window) for window in windows] == [2] * 5
    assert sorted(group for window in windows for group in window) == list(range(10))
    assert len(set(found[:6])) == 2  # mixed, not one after the other
    assert sorted(windows[0]) != [0, 1]


def test_sources_have_their_exact_shares() -> None:
    mix = make()
    found = [mix.place(number).source for number in range(3 * BLOCK)]
    assert Counter(found) == {"a": 2250, "b": 750}
    assert 2 < found[:40].count("b") < 20
    assert mix.epoch_size == 64


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1], [1000]),
        ([1, 1, 1], [334, 333, 333]),
        ([1e-9, 1, 1e-9], [1, 998, 1]),
        ([0.4, 0.26, 0.19, 0.1, 0.05], [400, 260, 190, 100, 50]),
    ],
)
def test_shares_fill_a_block(weights: list[float], expected: list[int]) -> None:
    names = [str(number) for number in range(len(weights))]
    mix = Mix(dict.fromkeys(names, Numbers(3)), dict(zip(names, weights, strict=True)), 0)
    found = Counter(mix.place(number).source for number in range(BLOCK))
    assert sorted(found.values(), reverse=True) == sorted(expected, reverse=True)
    assert [found[name] for name in names] == pytest.approx(expected, abs=1)


def test_every_photo_of_a_source_comes_once_before_it_comes_again() -> None:
    mix = make()
    found = [place.photo for place in map(mix.place, range(3 * BLOCK)) if place.source == "b"]
    for start in range(0, len(found) - 57, 57):
        assert sorted(found[start : start + 57]) == list(range(57))


def test_seed_and_number_alone_decide() -> None:
    numbers = [12345, 3, 999, 3, 10**9]
    first, second = make(), pickle.loads(pickle.dumps(make()))
    assert [first.place(n) for n in numbers] == [second.place(n) for n in reversed(numbers)][::-1]
    assert [first.place(n) for n in range(50)] != [make(6).place(n) for n in range(50)]
    place = first.place(12345)
    assert first.photo(12345).key == str(place.photo)
    assert isinstance(place, Place)


def test_any_sequence_of_photos_is_a_source() -> None:
    mix = Mix({"a": [Photo("x", (), bytes)]}, {"a": 1}, 0)
    assert mix.photo(5).key == "x"


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (0, {"a": 1.0}, "source a has no photos"),
        (3, {"a": 0.0}, "expected at least one above 0"),
        (3, {"a": -1.0}, "expected at least one above 0"),
        (3, {"b": 1.0}, r"weights: expected those of \['a'\], got those of \['b'\]"),
    ],
)
def test_sources_that_cannot_be_drawn_from(count: int, weights: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Mix({"a": Numbers(count)}, weights, 0)
