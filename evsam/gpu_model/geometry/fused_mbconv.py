"""The launches of fused_mbconv: a block computes all output channels of a tile, some hidden channels at a time.

Where there are too few tiles for the device, several blocks share the hidden channels of one, and a second kernel adds
up.
"""

from __future__ import annotations

from evsam.costs import FP16, FP32, FusedMBConv
from evsam.gpu_model.geometry.conv3x3 import PATCH_CHANNELS, patch_bytes, pixel_tiles
from evsam.gpu_model.launches import Launch

__all__ = ["fused_mbconv"]

SHARED_LIMIT = 99 * 1024
POINT_ROWS = 128
SUM_THREADS = 256


def fused_mbconv(op: FusedMBConv, multiprocessors: int) -> list[Launch]:
    """One or two launches."""
    columns, hidden, threads = _tile(op.out_channels)
    tiles = pixel_tiles(op.batch, op.out_height, op.out_width)
    steps = -(-op.hidden // hidden)
    wanted = min(max(multiprocessors // tiles, 1), steps)
    splits = -(-steps // -(-steps // wanted))

    result = op.out_pixels * op.out_channels
    partial = FP32 * splits * result
    finish = FP16 * result + FP32 * op.out_channels
    weights = (9 * op.in_channels + op.out_channels) * op.hidden
    read = FP16 * (op.pixels * op.in_channels + weights) + FP32 * op.hidden
    main = Launch(
        kernel=f"f16_fused_mbconv_128x{columns}__sm80",
        grid=(tiles * splits, 1, 1),
        threads=threads,
        shared_bytes=_shared_bytes(op.in_channels, op.stride, hidden),
        tensor_macs=op.macs,
        fp32_macs=0,
        # Its residual is its input.
        bytes=read + (finish if splits == 1 else partial),
    )
    if splits == 1:
        return [main]
    grid = (-(-(result // 8) // SUM_THREADS), 1, 1)
    moved = partial + finish + FP16 * result * op.residual
    return [main, Launch("f16_fused_mbconv_sum__sm80", grid, SUM_THREADS, 0, 0, 0, moved)]


def _tile(out_channels: int) -> tuple[int, int, int]:
    """Output channels of a block, its hidden channels at a time, its threads."""
    if out_channels <= 64:
        return 64, 64, 128
    return (128, 32, 128) if out_channels <= 128 else (256, 64, 256)


def _shared_bytes(in_channels: int, stride: int, hidden: int) -> int:
    """The whole patch if it fits, and three stages of weights rather than two."""
    stage = max(hidden * 3 * 64, POINT_ROWS * 64)
    patches = -(-in_channels // PATCH_CHANNELS)
    sizes = [
        stages * stage + buffers * patch_bytes(stride) for buffers in (patches, min(patches, 2)) for stages in (3, 2)
    ]
    return next((size for size in sizes if size <= SHARED_LIMIT), sizes[-1])
