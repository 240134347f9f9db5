"""Logic, shifts, bit fields and permutations of bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.ptx.decoder import Decoder, action
from tests.cuda.ptx.formats import Array, Type
from tests.cuda.ptx.machine import Action, Machine
from tests.cuda.ptx.parser import Immediate

_U32 = Type("u32", "u", 32)


def _logic(decoder: Decoder, compute: Callable[[Array, Array], Array]) -> Action:
    kind = decoder.type()
    decoder.finish(3)
    a, b, write = decoder.read(1, kind), decoder.read(2, kind), decoder.write(0, kind)
    return lambda machine: write(machine, compute(a(machine), b(machine)))


@action("and")
def logical_and(decoder: Decoder) -> Action:
    return _logic(decoder, np.bitwise_and)


@action("or")
def logical_or(decoder: Decoder) -> Action:
    return _logic(decoder, np.bitwise_or)


@action("xor")
def logical_xor(decoder: Decoder) -> Action:
    return _logic(decoder, np.bitwise_xor)


@action("not")
def logical_not(decoder: Decoder) -> Action:
    kind = decoder.type()
    decoder.finish(2)
    a, write = decoder.read(1, kind), decoder.write(0, kind)
    return lambda machine: write(machine, ~a(machine))


@action("shl")
def shift_left(decoder: Decoder) -> Action:
    """By 32 (or the width of the type) and more: zero."""
    kind = decoder.type()
    decoder.finish(3)
    a, b, write = decoder.read(1, kind), decoder.read(2, _U32), decoder.write(0, kind)

    def run(machine: Machine) -> None:
        x, by = a(machine), b(machine)
        shifted = x << np.minimum(by, kind.bits - 1).astype(x.dtype)
        write(machine, np.where(by < kind.bits, shifted, x.dtype.type(0)))

    return run


@action("shr")
def shift_right(decoder: Decoder) -> Action:
    """By the width of the type and more: zero, or all bits the sign."""
    kind = decoder.type()
    decoder.finish(3)
    a, b, write = decoder.read(1, kind), decoder.read(2, _U32), decoder.write(0, kind)

    def run(machine: Machine) -> None:
        x, by = a(machine), b(machine)
        shifted = x >> np.minimum(by, kind.bits - 1).astype(x.dtype)
        write(machine, shifted if kind.kind == "s" else np.where(by < kind.bits, shifted, x.dtype.type(0)))

    return run


@action("shf")
def funnel_shift(decoder: Decoder) -> Action:
    """Shifts operands 2 (upper) and 1 (lower) as one number of 64 bits; keeps the upper (l) or lower (r) half."""
    left = decoder.choose("l", "r") == "l"
    wrap = decoder.choose("wrap", "clamp") == "wrap"
    decoder.type()
    decoder.finish(4)
    a, b, c = (decoder.read(number, _U32) for number in (1, 2, 3))
    write = decoder.write(0, _U32)

    def run(machine: Machine) -> None:
        both = (b(machine).astype(np.uint64) << np.uint64(32)) | a(machine)
        by = (c(machine) & np.uint32(31) if wrap else np.minimum(c(machine), 32)).astype(np.uint64)
        write(machine, (both >> (np.uint64(32) - by if left else by)).astype(np.uint32))

    return run


@action("lop3")
def any_logic(decoder: Decoder) -> Action:
    """The logic function of three operands whose truth table is operand 4."""
    kind = decoder.type()
    decoder.finish(5)
    a, b, c = (decoder.read(number, kind) for number in (1, 2, 3))
    write, table = decoder.write(0, kind), decoder.constant(4)

    def run(machine: Machine) -> None:
        x, y, z = a(machine), b(machine), c(machine)
        result = np.zeros(1, x.dtype)
        for row in range(8):
            if table >> row & 1:
                result = result | ((x if row & 4 else ~x) & (y if row & 2 else ~y) & (z if row & 1 else ~z))
        write(machine, result)

    return run


@action("prmt")
def permute_bytes(decoder: Decoder) -> Action:
    """Each nibble of operand 3 picks a byte of operands 2 (4 to 7) and 1 (0 to 3); its upper bit spreads the sign."""
    kind = decoder.type()
    decoder.finish(4)
    a, b, c, write = decoder.read(1, kind), decoder.read(2, kind), decoder.read(3, kind), decoder.write(0, kind)
    fixed = isinstance(decoder.operand(3), Immediate)

    def run(machine: Machine) -> None:
        x, y, picks = np.broadcast_arrays(a(machine), b(machine), c(machine))
        both = np.ascontiguousarray(np.stack([x, y], 1)).view(np.uint8)
        if fixed:
            nibbles = [int(picks[0]) >> 4 * at & 15 for at in range(4)]
            chosen = both[:, [nibble & 7 for nibble in nibbles]]
            spread = np.array([nibble >> 3 != 0 for nibble in nibbles])
        else:
            nibble = (picks[:, None] >> np.arange(0, 16, 4, dtype=np.uint32)) & np.uint32(15)
            chosen = np.take_along_axis(both, (nibble & np.uint32(7)).astype(np.intp), 1)
            spread = nibble >> np.uint32(3) != 0
        if spread.any():
            chosen = np.where(spread, (chosen >> 7) * np.uint8(255), chosen)
        write(machine, np.ascontiguousarray(chosen).view(np.uint32)[:, 0])

    return run


@action("bfe")
def extract_field(decoder: Decoder) -> Action:
    """`c` bits of `a` from bit `b` on; signed types extend the last of them."""
    kind = decoder.type()
    decoder.finish(4)
    a, b, c, write = decoder.read(1, kind), decoder.read(2, _U32), decoder.read(3, _U32), decoder.write(0, kind)
    wide = np.dtype("i8" if kind.kind == "s" else "u8")
    if kind.bits == 64:
        raise decoder.unknown("64-bit field")

    def run(machine: Machine) -> None:
        first = (b(machine) & np.uint32(255)).astype(wide)
        count = np.minimum(c(machine) & np.uint32(255), 32).astype(wide)
        value = a(machine).astype(wide) >> np.minimum(first, wide.type(63))  # an int64 has its sign above bit 31
        if kind.kind == "s":
            unused = wide.type(64) - count
            result = np.where(count == 0, wide.type(0), (value << (unused & wide.type(63))) >> (unused & wide.type(63)))
        else:
            result = value & ((wide.type(1) << count) - wide.type(1))
        write(machine, result.astype(kind.dtype))

    return run


@action("bfi")
def insert_field(decoder: Decoder) -> Action:
    """`b` with the lowest `d` bits of `a` in it from bit `c` on."""
    kind = decoder.type()
    decoder.finish(5)
    if kind.bits == 64:
        raise decoder.unknown("64-bit field")
    a, b, write = decoder.read(1, kind), decoder.read(2, kind), decoder.write(0, kind)
    c, d = decoder.read(3, _U32), decoder.read(4, _U32)

    def run(machine: Machine) -> None:
        first = np.minimum(c(machine) & np.uint32(255), 32).astype(np.uint64)
        count = np.minimum(d(machine) & np.uint32(255), 32).astype(np.uint64)
        mask = ((np.uint64(1) << count) - np.uint64(1)) << first
        field = a(machine).astype(np.uint64) << first
        write(machine, ((b(machine) & ~mask) | (field & mask)).astype(np.uint32))

    return run


def _count_bits(values: Array) -> Array:
    octets = np.unpackbits(np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1), axis=1)
    return octets.sum(1, dtype=np.uint32)


@action("popc")
def count_ones(decoder: Decoder) -> Action:
    kind = decoder.type()
    decoder.finish(2)
    a, write = decoder.read(1, kind), decoder.write(0, _U32)
    return lambda machine: write(machine, _count_bits(a(machine)))


def _leading_zeros(values: Array) -> Array:
    for by in (1, 2, 4, 8, 16, 32):
        if by < 8 * values.dtype.itemsize:
            values = values | (values >> values.dtype.type(by))
    return np.uint32(8 * values.dtype.itemsize) - _count_bits(values)


@action("clz")
def count_leading_zeros(decoder: Decoder) -> Action:
    kind = decoder.type()
    decoder.finish(2)
    a, write = decoder.read(1, kind), decoder.write(0, _U32)
    return lambda machine: write(machine, _leading_zeros(a(machine)))


@action("bfind")
def find_highest(decoder: Decoder) -> Action:
    """Position of the highest one; all bits set where there is none."""
    kind = decoder.type()
    decoder.finish(2)
    if kind.kind == "s":
        raise decoder.unknown("signed type")
    a, write = decoder.read(1, kind), decoder.write(0, _U32)
    return lambda machine: write(machine, np.uint32(kind.bits - 1) - _leading_zeros(a(machine)))


@action("brev")
def reverse_bits(decoder: Decoder) -> Action:
    kind = decoder.type()
    decoder.finish(2)
    a, write = decoder.read(1, kind), decoder.write(0, kind)

    def run(machine: Machine) -> None:
        octets = np.ascontiguousarray(a(machine)).view(np.uint8).reshape(-1, kind.bits // 8)
        reversed_bits = np.packbits(np.unpackbits(octets, axis=1, bitorder="little"), axis=1)[:, ::-1]
        write(machine, np.ascontiguousarray(reversed_bits).view(kind.dtype)[:, 0])

    return run
