"""The C++ tests of the CPU: every op on its table of cases, by the kernels of every instruction set that runs here."""

from __future__ import annotations

import re

from evsam.ops.cases import OPS
from tests.builds import cpu_build, run, tool


def test_cpp_tests_pass() -> None:
    folder = cpu_build()
    output = run(tool("ctest", "C++ tests"), "--test-dir", folder, "--parallel", 2, "--output-on-failure")
    passed = set(re.findall(r"Test +#\d+: (\S+) \.+ +Passed", output))
    assert {f"test_ops_{op}" for op in OPS} <= passed
