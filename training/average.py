"""Exponential moving average of weights."""

from __future__ import annotations

import torch
from torch import Tensor

from evsam.nn import EfficientViTSam
from evsam.training.distributed import local, whole


class Average:
    """The averaged weights of a model, each process holding what it holds of the model.

    Args:
        model: whose weights are averaged.
        decay: per step; None keeps nothing and answers with the model's own weights.
    """

    def __init__(self, model: EfficientViTSam, decay: float | None) -> None:
        self.model, self.decay = model, decay
        self.parameters: dict[str, Tensor] = (
            {} if decay is None else {name: p.detach().clone() for name, p in model.named_parameters()}
        )

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number ``step``; early steps count more, or the start would stay for long."""
        if self.decay is None:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        ours = [local(p) for p in self.parameters.values()]
        theirs = [local(p) for p in self.model.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)

    @torch.no_grad()
    def state(self) -> dict[str, Tensor]:
        """State dict of the model with averaged parameters and its present buffers; every process has to call this."""
        named = {**dict(self.model.named_parameters()), **self.parameters}
        return {name: whole(p) for name, p in named.items()} | kept_buffers(self.model)


def kept_buffers(model: EfficientViTSam) -> dict[str, Tensor]:
    """The buffers that a model's state dict holds."""
    held = model.state_dict(keep_vars=True)
    return {name: buffer for name, buffer in model.named_buffers() if name in held}
