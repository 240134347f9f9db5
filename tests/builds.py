"""What tests that compile share: programs, commands that must succeed, and build folders that are compiled once.

Builds are kept in ``build/`` and brought up to date, or configured anew where what had configured them is gone. Tests
that run side by side wait for each other's builds.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORES = str(os.cpu_count() or 1)


def tool(name: str, wanted_for: str) -> str:
    """Path of a program, of this Python's environment or of the system; skips the test where there is none."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{wanted_for}: no {name}")
    return found


def run(*command: object, **environment: str) -> str:
    """What a command prints, run in the repository's root; the test fails if the command does."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout[-20000:]}", pytrace=False)
    return done.stdout


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While no other process configures or builds in that folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cache_entries(folder: Path) -> list[tuple[str, str]]:
    """Names and values in the cache of a build folder; none where it has not been configured."""
    cache = folder / "CMakeCache.txt"
    if not cache.exists():
        return []
    return re.findall(r"^([^#/\n][^:\n]*):[A-Z]+=(.*)$", cache.read_text(), re.MULTILINE)


def gone(folder: Path) -> list[str]:
    """Entries of a build folder's cache that name paths that are not there: a removed virtual environment's, mostly.

    CMake keeps the paths of programs and packages that it found once, and does not look for them again. It refuses a
    folder that was copied from elsewhere, whatever is there.
    """
    return [
        f"{name}={value}"
        for name, value in cache_entries(folder)
        if value.startswith("/")
        and (
            not all(Path(path).exists() for path in value.split(";"))
            or (name == "CMAKE_CACHEFILE_DIR" and not folder.samefile(value))
        )
    ]


def configure(folder: Path, *command: object) -> None:
    """Runs the CMake command that configures a build folder, and lets CMake look for everything again if it must."""
    if gone(folder):
        (folder / "CMakeCache.txt").unlink()
        for found in folder.glob("CMakeFiles/[0-9]*"):  # what CMake knows of compilers; a folder per version of it
            shutil.rmtree(found)
    run(*command)


def python_options(wanted_for: str) -> list[str]:
    """Of a build with compiled Python modules; skips the test where there is no pybind11."""
    pybind11 = pytest.importorskip("pybind11", reason=f"{wanted_for}: no pybind11")
    return ["-DEVSAM_PYTHON=ON", f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]


def pip_build() -> Path | None:
    """The folder in which pip has compiled this Python's module, if it has, from this repository."""
    modules = ROOT.glob(f"build/*/_C{sysconfig.get_config_var('EXT_SUFFIX')}")
    return next((module.parent for module in modules if (module.parent / "CMakeInit.txt").exists()), None)


@cache
def cpu_build() -> Path:
    """The folder of an optimised build of the C++ tests and of the C library, for the processor at hand.

    It is pip's where there is one, since most of what the tests need is compiled there: by the same programs, or all
    would be compiled again, and with warnings as errors if pip had them so.
    """
    tool("c++", "C++ tests")
    folder = pip_build() or ROOT / "build" / "cpu-release"
    with locked(folder):
        known = dict(cache_entries(folder))
        programs = {
            entry: known[entry]
            for entry in ("CMAKE_COMMAND", "CMAKE_MAKE_PROGRAM", "CMAKE_CXX_COMPILER")
            if Path(known.get(entry, "")).is_file()
        }
        cmake = programs.pop("CMAKE_COMMAND", None) or tool("cmake", "C++ tests")
        programs.setdefault("CMAKE_MAKE_PROGRAM", tool("ninja", "C++ tests"))
        configure(
            folder,
            *(cmake, "-S", ROOT, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"),
            *(f"-D{entry}={program}" for entry, program in programs.items()),
            *(f"-DEVSAM_WERROR={known.get('EVSAM_WERROR', 'ON')}", "-DEVSAM_TESTS=ON", "-DEVSAM_LIBRARY=ON"),
            *("-DEVSAM_PYTHON=OFF", "-DEVSAM_CUDA=OFF", "-DEVSAM_TENSORRT=OFF"),
        )
        run(cmake, "--build", folder, "--parallel", CORES)
    return folder


def emulated_build(preset: str = "cuda-emulated", *targets: str) -> Path:
    """The folder of a build of the emulated CUDA kernels: of some targets, or of everything with the C++ tests."""
    cmake, ninja = tool("cmake", "CUDA emulation"), tool("ninja", "CUDA emulation")
    tool("c++", "CUDA emulation")
    folder = ROOT / "build" / preset
    # A module that a sanitizer is linked to does not load into this Python.
    options = python_options("CUDA emulation") if preset == "cuda-emulated" else []
    with locked(folder):
        configure(folder, cmake, "--preset", preset, f"-DCMAKE_MAKE_PROGRAM={ninja}", *options)
        run(cmake, "--build", folder, "--parallel", CORES, *(("--target", *targets) if targets else ()))
    return folder


NVCC_OPTIONS = ("-DEVSAM_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=80-real", "-DCMAKE_BUILD_TYPE=Debug")


def nvcc_build(nvcc: Path, target: str) -> Path:
    """The folder of a build by nvcc, for one architecture and without optimisation of what runs on the host."""
    cmake, ninja = tool("cmake", "build with nvcc"), tool("ninja", "build with nvcc")
    folder = ROOT / "build" / f"cuda-nvcc-{sysconfig.get_config_var('SOABI')}"
    with locked(folder):
        configure(
            folder,
            *(cmake, "-S", ROOT, "-B", folder, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"),
            *(*NVCC_OPTIONS, f"-DCMAKE_CUDA_COMPILER={nvcc}", "-DEVSAM_WERROR=ON", "-DEVSAM_LIBRARY=OFF"),
            *python_options("build with nvcc"),
        )
        run(cmake, "--build", folder, "--target", target)
    return folder
