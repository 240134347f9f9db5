"""Which photo comes when: several sources in fixed proportions, each in shuffled passes, all by number."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evsam.training.data.records import DataError, Photo, PhotoSource
from evsam.training.data.shuffle import Order

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
