"""Finds nvcc and compiles kernels to PTX, for the tests that read or execute what the CUDA compiler emits.

nvcc is looked for, in this order: ``EVSAM_NVCC`` and ``CUDACXX`` (files; one that is set and missing is an error), the
pip packages ``nvidia-cuda-nvcc`` and friends (``site-packages/nvidia/cu13/bin``), ``PATH``, ``/usr/local/cuda/bin``.
No GPU and no driver are needed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.thorough import THOROUGH

__all__ = ["CSRC", "KERNEL_OPTIONS", "PTX_ARCHITECTURES", "compile_ptx", "find_nvcc", "nvcc_version", "require_nvcc"]

CSRC = Path(__file__).resolve().parents[2] / "csrc"

PTX_ARCHITECTURES = tuple(f"compute_{a}" for a in ((80, 87, 90, 120) if THOROUGH else (80, 120)))
"""Virtual architectures whose PTX is executed: A100, Orin, H100, RTX 50. The first three have the same so far."""

KERNEL_OPTIONS = ("-lineinfo",)
"""For the PTX of the library's kernels, the same for all who read it, so that it is compiled once."""


@cache
def find_nvcc() -> Path | None:
    """Path of nvcc, or None where there is none.

    Raises:
        FileNotFoundError: ``EVSAM_NVCC`` or ``CUDACXX`` names a file that does not exist.
    """
    for variable in ("EVSAM_NVCC", "CUDACXX"):
        if value := os.environ.get(variable):
            if found := shutil.which(value):
                return Path(found)
            raise FileNotFoundError(f"{variable}: expected the path of nvcc, got {value}")
    nvidia = importlib.util.find_spec("nvidia")
    folders = list(nvidia.submodule_search_locations or ()) if nvidia else []
    packaged = sorted((nvcc for folder in folders for nvcc in Path(folder).glob("cu*/bin/nvcc")), reverse=True)
    candidates = [*map(str, packaged), "nvcc", "/usr/local/cuda/bin/nvcc"]
    return next((Path(found) for candidate in candidates if (found := shutil.which(candidate))), None)


def require_nvcc() -> Path:
    """Path of nvcc; skips the test where there is none."""
    nvcc = find_nvcc()
    if nvcc is None:
        pytest.skip("nvcc not found: install the CUDA toolkit, or set EVSAM_NVCC")
    return nvcc


@cache
def nvcc_version() -> tuple[int, int]:
    """Release of nvcc, such as (13, 0); skips the test where there is none."""
    text = subprocess.run([require_nvcc(), "--version"], check=True, capture_output=True, text=True).stdout
    match = re.search(r"release (\d+)\.(\d+)", text)
    if match is None:
        raise RuntimeError(f"nvcc --version: expected a line with a release, got {text!r}")
    return int(match[1]), int(match[2])


def _with_headers(source: Path) -> list[Path]:
    """A file and the headers of this repository that it includes, and those that they include."""
    found, waiting = [source], [source]
    while waiting:
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', waiting.pop().read_text(encoding="utf-8"), re.M):
            if (header := CSRC / name).exists() and header not in found:
                found.append(header)
                waiting.append(header)
    return found


@cache
def compile_ptx(source: Path, architecture: str, options: tuple[str, ...] = ()) -> str:
    """PTX of one ``.cu`` file; skips the test where there is no nvcc.

    It is kept in build/ptx until the file, a header that it includes or nvcc changes.

    Args:
        source: The file.
        architecture: Virtual architecture, such as ``compute_80``.
        options: More options of nvcc, such as ``-DNAME=1``.

    Raises:
        RuntimeError: nvcc does not compile it; the message holds what nvcc printed.
    """
    command = [str(require_nvcc()), "--ptx", f"-arch={architecture}", "-std=c++17", f"-I{CSRC}", *options, str(source)]
    content = hashlib.sha256(repr((nvcc_version(), command)).encode())
    for path in _with_headers(source):
        content.update(path.read_bytes())
    name = f"{source.stem}.{architecture}.{hashlib.sha256(repr(options).encode()).hexdigest()[:8]}"
    kept = CSRC.parent / "build" / "ptx" / f"{name}.{content.hexdigest()[:16]}.ptx"
    if kept.exists():
        return kept.read_text()
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        out = Path(folder) / "out.ptx"
        done = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        for stale in kept.parent.glob(f"{name}.*.ptx"):
            stale.unlink(missing_ok=True)
        out.replace(kept)
    return kept.read_text()
