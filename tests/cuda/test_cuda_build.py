"""The module that GPUs get, evsam._cuda built by nvcc: it compiles, links and imports, also without a driver.

For one architecture, and without optimisation of what runs on the host: test_nvcc.py has the others.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from benchmarks.gpu_model.budgets import load
from benchmarks.gpu_model.compiled import kernel_files
from tests.cuda.toolchain import find_nvcc, require_nvcc

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / f"cuda-nvcc-{sysconfig.get_config_var('SOABI')}"


def tool(name):
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"build with nvcc: no {name}")
    return found


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-8000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def module():
    """Path of the compiled module; kept in build/ for the next run."""
    nvcc, cmake, ninja = require_nvcc(), tool("cmake"), tool("ninja")
    pybind11 = pytest.importorskip("pybind11", reason="build with nvcc: no pybind11")
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(
            *(cmake, "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"),
            "-DEVSAM_CUDA=ON",
            f"-DCMAKE_CUDA_COMPILER={nvcc}",
            "-DCMAKE_CUDA_ARCHITECTURES=80-real",
            "-DCMAKE_BUILD_TYPE=Debug",
            "-DEVSAM_WERROR=ON",
            "-DEVSAM_PYTHON=ON",
            "-DEVSAM_LIBRARY=OFF",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        )
        run(cmake, "--build", str(BUILD), "--target", "_cuda")
    return BUILD / f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"


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
    needed = run(tool("ldd"), str(module))
    assert "libc.so" in needed
    assert "libcuda" not in needed


def test_every_file_with_kernels_is_in_the_build(module):
    objects = run(tool("ninja"), "-C", str(module.parent), "-t", "inputs", module.name)
    missing = [file.name for file in kernel_files() if f"/{file.parent.name}/{file.name}.o" not in objects]
    assert not missing


def test_cmake_says_that_there_is_no_compiler(tmp_path):
    if find_nvcc() is None:
        pytest.skip("nvcc is needed to see the difference")
    cmake, ninja = tool("cmake"), tool("ninja")
    command = [cmake, "-S", str(ROOT), "-B", str(tmp_path / "build"), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    command += ["-DEVSAM_CUDA=ON", "-DEVSAM_LIBRARY=OFF", "-DCMAKE_CUDA_COMPILER=/nowhere/nvcc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "/nowhere/nvcc" in done.stderr
