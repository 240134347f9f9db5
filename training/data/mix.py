"""Which photo comes when: several sources in fixed proportions, each in shuffled passes, all by number.

Shuffled orders need no memory here: position in, number out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from evsam.datasets.records import DataError, Photo, PhotoSource

ROUNDS = 6
"""Of the Feistel network; four already make a permutation that cannot be told from a random one, given random functions
(Luby and Rackoff)."""

BLOCK = 1000
"""Samples after which the proportions of the sources are exact."""


class Place(NamedTuple):
    """Where a photo is found: name of its source, and its number there."""

    source: str
    photo: int


class Mix:
    """An endless sequence of photos that depends on seed and number alone, so that nothing of it has to be saved.

    Args:
        sources: photos by name; those without weight are left out and never read.
        weights: how often each source is drawn, in any unit; each that is above 0 is drawn at least once in
            :data:`BLOCK` samples.
        seed: of the order.
        together: groups of photos, such as the tars of SA-1B, that are shuffled among each other.

    Raises:
        DataError: there is nothing to draw from.
    """

    def __init__(
        self, sources: Mapping[str, PhotoSource], weights: Mapping[str, float], seed: int, together: int = 4
    ) -> None:
        if sources.keys() != weights.keys():
            raise DataError(f"weights: expected those of {sorted(sources)}, got those of {sorted(weights)}")
        self.sources = {name: source for name, source in sources.items() if weights[name] > 0}
        if not self.sources or min(weights.values()) < 0:
            raise DataError(f"weights: expected at least one above 0 and none below, got {dict(weights)}")
        for name, source in self.sources.items():
            if not len(source):
                raise DataError(f"source {name} has no photos")
        self.epoch_size = sum(len(source) for source in self.sources.values())
        self._names = list(self.sources)
        self._orders = {
            name: Order(getattr(source, "groups", (len(source),)), together, f"{seed}/{name}")
            for name, source in self.sources.items()
        }
        self._counts = _shares([weights[name] for name in self._names])
        pattern = [number for number, count in enumerate(self._counts) for _ in range(count)]
        random.Random(f"{seed}/mix").shuffle(pattern)
        self._pattern = np.array(pattern)
        # how many of the same source come before in the block
        self._before = np.zeros(BLOCK, np.int64)
        for number in range(len(self._names)):
            same = self._pattern == number
            self._before[same] = np.arange(same.sum())

    def place(self, number: int) -> Place:
        """Where sample ``number``, counted from 0 over all processes, is found."""
        block, offset = divmod(number, BLOCK)
        which = int(self._pattern[offset])
        name = self._names[which]
        position = block * self._counts[which] + int(self._before[offset])
        return Place(name, self._orders[name][position])

    def photo(self, number: int) -> Photo:
        """The photo of sample ``number``.

        Raises:
            BrokenSample: what describes it cannot be read.
        """
        place = self.place(number)
        return self.sources[place.source][place.photo]


def _shares(weights: Sequence[float]) -> list[int]:
    """Samples of each source in a block: in proportion, rounded so that they fill it, and at least one."""
    if len(weights) > BLOCK:
        raise DataError(f"expected at most {BLOCK} sources, got {len(weights)}")
    shares = np.array(weights) / sum(weights) * BLOCK
    counts = np.maximum(np.floor(shares).astype(int), 1)
    while counts.sum() != BLOCK:
        step = int(np.sign(BLOCK - counts.sum()))
        # whose share is furthest from its count; of those with one sample none is taken
        gain = step * (shares - counts) - np.where((step < 0) & (counts == 1), BLOCK, 0)
        counts[int(gain.argmax())] += step
    return [int(count) for count in counts]


def shuffled(position: int, length: int, key: str) -> int:
    """The number at a position of the shuffled numbers from 0 to below ``length``; each is at one position.

    A Feistel network exchanges the bits of two halves of the position, which can be undone, hence two positions never
    get the same number. It works on a power of four; numbers that are too large go through it again.
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    lowest = (1 << half) - 1
    seed = blake2b(key.encode(), digest_size=8).digest()
    constant = int.from_bytes(seed, "little")
    while True:
        left, right = position >> half, position & lowest
        for number in range(ROUNDS):
            left, right = right, left ^ (_scrambled(constant + right + (number << 32)) & lowest)
        position = left << half | right
        if position < length:
            return position


def _scrambled(value: int) -> int:
    """64 bits, each of which depends on all of ``value`` (the finaliser of splitmix64)."""
    value = (value * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 31


class Order:
    """Endless shuffled passes over a source.

    Photos that lie together on disk, in one tar, are drawn together with those of a few other tars: the tars are
    shuffled, and photos within every few tars of that order. Disks then read near to where they read before, and caches
    need to hold little.

    Args:
        groups: numbers of photos that lie together, one group after the other.
        together: groups whose photos are mixed.
        key: of the order; the same key gives the same order.
    """

    def __init__(self, groups: Sequence[int], together: int, key: str) -> None:
        self.sizes = np.asarray(groups, np.int64)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.length = int(self.sizes.sum())
        self.together, self.key = together, key
        self._pass = -1

    def __getitem__(self, position: int) -> int:
        """Number of the photo at a position, from 0 on; each pass has an order of its own."""
        number, position = divmod(position, self.length)
        if number != self._pass:
            self._begin(number)
        window = int(np.searchsorted(self._ends, position, "right"))
        first = window * self.together
        sizes = self._sizes[first : first + self.together]
        start = int(self._ends[window - 1]) if window else 0
        place = shuffled(position - start, int(sizes.sum()), f"{self.key}/{number}/{window}")
        ends = np.cumsum(sizes)
        group = int(np.searchsorted(ends, place, "right"))
        return int(self.starts[self._groups[first + group]] + place - ends[group] + sizes[group])

    def _begin(self, number: int) -> None:
        """Shuffle the groups for a pass."""
        groups = list(range(len(self.sizes)))
        random.Random(f"{self.key}/{number}").shuffle(groups)
        self._pass, self._groups = number, groups
        self._sizes = self.sizes[groups]
        self._ends = np.cumsum(np.add.reduceat(self._sizes, np.arange(0, len(groups), self.together)))
