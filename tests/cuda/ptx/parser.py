"""Reads the PTX text that nvcc writes: entries, parameters, variables and instructions with resolved operands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.cuda.ptx.faults import UnknownInstruction
from tests.cuda.ptx.formats import Type, type_named

if TYPE_CHECKING:
    from tests.cuda.ptx.program import Program

__all__ = [
    "Address",
    "Entry",
    "Immediate",
    "Instruction",
    "Module",
    "Operand",
    "Pair",
    "Register",
    "Sink",
    "SpecialRegister",
    "Symbol",
    "Variable",
    "Vector",
    "parse",
]


@dataclass(frozen=True)
class Register:
    """A register of the entry; `negated` for `!%p1`."""

    index: int
    type: Type
    negated: bool = False


@dataclass(frozen=True)
class SpecialRegister:
    """A read-only register such as `%tid.x`."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A constant as written; its bits depend on the type that the instruction reads."""

    text: str


@dataclass(frozen=True)
class Symbol:
    """A variable, parameter or label."""

    name: str


@dataclass(frozen=True)
class Address:
    """`[base+offset]`."""

    base: Register | Symbol | Immediate
    offset: int


@dataclass(frozen=True)
class Vector:
    """`{a, b, ...}`."""

    elements: tuple[Operand, ...]


@dataclass(frozen=True)
class Pair:
    """`a|b`: two destinations."""

    first: Operand
    second: Operand


@dataclass(frozen=True)
class Sink:
    """`_`: a destination that is not wanted."""


Operand = Register | SpecialRegister | Immediate | Symbol | Address | Vector | Pair | Sink


@dataclass(frozen=True)
class Instruction:
    """One instruction: `opcode.modifiers operands`, executed where `guard` holds."""

    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Register | None
    text: str
    source: str
    """Line of the source, as `file:line from file:line` where it was inlined; empty without -lineinfo."""

    def __str__(self) -> str:
        return f"`{self.text}`" + (f" ({self.source})" if self.source else "")


@dataclass(frozen=True)
class Variable:
    """A variable in memory; `size` 0 for the dynamic shared memory; `data` where it has an initial value."""

    name: str
    space: str
    alignment: int
    size: int
    data: bytes | None = None


@dataclass
class Entry:
    """A kernel."""

    name: str
    parameters: dict[str, int] = field(default_factory=dict)
    """Offset of each parameter in the block of parameters."""
    parameter_bytes: int = 0
    max_threads: int | None = None
    registers: list[Type] = field(default_factory=list)
    variables: dict[str, Variable] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    branch_targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)


@dataclass
class Module:
    """A PTX file."""

    target: str
    entries: dict[str, Entry]
    variables: dict[str, Variable]
    programs: dict[str, Program] = field(default_factory=dict)
    """The entries that have been decoded."""


_IDENTIFIER = r"[A-Za-z_$%][\w$]*"
_VARIABLE = re.compile(
    rf"(?:\.(?:visible|extern|weak|common)\s+)*\.(?P<space>shared|local|global|const)\s+(?:\.align\s+(?P<align>\d+)\s+)?"
    rf"\.(?P<type>\w+)\s+(?P<name>{_IDENTIFIER})(?P<array>\s*\[\s*(?P<count>\d*)\s*\])?(?:\s*=\s*(?P<value>.*))?$",
    re.S,
)
_PARAMETER = re.compile(
    rf"\.param\s+(?:\.align\s+(?P<before>\d+)\s+)?\.(?P<type>\w+)\s+(?:\.ptr\s+(?:\.\w+\s+)?(?:\.align\s+\d+\s+)?)?"
    rf"(?P<name>{_IDENTIFIER})(?:\[(?P<count>\d+)\])?$"
)
_INSTRUCTION = re.compile(
    r"(?:@(?P<not>!?)(?P<guard>%?[\w$]+)\s+)?(?P<name>[a-z]\w*(?:\.\w+(?:::\w+)*)*)\s*(?P<rest>.*)$", re.S
)
_LABEL = re.compile(rf"({_IDENTIFIER})\s*:(?!:)")
_BLANKS = re.compile(r"\s*")
_LOCATION = re.compile(
    r"\.loc\s+(?P<at>\d+\s+\d+\s+\d+)(?:\s*,\s*function_name[^,\n]*,\s*inlined_at\s+(?P<caller>\d+\s+\d+\s+\d+))?[^\n]*\n"
)


def parse(text: str) -> Module:
    """Parses a PTX file.

    Raises:
        UnknownInstruction: The text holds something that nvcc has not been seen to write.
    """
    text = re.sub(r"//[^\n]*", "", re.sub(r"/\*.*?\*/", "", text, flags=re.S))
    files = {number: name.rsplit("/", 1)[-1] for number, name in re.findall(r'\.file\s+(\d+)\s+"([^"]*)"[^\n]*', text)}
    text = re.sub(r"\.file\s[^\n]*", "", text)
    target = re.search(r"\.target\s+(\w+)", text)
    module = Module(target[1] if target else "", {}, {}, {})
    position = 0
    for found in re.finditer(rf"\.entry\s+({_IDENTIFIER})\s*\(", text):
        _module_variables(text[position : found.start()], module)
        brace = text.index("{", found.end())
        end = _matching_brace(text, brace)
        close = text.index(")", found.end())
        entry = Entry(found[1])
        _parameters(text[found.end() : close], entry)
        if limit := re.search(r"\.maxntid\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?", text[close:brace]):
            entry.max_threads = int(limit[1]) * int(limit[2] or 1) * int(limit[3] or 1)
        _Body(text[brace + 1 : end], entry, module, files).read()
        module.entries[entry.name] = entry
        position = end + 1
    return module


def _matching_brace(text: str, start: int) -> int:
    depth = 0
    for found in re.finditer(r"[{}]", text[start:]):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return start + found.start()
    raise UnknownInstruction("expected a closing brace, got the end of the file")


def _module_variables(text: str, module: Module) -> None:
    for statement in text.split(";"):
        if found := _VARIABLE.search(statement.strip()):
            variable = _variable(found)
            module.variables[variable.name] = variable


def _variable(found: re.Match[str]) -> Variable:
    kind = type_named(found["type"])
    if kind is None:
        raise UnknownInstruction(f"type of a variable: {found[0]}")
    size = kind.total_bits // 8
    alignment = int(found["align"] or size)
    if found["array"]:
        size *= int(found["count"] or 0)
    data = None
    if found["value"]:
        texts = found["value"].strip().strip("{}").split(",")
        data = b"".join(_literal(value.strip(), kind) for value in texts).ljust(size, b"\0")
    return Variable(found["name"], found["space"], alignment, size, data)


def _literal(text: str, kind: Type) -> bytes:
    if text[:2].lower() in ("0f", "0d"):
        return int(text[2:], 16).to_bytes(kind.bits // 8, "little")
    return (int(text, 0) & ((1 << kind.bits) - 1)).to_bytes(kind.bits // 8, "little")


def _parameters(text: str, entry: Entry) -> None:
    offset = 0
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _PARAMETER.match(part)
        kind = type_named(found["type"]) if found else None
        if found is None or kind is None:
            raise UnknownInstruction(f"parameter of {entry.name}: {part}")
        size = kind.total_bits // 8
        alignment = int(found["before"] or size)
        offset = (offset + alignment - 1) // alignment * alignment
        entry.parameters[found["name"]] = offset
        offset += size * int(found["count"] or 1)
    entry.parameter_bytes = offset


class _Body:
    """Reader of the statements of one entry; registers are looked up from the innermost scope outwards."""

    def __init__(self, text: str, entry: Entry, module: Module, files: dict[str, str]) -> None:
        self.text, self.entry, self.module, self.files = text, entry, module, files
        self.scopes: list[dict[str, Register]] = [{}]
        self.source = ""
        self.callers: dict[str, str] = {}

    def read(self) -> None:
        position, text = 0, self.text
        while True:
            position = _BLANKS.match(text, position).end()  # type: ignore[union-attr]  # matches the empty string too
            if position >= len(text):
                return
            if text[position] in "{}":
                if text[position] == "{":
                    self.scopes.append({})
                else:
                    self.scopes.pop()
                position += 1
            elif found := _LOCATION.match(text, position):
                self._locate(found["at"], found["caller"])
                position = found.end()
            elif found := _LABEL.match(text, position):
                position = found.end()
                self._label(found[1])
            else:
                end = text.find(";", position)
                if end < 0:
                    raise UnknownInstruction(f"statement in {self.entry.name}: {text[position:].strip()}")
                self._statement(" ".join(text[position:end].split()))
                position = end + 1

    def _locate(self, at: str, caller: str | None) -> None:
        """Sets the source to `file:line`, followed by where it was inlined."""
        if caller is not None:
            self.callers[at] = caller
        chain = [at]
        while (following := self.callers.get(chain[-1])) and following not in chain:
            chain.append(following)
        places = (place.split() for place in chain)
        self.source = " from ".join(f"{self.files.get(file, file)}:{line}" for file, line, _ in places)

    def _label(self, name: str) -> None:
        if name in self.entry.labels:
            raise UnknownInstruction(f"label {name} of {self.entry.name} occurs twice")
        self.entry.labels[name] = len(self.entry.instructions)

    def _statement(self, text: str) -> None:
        if not text or text.startswith(".pragma"):
            return
        if text.startswith(".reg"):
            self._registers(text)
        elif text.startswith(".branchtargets"):
            name = next(name for name, at in reversed(self.entry.labels.items()) if at == len(self.entry.instructions))
            self.entry.branch_targets[name] = tuple(part.strip() for part in text.split(None, 1)[1].split(","))
        elif found := _VARIABLE.match(text):
            variable = _variable(found)
            self.entry.variables[variable.name] = variable
        elif found := _INSTRUCTION.match(text):
            self._instruction(text, found)
        else:
            raise UnknownInstruction(f"statement in {self.entry.name}: {text}")

    def _registers(self, text: str) -> None:
        _, kind_name, names = text.split(None, 2)
        kind = type_named(kind_name.lstrip("."))
        if kind is None:
            raise UnknownInstruction(f"type of a register in {self.entry.name}: {text}")
        for name in (part.strip() for part in names.split(",")):
            found = re.fullmatch(r"(%?[\w$]+)<(\d+)>", name)
            for one in [f"{found[1]}{number}" for number in range(int(found[2]))] if found else [name]:
                self.scopes[-1][one] = Register(len(self.entry.registers), kind)
                self.entry.registers.append(kind)

    def _find_register(self, name: str) -> Register | None:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def _instruction(self, text: str, found: re.Match[str]) -> None:
        guard = None
        if found["guard"]:
            register = self._find_register(found["guard"])
            if register is None:
                raise UnknownInstruction(f"predicate in {self.entry.name}: {text}")
            guard = Register(register.index, register.type, found["not"] == "!")
        opcode, *modifiers = found["name"].split(".")
        operands = tuple(self._operand(part, text) for part in _split(found["rest"]))
        self.entry.instructions.append(Instruction(opcode, tuple(modifiers), operands, guard, text, self.source))

    def _operand(self, text: str, statement: str) -> Operand:
        if (register := self._find_register(text)) is not None:
            return register
        if text.startswith("{"):
            return Vector(tuple(self._operand(part, statement) for part in _split(text[1:-1])))
        if text.startswith("["):
            return self._address(text[1:-1].strip(), statement)
        if "|" in text:
            first, second = (self._operand(part.strip(), statement) for part in text.split("|"))
            return Pair(first, second)
        return Sink() if text == "_" else self._scalar(text, statement)

    def _scalar(self, text: str, statement: str) -> Operand:
        if text.startswith("!"):
            if (register := self._find_register(text[1:].strip())) is not None:
                return Register(register.index, register.type, negated=True)
        elif re.fullmatch(r"-?\d.*", text):
            return Immediate(text)
        elif re.fullmatch(r"%[a-z]\w*(\.[xyzw])?", text) or text == "WARP_SZ":
            return SpecialRegister(text)
        elif re.fullmatch(_IDENTIFIER, text):
            return Symbol(text)
        raise self._unknown_operand(text, statement)

    def _address(self, text: str, statement: str) -> Address:
        found = re.fullmatch(r"([^+\s-][^+\s]*?)\s*(?:\+\s*(-?\w+)|(-\s*\d+))?", text)
        if found is None:
            raise self._unknown_operand(text, statement)
        base = self._operand(found[1], statement)
        if not isinstance(base, Register | Symbol | Immediate):
            raise self._unknown_operand(text, statement)
        return Address(base, int((found[2] or found[3] or "0").replace(" ", ""), 0))

    def _unknown_operand(self, text: str, statement: str) -> UnknownInstruction:
        return UnknownInstruction(f"operand {text} in {self.entry.name}: {statement}")


def _split(text: str) -> list[str]:
    """Splits at the commas outside of brackets and braces."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "{[(") - (character in "}])")
        if character == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts
