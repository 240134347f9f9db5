"""The dynamic shared memory that launchers ask for, against the table of budgets: only a launcher knows it."""

from __future__ import annotations

from benchmarks.cuda_budgets.table import load
from tests.cuda.ptx_cases import CASES
from tests.cuda.test_ptx_kernels import set_device, trace, workspace_of


def test_launchers_stay_within_the_shared_memory_of_the_table(emulated_module):
    budgets = load()
    most: dict[str, int] = {}
    for case in CASES:
        set_device(emulated_module, case.multiprocessors)
        call = case.make()
        for launch in trace(emulated_module, call, workspace_of(emulated_module, call), execute=False):
            most[launch.name] = max(most.get(launch.name, 0), launch.shared_bytes)
    set_device(emulated_module, 108)
    assert most
    assert {name: size for name, size in most.items() if size > budgets[name].dynamic_shared_bytes} == {}
    # A budget that no launch comes near to would make the occupancy look worse than it is.
    unused = {name for name, size in most.items() if size == 0 < budgets[name].dynamic_shared_bytes}
    assert unused == set()
