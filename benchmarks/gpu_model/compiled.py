"""Compiles kernels for every architecture; reads what the compiler says about them, and their machine code (SASS)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from tests.cuda.toolchain import CSRC, KERNEL_OPTIONS, compile_ptx, find_nvcc

__all__ = [
    "ARCHITECTURES",
    "LOCAL_MEMORY",
    "MATRIX",
    "SPILL_GATE",
    "CompileError",
    "CompiledKernel",
    "by_name",
    "compile_all",
    "compile_file",
    "find_nvdisasm",
    "instructions_of",
    "kernel_files",
]

ARCHITECTURES = (80, 86, 87, 89, 90, 100, 110, 120)
"""Compute capabilities that the kernels are compiled for, as in ``sm_87``; EVSAM_CUDA_ARCHITECTURES in CMake."""

SPILL_GATE = "-Xptxas=-warn-spills,-warn-lmem-usage,-Werror"
"""Makes nvcc fail on a kernel that keeps anything in local memory, which lies in DRAM; the CMake build has it too."""

CACHE = CSRC.parent / "build" / "cuda-budgets"
"""What was compiled before, by the contents of the files it came from."""

_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_\d+a?'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)
_STATIC_SHARED = re.compile(r"(\d+) bytes smem")
_MAX_THREADS = re.compile(r"\.entry (\w+)\(.*?\.maxntid (\d+)(?:, (\d+), (\d+))?", re.DOTALL)


class CompileError(RuntimeError):
    """nvcc refuses a file; the message holds the command and what nvcc printed."""


@dataclass(frozen=True)
class CompiledKernel:
    """One kernel as compiled for one architecture.

    Attributes:
        name: of the entry.
        architecture: as in ``sm_87``: 87.
        threads: per block at most, from its launch bounds; 0 where it has none.
        registers: per thread.
        static_shared_bytes: per block.
        local_bytes: per thread, stack frame and spills.
        instructions: how often each instruction occurs in the machine code, by the name in front of its first dot;
            empty where there was no disassembler.
    """

    name: str
    architecture: int
    threads: int
    registers: int
    static_shared_bytes: int
    local_bytes: int
    instructions: dict[str, int]


def kernel_files() -> list[Path]:
    """Every file with CUDA kernels of the ops."""
    return sorted((CSRC / "ops").glob("*/*.cu"))


def compile_file(
    source: Path,
    nvcc: Path,
    nvdisasm: Path | None,
    architectures: Sequence[int] = ARCHITECTURES,
    options: Iterable[str] = (SPILL_GATE,),
) -> list[CompiledKernel]:
    """Compiles one file for several architectures, for each from the PTX that the tests of PTX read as well.

    Args:
        source: ``.cu`` file.
        nvcc: the compiler.
        nvdisasm: the disassembler; None leaves ``instructions`` empty.
        architectures: as in ``sm_87``: 87.
        options: more options of nvcc, for the step from PTX to machine code.

    Raises:
        CompileError: nvcc refuses the file, for example because a kernel spills.
    """
    kernels = []
    with tempfile.TemporaryDirectory(prefix="evsam-cuda-") as folder:
        for architecture in architectures:
            text = compile_ptx(source, f"compute_{architecture}", KERNEL_OPTIONS)
            threads = {m[1]: int(m[2]) * int(m[3] or 1) * int(m[4] or 1) for m in _MAX_THREADS.finditer(text)}
            ptx = Path(folder) / f"{source.stem}.{architecture}.ptx"
            ptx.write_text(text)
            cubin = ptx.with_suffix(".cubin")
            command = [str(nvcc), "-cubin", f"-arch=sm_{architecture}", "-Xptxas=-v", *options]
            command += ["-o", str(cubin), str(ptx)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CompileError(f"{source}: {' '.join(command)}\n{done.stdout}{done.stderr}")
            instructions = instructions_of(cubin, nvdisasm) if nvdisasm else {}
            for match in _ENTRY.finditer(done.stdout + done.stderr):
                static = _STATIC_SHARED.search(match["rest"])
                kernels.append(
                    CompiledKernel(
                        name=match["name"],
                        architecture=architecture,
                        threads=threads.get(match["name"], 0),
                        registers=int(match["registers"]),
                        static_shared_bytes=int(static[1]) if static else 0,
                        local_bytes=sum(int(match[key]) for key in ("stack", "stores", "loads")),
                        instructions=instructions.get(match["name"], {}),
                    )
                )
    return kernels


def compile_all(
    nvcc: Path, nvdisasm: Path | None, architectures: Sequence[int] = ARCHITECTURES
) -> dict[str, dict[int, CompiledKernel]]:
    """Compiles the kernels of all ops, one file per processor at a time; what was compiled before is read from build/.

    Args:
        nvcc: the compiler.
        nvdisasm: the disassembler, or None.
        architectures: as in ``sm_87``: 87.

    Returns:
        Kernels by name and architecture.

    Raises:
        CompileError: nvcc refuses a file, or two kernels have one name.
    """
    # The long ones first, so that no processor waits for the last of them.
    sources = sorted(kernel_files(), key=lambda file: -file.stat().st_size)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        files = pool.map(lambda file: _remembered(file, nvcc, nvdisasm, architectures), sources)
        return by_name(kernel for file in files for kernel in file)


def _remembered(source: Path, nvcc: Path, nvdisasm: Path | None, architectures: Sequence[int]) -> list[CompiledKernel]:
    digest = hashlib.sha256(repr(tuple(architectures)).encode())
    for tool in filter(None, (nvcc, nvdisasm)):
        digest.update(subprocess.run([tool, "--version"], check=True, capture_output=True).stdout)
    command = [str(nvcc), "-M", "-std=c++17", f"-I{CSRC}", str(source)]
    dependencies = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    own = sorted(path for path in dependencies if path.startswith(str(CSRC)))
    for file in (Path(__file__), *map(Path, own)):
        digest.update(file.read_bytes())
    known = CACHE / f"{source.stem}-{digest.hexdigest()[:16]}.json"
    if known.exists():
        return [CompiledKernel(**row) for row in json.loads(known.read_text())]
    kernels = compile_file(source, nvcc, nvdisasm, architectures)
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob(f"{source.stem}-*.json"):
        old.unlink()
    known.write_text(json.dumps([asdict(kernel) for kernel in kernels]))
    return kernels


def by_name(kernels: Iterable[CompiledKernel]) -> dict[str, dict[int, CompiledKernel]]:
    """Kernels by name and architecture.

    Raises:
        CompileError: two kernels have one name.
    """
    sorted_kernels: dict[str, dict[int, CompiledKernel]] = {}
    for kernel in kernels:
        by_architecture = sorted_kernels.setdefault(kernel.name, {})
        if kernel.architecture in by_architecture:
            raise CompileError(f"expected a name of its own for each kernel, got {kernel.name} twice")
        by_architecture[kernel.architecture] = kernel
    return sorted_kernels


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
