"""Large annotation files: read part by part, and kept as text."""

from __future__ import annotations

import json
import pickle

import pytest

from evsam.data.packed import Packed


def test_packed_values_come_back() -> None:
    values = [["a", 1], {"b": [1.5, None]}, "ü", []]
    packed = Packed(json.dumps(value).encode() for value in values)
    assert list(packed) == values
    assert list(pickle.loads(pickle.dumps(packed))) == values
    with pytest.raises(IndexError):
        packed[4]
