"""What the interpreter reports about a kernel."""

from __future__ import annotations

__all__ = [
    "DivergentBarrier",
    "EarlyExit",
    "EndlessLoop",
    "Fault",
    "InactiveLane",
    "Misaligned",
    "OutOfBounds",
    "PartialWarp",
    "PendingCopy",
    "SharedRace",
    "Trap",
    "UnknownInstruction",
]


class Fault(Exception):
    """A kernel did what CUDA leaves undefined; the message names kernel, instruction, block and thread."""


class OutOfBounds(Fault):
    """An access outside every registered buffer, or outside the block's shared memory, or outside local memory."""


class Misaligned(Fault):
    """An address that is no multiple of the size of the access."""


class SharedRace(Fault):
    """Two threads touch the same shared bytes, one of them writes, and no barrier lies between."""


class PendingCopy(Fault):
    """Shared bytes are touched while an asynchronous copy into them has not been waited for."""


class DivergentBarrier(Fault):
    """The threads of a block wait at different barriers, or some never come."""


class EarlyExit(DivergentBarrier):
    """Some threads of a block have ended while others wait at a barrier for the whole block."""


class PartialWarp(Fault):
    """An instruction of the whole warp is executed by a part of it."""


class InactiveLane(Fault):
    """A shuffle reads a lane that does not take part."""


class EndlessLoop(Fault):
    """More instructions than any kernel under test needs."""


class Trap(Fault):
    """The kernel executed `trap`."""


class UnknownInstruction(Exception):
    """An instruction, a modifier or an operand that the interpreter does not know: says nothing about the kernel."""
