"""Asynchronous copies from global to shared memory, which land as late as the program allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.cuda.ptx.formats import Array

if TYPE_CHECKING:
    from tests.cuda.ptx.machine import Machine

__all__ = ["AsynchronousCopies"]


@dataclass
class _Copy:
    """What one `cp.async` of some threads has under way: the threads, their groups, where to, and the bytes."""

    lanes: Array
    groups: Array
    addresses: Array
    values: Array


class AsynchronousCopies:
    """Copies under way; every thread counts the groups that it has committed."""

    def __init__(self, threads: int) -> None:
        self._committed = np.zeros(threads, np.int64)
        self._copies: list[_Copy] = []

    def start(self, machine: Machine, addresses: Array, values: Array) -> None:
        """The executing threads copy `values` to shared memory, in the groups that they will commit next."""
        lanes = machine.index
        machine.begin_copy(lanes, addresses, values.dtype.itemsize)
        self._copies.append(_Copy(lanes, machine.current(self._committed).copy(), addresses, values))

    def commit(self, machine: Machine) -> None:
        """The executing threads close their groups."""
        machine.assign(self._committed, machine.current(self._committed) + 1)

    def wait(self, machine: Machine, pending: int) -> None:
        """Lands the copies of the executing threads, but not those of their last `pending` committed groups."""
        done = np.full(machine.size, -1, np.int64)
        machine.assign(done, machine.current(self._committed) - pending)
        kept: list[_Copy] = []
        for copy in self._copies:
            land = copy.groups < done[copy.lanes]
            if land.any():
                machine.land_copy(copy.lanes[land], copy.addresses[land], copy.values[land])
            if not land.all():
                rest = ~land
                kept.append(_Copy(copy.lanes[rest], copy.groups[rest], copy.addresses[rest], copy.values[rest]))
        self._copies = kept
