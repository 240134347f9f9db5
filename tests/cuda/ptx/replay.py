"""Runs again, from PTX, what was launched in emulation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.cuda.ptx.launch import Report, run
from tests.cuda.ptx.memory import Memory
from tests.cuda.ptx.parser import Module, parse
from tests.cuda.toolchain import PTX_ARCHITECTURES, compile_ptx

__all__ = ["Launch", "distinct_modules", "recorded", "replay"]


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
    return [Launch(**entry) for entry in trace]


@cache
def distinct_modules(source: Path) -> tuple[tuple[str, Module], ...]:
    """PTX of a file for every architecture of `PTX_ARCHITECTURES`.

    nvcc often writes the same instructions for several of them, under another `.target`; such text comes once.

    Returns:
        Names of the architectures, joined by commas, and the parsed PTX.
    """
    texts: dict[str, list[str]] = {}
    for architecture in PTX_ARCHITECTURES:
        text = re.sub(r"^\.target .*$", "", compile_ptx(source, architecture, ("-lineinfo",)), flags=re.M)
        texts.setdefault(text, []).append(architecture)
    return tuple((",".join(names), parse(text)) for text, names in texts.items())


def replay(launches: Iterable[Launch], module: Module, memory: Memory) -> list[Report]:
    """Runs the launches in order, with the entries of those names in `module`; raises as `run` does."""
    return [
        run(module, launch.name, launch.grid, launch.block, launch.shared_bytes, launch.arguments, memory)
        for launch in launches
    ]
