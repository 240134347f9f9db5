"""PTX types, and floating-point arithmetic with the roundings that PTX asks for.

Registers hold bits: unsigned integers of 16, 32 or 64 bits (or booleans, for predicates). A `Type` says how an
instruction looks at them. Packed types (f16x2, bf16x2, f32x2) are arrays of shape (lanes, 2), low half first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Type",
    "flush_subnormals",
    "from_float",
    "fused_multiply_add",
    "to_float",
    "to_tf32",
    "type_named",
    "unsigned",
]

Array = NDArray[Any]


@dataclass(frozen=True)
class Type:
    """A type as PTX writes it: `kind` is u, s, b, f (IEEE), bf (bfloat16) or pred; `bits` those of one element."""

    name: str
    kind: str
    bits: int
    count: int = 1

    @cached_property
    def total_bits(self) -> int:
        return self.bits * self.count

    @property
    def is_float(self) -> bool:
        return self.kind in ("f", "bf")

    @cached_property
    def raw(self) -> np.dtype[Any]:
        """Dtype of a whole register of this type."""
        return np.dtype(np.bool_) if self.kind == "pred" else unsigned(self.total_bits)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of one element, as numpy computes with it (bfloat16: its bits)."""
        if self.kind == "pred":
            return np.dtype(np.bool_)
        letter = {"s": "i", "f": "f"}.get(self.kind, "u")
        return np.dtype(f"{letter}{self.bits // 8}")


def unsigned(bits: int) -> np.dtype[Any]:
    """Unsigned integer of that many bits; 128 bits are moved as complex numbers, never computed with."""
    return np.dtype(np.complex128) if bits == 128 else np.dtype(f"u{bits // 8}")


_TYPES = {
    **{f"{kind}{bits}": Type(f"{kind}{bits}", kind, bits) for kind in "usb" for bits in (8, 16, 32, 64)},
    **{f"f{bits}": Type(f"f{bits}", "f", bits) for bits in (16, 32, 64)},
    "bf16": Type("bf16", "bf", 16),
    "tf32": Type("tf32", "f", 32),
    "b128": Type("b128", "b", 128),
    "f16x2": Type("f16x2", "f", 16, 2),
    "bf16x2": Type("bf16x2", "bf", 16, 2),
    "f32x2": Type("f32x2", "f", 32, 2),
    "pred": Type("pred", "pred", 1),
}


_MANTISSA = {("f", 16): 11, ("bf", 16): 8, ("f", 32): 24, ("f", 64): 53}
_SMALLEST_NORMAL = {("f", 16): 2.0**-14, ("bf", 16): 2.0**-126, ("f", 32): 2.0**-126, ("f", 64): 2.0**-1022}


def type_named(name: str) -> Type | None:
    """The type of that name, or None."""
    return _TYPES.get(name)


def _bfloat16_bits(values: Array, rounding: str) -> Array:
    bits = values.view(np.uint32)
    if rounding == "rn":  # half of the last place, and the last bit so that ties go to even
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    elif rounding == "rz":
        rounded = bits >> np.uint32(16)
    else:
        raise NotImplementedError(f"rounding to bfloat16: expected rn or rz, got {rounding}")
    return np.where(np.isnan(values), np.uint32(0x7FFF), rounded).astype(np.uint16)


def _odd(values: Array, error: Array) -> Array:
    """Rounds to odd: the neighbour with an odd last bit, for float64 `values` that are off by `error`.

    A value rounded to odd can be rounded once more, to at most 51 bits, as if it had never been rounded.
    """
    bits = values.view(np.int64)
    inexact = (error != 0) & np.isfinite(values) & ((bits & 1) == 0)
    away = (error > 0) == (values > 0)  # the true value has the larger magnitude
    return np.where(inexact, bits + np.where(away, 1, -1), bits).view(np.float64)


def fused_multiply_add(a: Array, b: Array, c: Array, kind: Type) -> Array:
    """a * b + c in float64, which rounded to `kind` gives what one rounding of the true value gives.

    The product of two factors of at most 24 bits is exact. A second rounding can only go wrong where the rounded sum
    lies on a tie of `kind` (or among its subnormals, whose ties are elsewhere): there the sum is rounded to odd.
    """
    product = np.multiply(a, b, dtype=np.float64)
    total = np.add(product, c, dtype=np.float64)
    cut = 53 - _MANTISSA[kind.kind, kind.bits]
    tie = (total.view(np.uint64) & np.uint64((1 << cut) - 1)) == np.uint64(1 << (cut - 1))
    unsafe = tie | ((np.abs(total) < _SMALLEST_NORMAL[kind.kind, kind.bits]) & (total != 0))
    if not unsafe.any():
        return total
    product, total, wide_c = np.broadcast_arrays(product, total, np.asarray(c, np.float64))
    product, rounded, wide_c = product[unsafe], total[unsafe], wide_c[unsafe]
    part = rounded - product  # Knuth's TwoSum
    total = total.copy()
    total[unsafe] = _odd(rounded, (product - (rounded - part)) + (wide_c - part))
    return total


def to_float(raw: Array, kind: Type) -> Array:
    """Elements of a floating-point type as float32 (float16 and bfloat16 too) or float64, without rounding."""
    if kind.kind == "bf":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return raw.astype(np.float32) if kind.bits == 16 else raw


def from_float(values: Array, kind: Type, rounding: str = "rn") -> Array:
    """Rounds float32 or float64 to the elements of a type (bfloat16: their bits).

    Args:
        values: float32 or float64. From float64 to bfloat16 by way of float32, whose rounding is to odd.
        kind: Type to round to.
        rounding: rn (nearest, ties to even) or rz (towards zero).
    """
    with np.errstate(all="ignore"):
        if kind.kind == "bf":
            if values.dtype == np.float64:
                single = values.astype(np.float32)
                error = values - single.astype(np.float64)
                bits = single.view(np.int32)
                inexact = (error != 0) & np.isfinite(single) & ((bits & 1) == 0)
                step = np.where((error > 0) == (values > 0), 1, -1).astype(np.int32)
                values = np.where(inexact, bits + step, bits).astype(np.int32).view(np.float32)
            return _bfloat16_bits(values, rounding)
        rounded = values.astype(kind.dtype)
        if rounding == "rz" and rounded.dtype.itemsize < values.dtype.itemsize:
            beyond = np.abs(rounded.astype(values.dtype)) > np.abs(values)
            bits = rounded.view(unsigned(kind.bits))
            rounded = np.where(beyond, bits - bits.dtype.type(1), bits).view(kind.dtype)
        elif rounding not in ("rn", "rz"):
            raise NotImplementedError(f"rounding to {kind.name}: expected rn or rz, got {rounding}")
        return rounded


def to_tf32(values: Array, rounding: str) -> Array:
    """float32 rounded to 10 bits of mantissa: rna (nearest, ties away from zero), rn (ties to even) or rz."""
    bits = values.view(np.uint32)
    if rounding == "rna":
        rounded = bits + np.uint32(0x1000)
    elif rounding == "rn":
        rounded = bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    else:
        rounded = bits
    rounded &= np.uint32(0xFFFFE000)
    return np.where(np.isnan(values), np.uint32(0x7FFFFFFF), np.where(np.isinf(values), bits, rounded)).view(np.float32)


def flush_subnormals(values: Array, kind: Type) -> Array:
    """Zero of the same sign instead of numbers that are subnormal in that type."""
    tiny = np.abs(values) < values.dtype.type(_SMALLEST_NORMAL[kind.kind, kind.bits])
    return np.where(tiny, np.copysign(values.dtype.type(0), values), values) if tiny.any() else values
