"""Weights to export: trained ones for nano, seeded ones for the others, and amplified ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from evsam.weights import Weights, expected_tensors, load_weights
from evsam.zoo import VARIANTS
from tests.golden.seeded_weights import seeded_state_dict

GAINS = {"nano": 2.0**15, "l0": 5.0, "l1": 2.0, "l2": 2.0, "xl0": 3.0, "xl1": 2.0}
"""What makes activations of each variant reach a million (test_ranges.py makes sure of it)."""

ENDS = tuple(f"{conv}.norm.{kind}" for conv in ("point_conv", "conv2") for kind in ("weight", "bias"))
"""Ends of the names of what ends a block and adds to the residual stream; the attention adds through its own norm."""


@lru_cache(maxsize=2)
def weights_of(variant: str) -> Weights:
    """Bundled weights of nano, seeded ones of the others; shared, not to be changed."""
    if variant == "nano":
        return load_weights("nano")
    return Weights(VARIANTS[variant], seeded_state_dict(dict(expected_tensors(variant))), None, {})


def amplified_weights(variant: str) -> Weights:
    """A network with large residual streams behind the first stage."""
    weights, gain = weights_of(variant), np.float32(GAINS[variant])
    change = _nano_factor if variant == "nano" else _factor
    tensors = {name: tensor * np.float32(gain ** change(name)) for name, tensor in weights.tensors.items()}
    return Weights(weights.variant, tensors, None, {})


def _factor(name: str) -> int:
    """The power of the gain that a tensor is multiplied with: what ends a block, so that all that follows grows."""
    return int(name.endswith(ENDS) and ".backbone.stages.0." not in name)


def _nano_factor(name: str) -> int:
    """The same, with what reads a stream divided by the gain, so that the network computes what it did.

    ReLU6 would saturate otherwise: rounding then flips zeros and sixes, and no narrow format keeps such a network.
    """
    stage = int(name.split(".backbone.stages.")[1][0]) if ".backbone.stages." in name else None
    if stage is not None and stage >= 1:
        if name.endswith((*ENDS, "proj.norm.weight", "proj.norm.bias")):
            return 1
        reads_amplified = name.endswith(("inverted_conv.conv.weight", "qkv.conv.weight"))
        return -int(reads_amplified and ".stages.1.op_list.0." not in name)
    readers = (".neck.input_ops.0.op_list.0.conv.weight", ".neck.input_ops.1.op_list.0.conv.weight")
    return -int(name.endswith((*readers, ".lateral.skip.0.weight", ".lateral.skip.1.weight")))
