"""The ops that encode images with a variant, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

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
from evsam.zoo import Block, NeckConfig, Variant

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
    config, size = variant.encoder, variant.image_size
    ops: list[Op] = [Preprocess("preprocess", batch, *PHOTO, side=size)]
    channels, maps = 3, []
    for number, stage in enumerate(config.stages):
        for index, block in enumerate(stage):
            ops += _block(f"stage {number} block {index}", block, batch, size, channels, config.head_dim)
            channels, size = block.width, -(-size // block.stride)
        maps.append((channels, size))
    ops += _neck(config.neck, batch, maps)
    ops.append(LayerNorm("layer norm", batch, config.neck.grid, config.neck.grid, config.neck.width))
    ops += _lateral(config.neck, batch, maps)
    return ops


def _block(layer: str, block: Block, batch: int, size: int, channels: int, head_dim: int) -> Iterator[Op]:
    width, stride, hidden = block.width, block.stride, round(channels * block.expand)
    shortcut = stride == 1 and channels == width
    at = (batch, size, size, channels, width, stride)
    match block.kind:
        case "conv":
            yield Conv3x3(layer, *at, activated=True)
        case "res":
            yield Conv3x3(f"{layer} conv 1", batch, size, size, channels, hidden, stride, activated=True)
            after = -(-size // stride)
            yield Conv3x3(f"{layer} conv 2", batch, after, after, hidden, width, residual=shortcut)
        case "fmb":
            yield FusedMBConv(layer, *at, residual=shortcut, hidden=hidden)
        case "ds":
            yield MBConv(layer, *at, residual=shortcut, hidden=channels, kernel=block.filter_size, expands=False)
        case "mb":
            yield MBConv(layer, *at, residual=shortcut, hidden=hidden, kernel=block.filter_size)
        case "att":
            heads = channels // head_dim
            yield LiteMLA(f"{layer} context", batch, size, size, channels, heads, head_dim, block.attention_filter_size)
            yield MBConv(f"{layer} local", *at, residual=True, hidden=hidden, kernel=block.filter_size)


def _neck(neck: NeckConfig, batch: int, maps: list[tuple[int, int]]) -> Iterator[Op]:
    resized = []
    for stage in neck.stages:
        channels, size = maps[stage]
        yield Pointwise(f"neck stage {stage}", batch, size, size, channels, neck.width)
        if size != neck.grid:
            resized.append(size)
    # Two at a time: the first sum takes the stage that has the grid's size already.
    for number in range(0, len(resized), 2):
        first, *second = resized[number : number + 2]
        to = (neck.width, neck.grid, neck.grid)
        other = (second[0], second[0]) if second else None
        layer = "neck sum" if number == 0 else f"neck sum {number // 2}"
        yield UpsampleAdd(layer, batch, first, first, *to, "bicubic", other)
    block = Block(neck.kind, neck.width, expand=neck.expand)
    for index in range(neck.depth):
        yield from _block(f"neck block {index}", block, batch, neck.grid, neck.width, head_dim=0)
    yield Pointwise("neck output", batch, neck.grid, neck.grid, neck.width, neck.width)


def _lateral(neck: NeckConfig, batch: int, maps: list[tuple[int, int]]) -> Iterator[Op]:
    coarse = (neck.width, neck.grid)
    fine = [(width, maps[stage]) for stage, width in neck.lateral]
    sizes = [coarse, *((width, size) for width, (_, size) in fine)]
    for (before, after), (width, (channels, size)) in zip(pairwise(sizes), fine, strict=True):
        yield Pointwise(f"lateral {width} skip", batch, size, size, channels, width)
        yield Pointwise(f"lateral {width} up", batch, before[1], before[1], before[0], after[0])
        yield UpsampleAdd(f"lateral {width} add", batch, before[1], before[1], width, size, size, "bilinear")
