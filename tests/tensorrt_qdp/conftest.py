"""The quick plugins, registered with stand-ins for TensorRT, and the PTX of their kernels.

`EVSAM_TENSORRT_PLUGIN` may name a folder with NVIDIA's own Python sources of `tensorrt.plugin` (of TensorRT's
repository, `python/packaging/bindings_wheel/tensorrt/plugin`, any version from 10.9 on): the tests then also go through
them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from evsam.export.quick_plugins import SHARED_BYTES, register
from tests.cuda.toolchain import CSRC, compile_ptx
from tests.tensorrt_qdp.native import make_tensorrt
from tests.tensorrt_qdp.plugin import make_plugin_module

SOURCES = os.environ.get("EVSAM_TENSORRT_PLUGIN")
VERSIONS = ("10.9.0", "11.1.0")


def make_stand_in(version: str) -> ModuleType:
    """A module `tensorrt` with the stand-in of its submodule `plugin`."""
    trt = make_tensorrt(version)
    trt.plugin = make_plugin_module(trt)  # type: ignore[attr-defined]
    return trt


def make_from_sources(folder: Path) -> ModuleType:
    """The same with NVIDIA's sources of `tensorrt.plugin`."""
    trt = make_tensorrt("sources")
    spec = importlib.util.spec_from_file_location(
        "tensorrt.plugin", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    trt.plugin = module  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, {"tensorrt": trt, "tensorrt.plugin": module}), warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of escapes in NVIDIA's docstrings
        warnings.simplefilter("ignore", DeprecationWarning)  # what Python 3.11 calls them
        spec.loader.exec_module(module)
    return trt


def registered(trt: ModuleType, ptx: Path, shared_limit: int = SHARED_BYTES) -> ModuleType:
    """The module, after `register()`."""
    with mock.patch.dict(sys.modules, {"tensorrt": trt, "tensorrt.plugin": trt.plugin}):
        register(ptx=ptx, shared_limit=shared_limit)
    return trt


@pytest.fixture(scope="session")
def ptx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the PTX of this tree."""
    folder = tmp_path_factory.mktemp("ptx")
    for source in sorted((CSRC / "tensorrt_qdp").glob("*.cu")):
        (folder / f"{source.stem}.ptx").write_text(compile_ptx(source, "compute_80"))
    return folder


@pytest.fixture(scope="session")
def tensorrts(ptx: Path) -> list[ModuleType]:
    """Stand-ins of several versions, with the plugins registered."""
    made = [make_stand_in(version) for version in VERSIONS]
    if SOURCES:
        made.append(make_from_sources(Path(SOURCES)))
    return [registered(trt, ptx) for trt in made]


@pytest.fixture(scope="session")
def roomy_tensorrts(ptx: Path) -> list[ModuleType]:
    """Those of a TensorRT that launches blocks with 99 KiB of shared memory."""
    return [registered(make_stand_in(version), ptx, 99 * 1024) for version in VERSIONS]
