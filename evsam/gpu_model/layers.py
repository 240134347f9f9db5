"""The ops that encode images with a variant, in the order in which they run, as the cost model has them."""

from __future__ import annotations

from evsam import network
from evsam.gpu_model.ops import (
    Conv3x3,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MBConv,
    Op,
    Pointwise,
    Preprocess,
    UpsampleAdd,
)
from evsam.zoo import Variant

__all__ = ["PHOTO", "encoder_ops"]

PHOTO = (720, 1280)
"""Height and width of the photo that the pre-processing reads."""


def encoder_ops(variant: Variant, batch: int = 1) -> list[Op]:
    """Everything from uint8 photos to the image embedding and the lateral maps.

    Args:
        variant: a record of :mod:`evsam.zoo`.
        batch: images at once; their photos have the size :data:`PHOTO`.

    Raises:
        ValueError: the batch is not positive.
    """
    if batch < 1:
        raise ValueError(f"batch: expected a number >= 1, got {batch}")
    preprocess = Preprocess("preprocess", batch, *PHOTO, side=variant.image_size)
    return [preprocess, *(_costed(op, batch) for op in network.describe_encoder(variant).ops)]


def _costed(op: network.Op, batch: int) -> Op:
    x, y = op.inputs[0], op.output
    at = (op.label, batch, x.size, x.size)
    residual = op.residual is not None
    match op:
        case network.Convolution(conv=conv):
            kind = {1: Pointwise, 3: Conv3x3}[conv.filter_size]
            return kind(*at, x.channels, y.channels, conv.stride, op.activation is not None, residual)
        case network.FusedMBConv():
            channels = (x.channels, y.channels, op.spatial.stride)
            return FusedMBConv(*at, *channels, residual=residual, hidden=op.spatial.outputs)
        case network.MBConv(depth=depth):
            expands, channels = op.expand is not None, (x.channels, y.channels, depth.stride)
            return MBConv(*at, *channels, False, residual, depth.outputs, depth.filter_size, expands)
        case network.LiteMLA():
            return LiteMLA(*at, x.channels, op.heads, op.head_dim, op.depthwise.filter_size)
        case network.UpsampleAdd():
            second = next(((z.size, z.size) for z in op.inputs[1:]), None)
            return UpsampleAdd(*at, y.channels, y.size, y.size, op.mode, second, residual)
        case network.LayerNorm():
            return LayerNorm(*at, x.channels)
    raise TypeError(f"op: expected one that an encoder has, got {type(op).__name__}")
