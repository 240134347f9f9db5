"""Runs again, from PTX, what was launched in emulation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from tests.cuda.ptx.launch import Report, run
from tests.cuda.ptx.memory import Memory
from tests.cuda.ptx.parser import Module, parse
from tests.cuda.toolchain import KERNEL_OPTIONS, PTX_ARCHITECTURES, compile_ptx

__all__ = ["Launch", "modules", "recorded", "replay"]


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel with its argument struct, whose pointers are host addresses."""

    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    arguments: bytes


def recorded(trace: Iterable[Mapping[str, Any]]) -> list[Launch]:
    """The launches that the emulated module has recorded (`end_trace()`)."""
    return [Launch(**{field.name: entry[field.name] for field in fields(Launch)}) for entry in trace]


@cache
def modules(source: Path) -> dict[str, Module]:
    """Parsed PTX of a file, by the names of `PTX_ARCHITECTURES`.

    nvcc often writes the same instructions for several of them, under another `.target`; those share one module.
    """
    parsed: dict[str, Module] = {}
    found: dict[str, Module] = {}
    for architecture in PTX_ARCHITECTURES:
        text = re.sub(r"^\.target .*$", "", compile_ptx(source, architecture, KERNEL_OPTIONS), flags=re.M)
        if text not in parsed:
            parsed[text] = parse(text)
        found[architecture] = parsed[text]
    return found


def replay(launches: Iterable[Launch], module_of: Callable[[str], Module], memory: Memory) -> list[Report]:
    """Runs the launches in order, each with the entry of its name in `module_of(name)`; raises as `run` does."""
    return [
        run(
            module_of(launch.name),
            launch.name,
            launch.grid,
            launch.block,
            launch.shared_bytes,
            launch.arguments,
            memory,
        )
        for launch in launches
    ]
