"""Shared memory of the blocks of a launch, with a check for races between its threads.

Every granule (the smallest access of the kernel: 1 to 16 bytes) remembers who wrote it last and who has read it since
the block's last barrier, as one integer

    key = epoch of the block << 31 | epoch of the warp << 11 | who

where the epochs count barriers of the block and `bar.warp.sync` of the warp, and `who` is a thread (0 to 1023), several
threads of one warp (1024 + warp) or threads of several warps (2047). Two accesses, one of them a write, are ordered if
they are of one thread, or a barrier of the block lies between, or they are of one warp and a `bar.warp.sync` lies
between. Anything else is a race, whatever the schedule; so one schedule finds all races that the data make possible.
"""

from __future__ import annotations

import numpy as np

from tests.cuda.ptx.formats import Array, unsigned
from tests.cuda.ptx.memory import AccessError

__all__ = ["EPOCH_SHIFT", "WARP_EPOCH_SHIFT", "PendingError", "RaceError", "SharedMemory"]

EPOCH_SHIFT = 31
WARP_EPOCH_SHIFT = 11
_WHO = (1 << WARP_EPOCH_SHIFT) - 1
_SEVERAL_OF_WARP = 1024
_SEVERAL_WARPS = 2047


class RaceError(Exception):
    """A race; `lane` is the position of the access among the addresses."""

    def __init__(self, lane: int, what: str) -> None:
        super().__init__(what)
        self.lane, self.what = lane, what


class PendingError(RaceError):
    """An access to bytes that an asynchronous copy may still be writing."""


def _warp(who: Array) -> Array:
    """Warp of a thread or of several threads of one warp; -1 for several warps."""
    of_warp = np.where(who >= _SEVERAL_OF_WARP, who - _SEVERAL_OF_WARP, who >> 5)
    return np.where(who == _SEVERAL_WARPS, -1, of_warp)


def _ordered(before: Array, now: Array) -> Array:
    """Whether accesses of this barrier interval (`before`) are ordered before those of `now` (single threads)."""
    who = before & _WHO
    same_warp = _warp(who) == (now & _WHO) >> 5
    return (who == now & _WHO) | (same_warp & (before >> WARP_EPOCH_SHIFT < now >> WARP_EPOCH_SHIFT))


class SharedMemory:
    """Shared memory of `blocks` blocks of `size` bytes each, filled with 0xff (NaN in every floating-point format)."""

    def __init__(self, blocks: int, size: int, granule: int, *, copies: bool) -> None:
        """`granule`: bytes of the kernel's smallest access; `copies`: whether it copies asynchronously."""
        self.size, self.granule = size, granule
        self.stride = max((size + 15) // 16 * 16, 16)
        data = np.full(blocks * self.stride, 0xFF, np.uint8)
        self._views = {width: data.view(unsigned(8 * width)) for width in (1, 2, 4, 8, 16)}
        granules = data.size // granule
        self._writer = np.full(granules, -1, np.int64)
        self._reader = np.full(granules, -1, np.int64)
        self._pending = np.zeros(granules, np.bool_) if copies else None

    def load(self, blocks: Array, keys: Array, addresses: Array, width: int) -> Array:
        """Elements of `width` bytes as unsigned integers (16: complex128).

        Args:
            blocks: Block of each access.
            keys: Who accesses, as the module describes; single threads.
            addresses: Byte offsets within the block's shared memory, int64.
            width: 1, 2, 4, 8 or 16.

        Raises:
            AccessError: Out of bounds or misaligned.
            RaceError: Another thread wrote there since the last barrier.
            PendingError: An asynchronous copy may still be writing there.
        """
        flat = self._locate(blocks, addresses, width, "load")
        self._check_load(flat, keys, width)
        return self._views[width][flat // width]

    def store(self, blocks: Array, keys: Array, addresses: Array, values: Array) -> None:
        """Stores unsigned integers (16 bytes: complex128); arguments and errors as of `load`."""
        width = values.dtype.itemsize
        flat = self._locate(blocks, addresses, width, "store")
        self._check_store(flat, keys, width)
        self._views[width][flat // width] = values

    def begin_copy(self, blocks: Array, keys: Array, addresses: Array, width: int) -> None:
        """An asynchronous copy to there starts: it counts as a store, now and when it lands."""
        flat = self._locate(blocks, addresses, width, "cp.async")
        self._check_store(flat, keys, width)
        if self._pending is not None:
            self._pending[self._granules(flat, width)] = True

    def land_copy(self, blocks: Array, keys: Array, addresses: Array, values: Array) -> None:
        """Stores what an asynchronous copy has brought."""
        width = values.dtype.itemsize
        if self._pending is not None:
            self._pending[self._granules(self._locate(blocks, addresses, width, "cp.async"), width)] = False
        self.store(blocks, keys, addresses, values)

    def _locate(self, blocks: Array, addresses: Array, width: int, what: str) -> Array:
        odd = addresses & (width - 1) != 0
        if odd.any():
            lane = int(np.argmax(odd))
            raise AccessError(lane, f"shared {what} of {width} bytes at offset {int(addresses[lane])}", misaligned=True)
        beyond = (addresses < 0) | (addresses > self.size - width)
        if beyond.any():
            lane = int(np.argmax(beyond))
            raise AccessError(lane, f"shared {what} of {width} bytes at offset {int(addresses[lane])} of {self.size}")
        return blocks * self.stride + addresses

    def _granules(self, flat: Array, width: int) -> Array:
        first = flat // self.granule
        count = width // self.granule
        return first if count == 1 else (first[:, None] + np.arange(count)).ravel()

    def _spread(self, keys: Array, width: int) -> Array:
        count = width // self.granule
        return keys if count == 1 else np.repeat(keys, count)

    def _check_pending(self, at: Array, width: int) -> None:
        if self._pending is not None and (pending := self._pending[at]).any():
            lane = int(np.argmax(pending)) // (width // self.granule)
            raise PendingError(lane, "an asynchronous copy into these shared bytes has not been waited for")

    def _check_against(self, before: Array, now: Array, width: int, verb: str, other: str) -> None:
        current = before >> EPOCH_SHIFT == now >> EPOCH_SHIFT
        if not current.any():
            return
        race = current & ~_ordered(before, now)
        if race.any():
            at = int(np.argmax(race))
            who = int(before[at]) & _WHO
            name = f"thread {who}"
            if who >= _SEVERAL_OF_WARP:
                name = "several warps" if who == _SEVERAL_WARPS else f"several threads of warp {who - _SEVERAL_OF_WARP}"
            raise RaceError(
                at // (width // self.granule), f"{verb} shared bytes that {name} {other} since the last barrier"
            )

    def _check_store(self, flat: Array, keys: Array, width: int) -> None:
        at, now = self._granules(flat, width), self._spread(keys, width)
        self._check_pending(at, width)
        self._check_against(self._writer[at], now, width, "writes", "wrote")
        self._check_against(self._reader[at], now, width, "writes", "read")
        self._writer[at] = now
        twice = self._writer[at] != now
        if twice.any():
            lane = int(np.argmax(twice)) // (width // self.granule)
            raise RaceError(lane, "writes shared bytes that another thread writes in the same instruction")

    def _check_load(self, flat: Array, keys: Array, width: int) -> None:
        at, now = self._granules(flat, width), self._spread(keys, width)
        self._check_pending(at, width)
        self._check_against(self._writer[at], now, width, "reads", "wrote")
        before = self._reader[at]
        merge = before >> EPOCH_SHIFT == now >> EPOCH_SHIFT
        if merge.any():
            now = np.where(merge & ~_ordered(before, now), _together(before, now), now)
        self._reader[at] = now
        stored = self._reader[at]
        lost = stored != now
        if lost.any():  # several lanes read one granule in this instruction
            at, now, stored = at[lost], now[lost], stored[lost]
            both = _together(stored, now)
            several = both & _WHO == _SEVERAL_WARPS
            self._reader[at[~several]] = both[~several]
            self._reader[at[several]] = both[several]


def _together(one: Array, other: Array) -> Array:
    """Key of the readers of both keys, which are of one barrier interval."""
    warp = _warp(one & _WHO)
    same = (warp == _warp(other & _WHO)) & (warp >= 0)
    who = np.where(same, _SEVERAL_OF_WARP + warp, _SEVERAL_WARPS)
    who = np.where(one & _WHO == other & _WHO, one & _WHO, who)
    return (np.maximum(one, other) & ~_WHO) | who
