"""The C++ tests of the CUDA kernels in emulation: plain, in another order of threads, and under the sanitizers.

Each preset is a build of its own in ``build/<preset>``, which is brought up to date and not thrown away.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from evsam.ops.cases import CUDA_OPS
from tests.builds import CORES, ROOT, emulated_build, run, tool
from tests.thorough import sparing

PRESETS = ("cuda-emulated", "cuda-emulated-asan", "cuda-emulated-tsan")


def ctest(folder: Path, **environment: str) -> str:
    return run(
        tool("ctest", "CUDA emulation"), "--test-dir", folder, "--parallel", CORES, "--output-on-failure", **environment
    )


@pytest.mark.parametrize("preset", sparing(PRESETS, "cuda-emulated-tsan"))
def test_kernels(preset: str) -> None:
    if preset.endswith("tsan") and shutil.which("setarch") is None:
        pytest.skip("ThreadSanitizer needs setarch")
    output = ctest(emulated_build(preset))
    for op in operations():
        assert f"test_cuda_{op} " in output  # a test of every op was run, and ctest says whether it passed


@pytest.mark.parametrize("seed", [1, 20261123])
def test_any_order_of_threads(seed: int) -> None:
    ctest(emulated_build(), EVSAM_CUDA_SEED=str(seed))


def operations() -> list[str]:
    text = (ROOT / "cmake" / "EvsamCuda.cmake").read_text(encoding="utf-8")
    found = re.search(r"^set\(EVSAM_CUDA_OPS ([^)]*)\)", text, re.MULTILINE)
    assert found is not None
    return found[1].split()


def test_every_kernel_file_is_an_op() -> None:
    sources = sorted(path.stem for path in (ROOT / "csrc" / "ops").glob("*/*.cu"))
    assert sources == sorted(operations()) == sorted(CUDA_OPS)
