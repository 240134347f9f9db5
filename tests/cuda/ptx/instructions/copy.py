"""`cp.async`."""

from __future__ import annotations

import numpy as np

from tests.cuda.ptx.decoder import Decoder, action
from tests.cuda.ptx.formats import Array, Type, unsigned
from tests.cuda.ptx.machine import Action, Machine
from tests.cuda.ptx.parser import Register

_U32 = Type("u32", "u", 32)


@action("cp")
def copy(decoder: Decoder) -> Action:
    if not decoder.take("async"):
        raise decoder.unknown("bulk copy")
    if decoder.take("commit_group"):
        decoder.finish(0)
        return lambda machine: machine.copies.commit(machine)
    if decoder.take("wait_group"):
        decoder.finish(1)
        pending = decoder.constant(0)
        return lambda machine: machine.copies.wait(machine, pending)
    if decoder.take("wait_all"):
        decoder.finish(0)
        return lambda machine: machine.copies.wait(machine, -1)
    return _start(decoder)


def _start(decoder: Decoder) -> Action:
    """`cp.async.ca|cg.shared.global [to], [from], size{, source size or predicate}`; the rest is filled with zeros."""
    decoder.choose("ca", "cg")
    decoder.choose("shared", "shared::cta")
    decoder.take("global")
    decoder.modifiers = [name for name in decoder.modifiers if not name.startswith("L2::")]
    decoder.finish(3, 4)
    target, source, size = decoder.address(0), decoder.address(1), decoder.constant(2)
    if size not in (4, 8, 16):
        raise decoder.unknown("size")
    if len(decoder.operands) < 4:
        return lambda machine: machine.copies.start(
            machine,
            target(machine).astype(np.int64),
            machine.load_global(machine.index, source(machine), size),
        )
    last = decoder.operand(3)
    if isinstance(last, Register) and last.type.kind == "pred":
        ignore = decoder.read(3, last.type)
        counts = lambda machine: np.where(ignore(machine), 0, size)  # noqa: E731
    else:
        read = decoder.read(3, _U32)
        counts = lambda machine: read(machine).astype(np.int64)  # noqa: E731

    def run(machine: Machine) -> None:
        count = np.broadcast_to(counts(machine), machine.count)
        values = _load_some(machine, source(machine), np.minimum(count, size), size)
        machine.copies.start(machine, target(machine).astype(np.int64), values)

    return run


def _load_some(machine: Machine, addresses: Array, counts: Array, size: int) -> Array:
    """The first `counts` bytes at each address, then zeros, as elements of `size` bytes."""
    values = np.zeros(len(addresses), unsigned(8 * size))
    whole = counts == size
    if whole.any():
        values[whole] = machine.load_global(machine.index[whole], addresses[whole], size)
    octets = values.view(np.uint8).reshape(-1, size)
    partial = ~whole
    for at in range(int(counts[partial].max(initial=0))):
        some = partial & (counts > at)
        octets[some, at] = machine.load_global(machine.index[some], addresses[some] + np.uint64(at), 1)
    return values
