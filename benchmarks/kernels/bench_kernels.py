"""The timed cases under pytest-benchmark: `pytest benchmarks/kernels --benchmark-enable -k mbconv`.

Instruction set and threads are those of the environment: EVSAM_ISA and EVSAM_NUM_THREADS. Without --benchmark-enable
the cheapest case of each op runs once, which keeps this working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.kernels.calls import call_of
from benchmarks.kernels.measure import rule_of
from evsam import _C
from evsam.ops.cases import OPS, Case, cases

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

WITHOUT_PYTHON = {"mask_prompt", "sam_head"}
"""Ops whose maps lie in the kernels' panels; `test_ops --perf` times them."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    enabled = metafunc.config.getoption("benchmark_enable")
    chosen = []
    for op in OPS:
        timed = [case for case in cases(op) if case.timed and op not in WITHOUT_PYTHON]
        chosen += timed if enabled else sorted(timed, key=lambda case: (case.op.flops, case.op.bytes()))[:1]
    metafunc.parametrize("case", chosen, ids=lambda case: f"{case.op.name} {case.name}")


def test_kernel(benchmark: BenchmarkFixture, case: Case) -> None:
    call = call_of(case)
    if call is None:
        pytest.skip("evsam.ops has no such form of the op")
    kernel = call.kernel(_C.selected_isa(), _C.get_num_threads())
    rule_of(case, call)(benchmark(kernel))
