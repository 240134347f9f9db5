"""`mov`, loads and stores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.ptx.decoder import Decoder, action
from tests.cuda.ptx.faults import OutOfBounds
from tests.cuda.ptx.formats import Array, Type, unsigned
from tests.cuda.ptx.instructions.conversion import LOCAL_WINDOW, SHARED_WINDOW
from tests.cuda.ptx.machine import Action, Machine
from tests.cuda.ptx.parser import Address, Register, Vector

_SPACES = ("param", "global", "shared", "shared::cta", "const", "local")
_CACHING = ("nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak", "volatile", "relaxed", "gpu", "cta", "sys")
# whole vectors of 1 to 16 bytes move as one unsigned integer (16 bytes: complex128)
_LARGEST = 16


@action("mov")
def move(decoder: Decoder) -> Action:
    kind = decoder.type()
    decoder.finish(2)
    if isinstance(decoder.operand(1), Vector):
        return _pack(decoder, kind)
    if isinstance(decoder.operand(0), Vector):
        return _unpack(decoder, kind)
    a, write = decoder.read(1, kind), decoder.write(0, kind)
    return lambda machine: write(machine, a(machine))


def _part(decoder: Decoder, kind: Type, count: int) -> Type:
    bits = kind.total_bits // count
    if bits not in (8, 16, 32):
        raise decoder.unknown("number of elements")
    return Type(f"b{bits}", "b", bits)


def _pack(decoder: Decoder, kind: Type) -> Action:
    elements = decoder.elements(1)
    part = _part(decoder, kind, len(elements))
    readers = [decoder.reader(element, part) for element in elements]
    write = decoder.write(0, Type(f"b{kind.total_bits}", "b", kind.total_bits))

    def run(machine: Machine) -> None:
        columns = np.stack(np.broadcast_arrays(*(read(machine) for read in readers)), 1)
        write(machine, columns.view(kind.raw)[:, 0])

    return run


def _unpack(decoder: Decoder, kind: Type) -> Action:
    elements = decoder.elements(0)
    part = _part(decoder, kind, len(elements))
    read = decoder.read(1, Type(f"b{kind.total_bits}", "b", kind.total_bits))
    writers = [decoder.writer(element, part) for element in elements]

    def run(machine: Machine) -> None:
        # copied, as the source may be one of the destinations
        columns = np.array(read(machine)).view(part.dtype).reshape(-1, len(writers))
        for at, write in enumerate(writers):
            write(machine, columns[:, at])

    return run


def _access(decoder: Decoder) -> tuple[str, Type, int]:
    """Takes state space, type and number of elements of a load or store."""
    kind = decoder.type()
    space = decoder.choose(*_SPACES).removesuffix("::cta")
    count = int((decoder.choose("v2", "v4", "v8") or "v1")[1:])
    decoder.modifiers = [
        name for name in decoder.modifiers if name not in _CACHING and not name.startswith(("L1::", "L2::"))
    ]
    decoder.finish(2)
    if kind.total_bits // 8 * count > _LARGEST or kind.kind == "pred":
        raise decoder.unknown("size")
    return space, kind, count


def _split_generic(machine: Machine, addresses: Array) -> tuple[str, Array]:
    """State space of generic addresses, which has to be one for all threads, and their addresses in it."""
    windows = addresses >> np.uint64(61)
    if (windows != windows[0]).any():
        raise machine.fault(OutOfBounds, 0, "generic addresses in several state spaces at once")
    start = int(windows[0]) << 61
    space = {SHARED_WINDOW: "shared", LOCAL_WINDOW: "local"}.get(start, "global")
    return space, addresses - np.uint64(start)


def _load_from(machine: Machine, space: str, addresses: Array, width: int) -> Array:
    if space == "":
        space, addresses = _split_generic(machine, addresses)
    if space in ("global", "const"):
        return machine.load_global(machine.index, addresses, width)
    if space == "shared":
        return machine.load_shared(machine.index, addresses.astype(np.int64), width)
    if space == "local":
        return machine.load_local(machine.index, addresses.astype(np.int64), width)
    rows = addresses.astype(np.int64)[:, None] + np.arange(width)
    if (rows >= len(machine.parameters)).any():
        raise machine.fault(OutOfBounds, 0, f"parameter at {int(rows.max())} of {len(machine.parameters)} bytes")
    return machine.parameters[rows].view(unsigned(8 * width))[:, 0]


def _store_to(machine: Machine, space: str, addresses: Array, values: Array) -> None:
    if space == "":
        space, addresses = _split_generic(machine, addresses)
    if space == "global":
        machine.store_global(machine.index, addresses, values)
    elif space == "shared":
        machine.store_shared(machine.index, addresses.astype(np.int64), values)
    elif space == "local":
        machine.store_local(machine.index, addresses.astype(np.int64), values)
    else:
        raise machine.fault(OutOfBounds, 0, f"store to {space} memory")


@action("ld")
def load(decoder: Decoder) -> Action:
    space, kind, count = _access(decoder)
    elements = decoder.elements(0)
    if len(elements) != count:
        raise decoder.unknown("number of destinations")
    writers = [decoder.writer(element, kind) for element in elements]
    width = kind.total_bits // 8 * count
    operand = decoder.operand(1)
    if space == "param" and isinstance(operand, Address) and not isinstance(operand.base, Register):
        return _load_parameter(decoder.constant_address(operand), width, kind, writers)
    address = decoder.address(1)

    def run(machine: Machine) -> None:
        raw = _load_from(machine, space, address(machine), width)
        if count == 1:
            writers[0](machine, raw.view(kind.dtype))
            return
        columns = np.ascontiguousarray(raw).view(kind.dtype).reshape(-1, count)
        for at, write in enumerate(writers):
            write(machine, columns[:, at])

    return run


def _load_parameter(start: int, width: int, kind: Type, writers: list[Callable[[Machine, Array], None]]) -> Action:
    def run(machine: Machine) -> None:
        if start + width > len(machine.parameters):
            raise machine.fault(OutOfBounds, 0, f"parameter at {start} of {len(machine.parameters)} bytes")
        values = machine.parameters[start : start + width].copy().view(kind.dtype)
        for at, write in enumerate(writers):
            write(machine, values[at : at + 1])

    return run


@action("st")
def store(decoder: Decoder) -> Action:
    space, kind, count = _access(decoder)
    elements = decoder.elements(1)
    if len(elements) != count:
        raise decoder.unknown("number of sources")
    bits = Type(f"b{kind.total_bits}", "b", kind.total_bits)
    readers = [decoder.reader(element, bits) for element in elements]
    address, raw = decoder.address(0), unsigned(kind.total_bits * count)

    def run(machine: Machine) -> None:
        columns = np.empty((machine.count, count), bits.dtype)
        for at, read in enumerate(readers):
            columns[:, at] = read(machine)
        _store_to(machine, space, address(machine), columns.view(raw)[:, 0])

    return run
