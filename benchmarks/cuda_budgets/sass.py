"""Reads machine code (SASS): which instructions a kernel consists of."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

from tests.cuda.toolchain import find_nvcc

__all__ = ["LOCAL_MEMORY", "MATRIX", "find_nvdisasm", "instructions_of"]

MATRIX = ("HMMA", "LDSM", "LDGSTS")
"""Multiply-accumulate on tensor cores (mma.sync), their operands from shared memory (ldmatrix), and copies from global
to shared memory past the registers (cp.async)."""

LOCAL_MEMORY = ("LDL", "STL")
"""Loads from and stores to local memory."""

_FUNCTION = re.compile(r"^\.text\.(\w+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)")


@cache
def find_nvdisasm() -> Path | None:
    """Path of nvdisasm: beside nvcc, from pip (``nvidia-cuda-nvdisasm``), on PATH; None where there is none."""
    nvidia = importlib.util.find_spec("nvidia")
    folders = list(nvidia.submodule_search_locations or ()) if nvidia else []
    nvcc = find_nvcc()
    candidates = [str(nvcc.resolve().parent / "nvdisasm")] if nvcc else []
    candidates += sorted((str(p) for f in folders for p in Path(f).glob("cu*/bin/nvdisasm")), reverse=True)
    candidates += ["nvdisasm", "/usr/local/cuda/bin/nvdisasm"]
    return next((Path(found) for candidate in candidates if (found := shutil.which(candidate))), None)


def instructions_of(cubin: Path, nvdisasm: Path) -> dict[str, dict[str, int]]:
    """How often each instruction occurs in each kernel of a cubin.

    Args:
        cubin: machine code of one architecture.
        nvdisasm: the disassembler.

    Returns:
        Counts by kernel and instruction, ``HMMA.16816.F32`` counted as ``HMMA``.
    """
    command = [str(nvdisasm), "--print-code", "--no-dataflow", str(cubin)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    counts: dict[str, Counter[str]] = {}
    current: Counter[str] = Counter()
    for line in text.splitlines():
        if match := _FUNCTION.match(line):
            current = counts.setdefault(match[1], Counter())
        elif match := _INSTRUCTION.match(line):
            current[match[1]] += 1
    return {name: dict(count) for name, count in counts.items()}
