"""The module that GPUs get, evsam._cuda built by nvcc: it compiles, links and imports, also without a driver.

For one architecture, and without optimisation of what runs on the host: test_nvcc.py has the others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest

from benchmarks.gpu_model.budgets import load
from benchmarks.gpu_model.compiled import kernel_files
from tests.builds import ROOT, nvcc_build, run, tool
from tests.cuda.toolchain import find_nvcc, require_nvcc


@pytest.fixture(scope="module")
def module():
    """Path of the compiled module; kept in build/ for the next run."""
    return nvcc_build(require_nvcc(), "_cuda") / f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"


def in_process(module, program, **environment):
    load_it = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('evsam._cuda', {str(module)!r})\n"
        "cuda = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(cuda)\n"
    )
    command = [sys.executable, "-c", load_it + program]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=module.parent, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_and_lists_its_kernels(module):
    assert in_process(module, "print(cuda.emulated)") == "False"
    rows = in_process(
        module, "print(*((row['name'], row['threads']) for row in cuda.kernels()), sep='\\n')"
    ).splitlines()
    assert sorted(rows) == sorted(str((name, budget.threads)) for name, budget in load().items())


def test_says_what_is_missing(module):
    # No device is visible to this process, whether or not the machine has one.
    error = in_process(module, "print(cuda.device_count(), cuda.driver_error())", CUDA_VISIBLE_DEVICES="")
    count, _, text = error.partition(" ")
    assert count == "0"
    assert text.startswith("cudaGetDeviceCount: ")
    assert "CUDA error" in text


def test_needs_no_cuda_library(module):
    # The runtime is linked statically; libcuda comes with the driver and is looked for when it is used.
    needed = run(tool("ldd", "build with nvcc"), str(module))
    assert "libc.so" in needed
    assert "libcuda" not in needed


def test_every_file_with_kernels_is_in_the_build(module):
    objects = run(tool("ninja", "build with nvcc"), "-C", str(module.parent), "-t", "inputs", module.name)
    missing = [file.name for file in kernel_files() if f"/{file.parent.name}/{file.name}.o" not in objects]
    assert not missing


def test_cmake_says_that_there_is_no_compiler(tmp_path):
    if find_nvcc() is None:
        pytest.skip("nvcc is needed to see the difference")
    cmake, ninja = tool("cmake", "build with nvcc"), tool("ninja", "build with nvcc")
    command = [cmake, "-S", str(ROOT), "-B", str(tmp_path / "build"), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    command += ["-DEVSAM_CUDA=ON", "-DEVSAM_LIBRARY=OFF", "-DCMAKE_CUDA_COMPILER=/nowhere/nvcc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "/nowhere/nvcc" in done.stderr
