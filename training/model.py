"""The model of a run: built with its starting values, or loaded from what a run, a file or a name stands for."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from evsam.errors import WeightsError
from evsam.nn import EfficientViTSam
from evsam.nn.layers import ConvLayer
from evsam.record import read_record
from evsam.training import checkpoints
from evsam.training.config import ConfigError, RunConfig
from evsam.training.efficientnet_lite import TEACHERS, find_checkpoint, transfer_backbone
from evsam.weights import load_weights
from evsam.zoo import VARIANTS, Variant, get_variant

CONFIG_FILE = "config.yaml"
"""What a run's folder holds besides its checkpoints: the configuration, with every value in it."""


def find_variant(name: str) -> Variant:
    """A published variant, one of :data:`TEACHERS`, or the one that a record (:mod:`evsam.record`) describes.

    Raises:
        WeightsError: there is no variant of that name, or it is a record that no engine could build.
    """
    if name.startswith("{"):
        return read_record(name)
    if name in TEACHERS:
        return TEACHERS[name]
    if name not in VARIANTS:
        raise WeightsError(f"variant: expected one of {', '.join([*VARIANTS, *TEACHERS])}, got {name!r}")
    return get_variant(name)


def build_model(config: RunConfig, device: torch.device) -> EfficientViTSam:
    """The model that a run trains, with its starting values, on a device.

    Raises:
        WeightsError, ConfigError: the starting values cannot be had, or are of another variant.
    """
    _check_norms(config, device)
    torch.manual_seed(config.seed)
    model = EfficientViTSam(find_variant(config.variant))
    initialise(model, config.start)
    to_device(model, device)
    match config.norms:
        case "frozen":
            freeze_norms(model)
        case "sync":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    stages = list(model.image_encoder.backbone.stages)
    if config.freeze_stages > len(stages):
        raise ConfigError(f"freeze_stages: {config.variant} has {len(stages)} stages, got {config.freeze_stages}")
    for stage in stages[: config.freeze_stages]:
        stage.requires_grad_(False)
        freeze_norms(stage)
    if config.system.checkpoint_activations:
        recompute_blocks(model)
    if config.system.compile:
        model.image_encoder.compile()
    return model


def initialise(model: EfficientViTSam, start: str) -> None:
    """Give a model its starting values, see :class:`evsam.training.config.RunConfig`."""
    if start == "imagenet":
        transfer_backbone(model, find_checkpoint(model.variant.name))
    elif start != "none":
        loaded = load_state(start)
        if loaded.variant.name != model.variant.name:
            raise WeightsError(f"start {start}: expected weights of {model.variant.name}, got {loaded.variant.name}")
        load_into(model, loaded.state)


def _check_norms(config: RunConfig, device: torch.device) -> None:
    if config.norms == "sync" and device.type != "cuda":
        raise ConfigError(f"norms: sync needs a GPU, this run computes on {device}; set norms=frozen or norms=train")
    if config.norms == "train" and config.system.shard == "fsdp2":
        raise ConfigError(
            "norms: with system.shard=fsdp2 every process would have statistics of its own; set norms=frozen, "
            "norms=sync or system.shard=ddp"
        )


def freeze_norms(model: nn.Module) -> None:
    """Keep the statistics of all batch norms as they are.

    With few photos in a batch its statistics would be noise; frozen, a batch norm costs nothing (see ConvLayer).
    """
    for module in model.modules():
        if isinstance(module, ConvLayer):
            module.freeze_norm = True


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


def kept_buffers(model: EfficientViTSam) -> dict[str, Tensor]:
    """The buffers that a model's state dict holds."""
    held = model.state_dict(keep_vars=True)
    return {name: buffer for name, buffer in model.named_buffers() if name in held}


def recompute_blocks(model: EfficientViTSam) -> None:
    """Let the blocks of the image encoder compute their activations again in the backward pass.

    The methods are replaced, not the modules, so that no weight changes its name.
    """
    encoder = model.image_encoder
    for part in [*encoder.backbone.stages, encoder.neck.middle]:
        for block in part.op_list:
            block.forward = functools.partial(recomputed, block, block.forward)


def recomputed(module: nn.Module, function: Callable[..., Any], *inputs: Tensor) -> Any:
    """What a function of a module answers; its activations are computed again in the backward pass.

    That second time leaves the statistics of the module's batch norms alone, so that nothing else is learnt.
    """
    contexts = functools.partial(_contexts, module)
    return checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)


def _contexts(
    module: nn.Module,
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """Of the first and of the second forward pass."""
    return contextlib.nullcontext(), _statistics_kept(module)


@contextlib.contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm)]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # statistics still go through the same operations, which recomputation checks, but move by nothing
        norm.momentum = 0.0
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
