"""Floating-point arithmetic: float16, bfloat16 (also packed in pairs), float32 and float64.

float16 and bfloat16 are computed in float32 and rounded once more, which for one addition, subtraction, multiplication
or division gives the correctly rounded result (24 >= 2 * 11 + 2 bits). Approximations of the hardware (`ex2.approx`,
`tanh.approx`, ...) are rounded correctly here, so no result here says what their errors do to a kernel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.ptx.decoder import Decoder, action
from tests.cuda.ptx.formats import Array, Type, flush_subnormals, from_float, fused_multiply_add, to_float
from tests.cuda.ptx.machine import Action, Machine

Unary = Callable[[Array], Array]


def binary(decoder: Decoder, kind: Type, compute: Callable[[Array, Array], Array]) -> Action:
    """`compute` of operands 1 and 2."""
    decoder.choose("rn")
    flush, saturate = decoder.take("ftz"), decoder.take("sat")
    decoder.finish(3)
    a, b = decoder.read_float(1, kind, flush=flush), decoder.read_float(2, kind, flush=flush)
    write = decoder.write_float(0, kind, flush=flush, saturate=saturate)
    return lambda machine: write(machine, compute(a(machine), b(machine)))


def divide(decoder: Decoder, kind: Type) -> Action:
    """`div.approx`, `div.full`, `div.rn`: all correctly rounded."""
    decoder.choose("approx", "full", "rn")
    return binary(decoder, kind, np.divide)


def extreme(decoder: Decoder, kind: Type, *, largest: bool) -> Action:
    """`min` and `max`: without `.NaN` a number wins over NaN; -0 is smaller than +0."""
    flush, keep_nan = decoder.take("ftz"), decoder.take("NaN")
    decoder.finish(3)
    a, b = decoder.read_float(1, kind, flush=flush), decoder.read_float(2, kind, flush=flush)
    write = decoder.write_float(0, kind)
    functions = {(True, True): np.maximum, (True, False): np.fmax, (False, True): np.minimum, (False, False): np.fmin}
    compute = functions[largest, keep_nan]

    def run(machine: Machine) -> None:
        x, y = np.broadcast_arrays(a(machine), b(machine))
        result = compute(x, y)
        zeros = (x == 0) & (y == 0)
        if zeros.any():
            signs = (np.signbit(x) & np.signbit(y)) if largest else (np.signbit(x) | np.signbit(y))
            result = np.where(zeros, np.copysign(x.dtype.type(0), np.where(signs, -1, 1).astype(x.dtype)), result)
        write(machine, result)

    return run


def sign(decoder: Decoder, kind: Type, change: Callable[[Array, Array], Array]) -> Action:
    """`neg` and `abs`: `change(bits, bit of the sign)`."""
    flush = decoder.take("ftz")
    decoder.finish(2)
    bits = Type(f"u{kind.bits}", "u", kind.bits, kind.count)
    a, write = decoder.read(1, bits), decoder.write(0, bits)
    mask = np.array(1 << (kind.bits - 1), bits.dtype)

    def run(machine: Machine) -> None:
        values = a(machine)
        if flush:
            values = flush_subnormals(values.view(kind.dtype), kind).view(bits.dtype)
        write(machine, change(values, mask))

    return run


@action("fma")
def fused_instruction(decoder: Decoder) -> Action:
    return fused(decoder, decoder.type())


def fused(decoder: Decoder, kind: Type) -> Action:
    """a * b + c with one rounding."""
    decoder.choose("rn")
    flush, saturate, relu = decoder.take("ftz"), decoder.take("sat"), decoder.take("relu")
    decoder.finish(4)
    if kind.bits == 64:
        raise decoder.unknown("float64")
    a, b, c = (decoder.read_float(number, kind, flush=flush) for number in (1, 2, 3))
    write = decoder.write_float(0, kind, flush=flush, saturate=saturate)

    def run(machine: Machine) -> None:
        result = fused_multiply_add(a(machine), b(machine), c(machine), kind)
        if relu:
            result = np.where(result < 0, 0.0, result)
        write(machine, result)

    return run


def _unary(decoder: Decoder, compute: Unary) -> Action:
    kind = decoder.type()
    decoder.choose("approx", "rn")
    flush = decoder.take("ftz")
    decoder.finish(2)
    a, write = decoder.read_float(1, kind, flush=flush), decoder.write_float(0, kind, flush=flush)
    return lambda machine: write(machine, compute(a(machine).astype(np.float64)))


@action("rcp")
def reciprocal(decoder: Decoder) -> Action:
    return _unary(decoder, lambda x: 1.0 / x)


@action("sqrt")
def square_root(decoder: Decoder) -> Action:
    return _unary(decoder, np.sqrt)


@action("rsqrt")
def reciprocal_square_root(decoder: Decoder) -> Action:
    return _unary(decoder, lambda x: 1.0 / np.sqrt(x))


@action("ex2")
def power_of_two(decoder: Decoder) -> Action:
    return _unary(decoder, np.exp2)


@action("lg2")
def logarithm(decoder: Decoder) -> Action:
    return _unary(decoder, np.log2)


@action("tanh")
def hyperbolic_tangent(decoder: Decoder) -> Action:
    return _unary(decoder, np.tanh)


@action("sin")
def sine(decoder: Decoder) -> Action:
    return _unary(decoder, np.sin)


@action("cos")
def cosine(decoder: Decoder) -> Action:
    return _unary(decoder, np.cos)


@action("copysign")
def copy_sign(decoder: Decoder) -> Action:
    """The sign of operand 1, the magnitude of operand 2."""
    kind = decoder.type()
    decoder.finish(3)
    a, b, write = decoder.read(1, kind), decoder.read(2, kind), decoder.write(0, kind)
    return lambda machine: write(machine, np.copysign(b(machine), a(machine)))


@action("testp")
def test_property(decoder: Decoder) -> Action:
    kind = decoder.type()
    tests: dict[str, Unary] = {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "number": lambda x: ~np.isnan(x),
        "notanumber": np.isnan,
    }
    chosen = decoder.choose(*tests)
    if not chosen:
        raise decoder.unknown("property")
    decoder.finish(2)
    test, a = tests[chosen], decoder.read_float(1, kind)
    write = decoder.write(0, Type("pred", "pred", 1))
    return lambda machine: write(machine, test(a(machine)))


def convert_float(values: Array, source: Type, target: Type, rounding: str) -> Array:
    """Elements of one floating-point type as elements of another."""
    return from_float(to_float(values, source), target, rounding or "rn")
