"""The launch of pointwise: a block computes a square of pixels and output channels."""

from __future__ import annotations

from evsam.costs import FP16, Pointwise, Step
from evsam.gpu_model.launches import Launch

__all__ = ["pointwise", "product"]

THREADS = 128
STAGES = 3
DEPTH = 32
"""Input channels of a tile."""


def pointwise(op: Pointwise, multiprocessors: int) -> list[Launch]:
    """One launch."""
    return [product(op.pixels, op.out_channels, op.steps[0], multiprocessors)]


def product(pixels: int, out_channels: int, step: Step, multiprocessors: int) -> Launch:
    """The launch of a 1x1 convolution, be it an op of its own or part of one.

    Args:
        pixels: of all images.
        out_channels: of the result.
        step: its work.
        multiprocessors: of the device; large tiles only where there is one for each.
    """
    large = out_channels > 64 and _tiles(pixels, out_channels, 128) >= multiprocessors
    side = 128 if large else 64
    shared_bytes = STAGES * 2 * side * DEPTH * 2
    grid = (_tiles(pixels, out_channels, side), 1, 1)
    return Launch(
        f"f16_pointwise_{side}x{side}__sm80", grid, THREADS, shared_bytes, step.macs, 0, step.traffic.bytes(FP16)
    )


def _tiles(pixels: int, out_channels: int, side: int) -> int:
    return -(-pixels // side) * -(-out_channels // side)
