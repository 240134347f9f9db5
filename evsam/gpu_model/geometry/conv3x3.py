"""The launch of conv3x3: a block computes a tile of pixels from a patch of the input in shared memory."""

from __future__ import annotations

from dataclasses import replace

from evsam.costs import FP16, Conv3x3
from evsam.gpu_model.launches import Launch

__all__ = ["PATCH_CHANNELS", "conv3x3", "patch_bytes", "pixel_tiles", "stored_channels"]

THREADS = 128
STAGES = 3
TILE_HEIGHT, TILE_WIDTH = 8, 16
PATCH_CHANNELS = 32
"""Of one patch; further channels are patches of their own."""


def conv3x3(op: Conv3x3, _multiprocessors: int) -> list[Launch]:
    """One launch."""
    channels = stored_channels(op.in_channels)
    buffers = 2 if channels > PATCH_CHANNELS else 1
    wide = op.out_channels > 32 and (op.stride == 1 or buffers == 1)
    columns = 64 if wide else 32
    blocks = pixel_tiles(op.batch, op.out_height, op.out_width) * -(-op.out_channels // columns)
    shared_bytes = STAGES * columns * 3 * 64 + buffers * patch_bytes(op.stride)
    moved = replace(op, in_channels=channels).bytes(FP16)
    return [Launch(f"f16_conv3x3_128x{columns}__sm80", (blocks, 1, 1), THREADS, shared_bytes, op.macs, 0, moved)]


def stored_channels(channels: int) -> int:
    """Channels of a map in memory: a photo's three are followed by five of zeros."""
    return -(-channels // 8) * 8


def pixel_tiles(batch: int, height: int, width: int) -> int:
    """Tiles that an output has."""
    return batch * -(-height // TILE_HEIGHT) * -(-width // TILE_WIDTH)


def patch_bytes(stride: int) -> int:
    """Shared memory of one patch."""
    return ((TILE_HEIGHT - 1) * stride + 3) * ((TILE_WIDTH - 1) * stride + 3) * PATCH_CHANNELS * 2
