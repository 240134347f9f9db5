"""The ops that a variant runs, as records of :mod:`evsam.costs`, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator

from evsam import network
from evsam.costs import (
    Conv3x3,
    ConvTranspose,
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
from evsam.zoo import FRAME_SIZE, Variant

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
            if conv.filter_size == 2:
                return PatchConv(*at, x.channels, y.channels, activation)
            kind = {1: Pointwise, 3: Conv3x3}[conv.filter_size]
            return kind(*at, x.channels, y.channels, conv.stride, activation, residual)
        case network.FusedMBConv(spatial=spatial, activation=activation):
            channels = (x.channels, y.channels, spatial.stride)
            return FusedMBConv(*at, *channels, activation, residual, spatial.outputs)
        case network.MBConv(depth=depth, activation=activation):
            expands, channels = op.expand is not None, (x.channels, y.channels, depth.stride)
            hidden = (depth.outputs, depth.filter_size, expands)
            return MBConv(*at, *channels, activation, residual, *hidden)
        case network.LiteMLA():
            return LiteMLA(*at, x.channels, op.heads, op.head_dim, op.depthwise.filter_size)
        case network.UpsampleAdd():
            second = next(((z.size, z.size) for z in op.inputs[1:]), None)
            return UpsampleAdd(*at, y.channels, y.size, y.size, op.mode, second, residual)
        case network.LayerNorm(activation=activation):
            return LayerNorm(*at, x.channels, activation)
        case network.ConvTranspose(side=None, activation=activation):
            return MaskHead(*at, x.channels, y.channels, activation, residual)  # the last one, with the product
        case network.ConvTranspose(side=network.Conv(inputs=side), activation=activation):
            return ConvTranspose(*at, x.channels, y.channels, side, activation, residual)
    raise TypeError(f"op: expected one of maps, got {type(op).__name__}")


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

    Drawing, and matrix products of few tokens, which take next to no time, are left out but for those of the
    transformer's first layer.
    """
    network_ops, grid = network.describe_decoder(variant).ops, variant.encoder.neck.grid
    if variant.decoder.kind == "sam":  # whose mask prompt and head are one op each
        prompt = [op.output.channels for op in network_ops if isinstance(op, network.Convolution)]
        head = [op.output.channels for op in network_ops if isinstance(op, network.ConvTranspose)]
        return [
            MaskPrompt("mask prompt", grid, grid, *prompt),
            *_transformer(variant),
            SamHead("head", grid, grid, variant.decoder.dim, *head),
        ]
    ops: list[Op] = []
    for op in network_ops:
        match op:
            case network.Attention(residual=None):  # the first
                ops += _transformer(variant)
            case network.DrawnPrompt() | network.Resemblance() | network.PromptTokens() | network.Product():
                pass
            case network.Attention() | network.MLP():
                pass
            case _:
                ops.append(_record(op, 1))
    return ops


def _transformer(variant: Variant) -> Iterator[Op]:
    """How the native engine runs it, cells and tokens fused."""
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
