"""Launches a kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.cuda.ptx.machine import Machine
from tests.cuda.ptx.memory import Memory
from tests.cuda.ptx.parser import Module
from tests.cuda.ptx.program import Program

__all__ = ["Report", "run"]

# So many threads at once that numpy's overhead per instruction is spread, and so few that registers stay in the caches.
_THREADS_AT_ONCE = 4096

_MOST_STEPS = 5_000_000


@dataclass(frozen=True)
class Report:
    """What a launch executed: number of steps, opcodes, and the instructions that no thread came to."""

    steps: int
    opcodes: frozenset[str]
    missed: tuple[str, ...]


def run(
    module: Module | Program,
    name: str,
    grid: Sequence[int],
    block: Sequence[int],
    shared_bytes: int,
    arguments: bytes,
    memory: Memory,
    *,
    threads_at_once: int = _THREADS_AT_ONCE,
) -> Report:
    """Runs one kernel to its end.

    Args:
        module: Parsed PTX, or an entry that has been decoded already.
        name: The entry.
        grid: Blocks, up to three numbers, x first.
        block: Threads of a block, up to three numbers, x first.
        shared_bytes: Dynamic shared memory of a block; accesses beyond it are faults.
        arguments: The bytes of the parameters, in order, each aligned as in C.
        memory: What the pointers among the arguments may point to.
        threads_at_once: Blocks run in batches of about so many threads.

    Raises:
        Fault: The kernel did something undefined; the message says where.
        UnknownInstruction: The interpreter does not know an instruction of the entry.
        ValueError: A launch that the driver would refuse: sizes, or the bytes of the arguments.
    """
    program = module if isinstance(module, Program) else _program(module, name)
    x, y, z = (*grid, 1, 1)[:3]
    shape = (*block, 1, 1)[:3]
    entry, threads = program.entry, math.prod(shape)
    limit = entry.max_threads or 1024
    if not 0 < threads <= limit:
        raise ValueError(f"block of {name}: expected 1 to {limit} threads, got {threads}")
    if len(arguments) != entry.parameter_bytes:
        raise ValueError(f"arguments of {name}: expected {entry.parameter_bytes} bytes, got {len(arguments)}")
    parameters = np.frombuffer(arguments, np.uint8)
    memory = program.add_constants(memory)
    blocks, per_batch, steps = x * y * z, max(threads_at_once // threads, 1), 0
    program.executed = [False] * len(program.steps)
    with np.errstate(all="ignore"):
        for first in range(0, blocks, per_batch):
            batch = range(first, min(first + per_batch, blocks))
            machine = Machine(
                program, (x, y, z), (shape[0], shape[1], shape[2]), batch, shared_bytes, parameters, memory
            )
            steps += machine.run(_MOST_STEPS)
    done = list(zip(entry.instructions, program.executed, strict=True))
    opcodes = frozenset(instruction.opcode for instruction, ran in done if ran)
    return Report(steps, opcodes, tuple(str(instruction) for instruction, ran in done if not ran))


def _program(module: Module, name: str) -> Program:
    if name not in module.entries:
        raise ValueError(f"kernel: expected one of {', '.join(sorted(module.entries))}, got {name}")
    if name not in module.programs:
        module.programs[name] = Program(module, module.entries[name])
    return module.programs[name]
