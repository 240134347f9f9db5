"""An entry, ready to run: every instruction decoded, every variable placed."""

from __future__ import annotations

import numpy as np

# the registers of decoders are filled by the import of their modules
import tests.cuda.ptx.instructions  # noqa: F401
from tests.cuda.ptx.asynchronous import AsynchronousCopies
from tests.cuda.ptx.decoder import ACTIONS, STEPS, Decoder
from tests.cuda.ptx.faults import UnknownInstruction
from tests.cuda.ptx.formats import Array, type_named
from tests.cuda.ptx.machine import Machine, Step
from tests.cuda.ptx.memory import Memory
from tests.cuda.ptx.parser import Entry, Immediate, Instruction, Module, Register, Variable

__all__ = ["Program"]


class Program:
    """A decoded entry.

    Attributes:
        shared_static: Bytes of static shared memory, in front of the dynamic shared memory.
        local_bytes: Bytes of local memory of a thread.
        granule: Bytes of the smallest access to shared memory.
        copies: Whether it copies asynchronously.
        executed: Of each instruction, whether any thread has come to it.
    """

    def __init__(self, module: Module, entry: Entry) -> None:
        self.entry = entry
        self._constants: dict[str, Array] = {}
        addresses: dict[str, int] = dict(entry.parameters)
        variables = [*module.variables.values(), *entry.variables.values()]
        self.shared_static = _place([v for v in variables if v.space == "shared" and v.size], addresses)
        for variable in variables:
            if variable.space == "shared" and not variable.size:
                self.shared_static = _aligned(self.shared_static, variable.alignment)
        for variable in variables:
            if variable.space == "shared" and not variable.size:
                addresses[variable.name] = self.shared_static
            elif variable.space in ("global", "const"):
                addresses[variable.name] = self._constant(variable)
        self.local_bytes = _place([v for v in variables if v.space == "local"], addresses)
        if unknown := next((kind for kind in entry.registers if kind.kind != "pred" and kind.total_bits > 64), None):
            raise UnknownInstruction(f"{entry.name}: register of {unknown.total_bits} bits")
        self.steps: list[Step] = [
            _decode(Decoder(instruction, addresses, entry.labels, entry.branch_targets))
            for instruction in entry.instructions
        ]
        self.executed = [False] * len(self.steps)
        self.granule = min((width for i in entry.instructions if (width := _shared_width(i))), default=16)
        self.copies = any(i.opcode == "cp" for i in entry.instructions)

    def new_copies(self, size: int) -> AsynchronousCopies:
        """State of the asynchronous copies of that many threads."""
        return AsynchronousCopies(size)

    def add_constants(self, memory: Memory) -> Memory:
        """The memory with the module's own variables added."""
        if not self._constants:
            return memory
        memory = memory.clone()
        for name, data in self._constants.items():
            memory.register(data, name=name)
        return memory

    def _constant(self, variable: Variable) -> int:
        # allocated as complex128, so that its address is a multiple of 16
        data = np.zeros((max(variable.size, 1) + 15) // 16, np.complex128).view(np.uint8)[: variable.size]
        if variable.data is not None:
            data[: len(variable.data)] = np.frombuffer(variable.data, np.uint8)
        self._constants[variable.name] = data
        return data.ctypes.data


def _aligned(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) // alignment * alignment


def _place(variables: list[Variable], addresses: dict[str, int]) -> int:
    offset = 0
    for variable in variables:
        offset = _aligned(offset, variable.alignment)
        addresses[variable.name] = offset
        offset += variable.size
    return offset


def _decode(decoder: Decoder) -> Step:
    instruction = decoder.instruction
    if instruction.opcode in STEPS:
        return STEPS[instruction.opcode](decoder)
    if instruction.opcode not in ACTIONS:
        raise UnknownInstruction(f"opcode of {instruction}")
    run = ACTIONS[instruction.opcode](decoder)
    if instruction.guard is None:

        def always(machine: Machine, counter: int) -> int:
            run(machine)
            return counter + 1

        return always
    condition = decoder.reader(_guard(instruction), instruction.guard.type)

    def guarded(machine: Machine, counter: int) -> int:
        machine.run_where(condition(machine), run)
        return counter + 1

    return guarded


def _guard(instruction: Instruction) -> Register:
    if instruction.guard is None:
        raise UnknownInstruction(f"predicate of {instruction}")
    return instruction.guard


def _shared_width(instruction: Instruction) -> int:
    """Bytes of an access that may go to shared memory, 0 for other instructions."""
    if instruction.opcode in ("ldmatrix", "stmatrix"):
        return 16
    if instruction.opcode == "cp" and len(instruction.operands) > 2 and isinstance(instruction.operands[2], Immediate):
        return int(instruction.operands[2].text, 0)
    if instruction.opcode not in ("ld", "st") or {"global", "param", "const", "local"} & set(instruction.modifiers):
        return 0
    kind = type_named(instruction.modifiers[-1])
    count = next((int(m[1:]) for m in instruction.modifiers if m in ("v2", "v4", "v8")), 1)
    return kind.total_bits // 8 * count if kind else 1
