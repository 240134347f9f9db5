"""The ops that a variant runs, as records of :mod:`evsam.costs`, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator

from evsam import network
from evsam.costs import (
    Activation,
    Conv3x3,
    ConvTranspose,
    DepthwiseConv,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MapOp,
    MaskHead,
    MaskPrompt,
    MaskUpsample,
    MBConv,
    Op,
    PatchConv,
    Pointwise,
    Preprocess,
    SamHead,
    Transpose,
    TwoWayAttention,
    UpsampleAdd,
)
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE, NeckConfig, Variant

__all__ = ["PHOTO", "decoder_ops", "encoder_ops", "image_ops"]

PHOTO = (720, 1280)
"""Height and width of the photo that the pre-processing reads."""

CLICK_TOKENS = 1 + network.MASK_TOKENS + 2
"""Tokens of one click: those of the IoU and of four masks, the point and one of padding. A box has as many."""


def encoder_ops(variant: Variant, batch: int = 1) -> list[MapOp]:
    """Everything from uint8 photos to the image embedding and the lateral maps, as the CUDA kernels are called.

    Args:
        variant: a record of :mod:`evsam.zoo`.
        batch: images at once; their photos have the size :data:`PHOTO`.

    Raises:
        ValueError: the batch is not positive.
    """
    if batch < 1:
        raise ValueError(f"batch: expected a number >= 1, got {batch}")
    preprocess = Preprocess("preprocess", batch, *PHOTO, side=variant.image_size)
    return [preprocess, *(_record(op, batch) for op in network.describe_encoder(variant).ops)]


def _record(op: network.Op, batch: int) -> MapOp:
    x, y = op.inputs[0], op.output
    at = (op.label, batch, x.size, x.size)
    residual = op.residual is not None
    match op:
        case network.Convolution(conv=conv, activation=activation):
            kind = {1: Pointwise, 3: Conv3x3}[conv.filter_size]
            activated = network.KERNEL_ACTIVATIONS[activation] if activation else "none"
            return kind(*at, x.channels, y.channels, conv.stride, activated, residual)
        case network.FusedMBConv(spatial=spatial, activation=activation):
            channels = (x.channels, y.channels, spatial.stride)
            return FusedMBConv(*at, *channels, network.KERNEL_ACTIVATIONS[activation], residual, spatial.outputs)
        case network.MBConv(depth=depth, activation=activation):
            expands, channels = op.expand is not None, (x.channels, y.channels, depth.stride)
            hidden = (depth.outputs, depth.filter_size, expands)
            return MBConv(*at, *channels, network.KERNEL_ACTIVATIONS[activation], residual, *hidden)
        case network.LiteMLA():
            return LiteMLA(*at, x.channels, op.heads, op.head_dim, op.depthwise.filter_size)
        case network.UpsampleAdd():
            second = next(((z.size, z.size) for z in op.inputs[1:]), None)
            return UpsampleAdd(*at, y.channels, y.size, y.size, op.mode, second, residual)
        case network.LayerNorm():
            return LayerNorm(*at, x.channels)
    raise TypeError(f"op: expected one that an encoder has, got {type(op).__name__}")


def image_ops(variant: Variant) -> list[Op]:
    """What else an image needs: its embedding and lateral maps channels first, and masks of the photo's size."""
    outputs = network.describe_encoder(variant).outputs
    ops: list[Op] = [Transpose(f"image map {i}", 1, y.size, y.size, y.channels) for i, y in enumerate(outputs)]
    height, width = PHOTO
    resized_height = FRAME_SIZE * height // width
    ops.append(MaskUpsample("masks", 3, resized_height, FRAME_SIZE, height, width))
    return ops


def decoder_ops(variant: Variant) -> list[Op]:
    """From one click to the logits of its masks, as the native engine calls its ops.

    Matrix products of few tokens, which take next to no time, are left out but for those of the transformer's first
    layer.
    """
    decoder, neck = variant.decoder, variant.encoder.neck
    grid, dim = neck.grid, decoder.dim
    ops: list[Op] = []
    if decoder.kind == "sam":
        narrow, wide = decoder.mask_channels
        ops.append(MaskPrompt("mask prompt", grid, grid, narrow, wide, dim))
    else:
        ops += _drawn_prompt(decoder.mask_channels, neck, dim)
    ops += _transformer(variant)
    if decoder.kind == "sam":
        ops.append(SamHead("head", grid, grid, dim, dim // 4, dim // 8))
    else:
        ops += _upsampler(decoder.mask_channels, neck)
    return ops


def _transformer(variant: Variant) -> Iterator[Op]:
    decoder, cells = variant.decoder, variant.encoder.neck.grid
    dim, inner = decoder.dim, decoder.dim // 2
    shape = (cells, cells, dim, decoder.heads, CLICK_TOKENS)
    yield TwoWayAttention("transformer first query", *shape)
    yield TwoWayAttention("transformer update and query", *shape, updates=True)
    yield TwoWayAttention("transformer shared query", *shape, inner=inner, prompts=2)
    yield TwoWayAttention("transformer shared update", *shape, True, False, inner, prompts=2)
    tokens = (1, 1, CLICK_TOKENS)
    yield Pointwise("transformer projection", *tokens, dim, dim)
    yield Pointwise("transformer output projection", *tokens, dim, dim, residual=True)
    yield Pointwise("transformer mlp 1", *tokens, dim, decoder.mlp_dim, activation="relu")
    yield Pointwise("transformer mlp 2", *tokens, decoder.mlp_dim, dim, residual=True)
    yield LayerNorm("transformer norm", *tokens, dim)


def _drawn_prompt(channels: tuple[int, ...], neck: NeckConfig, dim: int) -> Iterator[Op]:
    features = neck.lateral[0][1]
    quarter, eighth = LOGITS_SIZE // 2, LOGITS_SIZE // 4
    yield Pointwise("prompt compare", 1, eighth, eighth, features, features)
    yield PatchConv("prompt conv 1", 1, LOGITS_SIZE, LOGITS_SIZE, network.DRAWN_MAPS, channels[0], "relu")
    yield PatchConv("prompt conv 2", 1, quarter, quarter, channels[0], channels[1])
    yield LayerNorm("prompt norm 2", 1, eighth, eighth, channels[1], "relu")
    yield Pointwise("prompt resemblance", 1, eighth, eighth, 2, channels[1], residual=True)
    yield PatchConv("prompt conv 3", 1, eighth, eighth, channels[1], channels[2])
    yield LayerNorm("prompt norm 3", 1, neck.grid, neck.grid, channels[2], "relu")
    yield Pointwise("prompt dense", 1, neck.grid, neck.grid, channels[2], dim, residual=True)


def _upsampler(channels: tuple[int, ...], neck: NeckConfig) -> Iterator[Op]:
    widths = [neck.width, *(width for _, width in neck.lateral)]
    prompts, activations = (channels[1], channels[0]), ("none", "relu")
    for index in range(2):
        side, fine = neck.grid << index, neck.grid << (index + 1)
        before, after = widths[index : index + 2]
        activation: Activation = "relu" if activations[index] == "relu" else "none"
        yield ConvTranspose(f"mask up {index}", 1, side, side, before, after, prompts[index], activation, lateral=True)
        if index == 0:
            yield LayerNorm("mask norm", 1, fine, fine, after, "relu")
        yield DepthwiseConv(f"mask refine {index} depthwise", 1, fine, fine, after, 3, 1, "relu6")
        yield Pointwise(f"mask refine {index} 1x1", 1, fine, fine, after, after)
    side = neck.grid << 2
    yield MaskHead("mask head", 1, side, side, widths[2], widths[3], "relu", lateral=True)
