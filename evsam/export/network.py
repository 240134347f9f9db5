"""The image encoder as a list of fused blocks, on NumPy arrays: what range folding changes and exporters write.

Batch norms are folded into the convolutions here. Names of blocks are those of the released checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evsam.weights import Weights
from evsam.zoo import Activation, Block, EncoderConfig

Array = npt.NDArray[np.float32]
Tensors = Mapping[str, npt.NDArray[np.float32]]

NORM_EPS = 1e-6
"""Of every batch norm and layer norm of the network, see :mod:`evsam.nn.layers`."""

ATTENTION_EPS = 1e-15


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution with "same" padding and folded norm.

    Attributes:
        weight: float32 (O, I / groups, K, K).
        bias: float32 (O,).
        stride: 1 or 2.
        groups: 1, or the number of channels.
    """

    weight: Array
    bias: Array
    stride: int = 1
    groups: int = 1


@dataclass(frozen=True, eq=False)
class ConvBlock:
    """Convolution, activation."""

    name: str
    conv: Conv
    activation: Activation | None
    activation_scale: float = 1.0


@dataclass(frozen=True, eq=False)
class ResBlock:
    """Two 3x3 convolutions with the activation between them."""

    name: str
    first: Conv
    second: Conv
    activation: Activation
    shortcut: bool
    activation_scale: float = 1.0


@dataclass(frozen=True, eq=False)
class FusedMBConv:
    """3x3 convolution, activation, 1x1 convolution."""

    name: str
    spatial: Conv
    point: Conv
    activation: Activation
    shortcut: bool
    activation_scale: float = 1.0


@dataclass(frozen=True, eq=False)
class MBConv:
    """1x1 convolution and activation (None: neither), depthwise convolution and activation, 1x1 convolution."""

    name: str
    expand: Conv | None
    depth: Conv
    point: Conv
    activation: Activation
    shortcut: bool
    activation_scale: float = 1.0


@dataclass(frozen=True, eq=False)
class LiteMLA:
    """Residual multi-scale linear attention.

    Attributes:
        name: of the block.
        qkv: float32 (3 T, C), T = heads * D: for each head its q, k and v.
        depthwise: float32 (3 T, 1, k, k).
        grouped: float32 (3 T, D), 3 * heads groups.
        project: 1x1 convolution from 2 T channels.
        head_dim: D.
        eps: added to the denominators.
    """

    name: str
    qkv: Array
    depthwise: Array
    grouped: Array
    project: Conv
    head_dim: int
    eps: float = ATTENTION_EPS


EncoderBlock = ConvBlock | ResBlock | FusedMBConv | MBConv | LiteMLA


@dataclass(frozen=True, eq=False)
class Lateral:
    """One finer map for the decoder: a projected stage, plus the coarser map projected and doubled in size.

    Attributes:
        stage: of the backbone.
        skip: projection of the stage.
        up: projection of the coarser map.
        scale: the map is computed as a fraction 1 / scale of its value.
    """

    stage: int
    skip: Conv
    up: Conv
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Encoder:
    """The whole encoder.

    Attributes:
        stages: blocks of each stage of the backbone.
        inputs: stage and projection of each map of the neck's sum, in the order of addition.
        middle: blocks behind the sum.
        output: the neck's last convolution.
        gain: float32 (C,), of the layer norm.
        bias: float32 (C,), of the layer norm.
        lateral: further outputs, coarse to fine.
        image_size: side of the image in pixels.
        grid: side of the embedding in cells.
        norm_eps: of the layer norm.
    """

    stages: tuple[tuple[EncoderBlock, ...], ...]
    inputs: tuple[tuple[int, Conv], ...]
    middle: tuple[EncoderBlock, ...]
    output: Conv
    gain: Array
    bias: Array
    lateral: tuple[Lateral, ...]
    image_size: int
    grid: int
    norm_eps: float = NORM_EPS


def read_encoder(weights: Weights, image_size: int | None = None) -> Encoder:
    """The encoder of a model.

    Args:
        weights: the model.
        image_size: another side of the image than the variant's, in pixels; the grid changes with it. For tests.
    """
    config, tensors = weights.variant.encoder, weights.tensors
    size = weights.variant.image_size if image_size is None else image_size
    prefix = "image_encoder"
    stages, before = [], 3
    for index, stage in enumerate(config.stages):
        blocks: list[EncoderBlock] = []
        for position, block in enumerate(stage):
            name = f"{prefix}.backbone.stages.{index}.op_list.{position}"
            blocks += _blocks(tensors, name, block, config, shortcut=block.stride == 1 and before == block.width)
            before = block.width
        stages.append(tuple(blocks))
    neck = config.neck
    middle = Block(neck.kind, neck.width, expand=neck.expand)
    return Encoder(
        stages=tuple(stages),
        inputs=tuple(
            (stage, read_conv(tensors, f"{prefix}.neck.input_ops.{i}.op_list.0")) for i, stage in enumerate(neck.stages)
        ),
        middle=tuple(
            block
            for i in range(neck.depth)
            for block in _blocks(tensors, f"{prefix}.neck.middle.op_list.{i}", middle, config, shortcut=True)
        ),
        output=read_conv(tensors, f"{prefix}.neck.output_ops.0.op_list.0"),
        gain=tensors[f"{prefix}.norm.weight"],
        bias=tensors[f"{prefix}.norm.bias"],
        lateral=tuple(
            Lateral(
                stage,
                skip=plain_conv(tensors, f"{prefix}.lateral.skip.{i}"),
                up=plain_conv(tensors, f"{prefix}.lateral.up.{i}"),
            )
            for i, (stage, _) in enumerate(neck.lateral)
        ),
        image_size=size,
        grid=neck.grid * size // weights.variant.image_size,
    )


def plain_conv(tensors: Tensors, name: str) -> Conv:
    """A convolution without norm."""
    return Conv(tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _blocks(tensors: Tensors, name: str, block: Block, config: EncoderConfig, shortcut: bool) -> list[EncoderBlock]:
    activation, stride = config.activation, block.stride
    main = f"{name}.main"
    match block.kind:
        case "conv":
            return [ConvBlock(name, read_conv(tensors, name, stride), activation)]
        case "att":
            return [
                _lite_mla(tensors, f"{name}.context_module.main", config.head_dim),
                _mbconv(tensors, f"{name}.local_module.main", activation, 1, True),
            ]
        case "res":
            first, second = read_conv(tensors, f"{main}.conv1", stride), read_conv(tensors, f"{main}.conv2")
            return [ResBlock(main, first, second, activation, shortcut)]
        case "fmb":
            spatial = read_conv(tensors, f"{main}.spatial_conv", stride)
            point = read_conv(tensors, f"{main}.point_conv")
            return [FusedMBConv(main, spatial, point, activation, shortcut)]
        case "ds":
            depth, point = _depthwise(tensors, f"{main}.depth_conv", stride), read_conv(tensors, f"{main}.point_conv")
            return [MBConv(main, None, depth, point, activation, shortcut)]
        case "mb":
            return [_mbconv(tensors, main, activation, stride, shortcut)]


def _mbconv(tensors: Tensors, name: str, activation: Activation, stride: int, shortcut: bool) -> MBConv:
    return MBConv(
        name,
        read_conv(tensors, f"{name}.inverted_conv"),
        _depthwise(tensors, f"{name}.depth_conv", stride),
        read_conv(tensors, f"{name}.point_conv"),
        activation,
        shortcut,
    )


def _lite_mla(tensors: Tensors, name: str, head_dim: int) -> LiteMLA:
    qkv = tensors[f"{name}.qkv.conv.weight"][:, :, 0, 0]
    depthwise, grouped = (tensors[f"{name}.aggreg.0.{i}.weight"] for i in range(2))
    return LiteMLA(name, qkv, depthwise, grouped[:, :, 0, 0], read_conv(tensors, f"{name}.proj"), head_dim)


def _depthwise(tensors: Tensors, name: str, stride: int) -> Conv:
    conv = read_conv(tensors, name, stride)
    return Conv(conv.weight, conv.bias, stride, groups=len(conv.weight))


def read_conv(tensors: Tensors, name: str, stride: int = 1) -> Conv:
    """A convolution with its norm folded in, computed in float64 and rounded once."""
    weight = tensors[f"{name}.conv.weight"].astype(np.float64)
    bias = tensors.get(f"{name}.conv.bias")
    shift = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    if f"{name}.norm.weight" in tensors:
        keys = ("weight", "bias", "running_mean", "running_var")
        gain, offset, mean, variance = (tensors[f"{name}.norm.{key}"].astype(np.float64) for key in keys)
        scale = gain / np.sqrt(variance + NORM_EPS)
        weight, shift = weight * scale[:, None, None, None], offset + (shift - mean) * scale
    return Conv(weight.astype(np.float32), shift.astype(np.float32), stride)
