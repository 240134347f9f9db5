"""How many blocks of a kernel a multiprocessor holds at once.

A block needs a slot, its warps' slots, its registers and its shared memory, and stays until its last warp is done; the
scarcest of the four decides. The limits per compute capability are those of the CUDA C++ Programming Guide (table
"Technical Specifications per Compute Capability") and, with the granularities of allocation, of the CUDA toolkit's
cuda_occupancy.h, with which a test compares the results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["LIMITS", "Limiter", "Limits", "Occupancy", "limits_of", "occupancy"]

WARP = 32
MAX_THREADS_PER_BLOCK = 1024
MAX_REGISTERS_PER_THREAD = 255
REGISTERS_PER_BLOCK = 65536
REGISTER_UNIT = 256
"""Registers are handed to a warp in pieces of this many."""
PARTITIONS = 4
"""Parts of a multiprocessor, each with its own scheduler and a quarter of the registers; a warp lives in one."""
SHARED_UNIT = 128
"""Bytes; shared memory is handed to a block in pieces of this many."""
SHARED_RESERVED = 1024
"""Bytes of shared memory that the driver takes for itself in each block, since compute capability 8.0."""

KIB = 1024

Limiter = Literal["warps", "blocks", "registers", "shared memory"]


@dataclass(frozen=True)
class Limits:
    """What one multiprocessor of a compute capability has.

    Attributes:
        warps: resident warps.
        blocks: resident blocks.
        registers: 32-bit registers.
        shared_per_multiprocessor: bytes of shared memory, with what is reserved in each block.
        shared_per_block: bytes that one block may ask for, after opting in to more than 48 KiB.
    """

    warps: int
    blocks: int
    registers: int
    shared_per_multiprocessor: int
    shared_per_block: int


def _limits(warps: int, blocks: int, shared_kib: int) -> Limits:
    return Limits(warps, blocks, 65536, shared_kib * KIB, shared_kib * KIB - SHARED_RESERVED)


LIMITS: Mapping[int, Limits] = MappingProxyType(
    {
        80: _limits(64, 32, 164),
        86: _limits(48, 16, 100),
        87: _limits(48, 16, 164),
        89: _limits(48, 24, 100),
        90: _limits(64, 32, 228),
        100: _limits(64, 32, 228),
        110: _limits(48, 24, 228),
        120: _limits(48, 24, 100),
    }
)
"""Limits by compute capability, written as in ``sm_87``."""


@dataclass(frozen=True)
class Occupancy:
    """Residency of a kernel.

    Attributes:
        blocks: blocks that a multiprocessor holds at once; 0 if not even one fits.
        warps: warps of these blocks.
        fraction: those warps as a fraction of the most that a multiprocessor holds.
        limiter: what stops one more block.
    """

    blocks: int
    warps: int
    fraction: float
    limiter: Limiter


def limits_of(compute_capability: int) -> Limits:
    """The limits of a compute capability.

    Args:
        compute_capability: as in ``sm_87``: 87.

    Raises:
        ValueError: it is not among :data:`LIMITS`.
    """
    if compute_capability not in LIMITS:
        known = ", ".join(map(str, LIMITS))
        raise ValueError(f"compute_capability: expected one of {known}, got {compute_capability}")
    return LIMITS[compute_capability]


def occupancy(compute_capability: int, threads: int, registers: int, shared_bytes: int) -> Occupancy:
    """Blocks of a kernel that one multiprocessor holds at once.

    Args:
        compute_capability: as in ``sm_87``: 87.
        threads: per block, 1 to 1024.
        registers: per thread, as the compiler reports them.
        shared_bytes: per block, static and dynamic, without what the driver reserves.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> from benchmarks.gpu_model.occupancy import occupancy
        >>> occupancy(80, threads=128, registers=128, shared_bytes=40 * 1024)
        Occupancy(blocks=4, warps=16, fraction=0.25, limiter='registers')
    """
    limits = limits_of(compute_capability)
    if not 1 <= threads <= MAX_THREADS_PER_BLOCK:
        raise ValueError(f"threads: expected 1 to {MAX_THREADS_PER_BLOCK}, got {threads}")
    if not 0 <= registers <= MAX_REGISTERS_PER_THREAD:
        raise ValueError(f"registers: expected 0 to {MAX_REGISTERS_PER_THREAD}, got {registers}")
    if shared_bytes < 0:
        raise ValueError(f"shared_bytes: expected a number >= 0, got {shared_bytes}")
    warps = -(-threads // WARP)
    # In the order in which ties are named: a kernel that fills the warp slots has nothing to gain from fewer registers.
    most: dict[Limiter, int] = {
        "warps": limits.warps // warps,
        "blocks": limits.blocks,
        "registers": _by_registers(limits, warps, registers),
        "shared memory": _by_shared_memory(limits, shared_bytes),
    }
    limiter = min(most, key=most.__getitem__)
    blocks = most[limiter]
    return Occupancy(blocks, blocks * warps, blocks * warps / limits.warps, limiter)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _by_registers(limits: Limits, warps: int, registers: int) -> int:
    per_warp = _round_up(registers * WARP, REGISTER_UNIT)
    if per_warp == 0:
        return limits.blocks
    # A launch is checked as if every partition took as many warps as the fullest one.
    if per_warp * _round_up(warps, PARTITIONS) > REGISTERS_PER_BLOCK:
        return 0
    per_partition = limits.registers // PARTITIONS // per_warp
    return per_partition * PARTITIONS // warps


def _by_shared_memory(limits: Limits, shared_bytes: int) -> int:
    if shared_bytes > limits.shared_per_block:
        return 0
    return limits.shared_per_multiprocessor // _round_up(shared_bytes + SHARED_RESERVED, SHARED_UNIT)
