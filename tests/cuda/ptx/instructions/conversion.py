"""`cvt`, and `cvta`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.ptx.decoder import Decoder, action
from tests.cuda.ptx.formats import Array, Type, flush_subnormals, from_float, to_tf32, type_named
from tests.cuda.ptx.machine import Action, Machine

_TO_INTEGER: dict[str, Callable[[Array], Array]] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}

SHARED_WINDOW = 1 << 62
LOCAL_WINDOW = 3 << 61
"""Generic addresses of shared and local memory; host addresses are below 2**48."""


@action("cvt")
def convert(decoder: Decoder) -> Action:
    source = decoder.type()
    target = type_named(decoder.modifiers.pop()) if decoder.modifiers else None
    if target is None:
        raise decoder.unknown("type")
    to_integer = _TO_INTEGER.get(decoder.choose(*_TO_INTEGER))
    rounding = decoder.choose("rn", "rz", "rna")
    flush, saturate, relu = decoder.take("ftz"), decoder.take("sat"), decoder.take("relu")
    if target.count == 2 and source.name == "f32":
        return _convert_pair(decoder, target, rounding, relu)
    decoder.finish(2)
    if target.count != 1 or source.count != 1:
        raise decoder.unknown("packed type")
    if not source.is_float:
        return _convert_integer(decoder, source, target, rounding, saturate)
    read = decoder.read_float(1, source, flush=flush)
    if not target.is_float:
        if to_integer is None:
            raise decoder.unknown("rounding")
        return _convert_to_integer(decoder, read, source, target, to_integer)
    return _convert_float(decoder, read, target, to_integer, rounding, flush, saturate, relu)


def _convert_pair(decoder: Decoder, target: Type, rounding: str, relu: bool) -> Action:
    """Two float32: operand 1 becomes the upper half, operand 2 the lower."""
    decoder.finish(3)
    single = Type("f32", "f", 32)
    upper, lower, write = decoder.read(1, single), decoder.read(2, single), decoder.write(0, target)

    def run(machine: Machine) -> None:
        values = np.stack(np.broadcast_arrays(lower(machine), upper(machine)), 1)
        if relu:
            values = np.where(values < 0, np.float32(0), values)
        write(machine, from_float(values, target, rounding or "rn"))

    return run


def _convert_integer(decoder: Decoder, source: Type, target: Type, rounding: str, saturate: bool) -> Action:
    read, write = decoder.read(1, source), decoder.write(0, target)
    if target.is_float:
        # through float64, which holds 53 bits of them
        if source.bits == 64:
            return lambda machine: write(machine, read(machine).astype(target.dtype))
        return lambda machine: write(machine, from_float(read(machine).astype(np.float64), target, rounding or "rn"))
    if saturate:
        limits = np.iinfo(target.dtype)
        low = max(limits.min, np.iinfo(source.dtype).min)
        high = min(limits.max, np.iinfo(source.dtype).max)
        return lambda machine: write(machine, np.clip(read(machine), low, high).astype(target.dtype))
    return lambda machine: write(machine, read(machine).astype(target.dtype))


def _convert_to_integer(
    decoder: Decoder, read: Callable[[Machine], Array], source: Type, target: Type, to_integer: Callable[[Array], Array]
) -> Action:
    """Out of range: the nearest number. NaN: zero, for 64 bits only the highest bit set."""
    write = decoder.write(0, target)
    limits = np.iinfo(target.dtype)
    wide = 64 in (source.bits, target.bits)
    of_nan = (1 << (target.bits - 1)) if wide else 0
    nan = np.array([of_nan], f"u{target.bits // 8}").view(target.dtype)

    def run(machine: Machine) -> None:
        values = to_integer(read(machine).astype(np.float64))
        inside = np.where(np.isnan(values) | (values < limits.min) | (values > limits.max), 0, values)
        result = np.where(values >= float(limits.max), limits.max, inside.astype(target.dtype))
        result = np.where(values <= float(limits.min), limits.min, result)
        write(machine, np.where(np.isnan(values), nan, result).astype(target.dtype))

    return run


def _convert_float(
    decoder: Decoder,
    read: Callable[[Machine], Array],
    target: Type,
    to_integer: Callable[[Array], Array] | None,
    rounding: str,
    flush: bool,
    saturate: bool,
    relu: bool,
) -> Action:
    if target.name == "tf32":
        write_bits = decoder.write(0, target)
        return lambda machine: write_bits(machine, to_tf32(read(machine), rounding or "rna"))
    if rounding == "rna":
        raise decoder.unknown("rounding")
    write = decoder.write(0, target)

    def run(machine: Machine) -> None:
        values = read(machine)
        if to_integer is not None:
            values = to_integer(values)
        if saturate:
            values = np.where(np.isnan(values), values.dtype.type(0), np.clip(values, 0, 1))
        if relu:
            values = np.where(values < 0, values.dtype.type(0), values)
        if flush and target.bits == 32:
            values = flush_subnormals(values, target)
        write(machine, from_float(values, target, rounding or "rn"))

    return run


@action("cvta")
def convert_address(decoder: Decoder) -> Action:
    """Between generic addresses and those of a state space."""
    kind = decoder.type()
    back = decoder.take("to")
    space = decoder.choose("global", "shared", "shared::cta", "const", "local")
    decoder.finish(2)
    if not space or kind.bits != 64:
        raise decoder.unknown("state space")
    window = {"shared": SHARED_WINDOW, "shared::cta": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(space, 0)
    offset = np.uint64(-window % (1 << 64) if back else window)
    a, write = decoder.read(1, kind), decoder.write(0, kind)
    return lambda machine: write(machine, a(machine) + offset)
