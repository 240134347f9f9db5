"""The weights of a finished model or of a run, whichever a command line names."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from evsam.errors import WeightsError
from evsam.nn import EfficientViTSam
from evsam.training import checkpoints
from evsam.training.average import kept_buffers
from evsam.training.variants import find_variant
from evsam.weights import load_weights
from evsam.zoo import Variant

CONFIG_FILE = "config.yaml"
"""What a run's folder holds besides its checkpoints: the configuration, with every value in it."""


def is_run(source: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a run."""
    return (Path(source) / CONFIG_FILE).is_file()


@dataclasses.dataclass(frozen=True)
class Loaded:
    """Weights by name, what they are the weights of, and the step that they are from (0 where not of a run)."""

    variant: Variant
    state: dict[str, Tensor]
    step: int = 0


def load_state(source: str | os.PathLike[str], *, averaged: bool = True) -> Loaded:
    """Weights of a model.

    Args:
        source: the folder of a run (from its latest checkpoint), a weights file, or the name of a variant.
        averaged: of a run that averages its weights, take the average; else those that the last step left.

    Raises:
        WeightsError: there are none.
    """
    if is_run(source):
        return _load_run(Path(source), averaged)
    weights = load_weights(source)
    return Loaded(weights.variant, {name: torch.tensor(value) for name, value in weights.tensors.items()})


def _load_run(run: Path, averaged: bool) -> Loaded:
    path = checkpoints.latest(run)
    if path is None:
        raise WeightsError(f"run {run}: has no checkpoint yet")
    variant = find_variant(yaml.safe_load((run / CONFIG_FILE).read_text())["variant"])
    model = EfficientViTSam(variant)
    stored = checkpoints.names(path)
    state: dict[str, Tensor] = dict(model.named_parameters()) | kept_buffers(model)
    wanted: dict[str, dict[str, Tensor]] = {"average": {}, "parameters": {}, "buffers": {}}
    for name, tensor in state.items():
        if averaged and f"average.{name}" in stored:
            wanted["average"][name] = tensor.detach()
            continue
        # a task holds its model under this name
        kind = "parameters" if f"parameters.model.{name}" in stored else "buffers"
        wanted[kind][f"model.{name}"] = tensor.detach()
    checkpoints.load(path, {**wanted, "progress": (progress := {"step": torch.tensor(0)})}, alone=True)
    return Loaded(variant, {name: tensor.detach() for name, tensor in state.items()}, int(progress["step"]))


def load_into(model: EfficientViTSam, state: dict[str, Tensor]) -> None:
    """Give a model its weights; the batch counters of norms, which no weights file has, keep their values."""
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict({**counters, **state})


def load_model(source: str | Path, device: torch.device | str = "cpu", *, averaged: bool = True) -> EfficientViTSam:
    """The model that :func:`load_state` finds, ready to answer."""
    loaded = load_state(source, averaged=averaged)
    model = EfficientViTSam(loaded.variant)
    load_into(model, loaded.state)
    return ready(model, device)


def ready(model: EfficientViTSam, device: torch.device | str) -> EfficientViTSam:
    """A model in eval mode, without gradients, with its batch norms folded, on a device."""
    return to_device(model.eval().fold_norms_(), device).requires_grad_(False)


def to_device(model: EfficientViTSam, device: torch.device | str) -> EfficientViTSam:
    """Move a model, and lay its convolutions out for channels-last tensors, which are fastest on CPUs and GPUs."""
    moved: nn.Module = model.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(moved, EfficientViTSam)
    return moved
