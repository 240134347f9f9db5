"""The C++ tests of the CUDA kernels in emulation: plain, in another order of threads, and under the sanitizers.

Each preset is a build of its own in ``build/<preset>``, which is brought up to date and not thrown away.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from evsam.ops.cases import CUDA_OPS

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ("cuda-emulated", "cuda-emulated-asan", "cuda-emulated-tsan")


def run(*command: object, **environment: str) -> str:
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


@cache
def build(preset: str) -> Path:
    for program in ("cmake", "ninja", "c++"):
        if shutil.which(program) is None:
            pytest.skip(f"CUDA emulation: no {program}")
    folder = ROOT / "build" / preset
    run("cmake", "--preset", preset)
    run("cmake", "--build", folder, "--parallel", len(os.sched_getaffinity(0)))
    return folder


def ctest(folder: Path, **environment: str) -> str:
    jobs = len(os.sched_getaffinity(0))
    return run("ctest", "--test-dir", folder, "--parallel", jobs, "--output-on-failure", **environment)


@pytest.mark.parametrize("preset", PRESETS)
def test_kernels(preset: str) -> None:
    if preset.endswith("tsan") and shutil.which("setarch") is None:
        pytest.skip("ThreadSanitizer needs setarch")
    output = ctest(build(preset))
    for op in operations():
        assert f"test_cuda_{op} " in output  # a test of every op was run, and ctest says whether it passed


@pytest.mark.parametrize("seed", [1, 20261123])
def test_any_order_of_threads(seed: int) -> None:
    ctest(build("cuda-emulated"), EVSAM_CUDA_SEED=str(seed))


def operations() -> list[str]:
    text = (ROOT / "cmake" / "EvsamCuda.cmake").read_text(encoding="utf-8")
    found = re.search(r"^set\(EVSAM_CUDA_OPS ([^)]*)\)", text, re.MULTILINE)
    assert found is not None
    return found[1].split()


def test_every_kernel_file_is_an_op() -> None:
    sources = sorted(path.stem for path in (ROOT / "csrc" / "ops").glob("*/*.cu"))
    assert sources == sorted(operations()) == sorted(CUDA_OPS)
