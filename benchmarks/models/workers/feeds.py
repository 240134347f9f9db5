"""Inputs of the runs that make up one timed run."""

from __future__ import annotations

from typing import Any

import numpy as np

SHARED = "embedding"


def feeds(request: dict[str, Any], inputs: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """All inputs at once, or with "one_by_one" a set of them for each prompt; the embedding is everybody's."""
    if not request.get("one_by_one"):
        return [inputs]
    count = len(inputs["points"])
    return [{name: x if name == SHARED else x[i : i + 1] for name, x in inputs.items()} for i in range(count)]


def joined(results: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Outputs of all runs, one after the other."""
    return [np.concatenate(parts) for parts in zip(*results, strict=True)]
