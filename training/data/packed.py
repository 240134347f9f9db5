"""A list of json values in little memory, for annotations of a hundred thousand photos and more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


class Packed(Sequence[Any]):
    """Values kept as json text, one after the other, and parsed when they are asked for.

    Python objects would take several times the memory; and worker processes, which share the memory of the process that
    they are forked from, would copy each as soon as they look at it, for its reference count is written.

    Args:
        values: anything that json can hold.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        text, ends = bytearray(), [0]
        for value in values:
            text += json.dumps(value, separators=(",", ":")).encode()
            ends.append(len(text))
        self._text, self._ends = bytes(text), np.array(ends)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return json.loads(self._text[self._ends[index] : self._ends[index + 1]])
