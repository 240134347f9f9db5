"""The launch of layer norm, channels last: a warp for each pixel."""

from __future__ import annotations

from evsam.costs import FP16, LayerNorm
from evsam.gpu_model.launches import Launch

__all__ = ["layer_norm"]

THREADS = 256
PIXELS_PER_BLOCK = THREADS // 32


def layer_norm(op: LayerNorm, _multiprocessors: int) -> list[Launch]:
    """One launch."""
    blocks = -(-op.pixels // PIXELS_PER_BLOCK)
    return [Launch("f16_layer_norm_nhwc__sm80", (blocks, 1, 1), THREADS, 0, 0, 0, op.bytes(FP16))]
