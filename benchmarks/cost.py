"""What an op costs at least, and what the machine can do at most.

A kernel's time is compared with the larger of two bounds: its floating-point operations at the machine's measured FMA
rate, and its compulsory memory traffic at the bandwidth measured on the same number of bytes. Both roofs are measured
here and now, with the same threads; nothing is taken from a data sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from evsam import _C

__all__ = ["Cost", "Roofs", "measure_roofs", "relu_linear_attention"]

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Work of one call.

    Attributes:
        flops: Floating-point operations, a fused multiply-add counted as two; what the mathematics needs, no padding.
        bytes: Inputs read once plus outputs written once.
    """

    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """FLOP per byte."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class Roofs:
    """Measured limits of the machine, for one instruction set, thread count and working set.

    Attributes:
        gflops: float32 fused multiply-adds on registers, 10^9 FLOP/s.
        gbs: Three reads to one write over the working set, 10^9 byte/s: a cache's rate if it fits into one.
    """

    gflops: float
    gbs: float

    def seconds(self, cost: Cost) -> float:
        """The least time the work can take: the larger of the two bounds."""
        return max(cost.flops / self.gflops, cost.bytes / self.gbs) * 1e-9

    def nearer(self, cost: Cost) -> str:
        """Which of the two bounds is the larger one: "compute" or "memory"."""
        return "compute" if cost.flops / self.gflops >= cost.bytes / self.gbs else "memory"

    def percent(self, cost: Cost, seconds: float) -> float:
        """How much of the nearer roof a run of `seconds` reached."""
        return 100.0 * self.seconds(cost) / seconds


@cache
def _measure_gflops(isa: str, threads: int, seconds: float) -> float:
    return _C.measure_fma_gflops(isa, threads, seconds)


def measure_roofs(isa: str, threads: int, working_set: int, seconds: float = 0.2) -> Roofs:
    """Measures both roofs.

    Args:
        isa: Instruction set as in `_C.selected_isa()`.
        threads: Number of threads, as the kernel's.
        working_set: Bytes the kernel reads and writes in all.
        seconds: Time to spend on each of the two; the best repetition counts.
    """
    gbs = _C.measure_bandwidth_gbs(isa, threads, working_set, seconds)
    return Roofs(_measure_gflops(isa, threads, seconds), gbs)


def relu_linear_attention(batch: int, heads: int, dim: int, tokens: int) -> Cost:
    """ReLU linear attention in float32.

    Two products per head, (D + 1) x N by N x D and (D + 1) x D by D x N, and one division per output. ReLU is not
    counted.
    """
    per_token = 2 * 2 * dim * (dim + 1) + dim
    elements = 4 * dim * tokens  # q, k, v, out
    return Cost(batch * heads * tokens * per_token, batch * heads * elements * FLOAT32_BYTES)
