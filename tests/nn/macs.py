"""How many multiply-accumulates a model needs, counted by running it on tensors without data.

Counted are convolutions, linear layers and matrix products, those of both kinds of attention included. Not counted is
what costs next to nothing beside them: norms (folded into the convolutions), activations, additions, resizing. The
published figures (arXiv 2402.05008, table 2) follow the same convention: they agree to the last printed digit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from evsam.nn.sam import EfficientViTSam
from evsam.zoo import Variant


def count_macs(function: Callable[..., object], *args: Any) -> int:
    """Multiply-accumulates of ``function(*args)``, which is run once.

    Args:
        function: may work on tensors of the ``meta`` device; then nothing is computed. Its parameters must not require
            gradients.
        args: its arguments.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(*args)
    return int(counter.get_total_flops()) // 2


def meta_model(variant: str | Variant) -> EfficientViTSam:
    """The model without data, for inference: shapes can be followed through it at no cost."""
    with torch.device("meta"):
        return EfficientViTSam(variant).eval().requires_grad_(False)


def encoder_macs(variant: str | Variant) -> int:
    """Multiply-accumulates to encode one image."""
    model = meta_model(variant)
    side = model.variant.image_size
    return count_macs(model.encode, torch.empty(1, 3, side, side, device="meta"))


def decoder_macs(variant: str | Variant, prompts: int = 1, points: int = 2, mask: bool = False) -> int:
    """Multiply-accumulates to predict the masks of some prompts on one image.

    Args:
        variant: a name or a record of :mod:`evsam.zoo`.
        prompts: how many prompts are answered at once.
        points: points per prompt; a box counts as two, a click without a box as two (itself and the padding point).
        mask: whether every prompt comes with the logits of an earlier prediction.
    """
    model = meta_model(variant)
    side = model.variant.image_size
    features = model.encode(torch.empty(1, 3, side, side, device="meta"))
    xy = torch.empty(prompts, points, 2, device="meta")
    labels = torch.ones(prompts, points, dtype=torch.long, device="meta")
    logits = torch.empty(prompts, 1, 256, 256, device="meta") if mask else None
    return count_macs(model.decode, features, xy, labels, logits)
