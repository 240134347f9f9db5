"""Launches: a kernel's name, its grid, and its share of an op's work."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Launch"]


@dataclass(frozen=True)
class Launch:
    """One kernel launch.

    Attributes:
        kernel: name of its entry.
        grid: blocks along x, y and z.
        threads: of a block.
        shared_bytes: dynamic shared memory of a block.
        tensor_macs: multiply-accumulates on the tensor cores, without those on padding.
        fp32_macs: those on the fp32 units, as often as blocks repeat them.
        bytes: what is read and written, each byte once, however many blocks read it.
    """

    kernel: str
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    tensor_macs: int
    fp32_macs: int
    bytes: int

    @property
    def blocks(self) -> int:
        """Blocks of the grid."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def flops(self) -> int:
        """Floating-point operations, a multiply-accumulate counted as two."""
        return 2 * (self.tensor_macs + self.fp32_macs)

    @property
    def intensity(self) -> float:
        """FLOP per byte."""
        return self.flops / self.bytes
