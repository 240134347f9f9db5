"""Instructions by which the threads of a warp exchange values: shuffles, votes, reductions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.ptx.decoder import Decoder, action
from tests.cuda.ptx.faults import InactiveLane
from tests.cuda.ptx.formats import Array, Type
from tests.cuda.ptx.machine import WARP, Action, Machine

_PRED, _B32, _U32 = Type("pred", "pred", 1), Type("b32", "b", 32), Type("u32", "u", 32)


def _source_lane(mode: str, lane: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Lane that a shuffle reads, and whether it lies in the segment (else the thread keeps its own value)."""
    segment, clamp = c >> 8 & 31, c & 31
    high = (lane & segment) | (clamp & ~segment)
    low = lane & segment
    if mode == "up":
        chosen = lane - b
        inside = chosen >= high  # for .up the clamp is the lower end
    else:
        chosen = {"down": lane + b, "bfly": lane ^ b, "idx": low | (b & ~segment & 31)}[mode]
        inside = chosen <= high
    return np.where(inside, chosen, lane), inside


@action("shfl")
def shuffle(decoder: Decoder) -> Action:
    decoder.take("sync")
    mode = decoder.choose("up", "down", "bfly", "idx")
    decoder.type()
    decoder.finish(5)
    first, second = decoder.pair(0)
    write = decoder.writer(first, _B32)
    write_inside = decoder.writer(second, _PRED) if second is not None else None
    a, b, c, members = decoder.read(1, _B32), decoder.read(2, _U32), decoder.read(3, _U32), decoder.read(4, _U32)

    def run(machine: Machine) -> None:
        machine.check_members(members(machine))
        index = machine.index
        lane = machine.thread[index] % WARP
        chosen, inside = _source_lane(mode, lane, b(machine).astype(np.int64) & 31, c(machine).astype(np.int64))
        source = index - lane + chosen
        missing = machine.thread[index] - lane + chosen >= machine.threads_per_block
        values = np.zeros(machine.size + WARP, np.uint32)
        values[index] = a(machine)
        if machine.lanes is not None:
            active = np.zeros(machine.size + WARP, np.bool_)
            active[index] = True
            missing = missing | ~active[source]
        if missing.any():
            at = int(np.argmax(missing))
            raise machine.fault(InactiveLane, at, f"reads lane {int(chosen[at])}, which does not take part")
        write(machine, values[source])
        if write_inside is not None:
            write_inside(machine, inside)

    return run


@action("vote")
def vote(decoder: Decoder) -> Action:
    """`vote.sync.ballot|any|all|uni`."""
    decoder.take("sync")
    kind = decoder.type()
    mode = decoder.choose("ballot", "any", "all", "uni")
    decoder.finish(3)
    predicate, members, write = decoder.read(1, _PRED), decoder.read(2, _U32), decoder.write(0, kind)

    def run(machine: Machine) -> None:
        machine.check_members(members(machine))
        chosen = np.broadcast_to(predicate(machine), machine.count)
        warps = machine.warp[machine.index]
        true, taking_part = machine.warp_masks(chosen)[warps], machine.warp_masks()[warps]
        results = {"any": true != 0, "all": true == taking_part, "uni": (true == 0) | (true == taking_part)}
        write(machine, true.astype(np.uint32) if mode == "ballot" else results[mode])

    return run


@action("activemask")
def active_mask(decoder: Decoder) -> Action:
    decoder.type()
    decoder.finish(1)
    write = decoder.write(0, _U32)
    return lambda machine: write(machine, machine.warp_masks()[machine.warp[machine.index]].astype(np.uint32))


_REDUCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add.reduceat,
    "min": np.minimum.reduceat,
    "max": np.maximum.reduceat,
    "and": np.bitwise_and.reduceat,
    "or": np.bitwise_or.reduceat,
    "xor": np.bitwise_xor.reduceat,
}


@action("redux")
def reduce(decoder: Decoder) -> Action:
    """`redux.sync`: one value from all threads of the warp."""
    decoder.take("sync")
    kind = decoder.type()
    combine = _REDUCTIONS[decoder.choose(*_REDUCTIONS)]
    decoder.finish(3)
    a, members, write = decoder.read(1, kind), decoder.read(2, _U32), decoder.write(0, kind)

    def run(machine: Machine) -> None:
        machine.check_members(members(machine))
        warps = machine.warp[machine.index]
        starts = np.flatnonzero(np.diff(warps, prepend=-1))
        values = combine(np.broadcast_to(a(machine), machine.count), starts, dtype=kind.dtype)
        write(machine, np.repeat(values, np.diff(starts, append=len(warps))))

    return run
