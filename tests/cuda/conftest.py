"""The CUDA kernels without a GPU: the compiled module evsam._cuda with its kernels emulated on the CPU.

It is built once for all tests, from the sources of this repository, and kept in build/ so that the next run only builds
what changed.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

import evsam
from tests.builds import emulated_build

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="session")
def emulated_module() -> ModuleType:
    """The module, built and loaded but not in place; CPU arrays are its device arrays."""
    path = emulated_build("cuda-emulated", "_cuda") / f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
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
