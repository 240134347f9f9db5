"""The machine: registers of all threads, one program counter per group of threads, barriers.

All blocks of a batch run at once; a register is a numpy array over all their threads. Threads at the same instruction
form a group, and the group with the lowest program counter runs first: threads that have diverged meet again at the
earliest common instruction, as the reconvergence of compiled code expects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.cuda.ptx.faults import (
    DivergentBarrier,
    EarlyExit,
    EndlessLoop,
    Fault,
    Misaligned,
    OutOfBounds,
    PartialWarp,
    PendingCopy,
    SharedRace,
)
from tests.cuda.ptx.formats import Array, unsigned
from tests.cuda.ptx.memory import AccessError, Memory
from tests.cuda.ptx.parser import Instruction
from tests.cuda.ptx.shared import EPOCH_SHIFT, WARP_EPOCH_SHIFT, PendingError, RaceError, SharedMemory

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.cuda.ptx.asynchronous import AsynchronousCopies
    from tests.cuda.ptx.program import Program

__all__ = ["Action", "Machine", "Step"]

WARP = 32

Action = Callable[["Machine"], None]
"""What an instruction does to the threads `machine.lanes`."""

Step = Callable[["Machine", int], "int | None"]
"""An instruction at a program counter: returns the next one of the group, or None where the group is no more."""


class Machine:
    """Some blocks of a launch.

    Attributes:
        lanes: Threads that execute now, ascending; None for all of the batch.
        registers: One array of bits per register, over all threads.
        block, thread, warp: Of each thread: block in the batch, linear thread in the block, warp in the batch.
        special: Special registers by name, over all threads.
    """

    def __init__(
        self,
        program: Program,
        grid: tuple[int, int, int],
        shape: tuple[int, int, int],
        blocks: range,
        shared_bytes: int,
        parameters: Array,
        memory: Memory,
    ) -> None:
        threads = shape[0] * shape[1] * shape[2]
        size = threads * len(blocks)
        self.program, self.parameters, self.memory = program, parameters, memory
        self.threads_per_block, self.size = threads, size
        self.everyone = np.arange(size)
        self.block, self.thread = np.divmod(self.everyone, threads)
        warps_per_block = (threads + WARP - 1) // WARP
        self.warp = self.block * warps_per_block + self.thread // WARP
        self._warp_sizes = np.bincount(self.warp)
        self.registers: list[Array] = [
            np.zeros(size, np.bool_)
            if kind.kind == "pred"
            else np.full(size, -1, f"i{kind.total_bits // 8}").view(kind.raw)
            for kind in program.entry.registers
        ]
        self.special = _special_registers(grid, shape, self.block + blocks.start, self.thread, shared_bytes, program)
        self.shared = SharedMemory(
            len(blocks), program.shared_static + shared_bytes, program.granule, copies=program.copies
        )
        self.local = np.full((size, max(program.local_bytes, 1)), 0xFF, np.uint8)
        # who accesses shared memory, and when, as tests/cuda/ptx/shared.py explains
        self._keys = self.thread.astype(np.int64)
        self.lanes: Array | None = None
        self.instruction: Instruction = program.entry.instructions[0]
        self.copies: AsynchronousCopies = program.new_copies(size)
        self._ready: dict[int, Array] = {0: self.everyone}
        self._limit = 0
        self._exited = np.zeros(len(blocks), np.int64)
        self._barriers: dict[int, _Barrier] = {}
        self._first_block, self._grid = blocks.start, grid
        self._whole: Array | None = None

    # Registers of the threads that execute

    def current(self, array: Array) -> Array:
        """The elements of an array over all threads that belong to the executing threads (maybe a view)."""
        return array if self.lanes is None else array[self.lanes]

    def assign(self, array: Array, values: Array) -> None:
        """Sets those elements."""
        if self.lanes is None:
            array[...] = values
        else:
            array[self.lanes] = values

    @property
    def index(self) -> Array:
        """Executing threads, as indices into arrays over all threads."""
        return self.everyone if self.lanes is None else self.lanes

    @property
    def count(self) -> int:
        """Number of executing threads."""
        return self.size if self.lanes is None else len(self.lanes)

    def run_where(self, condition: Array, action: Action) -> None:
        """Runs `action` for those of the executing threads where `condition` holds."""
        if condition.all():
            action(self)
        elif condition.any():
            saved = self.lanes
            self.lanes = self.index[condition]
            action(self)
            self.lanes = saved

    def whole_warps(self) -> Array:
        """Executing threads as (warps, 32); a fault unless they are whole warps of 32."""
        lanes = self.index
        if lanes is not self._whole:
            executing = np.bincount(self.warp[lanes], minlength=len(self._warp_sizes))
            partial = (executing != 0) & (executing != WARP)
            if partial.any():
                lane = int(np.argmax(partial[self.warp[lanes]]))
                raise self.fault(PartialWarp, lane, f"by {executing[self.warp[lanes[lane]]]} of the warp's 32 threads")
            self._whole = lanes
        return lanes.reshape(-1, WARP)

    # Memory

    def load_shared(self, lanes: Array, addresses: Array, width: int) -> Array:
        """Loads from shared memory for the threads `lanes`; see `SharedMemory.load`."""
        with self._reporting(lanes):
            return self.shared.load(self.block[lanes], self._keys[lanes], addresses, width)

    def store_shared(self, lanes: Array, addresses: Array, values: Array) -> None:
        with self._reporting(lanes):
            self.shared.store(self.block[lanes], self._keys[lanes], addresses, values)

    def begin_copy(self, lanes: Array, addresses: Array, width: int) -> None:
        with self._reporting(lanes):
            self.shared.begin_copy(self.block[lanes], self._keys[lanes], addresses, width)

    def land_copy(self, lanes: Array, addresses: Array, values: Array) -> None:
        with self._reporting(lanes):
            self.shared.land_copy(self.block[lanes], self._keys[lanes], addresses, values)

    def load_global(self, lanes: Array, addresses: Array, width: int) -> Array:
        with self._reporting(lanes):
            return self.memory.load(addresses, width)

    def store_global(self, lanes: Array, addresses: Array, values: Array) -> None:
        with self._reporting(lanes):
            self.memory.store(addresses, values)

    def load_local(self, lanes: Array, addresses: Array, width: int) -> Array:
        rows = self._local_bytes(lanes, addresses, width)
        return np.ascontiguousarray(self.local[rows]).view(unsigned(8 * width)).ravel()

    def store_local(self, lanes: Array, addresses: Array, values: Array) -> None:
        width = values.dtype.itemsize
        self.local[self._local_bytes(lanes, addresses, width)] = values.view(np.uint8).reshape(-1, width)

    def _local_bytes(self, lanes: Array, addresses: Array, width: int) -> tuple[Array, Array]:
        if (bad := (addresses < 0) | (addresses > self.program.local_bytes - width)).any():
            lane = int(np.argmax(bad))
            raise self.fault(
                OutOfBounds, lane, f"local access at {addresses[lane]} of {self.program.local_bytes}", lanes
            )
        return lanes[:, None], addresses[:, None] + np.arange(width)

    @contextmanager
    def _reporting(self, lanes: Array) -> Generator[None, Any, None]:
        try:
            yield
        except AccessError as error:
            raise self.fault(Misaligned if error.misaligned else OutOfBounds, error.lane, error.what, lanes) from None
        except PendingError as error:
            raise self.fault(PendingCopy, error.lane, error.what, lanes) from None
        except RaceError as error:
            raise self.fault(SharedRace, error.lane, error.what, lanes) from None

    def fault(self, kind: type[Fault], lane: int, what: str, lanes: Array | None = None) -> Fault:
        """A fault of the executing thread number `lane` (or of `lanes[lane]`) at this instruction."""
        index = int((self.index if lanes is None else lanes)[lane])
        return kind(f"{self.program.entry.name}: {self.place(index)}: {what}, in {self.instruction}")

    def place(self, index: int) -> str:
        """Words for a thread."""
        x, y, _ = self._grid
        block = int(self.block[index]) + self._first_block
        return f"block ({block % x}, {block // x % y}, {block // (x * y)}) thread {int(self.thread[index])}"

    # Control

    def branch(self, taken: Array, target: int, following: int) -> int | None:
        """Sends the threads where `taken` holds to `target`, the others to `following`."""
        if taken.all():
            return target
        if not taken.any():
            return following
        lanes = self.index
        self.continue_at(target, lanes[taken])
        self.lanes = lanes[~taken]
        return following

    def continue_at(self, counter: int, lanes: Array) -> None:
        """Threads that will execute from `counter` on."""
        waiting = self._ready.get(counter)
        self._ready[counter] = lanes if waiting is None else np.sort(np.concatenate((waiting, lanes)))
        self._limit = min(self._limit, counter)

    def exit(self) -> None:
        """The executing threads end."""
        lanes = self.index
        self._exited += np.bincount(self.block[lanes], minlength=len(self._exited))
        for barrier in self._barriers.values():
            barrier.check_exits(self, self._exited)

    def warp_masks(self, chosen: Array | None = None) -> Array:
        """Of every warp of the batch, the lanes that execute (and where `chosen` holds), as uint64 masks of bits."""
        lanes = self.index if chosen is None else self.index[chosen]
        bits = np.ldexp(1.0, (self.thread[lanes] % WARP).astype(np.int32))
        return np.bincount(self.warp[lanes], bits, len(self._warp_sizes)).astype(np.uint64)

    def sync_warp(self, members: Array) -> None:
        """`bar.warp.sync`: all threads that `members` names must execute it together."""
        self.check_members(members)
        warps = np.zeros(len(self._warp_sizes), np.int64)
        warps[self.warp[self.index]] = 1
        self._keys += warps[self.warp] << WARP_EPOCH_SHIFT

    def check_members(self, members: Array) -> None:
        """A fault unless the executing threads of each warp are those that its membership mask names.

        Threads that the warp does not have may be named.
        """
        if self.lanes is None and (members == 0xFFFFFFFF).all():
            return
        warps = self.warp[self.index]
        exist = (np.uint64(1) << self._warp_sizes.astype(np.uint64)) - np.uint64(1)
        wanted = np.broadcast_to(members, warps.shape).astype(np.uint64) & exist[warps]
        got = self.warp_masks()[warps]
        wrong = wanted != got
        if wrong.any():
            lane = int(np.argmax(wrong))
            what = f"by the lanes {int(got[lane]):#x} of the warp, its mask says {int(wanted[lane]):#x}"
            raise self.fault(PartialWarp, lane, what)

    def wait(self, counter: int, number: int, expected: int | None, *, arrive_only: bool = False) -> int | None:
        """Barrier `number` of the block at `counter`: waits for `expected` threads (None: all of the block)."""
        lanes = self.index
        barrier = self._barriers.setdefault(number, _Barrier(len(self._exited)))
        barrier.arrive(self, lanes, counter, self.threads_per_block if expected is None else expected, arrive_only)
        barrier.check_exits(self, self._exited)
        full = barrier.full()
        if full.any():
            for at, released in barrier.release(self, full):
                self.continue_at(at + 1, released)
            self._keys += full[self.block].astype(np.int64) << EPOCH_SHIFT
        return counter + 1 if arrive_only else None

    def run(self, most_steps: int) -> int:
        """Runs all threads to their ends, in at most that many steps; returns the number of steps."""
        steps, executed, instructions = self.program.steps, self.program.executed, self.program.entry.instructions
        done = 0
        while self._ready:
            start = min(self._ready)
            lanes = self._ready.pop(start)
            self.lanes = None if len(lanes) == self.size else lanes
            self._limit = min(self._ready, default=len(steps))
            counter: int | None = start
            while counter is not None:
                if counter >= self._limit:  # others are to go first, or are met here
                    self.continue_at(counter, self.index)
                    break
                self.instruction = instructions[counter]
                executed[counter] = True
                done += 1
                if done > most_steps:
                    raise self.fault(EndlessLoop, 0, f"more than {most_steps} instructions")
                counter = steps[counter](self, counter)
        for barrier in self._barriers.values():
            barrier.check_empty(self)
        return done


class _Barrier:
    """One of the 16 barriers of every block of the batch."""

    def __init__(self, blocks: int) -> None:
        self._arrived = np.zeros(blocks, np.int64)
        self._expected = np.zeros(blocks, np.int64)
        self._waiting: list[tuple[int, Array, Instruction]] = []

    def arrive(self, machine: Machine, lanes: Array, counter: int, expected: int, arrive_only: bool) -> None:
        blocks = machine.block[lanes]
        if expected == machine.threads_per_block:
            for at, others, instruction in self._waiting:
                if at != counter and (both := np.isin(blocks, machine.block[others])).any():
                    lane = int(np.argmax(both))
                    what = f"others of the block wait at another barrier, {instruction}"
                    raise machine.fault(DivergentBarrier, lane, what)
        self._arrived += np.bincount(blocks, minlength=len(self._arrived))
        self._expected[blocks] = expected
        if not arrive_only:
            self._waiting.append((counter, lanes, machine.instruction))

    def full(self) -> Array:
        return (self._arrived > 0) & (self._arrived == self._expected)

    def release(self, machine: Machine, full: Array) -> Sequence[tuple[int, Array]]:
        released, kept = [], []
        for counter, lanes, instruction in self._waiting:
            go = full[machine.block[lanes]]
            released.append((counter, lanes[go]))
            if not go.all():
                kept.append((counter, lanes[~go], instruction))
        self._waiting = kept
        self._arrived[full] = 0
        return [(counter, lanes) for counter, lanes in released if len(lanes)]

    def check_exits(self, machine: Machine, exited: Array) -> None:
        late = exited + self._expected > machine.threads_per_block
        for _, lanes, instruction in self._waiting:
            if (stuck := late[machine.block[lanes]]).any():
                machine.instruction = instruction
                lane = int(np.argmax(stuck))
                count = int(exited[machine.block[lanes[lane]]])
                raise machine.fault(EarlyExit, lane, f"waits for all threads, of which {count} have ended", lanes)

    def check_empty(self, machine: Machine) -> None:
        for _, lanes, instruction in self._waiting:
            machine.instruction = instruction
            block = machine.block[lanes[0]]
            what = f"{self._arrived[block]} of {self._expected[block]} threads came to the barrier"
            raise machine.fault(DivergentBarrier, 0, what, lanes)


def _special_registers(
    grid: tuple[int, int, int],
    shape: tuple[int, int, int],
    block: Array,
    thread: Array,
    shared_bytes: int,
    program: Program,
) -> dict[str, Array]:
    lane = thread % WARP
    below = (np.uint64(1) << lane.astype(np.uint64)) - np.uint64(1)
    upto = (below << np.uint64(1)) | np.uint64(1)
    everyone = np.uint64(0xFFFFFFFF)
    values = {
        "%tid.x": thread % shape[0],
        "%tid.y": thread // shape[0] % shape[1],
        "%tid.z": thread // (shape[0] * shape[1]),
        "%ctaid.x": block % grid[0],
        "%ctaid.y": block // grid[0] % grid[1],
        "%ctaid.z": block // (grid[0] * grid[1]),
        "%laneid": lane,
        "%warpid": thread // WARP,
        "%lanemask_lt": below,
        "%lanemask_le": upto,
        "%lanemask_eq": upto ^ below,
        "%lanemask_ge": everyone ^ below,
        "%lanemask_gt": everyone ^ upto,
        "WARP_SZ": np.array([WARP]),
        "%dynamic_smem_size": np.array([shared_bytes]),
        "%total_smem_size": np.array([shared_bytes + program.shared_static]),
    }
    for axis, blocks, threads in zip("xyz", grid, shape, strict=True):
        values[f"%nctaid.{axis}"] = np.array([blocks])
        values[f"%ntid.{axis}"] = np.array([threads])
    return {name: np.broadcast_to(value.astype(np.uint32), thread.shape) for name, value in values.items()}
