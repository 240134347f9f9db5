"""Integer arithmetic; hands floating-point types over to `floating`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.ptx.decoder import Decoder, Reader, action
from tests.cuda.ptx.formats import Array, Type
from tests.cuda.ptx.instructions import floating
from tests.cuda.ptx.machine import Action, Machine

Binary = Callable[[Array, Array], Array]


def _binary(decoder: Decoder, kind: Type, compute: Binary) -> Action:
    decoder.finish(3)
    a, b, write = decoder.read(1, kind), decoder.read(2, kind), decoder.write(0, kind)
    return lambda machine: write(machine, compute(a(machine), b(machine)))


@action("add")
def add(decoder: Decoder) -> Action:
    kind = decoder.type()
    return floating.binary(decoder, kind, np.add) if kind.is_float else _binary(decoder, kind, np.add)


@action("sub")
def subtract(decoder: Decoder) -> Action:
    kind = decoder.type()
    return floating.binary(decoder, kind, np.subtract) if kind.is_float else _binary(decoder, kind, np.subtract)


@action("min")
def minimum(decoder: Decoder) -> Action:
    kind = decoder.type()
    return floating.extreme(decoder, kind, largest=False) if kind.is_float else _binary(decoder, kind, np.minimum)


@action("max")
def maximum(decoder: Decoder) -> Action:
    kind = decoder.type()
    return floating.extreme(decoder, kind, largest=True) if kind.is_float else _binary(decoder, kind, np.maximum)


@action("div")
def divide(decoder: Decoder) -> Action:
    kind = decoder.type()
    if kind.is_float:
        return floating.divide(decoder, kind)
    return _binary(decoder, kind, lambda a, b: _quotient(a, b)[0])


@action("rem")
def remainder(decoder: Decoder) -> Action:
    return _binary(decoder, decoder.type(), lambda a, b: _quotient(a, b)[1])


def _quotient(a: Array, b: Array) -> tuple[Array, Array]:
    """Quotient rounded towards zero, and remainder with the sign of `a`; by zero: all bits set, and `a`."""
    a, b = np.broadcast_arrays(a, b)
    quotient = a // np.where(b == 0, b.dtype.type(1), b)
    if a.dtype.kind == "i":  # numpy rounds down
        quotient = quotient + ((quotient * b != a) & ((a < 0) != (b < 0)))
    everything = np.invert(np.zeros(1, a.dtype))
    return np.where(b == 0, everything, quotient).astype(a.dtype), np.where(b == 0, a, a - quotient * b).astype(a.dtype)


@action("neg")
def negate(decoder: Decoder) -> Action:
    kind = decoder.type()
    if kind.is_float:
        return floating.sign(decoder, kind, lambda bits, mask: bits ^ mask)
    decoder.finish(2)
    a, write = decoder.read(1, kind), decoder.write(0, kind)
    return lambda machine: write(machine, np.negative(a(machine)))


@action("abs")
def absolute(decoder: Decoder) -> Action:
    kind = decoder.type()
    if kind.is_float:
        return floating.sign(decoder, kind, lambda bits, mask: bits & ~mask)
    decoder.finish(2)
    a, write = decoder.read(1, kind), decoder.write(0, kind)
    return lambda machine: write(machine, np.abs(a(machine)))


def _product(decoder: Decoder, kind: Type) -> tuple[Callable[[Machine], Array], Type]:
    """Reader of the product of operands 1 and 2, and its type."""
    part = decoder.choose("lo", "hi", "wide")
    a, b = decoder.read(1, kind), decoder.read(2, kind)
    if part == "wide":
        wide = Type(f"{kind.kind}{2 * kind.bits}", kind.kind, 2 * kind.bits)
        return lambda machine: np.multiply(a(machine), b(machine), dtype=wide.dtype), wide
    if part == "hi":
        return lambda machine: _high(a(machine), b(machine)), kind
    if part == "lo":
        return lambda machine: a(machine) * b(machine), kind
    raise decoder.unknown("part of the product")


def _high(a: Array, b: Array) -> Array:
    """Upper half of the product."""
    bits = 8 * a.dtype.itemsize
    if bits < 64:
        wide = np.dtype(f"{a.dtype.kind}{a.dtype.itemsize * 2}")
        return (np.multiply(a, b, dtype=wide) >> wide.type(bits)).astype(a.dtype)
    x, y = a.view(np.uint64), b.view(np.uint64)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    x0, x1, y0, y1 = x & low, x >> half, y & low, y >> half
    middle = x1 * y0 + ((x0 * y0) >> half)
    high = x1 * y1 + (middle >> half) + (((middle & low) + x0 * y1) >> half)
    if a.dtype.kind == "i":
        high = high - np.where(a < 0, y, np.uint64(0)) - np.where(b < 0, x, np.uint64(0))
    return high.view(a.dtype)


@action("mul")
def multiply(decoder: Decoder) -> Action:
    kind = decoder.type()
    if kind.is_float:
        return floating.binary(decoder, kind, np.multiply)
    product, result = _product(decoder, kind)
    decoder.finish(3)
    write = decoder.write(0, result)
    return lambda machine: write(machine, product(machine))


@action("mad")
def multiply_add(decoder: Decoder) -> Action:
    kind = decoder.type()
    if kind.is_float:
        return floating.fused(decoder, kind)
    product, result = _product(decoder, kind)
    decoder.finish(4)
    c, write = decoder.read(3, result), decoder.write(0, result)
    return lambda machine: write(machine, product(machine) + c(machine))


@action("dp4a")
def dot_product_of_bytes(decoder: Decoder) -> Action:
    return _dot(decoder, 4)


@action("dp2a")
def dot_product_of_halves(decoder: Decoder) -> Action:
    """16-bit elements of `a` with the lower or the upper two bytes of `b`."""
    return _dot(decoder, 2)


def _dot(decoder: Decoder, count: int) -> Action:
    kind_b, kind_a = decoder.type(), decoder.type()
    first = 2 if count == 2 and decoder.choose("lo", "hi") == "hi" else 0
    decoder.finish(4)
    signed = "s" if "s" in (kind_a.kind, kind_b.kind) else "u"
    result = Type(f"{signed}32", signed, 32)
    letters = {"s": "i", "u": "u"}
    wide = Type("b32", "b", 32)
    a, b = decoder.read(1, wide), decoder.read(2, wide)
    c, write = decoder.read(3, result), decoder.write(0, result)
    dtype_a, dtype_b = np.dtype(f"{letters[kind_a.kind]}{4 // count}"), np.dtype(f"{letters[kind_b.kind]}1")

    def split(read: Reader, machine: Machine, dtype: np.dtype[np.generic]) -> Array:
        bits = read(machine)
        return bits.view(dtype).reshape(len(bits), -1).astype(np.int64)

    def run(machine: Machine) -> None:
        products = split(a, machine, dtype_a) * split(b, machine, dtype_b)[:, first : first + count]
        write(machine, (products.sum(1) + c(machine)).astype(result.dtype))

    return run
