"""What the machine can do at most.

A kernel's time is compared with the larger of two bounds: its floating-point operations at the machine's measured FMA
rate, and its compulsory memory traffic at the bandwidth measured on the same number of bytes. Both roofs are measured
here and now, with the same threads; nothing is taken from a data sheet. What an op must compute and move is in
:mod:`evsam.costs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from evsam import _C
from evsam.costs import Op

__all__ = ["Roofs", "measure_roofs"]


@dataclass(frozen=True)
class Roofs:
    """Measured limits of the machine, for one instruction set, thread count and working set.

    Attributes:
        gflops: float32 fused multiply-adds on registers, 10^9 FLOP/s.
        gbs: Three reads to one write over the working set, 10^9 byte/s: a cache's rate if it fits into one.
    """

    gflops: float
    gbs: float

    def seconds(self, op: Op) -> float:
        """The least time the work can take: the larger of the two bounds."""
        return max(op.flops / self.gflops, op.bytes() / self.gbs) * 1e-9

    def nearer(self, op: Op) -> str:
        """Which of the two bounds is the larger one: "compute" or "memory"."""
        return "compute" if op.flops / self.gflops >= op.bytes() / self.gbs else "memory"

    def percent(self, op: Op, seconds: float) -> float:
        """How much of the nearer roof a run of `seconds` reached."""
        return 100.0 * self.seconds(op) / seconds


@cache
def _measure_gflops(isa: str, threads: int, seconds: float) -> float:
    return _C.measure_fma_gflops(isa, threads, seconds)


@cache
def _measure_gbs(isa: str, threads: int, working_set: int, seconds: float) -> float:
    return _C.measure_bandwidth_gbs(isa, threads, working_set, seconds)


def measure_roofs(isa: str, threads: int, working_set: int, seconds: float = 0.1) -> Roofs:
    """Measures both roofs, each once in a process.

    Args:
        isa: Instruction set as in `_C.selected_isa()`.
        threads: Number of threads, as the kernel's.
        working_set: Bytes the kernel reads and writes in all; rounded up to an eighth of a power of two.
        seconds: Time to spend on each of the two; the best repetition counts.
    """
    step = max(1, 1 << max(0, working_set.bit_length() - 4))
    rounded = -(-working_set // step) * step
    return Roofs(_measure_gflops(isa, threads, seconds), _measure_gbs(isa, threads, rounded, seconds))
