"""The launch of resize: a thread makes eight channels of a few neighbouring pixels of a row."""

from __future__ import annotations

from evsam.costs import FP16, UpsampleAdd
from evsam.gpu_model.launches import Launch

__all__ = ["resize"]

THREADS = 128
PIXELS_PER_THREAD = 4
CHANNELS_PER_THREAD = 8


def resize(op: UpsampleAdd, _multiprocessors: int) -> list[Launch]:
    """One launch."""
    items = -(-op.out_width // PIXELS_PER_THREAD) * (op.channels // CHANNELS_PER_THREAD)
    grid = (-(-items // THREADS), op.out_height, op.batch)
    taps = 4 if op.mode == "bicubic" else 2
    # Columns and rows one after the other, which is the least that it takes.
    macs = 2 * taps * len(op.sources) * op.batch * op.out_height * op.out_width * op.channels
    return [Launch(f"f16_resize_{op.mode}__sm80", grid, THREADS, 0, 0, macs, op.bytes(FP16))]
