"""What each CUDA kernel may use of a GPU: compiled, written down, and shown with the occupancy that follows.

    python -m benchmarks.gpu_model.budgets              # compile all kernels, compare them with the table, show them
    python -m benchmarks.gpu_model.budgets --update     # and write the table

Needs nvcc and nvdisasm (``pip install 'evsam[cuda-toolchain]'``) and no GPU. Nothing it prints is a measurement.

The table, ``cuda_budgets.json`` beside this file, is what the tests compare new builds with and what the cost model
reads::

    {"format": 1,
     "command": "python -m benchmarks.gpu_model.budgets --update",
     "nvcc": "13.0",                       release that the registers come from
     "kernels": {
      "f16_..._..__sm80": {                name of the entry
       "op": "layer_norm",                 folder in csrc/ops
       "threads": 256,                     per block
       "dynamic_shared_bytes": 0,          per block, at most over all layers of all variants
       "registers": {"80": 64, ...},       per thread and architecture, rounded up to a multiple of 8 (at most 255): a
                                           warp gets its registers in such steps, so occupancy is the same
       "instructions": ["HMMA", "LDSM"]    which of HMMA, LDSM, LDGSTS its machine code has on every architecture
      }}}

``dynamic_shared_bytes`` is the launcher's decision and cannot be read from compiled code. ``--update`` takes it from
the layers of the encoders as the cost model sees them (a test compares that with the launchers); of kernels that no
encoder launches it keeps what the table has, and ``--shared NAME=BYTES`` sets it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gpu_model.compiled import (
    ARCHITECTURES,
    LOCAL_MEMORY,
    MATRIX,
    CompiledKernel,
    compile_all,
    find_nvdisasm,
    kernel_files,
)
from benchmarks.gpu_model.launches import launches
from benchmarks.gpu_model.occupancy import occupancy
from evsam.layers import encoder_ops
from evsam.selftest.devices import DEVICES
from evsam.zoo import VARIANTS
from tests.cuda.toolchain import find_nvcc, nvcc_version

__all__ = [
    "MAX_SHARED_BYTES",
    "PATH",
    "Budget",
    "budget_of",
    "compiler_of_table",
    "load",
    "problems",
    "registers_of",
    "save",
    "shared_bytes_of_encoders",
    "show",
]

PATH = Path(__file__).with_name("cuda_budgets.json")
COMMAND = "python -m benchmarks.gpu_model.budgets --update"
FORMAT = 1

MAX_SHARED_BYTES = 99 * 1024
"""What a block can have on every architecture: 8.6, 8.9 and 12.0 have the least."""

REGISTER_STEP = 8
"""A warp gets registers in pieces of 256, so numbers of registers between two multiples of this cost the same."""
MAX_REGISTERS = 255


@dataclass(frozen=True)
class Budget:
    """Row of the table: what a kernel may use.

    Attributes:
        op: folder of its source in ``csrc/ops``.
        threads: per block.
        dynamic_shared_bytes: per block, at most.
        registers: per thread by architecture ("80"), a multiple of 8 or 255.
        instructions: those of :data:`~benchmarks.gpu_model.compiled.MATRIX` that its machine code has on every
            architecture.
    """

    op: str
    threads: int
    dynamic_shared_bytes: int
    registers: dict[str, int]
    instructions: list[str]


def load(path: Path = PATH) -> dict[str, Budget]:
    """Rows of the table by kernel.

    Raises:
        ValueError: the file has another format.
    """
    document = json.loads(path.read_text())
    if document["format"] != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {document['format']}")
    return {name: Budget(**row) for name, row in document["kernels"].items()}


def registers_of(budgets: Mapping[str, Budget]) -> dict[str, dict[int, int]]:
    """Registers per thread of every kernel, by compute capability as in ``sm_87``: 87."""
    return {
        name: {int(capability): count for capability, count in budget.registers.items()}
        for name, budget in budgets.items()
    }


def compiler_of_table(path: Path = PATH) -> str:
    """Release of nvcc that the table's registers come from: "13.0"."""
    return str(json.loads(path.read_text())["nvcc"])


def save(budgets: Mapping[str, Budget], nvcc: str, path: Path = PATH) -> None:
    """Writes the table, sorted."""
    rows = {name: asdict(budgets[name]) for name in sorted(budgets)}
    document = {"format": FORMAT, "command": COMMAND, "nvcc": nvcc, "kernels": rows}
    path.write_text(json.dumps(document, indent=1) + "\n")


def budget_of(kernels: Mapping[int, CompiledKernel], op: str, dynamic_shared_bytes: int) -> Budget:
    """The row that a kernel would have as it is now.

    Args:
        kernels: the kernel by architecture.
        op: its op.
        dynamic_shared_bytes: per block, at most.
    """
    steps = {a: -(-kernel.registers // REGISTER_STEP) for a, kernel in kernels.items()}
    registers = {str(a): min(count * REGISTER_STEP, MAX_REGISTERS) for a, count in steps.items()}
    threads = {kernel.threads for kernel in kernels.values()}
    if len(threads) != 1:
        raise ValueError(f"threads: expected the same on all architectures, got {sorted(threads)}")
    instructions = [name for name in MATRIX if all(name in kernel.instructions for kernel in kernels.values())]
    return Budget(op, threads.pop(), dynamic_shared_bytes, registers, instructions)


def shared_bytes_of_encoders() -> dict[str, int]:
    """The most dynamic shared memory that each kernel gets in any layer of any variant, by kernel; bytes per block.

    From the cost model's launches, which a test compares with those of the launchers.
    """
    most: dict[str, int] = {}
    for variant in VARIANTS.values():
        for batch in (1, 16):
            for op in encoder_ops(variant, batch):
                for device in DEVICES.values():
                    for launch in launches(op, device):
                        most[launch.kernel] = max(most.get(launch.kernel, 0), launch.shared_bytes)
    return most


def problems(
    name: str,
    kernels: Mapping[int, CompiledKernel],
    budget: Budget,
    *,
    registers: bool = True,
    architectures: Sequence[int] = ARCHITECTURES,
) -> list[str]:
    """What keeps a kernel from its budget: a sentence each, none if all is well.

    Args:
        name: of the kernel.
        kernels: the kernel by architecture.
        budget: its row of the table.
        registers: whether to compare registers, which another release of nvcc may hand out differently.
        architectures: that the kernel is to be there for.
    """
    found = []
    if missing := sorted(set(architectures) - set(kernels)):
        found.append(f"{name}: expected code for {missing}, got none")
    if budget.dynamic_shared_bytes > MAX_SHARED_BYTES:
        found.append(
            f"{name}: expected at most {MAX_SHARED_BYTES} bytes of shared memory, got {budget.dynamic_shared_bytes}"
        )
    for architecture, kernel in sorted(kernels.items()):
        where = f"{name} on sm_{architecture}"
        allowed = budget.registers.get(str(architecture), 0)
        if registers and kernel.registers > allowed:
            found.append(f"{where}: expected at most {allowed} registers, got {kernel.registers}")
        if kernel.threads != budget.threads:
            found.append(f"{where}: expected {budget.threads} threads, got {kernel.threads}")
        if kernel.static_shared_bytes:
            found.append(f"{where}: expected dynamic shared memory, got {kernel.static_shared_bytes} bytes of static")
        if kernel.local_bytes:
            found.append(f"{where}: expected nothing in local memory, got {kernel.local_bytes} bytes")
        if occupancy(architecture, kernel.threads, kernel.registers, budget.dynamic_shared_bytes).blocks == 0:
            found.append(f"{where}: expected a block to fit a multiprocessor, got none")
        if kernel.instructions:
            found += _instruction_problems(where, kernel, budget)
    return found


def _instruction_problems(where: str, kernel: CompiledKernel, budget: Budget) -> list[str]:
    found = [
        f"{where}: expected {name} in its machine code, got none"
        for name in budget.instructions
        if name not in kernel.instructions
    ]
    found += [
        f"{where}: expected no {name} (local memory) in its machine code, got {kernel.instructions[name]}"
        for name in LOCAL_MEMORY
        if name in kernel.instructions
    ]
    return found


def op_of(name: str) -> str:
    """Folder of a kernel in ``csrc/ops``, from the rows of its list of kernels."""
    for file in kernel_files():
        if f"  row({name}," in file.with_name(f"{file.stem}_cuda_args.h").read_text():
            return file.parent.name
    raise SystemExit(f"{name}: expected a row in a csrc/ops/<op>/<op>_cuda_args.h, got none")


def show(kernels: Mapping[str, Mapping[int, CompiledKernel]], budgets: Mapping[str, Budget]) -> str:
    """Registers and occupancy of each kernel: blocks and warps on a multiprocessor, with the share of its warps."""
    lines = ["registers (blocks on a multiprocessor, share of its warps), by CUDA's occupancy rules; not measured"]
    width = max(map(len, kernels), default=0)
    architectures = sorted({architecture for compiled in kernels.values() for architecture in compiled})
    lines.append(f"{'':{width}} thr  shared " + "".join(f"{f'sm_{a}':>13}" for a in architectures))
    for name in sorted(kernels):
        budget = budgets[name]
        cells = []
        for architecture in architectures:
            kernel = kernels[name][architecture]
            fit = occupancy(architecture, kernel.threads, kernel.registers, budget.dynamic_shared_bytes)
            cells.append(f"{f'{kernel.registers} ({fit.blocks}, {fit.fraction:.0%})':>13}")
        shared = budget.dynamic_shared_bytes
        lines.append(f"{name:{width}} {budget.threads:3} {shared:7} {''.join(cells)}  {' '.join(budget.instructions)}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 1 if a kernel is over its budget or the table does not fit the kernels."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_model.budgets", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("--update", action="store_true", help="write the table")
    parser.add_argument("--shared", action="append", default=[], metavar="NAME=BYTES", help="dynamic shared memory")
    options = parser.parse_args(arguments)
    given = {name: int(value) for name, _, value in (text.partition("=") for text in options.shared)}
    nvcc, nvdisasm = find_nvcc(), find_nvdisasm()
    if nvcc is None or nvdisasm is None:
        raise SystemExit("expected nvcc and nvdisasm, got at most one of them: pip install 'evsam[cuda-toolchain]'")

    start = time.perf_counter()
    kernels = compile_all(nvcc, nvdisasm)
    print(f"{len(kernels)} kernels for {len(ARCHITECTURES)} architectures in {time.perf_counter() - start:.0f} s")
    old = load() if PATH.exists() else {}
    new = {}
    shared = {name: budget.dynamic_shared_bytes for name, budget in old.items()}
    shared = {**shared, **shared_bytes_of_encoders(), **given}
    for name, compiled in kernels.items():
        new[name] = budget_of(compiled, op_of(name), shared.get(name, 0))
    if options.update:
        save(new, ".".join(map(str, nvcc_version())))
        old = new
    print(show(kernels, new))
    found = [f"{name}: in the table, but there is no such kernel" for name in sorted(set(old) - set(kernels))]
    for name, compiled in kernels.items():
        found += problems(name, compiled, old[name]) if name in old else [f"{name}: not in the table"]
    print("\n".join(found) if found else "all within their budgets")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
