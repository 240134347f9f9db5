"""The table of budgets, and what is wrong with kernels by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.cuda_budgets.build import ARCHITECTURES, CompiledKernel
from benchmarks.cuda_budgets.sass import LOCAL_MEMORY, MATRIX
from evsam.gpu_model.devices import DEVICES
from evsam.gpu_model.geometry import launches
from evsam.gpu_model.occupancy import occupancy
from evsam.layers import encoder_ops
from evsam.zoo import VARIANTS

__all__ = [
    "MAX_SHARED_BYTES",
    "PATH",
    "Budget",
    "budget_of",
    "compiler_of_table",
    "load",
    "problems",
    "save",
    "shared_bytes_of_encoders",
]

PATH = Path(__file__).resolve().parents[2] / "evsam" / "data" / "cuda_budgets.json"
COMMAND = "python -m benchmarks.cuda_budgets --update"
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
        instructions: those of :data:`~benchmarks.cuda_budgets.sass.MATRIX` that its machine code has on every
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


def problems(name: str, kernels: Mapping[int, CompiledKernel], budget: Budget, *, registers: bool = True) -> list[str]:
    """What keeps a kernel from its budget: a sentence each, none if all is well.

    Args:
        name: of the kernel.
        kernels: the kernel by architecture.
        budget: its row of the table.
        registers: whether to compare registers, which another release of nvcc may hand out differently.
    """
    found = []
    if missing := sorted(set(ARCHITECTURES) - set(kernels)):
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
