"""The launches of lite_mla: q, k and v by a 1x1 convolution, the attention of both scales, the projection.

The attention takes one kernel where a block holds a head of a whole image and there are enough of them, else two: the
states of tiles, then their results.
"""

from __future__ import annotations

from evsam.costs import FP16, FP32, LiteMLA
from evsam.gpu_model.geometry.pointwise import product
from evsam.gpu_model.launches import Launch

__all__ = ["lite_mla"]

THREADS = 256
WARPS = 8
TILE_WIDTH = 16
MAX_TILE_HEIGHT = 16
MIN_TILE_HEIGHT = 4


def lite_mla(op: LiteMLA, multiprocessors: int) -> list[Launch]:
    """Three or four launches."""
    qkv, _, _, _, project = op.steps
    attention = _whole(op) if _is_whole(op, multiprocessors) else _in_tiles(op, multiprocessors)
    return [
        product(op.pixels, op.qkv_channels, qkv, multiprocessors),
        *attention,
        product(op.pixels, op.channels, project, multiprocessors),
    ]


def _fill(blocks: int, multiprocessors: int) -> bool:
    return 2 * blocks >= multiprocessors


def _is_whole(op: LiteMLA, multiprocessors: int) -> bool:
    one_tile = op.height <= MAX_TILE_HEIGHT and op.width <= TILE_WIDTH
    return one_tile and _fill(op.batch * op.heads, multiprocessors)


def _name(op: LiteMLA, phase: str) -> str:
    return f"f16_lite_mla_k{op.filter_size}_d{op.head_dim}_{phase}__sm80"


def _whole(op: LiteMLA) -> list[Launch]:
    _, depthwise, grouped, attention, _ = op.steps
    weights = FP16 * op.qkv_channels * (op.filter_size**2 + op.head_dim)
    maps = FP16 * op.pixels * (op.qkv_channels + 2 * op.heads * op.head_dim)
    shared_bytes = _region_bytes(op, op.height, matrices=3, rings=1) + _scratch_bytes(op) + _state_bytes(op)
    tensor_macs = grouped.macs + attention.macs
    grid = (op.batch * op.heads, 1, 1)
    return [
        Launch(_name(op, "whole"), grid, THREADS, shared_bytes, tensor_macs, depthwise.macs, maps + weights),
    ]


def _in_tiles(op: LiteMLA, multiprocessors: int) -> list[Launch]:
    _, depthwise, grouped, attention, _ = op.steps
    height, blocks = _tiles(op, multiprocessors)
    weights = FP16 * op.qkv_channels * (op.filter_size**2 + op.head_dim)
    third = FP16 * op.pixels * op.heads * op.head_dim  # q, k or v of one scale
    states = FP32 * blocks * 2 * op.head_dim * (op.head_dim + 1)
    # k and v of two thirds of the channels make the states; q, the other third, meets them in the second kernel.
    state = Launch(
        kernel=_name(op, "state"),
        grid=(blocks, 1, 1),
        threads=THREADS,
        shared_bytes=_region_bytes(op, height, matrices=2, rings=2) + _scratch_bytes(op),
        tensor_macs=grouped.macs * 2 // 3 + attention.macs // 2,
        fp32_macs=depthwise.macs * 2 // 3,
        bytes=2 * third + weights * 2 // 3 + states,
    )
    apply = Launch(
        kernel=_name(op, "apply"),
        grid=(blocks, 1, 1),
        threads=THREADS,
        shared_bytes=_region_bytes(op, height, matrices=2, rings=2) + 2 * _state_bytes(op),
        tensor_macs=grouped.macs // 3 + attention.macs // 2,
        fp32_macs=depthwise.macs // 3,
        bytes=3 * third + weights // 3 + states,
    )
    return [state, apply]


def _tiles(op: LiteMLA, multiprocessors: int) -> tuple[int, int]:
    """Rows of a tile, and blocks: the largest tiles that fill the device by half."""
    height = MAX_TILE_HEIGHT
    while True:
        blocks = op.batch * op.heads * -(-op.height // height) * -(-op.width // TILE_WIDTH)
        if _fill(blocks, multiprocessors) or height == MIN_TILE_HEIGHT:
            return height, blocks
        height //= 2


def _region_bytes(op: LiteMLA, tile_height: int, matrices: int, rings: int) -> int:
    """A tile with its ring of neighbours, of which rows of a whole image share one."""
    ring = op.filter_size // 2
    pixels = (tile_height + 2 * ring) * (TILE_WIDTH + rings * ring) + (ring if rings == 1 else 0)
    return pixels * (matrices * op.head_dim + 8) * FP16


def _state_bytes(op: LiteMLA) -> int:
    return op.head_dim * (op.head_dim + 4) * FP32


def _scratch_bytes(op: LiteMLA) -> int:
    filtered = WARPS * TILE_WIDTH * (2 * op.head_dim + 8) * FP16
    return max(filtered, 4 * _state_bytes(op))
