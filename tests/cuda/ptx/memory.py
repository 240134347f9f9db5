"""Global memory: host buffers, at their host addresses."""

from __future__ import annotations

import bisect
import ctypes
from dataclasses import dataclass, field

import numpy as np

from tests.cuda.ptx.formats import Array, unsigned

__all__ = ["AccessError", "Buffer", "Memory"]


class AccessError(Exception):
    """An access that is not allowed; `lane` is its position among the addresses."""

    def __init__(self, lane: int, what: str, *, misaligned: bool = False) -> None:
        super().__init__(what)
        self.lane, self.what, self.misaligned = lane, what, misaligned


@dataclass
class Buffer:
    """A range of host memory that kernels may touch."""

    address: int
    data: Array
    """uint8, every byte of the range, gaps between strided elements included."""
    writable: bool
    name: str
    views: dict[int, tuple[int, Array]] = field(default_factory=dict)

    def view(self, size: int) -> tuple[int, Array]:
        """Address of the first aligned element of `size` bytes, and all elements from there."""
        if size not in self.views:
            skip = -self.address % size
            usable = max(self.data.size - skip, 0) // size * size
            self.views[size] = (self.address + skip, self.data[skip : skip + usable].view(unsigned(8 * size)))
        return self.views[size]


class Memory:
    """The buffers that a kernel may read and write, known by their host addresses.

    A kernel is given pointers into numpy arrays (`array.ctypes.data`) or into any other host memory; what is not
    registered cannot be touched.
    """

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []
        self._starts: list[int] = []
        self._kept: list[Array] = []

    def register(self, array: Array, *, writable: bool = True, name: str = "") -> int:
        """Makes the memory of an array known, from its first to its last byte, and returns its address.

        Args:
            array: Any strides; the gaps between its elements become accessible too.
            writable: False for what kernels must not write.
            name: For messages.

        Raises:
            ValueError: It overlaps a registered buffer.
        """
        if array.size == 0:
            return array.ctypes.data
        spans = [(count - 1) * stride for count, stride in zip(array.shape, array.strides, strict=True)]
        low = array.ctypes.data + sum(min(span, 0) for span in spans)
        high = array.ctypes.data + sum(max(span, 0) for span in spans) + array.itemsize
        self._kept.append(array)
        return self.register_range(low, high - low, writable=writable, name=name or f"{array.dtype} {array.shape}")

    def register_range(self, address: int, size: int, *, writable: bool = True, name: str = "") -> int:
        """Makes `size` bytes of host memory known, which the caller keeps alive; returns the address."""
        if size == 0:
            return address
        at = bisect.bisect_left(self._starts, address)
        for other in self._buffers[max(at - 1, 0) : at + 1]:
            if address < other.address + other.data.size and other.address < address + size:
                raise ValueError(f"{name}: overlaps {other.name}, expected buffers of their own")
        data = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))
        self._buffers.insert(at, Buffer(address, data, writable, name))
        self._starts.insert(at, address)
        return address

    def clone(self) -> Memory:
        """Another table of the same buffers, to which more can be added."""
        other = Memory()
        other._buffers, other._starts, other._kept = self._buffers[:], self._starts[:], self._kept[:]
        return other

    def load(self, addresses: Array, size: int) -> Array:
        """Elements of `size` bytes (1, 2, 4, 8 or 16) as unsigned integers (16: complex128).

        Args:
            addresses: uint64.
            size: Bytes of each.

        Raises:
            AccessError: One is out of bounds or misaligned.
        """
        out = np.empty(addresses.size, unsigned(8 * size))
        for buffer, lanes in self._resolve(addresses, size, "load"):
            first, view = buffer.view(size)
            chosen = addresses if lanes is None else addresses[lanes]
            values = view[((chosen - np.uint64(first)) // np.uint64(size)).astype(np.intp)]
            if lanes is None:
                return values
            out[lanes] = values
        return out

    def store(self, addresses: Array, values: Array) -> None:
        """Stores unsigned integers of 1, 2, 4, 8 bytes or complex128 for 16; errors as of `load`."""
        size = values.dtype.itemsize
        for buffer, lanes in self._resolve(addresses, size, "store"):
            first, view = buffer.view(size)
            chosen = addresses if lanes is None else addresses[lanes]
            if not buffer.writable:
                lane = 0 if lanes is None else int(lanes[0])
                raise AccessError(
                    lane, f"global store of {size} bytes at {int(chosen[0]):#x}: {buffer.name} is read-only"
                )
            view[((chosen - np.uint64(first)) // np.uint64(size)).astype(np.intp)] = (
                values if lanes is None else values[lanes]
            )

    def _resolve(self, addresses: Array, size: int, what: str) -> list[tuple[Buffer, Array | None]]:
        """Buffers that hold the addresses, each with the positions of its lanes (None: all)."""
        odd = (addresses & np.uint64(size - 1)) != 0
        if odd.any():
            lane = int(np.argmax(odd))
            raise AccessError(lane, f"global {what} of {size} bytes at {int(addresses[lane]):#x}", misaligned=True)
        low, high = int(addresses.min()), int(addresses.max())
        at = bisect.bisect_right(self._starts, low) - 1
        if at >= 0:
            buffer = self._buffers[at]
            if high + size <= buffer.address + buffer.data.size:
                return [(buffer, None)]
        owners = np.searchsorted(np.array(self._starts, np.uint64), addresses, "right") - 1
        found: list[tuple[Buffer, Array | None]] = []
        for owner in np.unique(owners):
            lanes = np.flatnonzero(owners == owner)
            if owner < 0:
                raise self._outside(addresses, int(lanes[0]), size, what)
            buffer = self._buffers[owner]
            beyond = addresses[lanes] - np.uint64(buffer.address) > np.uint64(max(buffer.data.size - size, 0))
            if beyond.any() or buffer.data.size < size:
                raise self._outside(addresses, int(lanes[np.argmax(beyond)]), size, what)
            found.append((buffer, lanes))
        return found

    def _outside(self, addresses: Array, lane: int, size: int, what: str) -> AccessError:
        address = int(addresses[lane])
        distances = [
            (min(abs(address - buffer.address), abs(address - buffer.address - buffer.data.size)), buffer)
            for buffer in self._buffers
        ]
        near = ""
        if distances:
            _, buffer = min(distances, key=lambda pair: pair[0])
            near = f", {address - buffer.address} bytes from the start of {buffer.name} of {buffer.data.size} bytes"
        return AccessError(lane, f"global {what} of {size} bytes at {address:#x}{near}")
