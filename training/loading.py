"""The weights of a finished model or of a run, whichever a command line names."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from evsam.nn import EfficientViTSam
from evsam.weights import load_weights


def load_state(source: str) -> tuple[str, dict[str, Tensor]]:
    """Variant and tensors by name.

    Args:
        source: a run directory of :mod:`evsam.training.train` (its averaged weights), a weights file, or the name of a
            variant.
    """
    run = Path(source)
    if (run / "checkpoint.pt").exists():
        variant: str = json.loads((run / "options.json").read_text())["variant"]
        return variant, torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["average"]
    weights = load_weights(source)
    return weights.variant.name, {name: torch.tensor(value) for name, value in weights.tensors.items()}


def load_into(model: EfficientViTSam, state: dict[str, Tensor]) -> None:
    """Give a model its weights; the batch counters of norms, which no weights file has, keep their values."""
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict({**counters, **state})


def to_device(model: EfficientViTSam, device: torch.device) -> EfficientViTSam:
    """Move a model, and lay its convolutions out for channels-last tensors, which are fastest on CPUs and GPUs."""
    moved: nn.Module = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(moved, EfficientViTSam)
    return moved
