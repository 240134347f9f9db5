"""Turns the operands and modifiers of one instruction into functions on the machine.

Every decoder of an instruction takes from its modifiers what it knows; what is left over is an error, so that no
modifier is ignored by accident.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tests.cuda.ptx.faults import UnknownInstruction
from tests.cuda.ptx.formats import Array, Type, flush_subnormals, from_float, to_float, type_named
from tests.cuda.ptx.machine import Action, Machine, Step
from tests.cuda.ptx.parser import (
    Address,
    Immediate,
    Instruction,
    Operand,
    Pair,
    Register,
    Sink,
    SpecialRegister,
    Symbol,
    Vector,
)

__all__ = ["ACTIONS", "STEPS", "Decoder", "Reader", "Writer", "action", "immediate_bits", "step"]

Reader = Callable[[Machine], Array]
"""Values of an operand for the executing threads; constants have one element and broadcast."""

Writer = Callable[[Machine, Array], None]

ACTIONS: dict[str, Callable[[Decoder], Action]] = {}
"""Decoders of the instructions that end with the next one."""

STEPS: dict[str, Callable[[Decoder], Step]] = {}
"""Decoders of the instructions that change the program counter; they apply their guards themselves."""


def action(*opcodes: str) -> Callable[[Callable[[Decoder], Action]], Callable[[Decoder], Action]]:
    """Registers the decoder of an instruction that does not branch, wait or end."""

    def register(decode: Callable[[Decoder], Action]) -> Callable[[Decoder], Action]:
        ACTIONS.update(dict.fromkeys(opcodes, decode))
        return decode

    return register


def step(*opcodes: str) -> Callable[[Callable[[Decoder], Step]], Callable[[Decoder], Step]]:
    """Registers the decoder of an instruction that branches, waits or ends."""

    def register(decode: Callable[[Decoder], Step]) -> Callable[[Decoder], Step]:
        STEPS.update(dict.fromkeys(opcodes, decode))
        return decode

    return register


def immediate_bits(text: str, kind: Type) -> int:
    """Bits of a constant as PTX writes it: `0f3F800000`, `0d...`, `0x7F`, `017`, `-1`, `1.5`, `12U`."""
    prefix = text[:2].lower()
    if prefix in ("0f", "0d"):
        width, bits = (32, 64)[prefix == "0d"], int(text[2:], 16)
        if kind.is_float and kind.bits != width:
            value = np.array([bits], f"u{width // 8}").view(f"f{width // 8}")
            return int(from_float(value, kind).view(f"u{kind.bits // 8}")[0])
        return bits
    if "." in text and kind.is_float:
        return int(from_float(np.array([float(text)]), kind).view(f"u{kind.bits // 8}")[0])
    digits = text.rstrip("Uu")
    octal = digits.lstrip("-").isdigit() and digits.lstrip("-").startswith("0")
    return int(digits, 8 if octal else 0) & ((1 << kind.total_bits) - 1)


class Decoder:
    """One instruction while it is decoded; `addresses` are those of the variables and parameters."""

    def __init__(
        self,
        instruction: Instruction,
        addresses: Mapping[str, int],
        labels: Mapping[str, int],
        branch_targets: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.instruction, self.addresses, self.labels = instruction, addresses, labels
        self.branch_targets = branch_targets
        self.modifiers = list(instruction.modifiers)
        self.operands = instruction.operands

    def unknown(self, what: str) -> UnknownInstruction:
        return UnknownInstruction(f"{what} of {self.instruction}")

    # Modifiers

    def take(self, modifier: str) -> bool:
        """Whether the modifier is there; takes it away."""
        if modifier in self.modifiers:
            self.modifiers.remove(modifier)
            return True
        return False

    def choose(self, *modifiers: str) -> str:
        """The one of these modifiers that is there, or an empty string."""
        found = next((modifier for modifier in self.modifiers if modifier in modifiers), "")
        if found:
            self.modifiers.remove(found)
        return found

    def type(self) -> Type:
        """The last modifier, which is a type."""
        kind = type_named(self.modifiers.pop()) if self.modifiers else None
        if kind is None:
            raise self.unknown("type")
        return kind

    def finish(self, *operand_counts: int) -> None:
        """Fails if a modifier is left over, or if there are not as many operands."""
        if self.modifiers:
            raise self.unknown("modifiers ." + ".".join(self.modifiers))
        if operand_counts and len(self.operands) not in operand_counts:
            raise self.unknown("number of operands")

    # Operands

    def operand(self, number: int) -> Operand:
        if number >= len(self.operands):
            raise self.unknown("number of operands")
        return self.operands[number]

    def elements(self, number: int) -> tuple[Operand, ...]:
        """The operands in braces, or the operand itself."""
        operand = self.operand(number)
        return operand.elements if isinstance(operand, Vector) else (operand,)

    def constant(self, number: int) -> int:
        """A constant operand that the instruction needs to be constant."""
        operand = self.operand(number)
        if not isinstance(operand, Immediate):
            raise self.unknown("constant operand")
        return int(operand.text, 0)

    def read(self, number: int, kind: Type) -> Reader:
        """Reader of an operand; see `reader`."""
        return self.reader(self.operand(number), kind)

    def write(self, number: int, kind: Type) -> Writer:
        """Writer of an operand; see `writer`."""
        return self.writer(self.operand(number), kind)

    def reader(self, operand: Operand, kind: Type) -> Reader:
        """Reads elements of `kind.dtype`, shape (lanes,) or, for packed types, (lanes, count)."""
        if isinstance(operand, Register):
            return self._register_reader(operand, kind)
        if isinstance(operand, SpecialRegister):
            name = operand.name

            def read_special(machine: Machine) -> Array:
                if name not in machine.special:
                    raise UnknownInstruction(f"register {name} of {machine.instruction}")
                return machine.current(machine.special[name]).astype(kind.dtype)

            return read_special
        if isinstance(operand, Immediate):
            bits = immediate_bits(operand.text, kind)
            if kind.kind == "pred":
                constant = np.array([bits != 0])
            else:
                constant = np.array([bits], kind.raw).view(kind.dtype)
                constant = constant.reshape(1, kind.count) if kind.count > 1 else constant
            return lambda machine: constant
        if isinstance(operand, Symbol) and operand.name in self.addresses:
            address = np.array([self.addresses[operand.name]], kind.dtype)
            return lambda machine: address
        raise self.unknown(f"operand {operand}")

    def _register_reader(self, register: Register, kind: Type) -> Reader:
        index, dtype, count = register.index, kind.dtype, kind.count
        if (register.type.kind == "pred") != (kind.kind == "pred"):
            raise self.unknown("predicate operand")
        if kind.kind == "pred":
            if register.negated:
                return lambda machine: ~machine.current(machine.registers[index])
            return lambda machine: machine.current(machine.registers[index])
        if register.type.total_bits < kind.total_bits:
            raise self.unknown(f"operand of {register.type.total_bits} bits")
        if register.type.total_bits > kind.total_bits:
            raw = kind.raw
            return lambda machine: machine.current(machine.registers[index]).astype(raw).view(dtype)
        if count > 1:
            return lambda machine: machine.current(machine.registers[index]).view(dtype).reshape(-1, count)
        return lambda machine: machine.current(machine.registers[index]).view(dtype)

    def writer(self, operand: Operand, kind: Type) -> Writer:
        """Writes elements of `kind.dtype`; a wider register gets them extended, by their sign if they have one."""
        if isinstance(operand, Sink):
            return lambda machine, values: None
        if not isinstance(operand, Register) or (operand.type.kind == "pred") != (kind.kind == "pred"):
            raise self.unknown("destination")
        index, dtype, raw, count = operand.index, kind.dtype, kind.raw, kind.count
        if kind.kind == "pred" or (operand.type.total_bits == kind.total_bits and kind.kind in "ub" and count == 1):
            return lambda machine, values: machine.assign(machine.registers[index], values)
        if operand.type.total_bits < kind.total_bits:
            raise self.unknown(f"destination of {operand.type.total_bits} bits")
        if operand.type.total_bits > kind.total_bits:
            wide = np.dtype(f"{'i' if kind.kind == 's' else 'u'}{operand.type.total_bits // 8}")
            narrow = dtype if kind.kind == "s" else raw

            def write_wide(machine: Machine, values: Array) -> None:
                values = np.ascontiguousarray(values).view(narrow).astype(wide)
                machine.assign(machine.registers[index], values.view(f"u{wide.itemsize}"))

            return write_wide

        def write(machine: Machine, values: Array) -> None:
            bits = np.ascontiguousarray(values, dtype).view(raw)
            machine.assign(machine.registers[index], bits[:, 0] if count > 1 else bits)

        return write

    def read_float(self, number: int, kind: Type, *, flush: bool = False) -> Reader:
        """Reads a floating-point operand as float32 or float64; with `flush`, subnormal numbers as zeros."""
        read = self.read(number, kind)
        if flush:
            return lambda machine: flush_subnormals(to_float(read(machine), kind), kind)
        if kind.kind == "f" and kind.bits >= 32:
            return read
        return lambda machine: to_float(read(machine), kind)

    def write_float(self, number: int, kind: Type, *, flush: bool = False, saturate: bool = False) -> Writer:
        """Rounds float32 or float64 to the type and writes; with `saturate`, to [0, 1], and NaN to 0."""
        write = self.write(number, kind)

        def write_rounded(machine: Machine, values: Array) -> None:
            if saturate:
                values = np.where(np.isnan(values), values.dtype.type(0), np.clip(values, 0, 1))
            if flush:
                values = flush_subnormals(values, kind)
            write(machine, from_float(values, kind))

        return write_rounded

    def pair(self, number: int) -> tuple[Operand, Operand | None]:
        """The operands of `a|b`, or the operand and None."""
        operand = self.operand(number)
        return (operand.first, operand.second) if isinstance(operand, Pair) else (operand, None)

    def address(self, number: int) -> Reader:
        """Reads an address operand: uint64."""
        operand = self.operand(number)
        if not isinstance(operand, Address):
            raise self.unknown("address")
        if isinstance(operand.base, Register):
            bits = operand.base.type.total_bits
            read = self.reader(operand.base, Type(f"u{bits}", "u", bits))
            offset = np.array(operand.offset & ((1 << bits) - 1), f"u{bits // 8}")
            return lambda machine: (read(machine) + offset).astype(np.uint64)
        address = np.uint64(self.constant_address(operand))
        return lambda machine: np.full(machine.count, address)

    def constant_address(self, operand: Address) -> int:
        """Address that depends on no register."""
        if isinstance(operand.base, Symbol) and operand.base.name in self.addresses:
            return self.addresses[operand.base.name] + operand.offset
        if isinstance(operand.base, Immediate):
            return int(operand.base.text, 0) + operand.offset
        raise self.unknown(f"address {operand}")
