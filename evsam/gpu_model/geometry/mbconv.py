"""The launches of mbconv: the first 1x1 convolution, then depthwise and second 1x1 convolution in one kernel.

Where there are too few blocks for the device, several share the hidden channels of a tile, and a third kernel adds up.
"""

from __future__ import annotations

from evsam.costs import FP16, FP32, MBConv
from evsam.gpu_model.geometry.pointwise import product
from evsam.gpu_model.launches import Launch

__all__ = ["mbconv"]

THREADS = 256
TILE_SIDE = 8
DEPTH = 32
"""Hidden channels at a time."""
MIN_STEPS_PER_SPLIT = 4
MAX_SPLITS = 8


def mbconv(op: MBConv, multiprocessors: int) -> list[Launch]:
    """Two or three launches; none for a block without the first convolution."""
    if not op.expands:
        return []
    expand, depthwise, project = op.steps
    columns = 128 if op.filter_size == 5 or op.out_channels <= 128 else 256
    channel_tiles = -(-op.out_channels // columns)
    blocks = op.batch * -(-op.out_height // TILE_SIDE) * -(-op.out_width // TILE_SIDE) * channel_tiles
    splits = _splits(-(-op.hidden // DEPTH), blocks, multiprocessors)

    result = op.out_pixels * op.out_channels
    partial = FP32 * splits * result
    finish = FP16 * result * (1 + op.residual) + FP32 * op.out_channels
    read = FP16 * op.hidden * (op.pixels + op.filter_size**2 + op.out_channels) + FP32 * op.hidden
    main = Launch(
        kernel=f"f16_mbconv_k{op.filter_size}s{op.stride}_64x{columns}__sm80",
        grid=(blocks, 1, splits),
        threads=THREADS,
        shared_bytes=_shared_bytes(op.filter_size, op.stride, columns),
        tensor_macs=project.macs,
        fp32_macs=depthwise.macs * channel_tiles,
        bytes=read + (finish if splits == 1 else partial),
    )
    first = product(op.pixels, op.hidden, expand, multiprocessors)
    if splits == 1:
        return [first, main]
    grid = (-(-(result // 8) // THREADS), 1, 1)
    return [first, main, Launch("f32_mbconv_sum__sm80", grid, THREADS, 0, 0, 0, partial + finish)]


def _splits(steps: int, blocks: int, multiprocessors: int) -> int:
    wanted = min(multiprocessors // blocks, steps // MIN_STEPS_PER_SPLIT)
    steps_per_split = -(-steps // min(max(wanted, 1), MAX_SPLITS))
    return -(-steps // steps_per_split)


def _shared_bytes(kernel: int, stride: int, columns: int) -> int:
    """Two of each: hidden patch, depthwise weights and bias; weights of the 1x1 convolution; filtered tile."""
    patch = ((TILE_SIDE - 1) * stride + kernel) ** 2
    inputs = DEPTH * (2 * (patch + kernel**2) + 4)
    return 2 * (inputs + 2 * DEPTH * (columns + TILE_SIDE**2))
