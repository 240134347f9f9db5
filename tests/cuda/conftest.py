"""The CUDA kernels without a GPU: the compiled module evsam._cuda with its kernels emulated on the CPU.

It is built once for all tests, from the sources of this repository, and kept in build/ so that the next run only builds
what changed.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import evsam

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
PRESET = "cuda-emulated"  # shared with test_emulation.py, so that the kernels are compiled once
BUILD = ROOT / "build" / PRESET


@pytest.fixture(scope="session")
def emulated_module() -> ModuleType:
    """The module, built and loaded but not in place; CPU arrays are its device arrays."""
    path = _build()
    spec = importlib.util.spec_from_file_location("evsam._cuda", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.emulated
    return module


@pytest.fixture
def emulated(emulated_module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module in place of evsam._cuda for one test: `backend="cuda"` runs in emulation."""
    monkeypatch.setitem(sys.modules, "evsam._cuda", emulated_module)
    monkeypatch.setattr(evsam, "_cuda", emulated_module, raising=False)
    return emulated_module


def _build() -> Path:
    """Path of the compiled module, up to date; skips where there is nothing to compile with."""
    cmake, ninja = _tool("cmake"), _tool("ninja")
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("CUDA emulation: no C++ compiler")
    pybind11 = pytest.importorskip("pybind11", reason="CUDA emulation: no pybind11")
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _run(
            cmake,
            *("-S", str(ROOT), "--preset", PRESET),
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
            "-DEVSAM_PYTHON=ON",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        )
        _run(cmake, "--build", str(BUILD), "--target", "_cuda")
    return BUILD / f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"


def _tool(name: str) -> str:
    """Path of a program, of this Python's environment or of the system."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"CUDA emulation: no {name}")
    return found


def _run(*command: str) -> None:
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    if result.returncode != 0:
        pytest.fail(f"CUDA emulation: {' '.join(command)}\n{result.stdout[-8000:]}{result.stderr[-4000:]}")
