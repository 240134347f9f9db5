"""Weights to export: trained ones for nano, seeded ones for the others, and amplified ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from evsam.weights import Weights, expected_tensors, load_weights
from evsam.zoo import VARIANTS
from tests.golden.seeded_weights import seeded_state_dict

GAINS = {"nano": 10000.0, "l0": 4.0, "l1": 4.0, "l2": 4.0, "xl0": 4.0, "xl1": 4.0}
"""What makes activations of each variant reach a million (test_ranges.py makes sure of it)."""


@lru_cache(maxsize=2)
def weights_of(variant: str) -> Weights:
    """Bundled weights of nano, seeded ones of the others; shared, not to be changed."""
    if variant == "nano":
        return load_weights("nano")
    return Weights(VARIANTS[variant], seeded_state_dict(dict(expected_tensors(variant))), None, {})


def amplified_weights(variant: str) -> Weights:
    """The same network with large residual streams: what ends each block behind the first stage is multiplied."""
    weights, gain = weights_of(variant), np.float32(GAINS[variant])
    ends = tuple(f"{conv}.norm.{kind}" for conv in ("point_conv", "conv2") for kind in ("weight", "bias"))
    tensors = {
        name: tensor * gain if name.endswith(ends) and ".backbone.stages.0." not in name else tensor
        for name, tensor in weights.tensors.items()
    }
    return Weights(weights.variant, tensors, None, {})
