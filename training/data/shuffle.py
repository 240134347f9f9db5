"""Shuffled orders that need no memory: position in, number out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

ROUNDS = 6
"""Of the Feistel network; four already make a permutation that cannot be told from a random one, given random functions
(Luby and Rackoff)."""


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
