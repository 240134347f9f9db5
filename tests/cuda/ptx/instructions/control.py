"""Branches, ends and barriers of the block."""

from __future__ import annotations

import numpy as np

from tests.cuda.ptx.decoder import Decoder, Reader, action, step
from tests.cuda.ptx.faults import Trap
from tests.cuda.ptx.formats import Type
from tests.cuda.ptx.machine import Action, Machine, Step
from tests.cuda.ptx.parser import Immediate, Symbol

_U32 = Type("u32", "u", 32)


def _label(decoder: Decoder, name: str) -> int:
    if name not in decoder.labels:
        raise decoder.unknown(f"label {name}")
    return decoder.labels[name]


def _guard(decoder: Decoder) -> Reader | None:
    guard = decoder.instruction.guard
    return None if guard is None else decoder.reader(guard, guard.type)


def _narrow(machine: Machine, guard: Reader | None, counter: int) -> bool:
    """Sends the threads whose guard is false to the next instruction; False if no thread is left here."""
    if guard is None:
        return True
    condition = guard(machine)
    if not condition.all():
        lanes = machine.index
        machine.continue_at(counter + 1, lanes[~condition])
        machine.lanes = lanes[condition]
    return bool(condition.any())


@step("bra")
def branch(decoder: Decoder) -> Step:
    decoder.take("uni")
    decoder.finish(1)
    operand, guard = decoder.operand(0), _guard(decoder)
    if not isinstance(operand, Symbol):
        raise decoder.unknown("target")
    target = _label(decoder, operand.name)
    if guard is None:
        return lambda machine, counter: target
    return lambda machine, counter: machine.branch(guard(machine), target, counter + 1)


@step("brx")
def indexed_branch(decoder: Decoder) -> Step:
    """`brx.idx`: to the label whose number operand 0 holds."""
    decoder.take("idx")
    decoder.take("uni")
    decoder.finish(2)
    table = decoder.operand(1)
    if not isinstance(table, Symbol) or table.name not in decoder.branch_targets:
        raise decoder.unknown("targets")
    targets = [_label(decoder, name) for name in decoder.branch_targets[table.name]]
    number, guard = decoder.read(0, _U32), _guard(decoder)

    def run(machine: Machine, counter: int) -> None:
        if not _narrow(machine, guard, counter):
            return
        lanes = machine.index
        chosen = np.broadcast_to(number(machine), lanes.shape)
        for at in np.unique(chosen):
            machine.continue_at(targets[at], lanes[chosen == at])

    return run


@step("ret", "exit")
def end(decoder: Decoder) -> Step:
    decoder.take("uni")
    decoder.finish(0)
    guard = _guard(decoder)

    def run(machine: Machine, counter: int) -> None:
        if _narrow(machine, guard, counter):
            machine.exit()

    return run


@step("trap")
def trap(decoder: Decoder) -> Step:
    decoder.finish(0)
    guard = _guard(decoder)

    def run(machine: Machine, counter: int) -> None:
        if _narrow(machine, guard, counter):
            raise machine.fault(Trap, 0, "the kernel gives up")

    return run


@step("bar", "barrier")
def barrier(decoder: Decoder) -> Step:
    """`bar{.cta}.sync a{, b}`, `bar.arrive a, b` and `bar.warp.sync mask`."""
    if decoder.take("warp"):
        return _warp_barrier(decoder)
    decoder.take("cta")
    decoder.take("aligned")
    arrive_only = decoder.choose("sync", "arrive") == "arrive"
    decoder.finish(1, 2)
    number, guard = decoder.constant(0), _guard(decoder)
    expected: int | None = None
    if len(decoder.operands) == 2:
        if not isinstance(decoder.operand(1), Immediate):
            raise decoder.unknown("number of threads")
        expected = decoder.constant(1)

    def run(machine: Machine, counter: int) -> int | None:
        if not _narrow(machine, guard, counter):
            return None
        return machine.wait(counter, number, expected, arrive_only=arrive_only)

    return run


def _warp_barrier(decoder: Decoder) -> Step:
    decoder.take("sync")
    decoder.finish(1)
    members, guard = decoder.read(0, _U32), _guard(decoder)

    def run(machine: Machine, counter: int) -> int | None:
        if not _narrow(machine, guard, counter):
            return None
        machine.sync_warp(members(machine))
        return counter + 1

    return run


@action("membar", "fence", "nanosleep", "prefetch", "prefetchu")
def nothing(decoder: Decoder) -> Action:
    """What has no effect here: memory is always coherent, and there are no caches."""
    return lambda machine: None
