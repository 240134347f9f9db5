"""Inner loops under llvm-mca, a model of processors: `python -m benchmarks.inner_loops`. It measures nothing.

A loop is compiled, found in the assembly, and run through llvm-mca, which says how many cycles a turn takes, and how
many its multiply-adds alone occupy the ports of the processor at least. The model knows no caches and no wrong
predictions: it tells whether loads, pointers and the counter fit beside the multiply-adds, on processors that are not
there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
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
PAIRS = "(?:vpmaddubsw|vpmaddwd|vpaddd)"


def _narrow(extension: str, isa: str, cpu: str, multiply_add: str, features: str = "") -> Loop:
    """An extension for narrow numbers, with the flags of the build."""
    source = f'#include "narrow/{extension}.cpp"\n'
    return Loop(extension, source, isa, cpu, multiply_add, _extension_flags(extension, isa), features)


def _extension_flags(extension: str, isa: str) -> tuple[str, ...]:
    """Those of CMakeLists.txt, and of cmake/EvsamNarrow.cmake for GCC."""
    found = re.search(rf"evsam_add_extension\({extension} {isa}(.*)\)", (ROOT / "CMakeLists.txt").read_text())
    if found is None:
        raise ValueError(f"extension: expected one of CMakeLists.txt, got {extension!r}")
    flags = found[1].split()
    if isa == "neon":
        flags.append("-fno-schedule-insns")
    if extension == "neon_bf16":
        flags.append("-fira-algorithm=priority")
    return tuple(flags)


BY_LANE = ("cortex-a76", "cortex-a78", "neoverse-n1", "neoverse-v1", "apple-m1")
BY_MATRIX = ("neoverse-v2", "apple-m2")
"""Known to LLVM from version 16 on. Earlier ones give its zips three times the work that they are."""

LOOPS = [
    *(Loop("gemm", GEMM, "avx512", cpu, X86) for cpu in ("skylake-avx512", "sapphirerapids")),
    *(Loop("gemm", GEMM, "avx2", cpu, X86) for cpu in ("haswell", "alderlake", "znver2", "znver3")),
    *(Loop("gemm", GEMM, "neon", cpu, ARM) for cpu in BY_LANE),
    *(_narrow("avx2_int8", "avx2", cpu, PAIRS) for cpu in ("haswell", "alderlake", "znver2", "znver3")),
    _narrow("avx_vnni", "avx2", "alderlake", r"(?:\{vex\} )?vpdpbusd"),
    *(_narrow("avx512_vnni", "avx512", cpu, "vpdpbusd") for cpu in ("cascadelake", "sapphirerapids")),
    _narrow("avx512_bf16", "avx512", "sapphirerapids", "vdpbf16ps"),
    _narrow("avx512_fp16", "avx512", "sapphirerapids", r"vfmadd\w+"),
    *(_narrow("neon_dot", "neon", cpu, "sdot", "+dotprod") for cpu in BY_LANE),
    *(_narrow("neon_fp16", "neon", cpu, "fmla", "+fullfp16") for cpu in BY_LANE),
    *(_narrow("neon_i8mm", "neon", cpu, "usmmla", "+i8mm") for cpu in BY_MATRIX),
    *(_narrow("neon_bf16", "neon", cpu, "bfmmla", "+bf16") for cpu in BY_MATRIX),
]

GOLDEN_COVE = ("alderlake", "sapphirerapids")
"""Processors with LEA on five ports, as many as they have for additions. LLVM 16 and 19 have it on port 1 alone, one of
the two that multiply-adds take; so the model is given an INC for it."""

TARGETS = {"neon": ("aarch64-linux-gnu-g++", "aarch64-linux-gnu")}
"""Compiler and triple of instruction sets that are not x86's."""


def share_of_limit(loop: Loop) -> float:
    """How much of the multiply-add rate that the ports allow the loop reaches in llvm-mca's model; 1 is all of it.

    Raises:
        MissingError: There is no llvm-mca or compiler, or llvm-mca does not know the processor.
    """
    _tool("llvm-mca")
    body = _body(_assembly(loop.source, loop.isa, loop.flags), loop.multiply_add)
    alone = [line for line in body if re.match(rf"\s*{loop.multiply_add}\b", line)]
    at_least = _model(loop, alone, "Block RThroughput")
    return at_least / (_model(loop, body, "Total Cycles") / ITERATIONS)


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


@cache
def _assembly(source: str, isa: str, flags: tuple[str, ...]) -> list[str]:
    compiler = _tool(TARGETS[isa][0] if isa in TARGETS else "g++")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "loop.cpp"
        file.write_text(source.format(isa=isa))
        command = [compiler, "-O3", "-std=c++17", "-w", "-S", "-o", "-", *_flags(isa), *flags]
        command += [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}", str(file)]
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
            body = [each for each in lines if re.match(r"\s+[a-z{]", each)]
            innermost = not any(re.match(r"\.L\w+:", each) for each in lines)
            if innermost and _count(body, multiply_add) > _count(best, multiply_add):
                best = body
    if not best:
        raise ValueError(f"loop: expected one with {multiply_add}, got none")
    return best


def _count(lines: list[str], multiply_add: str) -> int:
    return sum(re.match(rf"\s*{multiply_add}\b", line) is not None for line in lines)


def _model(loop: Loop, instructions: list[str], quantity: str) -> float:
    """What llvm-mca says of ITERATIONS turns: a number of its summary."""
    triple = TARGETS[loop.isa][1] if loop.isa in TARGETS else "x86_64-linux-gnu"
    command = [_tool("llvm-mca"), f"-mtriple={triple}", f"-mcpu={loop.cpu}", f"-iterations={ITERATIONS}"]
    command += [f"-mattr={loop.features}"] if loop.features else []
    lines = [re.sub(r"\.L\w+", "again", line) for line in instructions]
    if loop.cpu in GOLDEN_COVE:
        lines = [re.sub(r"leaq\s.*(%\w+)$", r"incq \1", line) for line in lines]
    text = "\n".join(lines)
    ran = subprocess.run(command, input=f"again:\n{text}\n", capture_output=True, text=True, check=False)
    found = re.search(rf"{quantity}:\s+([\d.]+)", ran.stdout)
    if ran.returncode != 0 or found is None:
        if "is not a recognized processor" in ran.stderr or "unable to find" in ran.stderr:
            raise MissingError(f"llvm-mca: expected to know {loop.cpu}, got {ran.stderr.strip().splitlines()[0]}")
        raise RuntimeError(f"llvm-mca failed on {loop}: {ran.stderr}")
    return float(found[1])


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
