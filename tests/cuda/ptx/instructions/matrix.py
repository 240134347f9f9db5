"""Matrix instructions of a warp: `ldmatrix`, `stmatrix`, `movmatrix` and `mma`, with the layouts of the PTX ISA.

With g = lane / 4 and t = lane % 4, and p elements of a fragment in a register of 32 bits, register i holds

    A (16 x K): row g + 8 (i & 1),  column p t + e + 4 p (i >> 1)
    B (K x 8):  row p t + e + 4 p i, column g
    C, D (16 x 8), 32-bit elements: row g + 8 (i >> 1), column 2 t + (i & 1)
    C, D (16 x 8), 16-bit elements: row g + 8 i,        column 2 t + e

for its elements e = 0 .. p - 1, the first in the lowest bits.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tests.cuda.ptx.decoder import Decoder, Reader, Writer, action
from tests.cuda.ptx.formats import Array, Type, from_float, to_float, type_named
from tests.cuda.ptx.machine import WARP, Action, Machine

_B32 = Type("b32", "b", 32)
_BITS = {"f16": 16, "bf16": 16, "tf32": 32, "s8": 8, "u8": 8}


def _thread_rows() -> Array:
    """Positions (lane, element) of 16-bit elements of an 8 x 8 matrix in the lanes' registers: row 8, column 8."""
    lane, element = np.divmod(np.arange(64), 2)
    position = np.empty((8, 8), np.intp)
    position[lane // 4, lane % 4 * 2 + element] = np.arange(64)
    return position


_MATRIX_8X8 = _thread_rows()


@action("ldmatrix")
def load_matrix(decoder: Decoder) -> Action:
    """Loads 1, 2 or 4 matrices of 8 x 8 16-bit elements; lane 8 m + r has the address of row r of matrix m."""
    count, transposed = _matrix_modifiers(decoder)
    writers = [decoder.writer(element, _B32) for element in decoder.elements(0)]
    if len(writers) != count:
        raise decoder.unknown("number of destinations")
    address = decoder.address(1)

    def run(machine: Machine) -> None:
        warps = machine.whole_warps()
        rows = address(machine).astype(np.int64).reshape(warps.shape)[:, : 8 * count]
        loaded = machine.load_shared(warps[:, : 8 * count].ravel(), rows.ravel(), 16)
        matrices = loaded.view(np.uint16).reshape(len(warps), count, 8, 8)
        if transposed:
            matrices = matrices.swapaxes(2, 3)
        registers = np.empty((len(warps), count, 64), np.uint16)
        registers[:, :, _MATRIX_8X8] = matrices
        for at, write in enumerate(writers):
            write(machine, np.ascontiguousarray(registers[:, at]).view(np.uint32).ravel())

    return run


@action("stmatrix")
def store_matrix(decoder: Decoder) -> Action:
    """The reverse of `ldmatrix`."""
    count, transposed = _matrix_modifiers(decoder)
    readers = [decoder.reader(element, _B32) for element in decoder.elements(1)]
    if len(readers) != count:
        raise decoder.unknown("number of sources")
    address = decoder.address(0)

    def run(machine: Machine) -> None:
        warps = machine.whole_warps()
        rows = address(machine).astype(np.int64).reshape(warps.shape)[:, : 8 * count]
        registers = _gather(machine, readers, len(warps)).view(np.uint16).reshape(len(warps), count, 64)
        matrices = registers[:, :, _MATRIX_8X8]
        if transposed:
            matrices = matrices.swapaxes(2, 3)
        values = np.ascontiguousarray(matrices).view(np.complex128).ravel()
        machine.store_shared(warps[:, : 8 * count].ravel(), rows.ravel(), values)

    return run


def _matrix_modifiers(decoder: Decoder) -> tuple[int, bool]:
    kind = decoder.type()
    for modifier in ("sync", "aligned", "m8n8"):
        if not decoder.take(modifier):
            raise decoder.unknown("shape")
    decoder.choose("shared", "shared::cta")
    count = decoder.choose("x1", "x2", "x4")
    transposed = decoder.take("trans")
    decoder.finish(2)
    if kind.name != "b16" or not count:
        raise decoder.unknown("shape")
    return int(count[1:]), transposed


@action("movmatrix")
def move_matrix(decoder: Decoder) -> Action:
    """Transposes an 8 x 8 matrix of 16-bit elements in registers."""
    decoder.type()
    for modifier in ("sync", "aligned", "m8n8", "trans"):
        decoder.take(modifier)
    decoder.finish(2)
    read, write = decoder.read(1, _B32), decoder.write(0, _B32)

    def run(machine: Machine) -> None:
        warps = machine.whole_warps()
        elements = _gather(machine, [read], len(warps)).view(np.uint16).reshape(len(warps), 64)
        moved = np.empty_like(elements)
        moved[:, _MATRIX_8X8.T] = elements[:, _MATRIX_8X8]
        write(machine, moved.view(np.uint32).ravel())

    return run


def _gather(machine: Machine, readers: list[Reader], warps: int) -> Array:
    """Registers of whole warps: (warps, registers, 32) uint32."""
    values = np.empty((warps, len(readers), WARP), np.uint32)
    for at, read in enumerate(readers):
        values[:, at] = np.broadcast_to(read(machine), (warps * WARP,)).reshape(warps, WARP)
    return values


def _positions(registers: int, bits: int) -> tuple[Array, Array, Array, Array]:
    """Of every element in the registers of a warp, in memory order: register, lane / 4, lane % 4, element."""
    register, lane, element = np.unravel_index(
        np.arange(registers * WARP * (32 // bits)), (registers, WARP, 32 // bits)
    )
    return register, lane // 4, lane % 4, element


@cache
def _layout_a(k: int, bits: int) -> Array:
    """Position in the registers of each element of A, (16, k)."""
    packed = 32 // bits
    register, g, t, element = _positions(16 * k * bits // 1024, bits)
    position = np.empty((16, k), np.intp)
    position[g + 8 * (register & 1), packed * t + element + 4 * packed * (register >> 1)] = np.arange(16 * k)
    return position


@cache
def _layout_b(k: int, bits: int) -> Array:
    """Position of each element of B, (k, 8)."""
    packed = 32 // bits
    register, g, t, element = _positions(8 * k * bits // 1024, bits)
    position = np.empty((k, 8), np.intp)
    position[packed * t + element + 4 * packed * register, g] = np.arange(8 * k)
    return position


@cache
def _layout_c(bits: int) -> Array:
    """Position of each element of C or D, (16, 8)."""
    register, g, t, element = _positions(16 * 8 * bits // 1024, bits)
    position = np.empty((16, 8), np.intp)
    if bits == 32:
        position[g + 8 * (register >> 1), 2 * t + (register & 1)] = np.arange(128)
    else:
        position[g + 8 * register, 2 * t + element] = np.arange(128)
    return position


_SHAPES = {
    ("f16", "m16n8k8"), ("f16", "m16n8k16"), ("bf16", "m16n8k8"), ("bf16", "m16n8k16"), ("tf32", "m16n8k4"),
    ("tf32", "m16n8k8"), ("s8", "m16n8k16"), ("s8", "m16n8k32"), ("u8", "m16n8k16"), ("u8", "m16n8k32"),
}  # fmt: skip


@action("mma")
def multiply_accumulate(decoder: Decoder) -> Action:
    """D = A B + C; floating-point products are summed in float32, C first, in increasing k."""
    kinds = [type_named(decoder.modifiers.pop()) for _ in range(4) if decoder.modifiers]
    kind_c, kind_b, kind_a, kind_d = kinds if len(kinds) == 4 else (None,) * 4
    if kind_a is None or kind_b is None or kind_c is None or kind_d is None or kind_c != kind_d:
        raise decoder.unknown("types")
    for modifier in ("sync", "aligned", "row", "col"):
        if not decoder.take(modifier):
            raise decoder.unknown("layout")
    saturate = decoder.take("satfinite")
    shape = decoder.choose("m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32")
    decoder.finish(4)
    integer = kind_a.name in ("s8", "u8")
    if (kind_a.name, shape) not in _SHAPES or (kind_b.name, shape) not in _SHAPES or saturate:
        raise decoder.unknown("shape")
    if kind_c.name != "s32" if integer else (kind_c.name not in ("f32", "f16") or kind_a != kind_b):
        raise decoder.unknown("types")
    k, bits = int(shape[6:]), _BITS[kind_a.name]
    fragments = [
        (_fragment_readers(decoder, 1, 16 * k * bits // 1024), kind_a, _layout_a(k, bits)),
        (_fragment_readers(decoder, 2, 8 * k * bits // 1024), kind_b, _layout_b(k, bits)),
        (_fragment_readers(decoder, 3, 16 * 8 * kind_c.bits // 1024), kind_c, _layout_c(kind_c.bits)),
    ]
    writers = [decoder.writer(element, _B32) for element in decoder.elements(0)]
    layout_d = _layout_c(kind_d.bits)
    accumulate = _accumulate_integers if integer else _accumulate_floats

    def run(machine: Machine) -> None:
        warps = len(machine.whole_warps())
        a, b, c = (_matrix(machine, readers, kind, layout, warps) for readers, kind, layout in fragments)
        _scatter(machine, writers, accumulate(a, b, c), kind_d, layout_d)

    return run


def _fragment_readers(decoder: Decoder, number: int, count: int) -> list[Reader]:
    elements = decoder.elements(number)
    if len(elements) != count:
        raise decoder.unknown(f"{len(elements)} registers of operand {number}")
    return [decoder.reader(element, _B32) for element in elements]


def _matrix(machine: Machine, readers: list[Reader], kind: Type, layout: Array, warps: int) -> Array:
    """A fragment as matrices, (warps, rows, columns): float32, or int32 for integers."""
    elements = _gather(machine, readers, warps).view(kind.dtype).reshape(warps, -1)[:, layout]
    if kind.name == "tf32":  # the hardware does not look at the lower bits of the mantissa
        return (elements.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return to_float(elements, kind) if kind.is_float else elements.astype(np.int32)


def _accumulate_floats(a: Array, b: Array, c: Array) -> Array:
    total = c.copy()
    for k in range(a.shape[2]):
        total += a[:, :, k : k + 1] * b[:, k : k + 1]  # exact products
    return total


def _accumulate_integers(a: Array, b: Array, c: Array) -> Array:
    return c + np.einsum("wik,wkj->wij", a, b)


def _scatter(machine: Machine, writers: list[Writer], matrices: Array, kind: Type, layout: Array) -> None:
    registers = np.empty((len(matrices), layout.size), kind.dtype)
    registers[:, layout] = from_float(matrices, kind) if kind.is_float else matrices
    words = registers.view(np.uint32).reshape(len(matrices), len(writers), WARP)
    for at, write in enumerate(writers):
        write(machine, words[:, at].ravel())
