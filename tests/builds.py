"""What tests that compile share: programs, commands that must succeed, and build folders that are compiled once.

Builds are kept in ``build/`` and brought up to date. Tests that run side by side wait for each other's builds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
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


@cache
def cpu_build() -> Path:
    """The folder of an optimised build of the C++ tests and of the C library, for the processor at hand."""
    cmake, ninja = tool("cmake", "C++ tests"), tool("ninja", "C++ tests")
    tool("c++", "C++ tests")
    folder = ROOT / "build" / "cpu-release"
    with locked(folder):
        options = [f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DEVSAM_LIBRARY=ON", "-DEVSAM_WERROR=ON"]
        run(cmake, "--preset", "cpu-release", *options)
        run(cmake, "--build", folder, "--parallel", CORES)
    return folder
