"""The launches of each op, with the grids and the shared memory that its launcher in csrc/ops/<op> chooses.

A test runs the launchers (in emulation) and compares. Each function here is the twin of one <op>_cuda.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from types import MappingProxyType
from typing import Any

from evsam.costs import (
    FP16,
    FP32,
    Conv3x3,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MBConv,
    Op,
    Pointwise,
    Preprocess,
    Step,
    UpsampleAdd,
    stored_channels,
)
from evsam.export.quick_plugins import plugins as quick_plugins
from evsam.export.quick_plugins.plugins import PATCH_CHANNELS, TILE_HEIGHT, TILE_WIDTH, patch_bytes
from evsam.selftest.devices import Device
from evsam.transforms import fitted_size

__all__ = ["Launch", "launches"]

SHARED_LIMIT = 99 * 1024
"""Bytes of shared memory that a block has on every architecture."""


@dataclass(frozen=True)
class Launch:
    """One kernel launch.

    Attributes:
        kernel: name of its entry.
        grid: blocks along x, y and z.
        threads: of a block.
        shared_bytes: dynamic shared memory of a block.
        tensor_macs: multiply-accumulates on the tensor cores, without those on padding.
        fp32_macs: those on the fp32 units, as often as blocks repeat them.
        bytes: what is read and written, each byte once, however many blocks read it.
    """

    kernel: str
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    tensor_macs: int
    fp32_macs: int
    bytes: int

    @property
    def blocks(self) -> int:
        """Blocks of the grid."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def flops(self) -> int:
        """Floating-point operations, a multiply-accumulate counted as two."""
        return 2 * (self.tensor_macs + self.fp32_macs)

    @property
    def intensity(self) -> float:
        """FLOP per byte."""
        return self.flops / self.bytes


CONV_THREADS = 128
CONV_STAGES = 3


def conv3x3(op: Conv3x3, _multiprocessors: int) -> list[Launch]:
    """A block computes a tile of pixels from a patch of the input in shared memory."""
    channels = stored_channels(op.in_channels)
    buffers = 2 if channels > PATCH_CHANNELS else 1
    wide = op.out_channels > 32 and (op.stride == 1 or buffers == 1)
    columns = 64 if wide else 32
    blocks = pixel_tiles(op.batch, op.out_height, op.out_width) * -(-op.out_channels // columns)
    shared_bytes = CONV_STAGES * columns * 3 * 64 + buffers * patch_bytes(op.stride)
    moved = replace(op, in_channels=channels).bytes(FP16)
    return [Launch(f"f16_conv3x3_128x{columns}__sm80", (blocks, 1, 1), CONV_THREADS, shared_bytes, op.macs, 0, moved)]


def pixel_tiles(batch: int, height: int, width: int) -> int:
    """Tiles that an output has."""
    return batch * -(-height // TILE_HEIGHT) * -(-width // TILE_WIDTH)


FUSED_MBCONV_SUM_THREADS = 256


def fused_mbconv(op: FusedMBConv, multiprocessors: int) -> list[Launch]:
    """A block computes all output channels of a tile, some hidden channels at a time.

    Where there are too few tiles for the device, several blocks share the hidden channels of one, and a second kernel
    adds up.
    """
    columns, hidden, threads = quick_plugins.FusedMBConv.tile(op.out_channels)
    tiles = pixel_tiles(op.batch, op.out_height, op.out_width)
    steps = -(-op.hidden // hidden)
    wanted = min(max(multiprocessors // tiles, 1), steps)
    splits = -(-steps // -(-steps // wanted))

    *_, shared_bytes = quick_plugins.FusedMBConv.placement(op.in_channels, op.out_channels, op.stride, SHARED_LIMIT)
    result = op.out_pixels * op.out_channels
    partial = FP32 * splits * result
    finish = FP16 * result + FP32 * op.out_channels
    weights = (9 * op.in_channels + op.out_channels) * op.hidden
    read = FP16 * (op.pixels * op.in_channels + weights) + FP32 * op.hidden
    main = Launch(
        kernel=f"f16_fused_mbconv_128x{columns}__sm80",
        grid=(tiles * splits, 1, 1),
        threads=threads,
        shared_bytes=shared_bytes,
        tensor_macs=op.macs,
        fp32_macs=0,
        # Its residual is its input.
        bytes=read + (finish if splits == 1 else partial),
    )
    if splits == 1:
        return [main]
    grid = (-(-(result // 8) // FUSED_MBCONV_SUM_THREADS), 1, 1)
    moved = partial + finish + FP16 * result * op.residual
    return [main, Launch("f16_fused_mbconv_sum__sm80", grid, FUSED_MBCONV_SUM_THREADS, 0, 0, 0, moved)]


NORM_THREADS = 256
NORM_PIXELS_PER_BLOCK = NORM_THREADS // 32


def layer_norm(op: LayerNorm, _multiprocessors: int) -> list[Launch]:
    """Channels last: a warp for each pixel."""
    blocks = -(-op.pixels // NORM_PIXELS_PER_BLOCK)
    return [Launch("f16_layer_norm_nhwc__sm80", (blocks, 1, 1), NORM_THREADS, 0, 0, 0, op.bytes(FP16))]


POINTWISE_THREADS = 128
POINTWISE_STAGES = 3
POINTWISE_DEPTH = 32
"""Input channels of a tile."""


def pointwise(op: Pointwise, multiprocessors: int) -> list[Launch]:
    """A block computes a square of pixels and output channels."""
    return [product(op.pixels, op.out_channels, op.steps[0], multiprocessors)]


def product(pixels: int, out_channels: int, step: Step, multiprocessors: int) -> Launch:
    """The launch of a 1x1 convolution, be it an op of its own or part of one.

    Args:
        pixels: of all images.
        out_channels: of the result.
        step: its work.
        multiprocessors: of the device; large tiles only where there is one for each.
    """
    large = out_channels > 64 and _pointwise_tiles(pixels, out_channels, 128) >= multiprocessors
    side = 128 if large else 64
    shared_bytes = POINTWISE_STAGES * 2 * side * POINTWISE_DEPTH * 2
    grid = (_pointwise_tiles(pixels, out_channels, side), 1, 1)
    return Launch(
        f"f16_pointwise_{side}x{side}__sm80",
        grid,
        POINTWISE_THREADS,
        shared_bytes,
        step.macs,
        0,
        step.traffic.bytes(FP16),
    )


def _pointwise_tiles(pixels: int, out_channels: int, side: int) -> int:
    return -(-pixels // side) * -(-out_channels // side)


MLA_THREADS = 256
MLA_WARPS = 8
MLA_TILE_WIDTH = 16
MLA_MAX_TILE_HEIGHT = 16
MLA_MIN_TILE_HEIGHT = 4


def lite_mla(op: LiteMLA, multiprocessors: int) -> list[Launch]:
    """q, k and v by a 1x1 convolution, the attention of both scales, the projection.

    The attention takes one kernel where a block holds a head of a whole image and there are enough of them, else two:
    the states of tiles, then their results.
    """
    qkv, _, _, _, project = op.steps
    attention = _mla_whole(op) if _mla_is_whole(op, multiprocessors) else _mla_in_tiles(op, multiprocessors)
    return [
        product(op.pixels, op.qkv_channels, qkv, multiprocessors),
        *attention,
        product(op.pixels, op.channels, project, multiprocessors),
    ]


def _mla_fill(blocks: int, multiprocessors: int) -> bool:
    return 2 * blocks >= multiprocessors


def _mla_is_whole(op: LiteMLA, multiprocessors: int) -> bool:
    one_tile = op.height <= MLA_MAX_TILE_HEIGHT and op.width <= MLA_TILE_WIDTH
    return one_tile and _mla_fill(op.batch * op.heads, multiprocessors)


def _mla_name(op: LiteMLA, phase: str) -> str:
    return f"f16_lite_mla_k{op.filter_size}_d{op.head_dim}_{phase}__sm80"


def _mla_whole(op: LiteMLA) -> list[Launch]:
    _, depthwise, grouped, attention, _ = op.steps
    weights = FP16 * op.qkv_channels * (op.filter_size**2 + op.head_dim)
    maps = FP16 * op.pixels * (op.qkv_channels + 2 * op.heads * op.head_dim)
    shared_bytes = _mla_region_bytes(op, op.height, matrices=3, rings=1) + _mla_scratch_bytes(op) + _mla_state_bytes(op)
    tensor_macs = grouped.macs + attention.macs
    grid = (op.batch * op.heads, 1, 1)
    return [
        Launch(_mla_name(op, "whole"), grid, MLA_THREADS, shared_bytes, tensor_macs, depthwise.macs, maps + weights),
    ]


def _mla_in_tiles(op: LiteMLA, multiprocessors: int) -> list[Launch]:
    _, depthwise, grouped, attention, _ = op.steps
    height, blocks = _mla_tiles(op, multiprocessors)
    weights = FP16 * op.qkv_channels * (op.filter_size**2 + op.head_dim)
    third = FP16 * op.pixels * op.heads * op.head_dim  # q, k or v of one scale
    states = FP32 * blocks * 2 * op.head_dim * (op.head_dim + 1)
    # k and v of two thirds of the channels make the states; q, the other third, meets them in the second kernel.
    state = Launch(
        kernel=_mla_name(op, "state"),
        grid=(blocks, 1, 1),
        threads=MLA_THREADS,
        shared_bytes=_mla_region_bytes(op, height, matrices=2, rings=2) + _mla_scratch_bytes(op),
        tensor_macs=grouped.macs * 2 // 3 + attention.macs // 2,
        fp32_macs=depthwise.macs * 2 // 3,
        bytes=2 * third + weights * 2 // 3 + states,
    )
    apply = Launch(
        kernel=_mla_name(op, "apply"),
        grid=(blocks, 1, 1),
        threads=MLA_THREADS,
        shared_bytes=_mla_region_bytes(op, height, matrices=2, rings=2) + 2 * _mla_state_bytes(op),
        tensor_macs=grouped.macs // 3 + attention.macs // 2,
        fp32_macs=depthwise.macs // 3,
        bytes=3 * third + weights // 3 + states,
    )
    return [state, apply]


def _mla_tiles(op: LiteMLA, multiprocessors: int) -> tuple[int, int]:
    """Rows of a tile, and blocks: the largest tiles that fill the device by half."""
    height = MLA_MAX_TILE_HEIGHT
    while True:
        blocks = op.batch * op.heads * -(-op.height // height) * -(-op.width // MLA_TILE_WIDTH)
        if _mla_fill(blocks, multiprocessors) or height == MLA_MIN_TILE_HEIGHT:
            return height, blocks
        height //= 2


def _mla_region_bytes(op: LiteMLA, tile_height: int, matrices: int, rings: int) -> int:
    """A tile with its ring of neighbours, of which rows of a whole image share one."""
    ring = op.filter_size // 2
    pixels = (tile_height + 2 * ring) * (MLA_TILE_WIDTH + rings * ring) + (ring if rings == 1 else 0)
    return pixels * (matrices * op.head_dim + 8) * FP16


def _mla_state_bytes(op: LiteMLA) -> int:
    return op.head_dim * (op.head_dim + 4) * FP32


def _mla_scratch_bytes(op: LiteMLA) -> int:
    filtered = MLA_WARPS * MLA_TILE_WIDTH * (2 * op.head_dim + 8) * FP16
    return max(filtered, 4 * _mla_state_bytes(op))


MBCONV_THREADS = 256
MBCONV_TILE_SIDE = 8
MBCONV_DEPTH = 32
"""Hidden channels at a time."""
MBCONV_MIN_STEPS_PER_SPLIT = 4
MBCONV_MAX_SPLITS = 8


def mbconv(op: MBConv, multiprocessors: int) -> list[Launch]:
    """The first 1x1 convolution, then depthwise and second 1x1 convolution in one kernel.

    Where there are too few blocks for the device, several share the hidden channels of a tile, and a third kernel adds
    up. None for a block without the first convolution.
    """
    if not op.expands:
        return []
    expand, depthwise, project = op.steps
    columns = 128 if op.filter_size == 5 or op.out_channels <= 128 else 256
    channel_tiles = -(-op.out_channels // columns)
    blocks = op.batch * -(-op.out_height // MBCONV_TILE_SIDE) * -(-op.out_width // MBCONV_TILE_SIDE) * channel_tiles
    splits = _mbconv_splits(-(-op.hidden // MBCONV_DEPTH), blocks, multiprocessors)

    result = op.out_pixels * op.out_channels
    partial = FP32 * splits * result
    finish = FP16 * result * (1 + op.residual) + FP32 * op.out_channels
    read = FP16 * op.hidden * (op.pixels + op.filter_size**2 + op.out_channels) + FP32 * op.hidden
    main = Launch(
        kernel=f"f16_mbconv_k{op.filter_size}s{op.stride}_64x{columns}__sm80",
        grid=(blocks, 1, splits),
        threads=MBCONV_THREADS,
        shared_bytes=_mbconv_shared_bytes(op.filter_size, op.stride, columns),
        tensor_macs=project.macs,
        fp32_macs=depthwise.macs * channel_tiles,
        bytes=read + (finish if splits == 1 else partial),
    )
    first = product(op.pixels, op.hidden, expand, multiprocessors)
    if splits == 1:
        return [first, main]
    grid = (-(-(result // 8) // MBCONV_THREADS), 1, 1)
    return [first, main, Launch("f32_mbconv_sum__sm80", grid, MBCONV_THREADS, 0, 0, 0, partial + finish)]


def _mbconv_splits(steps: int, blocks: int, multiprocessors: int) -> int:
    wanted = min(multiprocessors // blocks, steps // MBCONV_MIN_STEPS_PER_SPLIT)
    steps_per_split = -(-steps // min(max(wanted, 1), MBCONV_MAX_SPLITS))
    return -(-steps // steps_per_split)


def _mbconv_shared_bytes(filter_size: int, stride: int, columns: int) -> int:
    """Two of each: hidden patch, depthwise weights and bias; weights of the 1x1 convolution; filtered tile."""
    patch = ((MBCONV_TILE_SIDE - 1) * stride + filter_size) ** 2
    inputs = MBCONV_DEPTH * (2 * (patch + filter_size**2) + 4)
    return 2 * (inputs + 2 * MBCONV_DEPTH * (columns + MBCONV_TILE_SIDE**2))


PREPROCESS_THREADS = 256
PREPROCESS_TILE_ROWS, PREPROCESS_TILE_COLUMNS = 16, 32
PREPROCESS_SHARED_BYTES = 4 * 32 * PREPROCESS_TILE_COLUMNS

PREPROCESS_CHANNELS = 8
"""Of the image as the first convolution reads it; those after the third are zero."""


def preprocess(op: Preprocess, _multiprocessors: int) -> list[Launch]:
    """For each photo the tables of both axes, then a block for each tile of the image."""
    height, width = fitted_size((op.height, op.width), op.side)
    # Half the width of the filter, in pixels of the photo.
    row_reach, column_reach = max(op.height / height, 1.0), max(op.width / width, 1.0)
    tables = 4 * sum(
        length * (2 + 2 * ceil(reach) + 1) for length, reach in ((width, column_reach), (height, row_reach))
    )
    weights = Launch(
        "i32_preprocess_weights__sm80",
        (-(-(width + height) // PREPROCESS_THREADS), 1, 1),
        PREPROCESS_THREADS,
        0,
        0,
        0,
        tables,
    )

    macs = round(3 * width * (op.height * 2 * column_reach + height * 2 * row_reach))
    moved = 3 * op.height * op.width + tables + FP16 * op.side**2 * PREPROCESS_CHANNELS
    grid = (-(-op.side // PREPROCESS_TILE_COLUMNS), -(-op.side // PREPROCESS_TILE_ROWS), 1)
    return [
        weights,
        Launch("f16_preprocess__sm80", grid, PREPROCESS_THREADS, PREPROCESS_SHARED_BYTES, 0, macs, moved),
    ] * op.batch


RESIZE_THREADS = 128
RESIZE_PIXELS_PER_THREAD = 4
RESIZE_CHANNELS_PER_THREAD = 8


def resize(op: UpsampleAdd, _multiprocessors: int) -> list[Launch]:
    """A thread makes eight channels of a few neighbouring pixels of a row."""
    items = -(-op.out_width // RESIZE_PIXELS_PER_THREAD) * (op.channels // RESIZE_CHANNELS_PER_THREAD)
    grid = (-(-items // RESIZE_THREADS), op.out_height, op.batch)
    taps = 4 if op.mode == "bicubic" else 2
    # Columns and rows one after the other, which is the least that it takes.
    macs = 2 * taps * len(op.sources) * op.batch * op.out_height * op.out_width * op.channels
    return [Launch(f"f16_resize_{op.mode}__sm80", grid, RESIZE_THREADS, 0, 0, macs, op.bytes(FP16))]


# Each takes an op of the type and the number of multiprocessors.
_LAUNCHERS: Mapping[type[Op], Callable[[Any, int], list[Launch]]] = MappingProxyType(
    {
        Conv3x3: conv3x3,
        FusedMBConv: fused_mbconv,
        LayerNorm: layer_norm,
        LiteMLA: lite_mla,
        MBConv: mbconv,
        Pointwise: pointwise,
        Preprocess: preprocess,
        UpsampleAdd: resize,
    }
)


def launches(op: Op, device: Device) -> list[Launch]:
    """The launches of an op on a device, in order; empty where no CUDA kernel does it."""
    launcher = _LAUNCHERS.get(type(op))
    return launcher(op, device.multiprocessors) if launcher else []
