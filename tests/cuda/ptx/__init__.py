"""An interpreter of the PTX that nvcc emits, for tests: runs kernels on host buffers and reports what they do wrong.

It runs all threads of all blocks as numpy arrays, and checks every access: bounds and alignment (global, shared, local
and parameter memory), races between the threads of a block, asynchronous copies that have not been waited for, barriers
that not all threads reach, warp instructions executed by part of a warp.

Limits: no atomics, no calls. Approximations of the hardware (`ex2.approx`, ...) are rounded correctly, sums of `mma` go
in increasing k. Global memory is not checked for races between threads, and a barrier for a part of the block's
threads is taken to order the whole block.

Source: NVIDIA, "Parallel Thread Execution ISA", for the meaning of the instructions and the layouts of the fragments.

Example:
    >>> module = parse(ptx_text)                                   # doctest: +SKIP
    >>> memory = Memory()                                          # doctest: +SKIP
    >>> arguments = struct.pack("<Qi", memory.register(x), x.size) # doctest: +SKIP
    >>> run(module, "scale", (4,), (128,), 0, arguments, memory)   # doctest: +SKIP
"""

from tests.cuda.ptx.faults import (
    DivergentBarrier,
    EarlyExit,
    EndlessLoop,
    Fault,
    InactiveLane,
    Misaligned,
    OutOfBounds,
    PartialWarp,
    PendingCopy,
    SharedRace,
    Trap,
    UnknownInstruction,
)
from tests.cuda.ptx.launch import Report, run
from tests.cuda.ptx.memory import Memory
from tests.cuda.ptx.parser import Module, parse
from tests.cuda.ptx.program import Program

__all__ = [
    "DivergentBarrier",
    "EarlyExit",
    "EndlessLoop",
    "Fault",
    "InactiveLane",
    "Memory",
    "Misaligned",
    "Module",
    "OutOfBounds",
    "PartialWarp",
    "PendingCopy",
    "Program",
    "Report",
    "SharedRace",
    "Trap",
    "UnknownInstruction",
    "parse",
    "run",
]
