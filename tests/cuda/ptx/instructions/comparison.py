"""Comparisons and choices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.ptx.decoder import Decoder, action
from tests.cuda.ptx.formats import Array, Type, type_named
from tests.cuda.ptx.machine import Action, Machine

_PRED = Type("pred", "pred", 1)
_COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
_BOOLEAN: dict[str, Callable[[Array, Array], Array]] = {
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
}


def _comparison(name: str, kind: Type) -> Callable[[Array, Array], Array] | None:
    """The comparison of that name: a name that ends in u also holds where an operand is NaN, the others do not."""
    if name in ("num", "nan") and kind.is_float:
        return lambda a, b: (np.isnan(a) | np.isnan(b)) == (name == "nan")
    if not kind.is_float:
        return _COMPARE.get(_UNSIGNED.get(name, name))
    unordered = len(name) == 3 and name.endswith("u")
    compare = _COMPARE.get(name[:2] if unordered else name)
    if compare is None:
        return None
    if unordered:
        return lambda a, b: compare(a, b) | np.isnan(a) | np.isnan(b)
    if name == "ne":
        return lambda a, b: (a < b) | (a > b)
    return compare


def _decode_comparison(decoder: Decoder, kind: Type) -> Callable[[Machine], Array]:
    """Takes the modifiers of a comparison of operands 1 and 2, maybe joined with the predicate operand 3."""
    flush = decoder.take("ftz")
    join = _BOOLEAN.get(decoder.choose(*_BOOLEAN))
    compare = _comparison(decoder.modifiers.pop(0), kind) if decoder.modifiers else None
    if compare is None:
        raise decoder.unknown("comparison")
    decoder.finish(4 if join else 3)
    if kind.is_float:
        a, b = decoder.read_float(1, kind, flush=flush), decoder.read_float(2, kind, flush=flush)
    else:
        a, b = decoder.read(1, kind), decoder.read(2, kind)
    if join is None:
        return lambda machine: compare(a(machine), b(machine))
    other = decoder.read(3, _PRED)

    def joined(machine: Machine) -> Array:
        result, more = compare(a(machine), b(machine)), other(machine)
        return join(result, more[:, None] if result.ndim == 2 else more)

    return joined


@action("setp")
def set_predicate(decoder: Decoder) -> Action:
    """`p|q`: for packed types the two halves; else q is the opposite comparison, joined with the same predicate."""
    kind = decoder.type()
    first, second = decoder.pair(0)
    if second is not None and kind.count == 1:
        raise decoder.unknown("second destination")
    compare = _decode_comparison(decoder, kind)
    write = decoder.writer(first, _PRED)
    if second is None:
        return lambda machine: write(machine, compare(machine))
    write_second = decoder.writer(second, _PRED)

    def run(machine: Machine) -> None:
        result = compare(machine)
        write(machine, result[:, 0])
        write_second(machine, result[:, 1])

    return run


@action("set")
def set_value(decoder: Decoder) -> Action:
    """All bits set, or 1.0, where the comparison holds, else zero."""
    kind = decoder.type()
    result_name = decoder.modifiers.pop()
    result = type_named(result_name)
    if result is None or result.count != kind.count:
        raise decoder.unknown("type of the result")
    compare = _decode_comparison(decoder, kind)
    if result.is_float:
        write_float = decoder.write_float(0, result)
        return lambda machine: write_float(machine, compare(machine).astype(np.float32))
    write = decoder.write(0, result)
    return lambda machine: write(machine, np.where(compare(machine), -1, 0).astype(result.dtype))


@action("selp")
def select(decoder: Decoder) -> Action:
    kind = decoder.type()
    decoder.finish(4)
    a, b, p = decoder.read(1, kind), decoder.read(2, kind), decoder.read(3, _PRED)
    write = decoder.write(0, kind)
    return lambda machine: write(machine, np.where(p(machine), a(machine), b(machine)))
