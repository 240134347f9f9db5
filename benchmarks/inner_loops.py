"""Inner loops under llvm-mca, a model of processors: `python -m benchmarks.inner_loops`. It measures nothing.

A loop is compiled, found in the assembly, and run through llvm-mca twice: as it is, and with its multiply-adds alone,
whose cycles are what the ports of the processor allow at best. The model knows no caches and no wrong predictions: it
tells whether loads, pointers and the counter fit beside the multiply-adds, on processors that are not there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LOOPS", "Loop", "MissingError", "share_of_limit"]

ROOT = Path(__file__).resolve().parents[1]

ITERATIONS = 200

GEMM = """
#include "isa/{isa}.h"
#include "isa/gemm.inl"
using namespace evsam::{isa};
void loop(const float* a, long a_stride, const float* b, long depth, long tiles, float* c) {{
  Gemm::Ahead ahead = Gemm::Ahead::of(depth, tiles);
  ahead.b = b + depth * Gemm::kColumns;
  ahead.c = c;
  Gemm::Reg acc[Gemm::kRows][Gemm::kVectors];
  #pragma GCC unroll 16
  for (int r = 0; r < Gemm::kRows; ++r) {{
    #pragma GCC unroll 4
    for (int v = 0; v < Gemm::kVectors; ++v) acc[r][v] = F32::zero();
  }}
  Gemm::accumulate(a, a_stride, b, depth, acc, ahead);
  #pragma GCC unroll 16
  for (int r = 0; r < Gemm::kRows; ++r) {{
    #pragma GCC unroll 4
    for (int v = 0; v < Gemm::kVectors; ++v) F32::store(c + (r * Gemm::kVectors + v) * F32::kLanes, acc[r][v]);
  }}
}}
"""
"""The float32 product of pointwise, Winograd and all that is one: the tile of isa/gemm.inl."""


class MissingError(RuntimeError):
    """A tool, or a processor that it does not know."""


@dataclass(frozen=True)
class Loop:
    """A loop on a processor.

    Attributes:
        name: What is computed.
        source: C++ with one function, whose loop with the most multiply-adds counts; `{isa}` stands for the name.
        isa: Instruction set, as in csrc/isa.
        cpu: llvm-mca's name of the processor.
        multiply_add: Pattern of the instructions whose number is the work.
        flags: Of the compiler, beyond those of the instruction set.
        features: llvm-mca's names of extensions that it does not take the processor to have.
    """

    name: str
    source: str
    isa: str
    cpu: str
    multiply_add: str
    flags: tuple[str, ...] = ()
    features: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.isa} {self.cpu}"


X86 = r"vfmadd\w+"
ARM = r"fmla"


def _narrow(extension: str, cpu: str, multiply_add: str, feature: str, *flags: str) -> Loop:
    """An extension of NEON for narrow numbers, with the flags of CMakeLists.txt and cmake/EvsamNarrow.cmake."""
    source = f'#include "narrow/{extension}.cpp"\n'
    flags = (f"-march=armv8.2-a+{feature}", "-fno-schedule-insns", *flags)
    features = {"fp16": "+fullfp16"}.get(feature, f"+{feature}")
    return Loop(extension, source, "neon", cpu, multiply_add, flags, features)


BY_LANE = ("cortex-a76", "cortex-a78", "neoverse-n1", "neoverse-v1", "apple-m1")
BY_MATRIX = ("neoverse-v2", "apple-m2")
"""Known to LLVM from version 16 on. Earlier ones give its zips three times the work that they are."""

LOOPS = [
    *(Loop("gemm", GEMM, "avx512", cpu, X86) for cpu in ("skylake-avx512", "sapphirerapids")),
    *(Loop("gemm", GEMM, "avx2", cpu, X86) for cpu in ("haswell", "alderlake", "znver2", "znver3")),
    *(Loop("gemm", GEMM, "neon", cpu, ARM) for cpu in BY_LANE),
    *(_narrow("neon_dot", cpu, "sdot", "dotprod") for cpu in BY_LANE),
    *(_narrow("neon_fp16", cpu, "fmla", "fp16") for cpu in BY_LANE),
    *(_narrow("neon_i8mm", cpu, "usmmla", "i8mm") for cpu in BY_MATRIX),
    *(_narrow("neon_bf16", cpu, "bfmmla", "bf16", "-fira-algorithm=priority") for cpu in BY_MATRIX),
]

TARGETS = {"neon": ("aarch64-linux-gnu-g++", "aarch64-linux-gnu")}
"""Compiler and triple of instruction sets that are not x86's."""


def share_of_limit(loop: Loop) -> float:
    """How much of the multiply-add rate that the ports allow the loop reaches in llvm-mca's model; 1 is all of it.

    Raises:
        MissingError: There is no llvm-mca or compiler, or llvm-mca does not know the processor.
    """
    body = _body(_assembly(loop), loop.multiply_add)
    alone = [line for line in body if re.match(rf"\s*{loop.multiply_add}\b", line)]
    return _cycles(loop, alone) / _cycles(loop, body)


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise MissingError(f"expected {name}, got none")
    return path


def _flags(isa: str) -> list[str]:
    """Those of the build."""
    text = (ROOT / "cmake/EvsamIsa.cmake").read_text()
    found = re.search(rf"^set\(EVSAM_FLAGS_{isa} (.*)\)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"isa: expected one of cmake/EvsamIsa.cmake, got {isa!r}")
    return [flag for flag in found[1].split() if flag != '""']


def _assembly(loop: Loop) -> list[str]:
    compiler = _tool(TARGETS[loop.isa][0] if loop.isa in TARGETS else "g++")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "loop.cpp"
        source.write_text(loop.source.format(isa=loop.isa))
        command = [compiler, "-O3", "-std=c++17", "-w", "-S", "-o", "-", *_flags(loop.isa), *loop.flags]
        command += [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}", str(source)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def _body(assembly: list[str], multiply_add: str) -> list[str]:
    """The instructions of the innermost loop with the most multiply-adds, the jump back included."""
    labels: dict[str, int] = {}
    best: list[str] = []
    for at, line in enumerate(assembly):
        if label := re.match(r"(\.L\w+):", line):
            labels[label[1]] = at
        elif (jump := re.match(r"\s+(?:j\w+|b\.?\w+|cbn?z)\s+(?:\w+,\s*)?(\.L\w+)$", line)) and jump[1] in labels:
            lines = assembly[labels[jump[1]] + 1 : at + 1]
            body = [each for each in lines if re.match(r"\s+[a-z]", each)]
            innermost = not any(re.match(r"\.L\w+:", each) for each in lines)
            if innermost and _count(body, multiply_add) > _count(best, multiply_add):
                best = body
    if not best:
        raise ValueError(f"loop: expected one with {multiply_add}, got none")
    return best


def _count(lines: list[str], multiply_add: str) -> int:
    return sum(re.match(rf"\s*{multiply_add}\b", line) is not None for line in lines)


def _cycles(loop: Loop, instructions: list[str]) -> float:
    """Of one turn, in the steady state."""
    triple = TARGETS[loop.isa][1] if loop.isa in TARGETS else "x86_64-linux-gnu"
    command = [_tool("llvm-mca"), f"-mtriple={triple}", f"-mcpu={loop.cpu}", f"-iterations={ITERATIONS}"]
    command += [f"-mattr={loop.features}"] if loop.features else []
    text = "\n".join(re.sub(r"\.L\w+", "again", line) for line in instructions)
    ran = subprocess.run(command, input=f"again:\n{text}\n", capture_output=True, text=True, check=False)
    total = re.search(r"Total Cycles:\s+(\d+)", ran.stdout)
    if ran.returncode != 0 or total is None:
        if "is not a recognized processor" in ran.stderr or "unable to find" in ran.stderr:
            raise MissingError(f"llvm-mca: expected to know {loop.cpu}, got {ran.stderr.strip().splitlines()[0]}")
        raise RuntimeError(f"llvm-mca failed on {loop}: {ran.stderr}")
    return int(total[1]) / ITERATIONS


def _as_text(loop: Loop) -> str:
    try:
        return f"{loop!s:<32} {100 * share_of_limit(loop):5.1f} %"
    except MissingError as missing:
        return f"{loop!s:<32} {missing}"


def main() -> int:
    print("a model (llvm-mca), no measurement: share of the multiply-add rate that the ports allow")
    for loop in LOOPS:
        print(_as_text(loop), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
