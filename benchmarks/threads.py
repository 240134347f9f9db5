"""Threads of the libraries that are compared: how many, and how long they spin.

The pools of OpenMP spin for a while after each parallel region, in case the next one comes soon. That helps whoever
calls them again and again, and takes a processor from the candidate whose turn comes after: GCC's OpenMP spins for up
to tens of milliseconds, Intel's and LLVM's for 200. So each may spin for about a millisecond, which bridges what lies
between the regions of one call many times over, and the turns are further apart than that: :data:`SETTLE`. Were they
not to spin at all (``OMP_WAIT_POLICY=passive``), they would be slower than in a program of their own.
"""

from __future__ import annotations

import os

__all__ = ["SETTLE", "set_up_threads"]

_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_SPINNING = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"}
"""GCC's counts pauses of up to 140 cycles, the others' are milliseconds."""

SETTLE = 0.005
"""Seconds before each turn, after which nobody spins any more; evsam's own workers stop after 50 microseconds.

The call that follows is not timed, since its threads have to wake up: each candidate is timed while its own threads
spin, as they do in a loop of its own.
"""


def set_up_threads(threads: int) -> None:
    """For libraries that are loaded after this, since they read it when they are loaded."""
    os.environ.update(dict.fromkeys(_COUNTS, str(threads)), **_SPINNING)
