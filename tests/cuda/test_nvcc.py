"""nvcc compiles every kernel, for two architectures or all, and what comes out is compared with the table of budgets.

No GPU: these are statements about machine code, made by NVIDIA's compiler and disassembler. ``python -m
benchmarks.gpu_model.budgets --update`` writes the table; its docstring says what is in it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from benchmarks.gpu_model import budgets as table
from benchmarks.gpu_model.compiled import (
    ARCHITECTURES,
    MATRIX,
    SPILL_GATE,
    CompiledKernel,
    CompileError,
    by_name,
    compile_all,
    compile_file,
    find_nvdisasm,
    kernel_files,
)
from tests.cuda.toolchain import CSRC, nvcc_version, require_nvcc
from tests.thorough import THOROUGH

Kernels = dict[str, dict[int, CompiledKernel]]

BROKEN = Path(__file__).parent / "broken"
TABLE = table.load()

COMPILED = ARCHITECTURES if THOROUGH else (80, 120)
"""The two whose PTX is executed; all eight take five minutes of a processor's time."""

ON_TENSOR_CORES = re.compile(
    r"^b?f16_(pointwise|conv3x3|fused_mbconv|mbconv|lite_mla|relu_linear_attention)_(?!sum__)", re.ASCII
)
"""Kernels whose products are meant to be on tensor cores, from operands that cp.async and ldmatrix bring. The others of
these ops are in float32, or add what several blocks left."""


def require_nvdisasm() -> Path:
    nvdisasm = find_nvdisasm()
    if nvdisasm is None:
        pytest.skip("nvdisasm not found: pip install 'evsam[cuda-toolchain]'")
    return nvdisasm


@pytest.fixture(scope="module")
def compiled() -> Kernels:
    """Every kernel of the ops, by name and architecture; the spill gate is part of compiling."""
    return compile_all(require_nvcc(), find_nvdisasm(), COMPILED)


@cache
def broken(name: str, *options: str) -> dict[int, CompiledKernel]:
    kernels = compile_file(BROKEN / f"{name}.cu", require_nvcc(), find_nvdisasm(), (80, 120), options)
    return {kernel.architecture: kernel for kernel in kernels}


def test_table_has_every_kernel_and_no_other(compiled):
    assert sorted(TABLE) == sorted(compiled)


def test_every_entry_has_a_row(compiled):
    rows = [
        name
        for file in kernel_files()
        for name in re.findall(r"^  row\((\w+),", file.with_name(f"{file.stem}_cuda_args.h").read_text(), re.MULTILINE)
    ]
    assert sorted(rows) == sorted(compiled)


def test_ops_of_the_table_are_folders():
    assert {budget.op for budget in TABLE.values()} == {file.parent.name for file in kernel_files()}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_kernel_is_within_its_budget(compiled, name):
    found = table.problems(name, compiled[name], TABLE[name], registers=False, architectures=COMPILED)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_kernel_uses_no_more_registers(compiled, name):
    release = ".".join(map(str, nvcc_version()))
    if release != table.compiler_of_table():
        pytest.skip(f"nvcc {release} found, and the table's registers are of nvcc {table.compiler_of_table()}")
    found = table.problems(name, compiled[name], TABLE[name], architectures=COMPILED)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_machine_code_has_the_instructions_of_the_table(compiled, name):
    require_nvdisasm()
    kernels = compiled[name].values()
    assert TABLE[name].instructions == [i for i in MATRIX if all(i in kernel.instructions for kernel in kernels)]


@pytest.mark.parametrize("name", sorted(filter(ON_TENSOR_CORES.search, TABLE)))
def test_products_are_on_tensor_cores(name):
    assert TABLE[name].instructions == list(MATRIX)


def test_layers_of_the_encoders_stay_within_the_shared_memory_of_the_table():
    most = table.shared_bytes_of_encoders()
    assert most
    assert {
        name: size for name, size in most.items() if name in TABLE and size > TABLE[name].dynamic_shared_bytes
    } == {}


def test_cmake_builds_the_same():
    text = (CSRC.parent / "cmake" / "EvsamCudaToolchain.cmake").read_text()
    assert f"set(EVSAM_CUDA_ARCHITECTURES {' '.join(map(str, ARCHITECTURES))})" in text
    assert SPILL_GATE in text


def test_shown_table_names_every_kernel(compiled):
    lines = table.show(compiled, TABLE).splitlines()
    assert [line.split()[0] for line in lines[2:]] == sorted(compiled)


# What follows must be refused: the checks above are worth nothing if they cannot fail.


def test_gate_refuses_a_kernel_that_spills():
    with pytest.raises(CompileError, match="spilled"):
        broken("spills", SPILL_GATE)


def test_gate_refuses_an_array_in_local_memory():
    with pytest.raises(CompileError, match="Local memory used"):
        broken("local_array", SPILL_GATE)


@pytest.mark.parametrize("name", ["spills", "local_array"])
def test_local_memory_is_reported_without_the_gate(name):
    require_nvdisasm()
    kernels = broken(name)
    entry = kernels[80].name
    budget = table.budget_of(kernels, "none", 0)
    found = "\n".join(table.problems(entry, kernels, budget))
    assert f"{entry} on sm_80: expected nothing in local memory, got" in found
    assert f"{entry} on sm_80: expected no STL (local memory) in its machine code, got" in found


def test_over_budget_is_reported():
    kernels = broken("no_tensor_cores")
    right = table.budget_of(kernels, "none", 0)
    entry = kernels[80].name
    low = {**right.registers, "120": kernels[120].registers - 1}
    found = table.problems(entry, kernels, replace(right, registers=low))
    assert f"{entry} on sm_120: expected at most {low['120']} registers, got {kernels[120].registers}" in found
    assert not any("sm_80: expected at most" in line for line in found)
    assert not any("registers" in line for line in table.problems(entry, kernels, right))
    assert not any("registers, got" in line for line in table.problems(entry, kernels, right, registers=False))


def test_other_faults_are_reported():
    require_nvdisasm()
    kernels = broken("no_tensor_cores")
    entry = kernels[80].name
    right = table.budget_of(kernels, "none", 0)
    assert right.instructions == []
    wrong = replace(right, threads=128, dynamic_shared_bytes=100 * 1024, instructions=["HMMA"])
    found = table.problems(entry, kernels, wrong)
    for line in (
        f"{entry}: expected code for [86, 87, 89, 90, 100, 110], got none",
        f"{entry}: expected at most 101376 bytes of shared memory, got 102400",
        f"{entry} on sm_80: expected 128 threads, got 256",
        f"{entry} on sm_80: expected dynamic shared memory, got 1024 bytes of static",
        f"{entry} on sm_80: expected HMMA in its machine code, got none",
        f"{entry} on sm_120: expected a block to fit a multiprocessor, got none",
    ):
        assert line in found
    assert f"{entry} on sm_80: expected a block to fit a multiprocessor, got none" not in found


def test_two_kernels_of_one_name_are_refused():
    twice = [*broken("no_tensor_cores").values(), *broken("no_tensor_cores").values()]
    with pytest.raises(CompileError, match="name of its own for each kernel, got f32_no_tensor_cores__sm80 twice"):
        by_name(twice)


def test_table_of_another_format_is_refused(tmp_path):
    path = tmp_path / "table.json"
    path.write_text('{"format": 2, "kernels": {}}')
    with pytest.raises(ValueError, match="expected format 1, got 2"):
        table.load(path)


def test_table_is_written_as_it_is_read(tmp_path):
    path = tmp_path / "table.json"
    table.save(TABLE, "13.0", path)
    assert path.read_text() == table.PATH.read_text()
