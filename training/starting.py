"""From a configuration to a model that is ready to be trained."""

from __future__ import annotations

import torch
from torch import nn

from evsam.errors import WeightsError
from evsam.nn import EfficientViTSam
from evsam.nn.layers import ConvLayer
from evsam.training.config import ConfigError, RunConfig
from evsam.training.loading import load_into, load_state, to_device
from evsam.training.recomputation import recompute_blocks
from evsam.training.transfer import find_checkpoint, transfer_backbone
from evsam.training.variants import find_variant


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
