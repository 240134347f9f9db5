"""What each CUDA kernel may use of a GPU: compiled, written down, and shown with the occupancy that follows.

    python -m benchmarks.cuda_budgets              # compile all kernels, compare them with the table, show them
    python -m benchmarks.cuda_budgets --update     # and write the table

Needs nvcc and nvdisasm (``pip install 'evsam[cuda-toolchain]'``) and no GPU. Nothing it prints is a measurement.

The table, ``evsam/data/cuda_budgets.json``, is what the tests compare new builds with and what the cost model reads::

    {"format": 1,
     "command": "python -m benchmarks.cuda_budgets --update",
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
import sys
import time
from collections.abc import Mapping

from benchmarks.cuda_budgets.build import ARCHITECTURES, CompiledKernel, compile_all, kernel_files
from benchmarks.cuda_budgets.sass import find_nvdisasm
from benchmarks.cuda_budgets.table import PATH, Budget, budget_of, load, problems, save, shared_bytes_of_encoders
from evsam.gpu_model.occupancy import occupancy
from tests.cuda.toolchain import find_nvcc, nvcc_version


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
    lines.append(f"{'':{width}} thr  shared " + "".join(f"{f'sm_{a}':>13}" for a in ARCHITECTURES))
    for name in sorted(kernels):
        budget = budgets[name]
        cells = []
        for architecture in ARCHITECTURES:
            kernel = kernels[name][architecture]
            fit = occupancy(architecture, kernel.threads, kernel.registers, budget.dynamic_shared_bytes)
            cells.append(f"{f'{kernel.registers} ({fit.blocks}, {fit.fraction:.0%})':>13}")
        shared = budget.dynamic_shared_bytes
        lines.append(f"{name:{width}} {budget.threads:3} {shared:7} {''.join(cells)}  {' '.join(budget.instructions)}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 1 if a kernel is over its budget or the table does not fit the kernels."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda_budgets", description=str(__doc__).split("\n")[0])
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
