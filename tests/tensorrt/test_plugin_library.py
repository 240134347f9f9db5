"""The plugins for TensorRT, with the headers of every folder in the environment variable TENSORRT_ROOT.

``TENSORRT_ROOT=/path/of/10.3:/path/of/11.1 pytest tests/tensorrt``: each folder's ``include`` has ``NvInfer.h``.
docs/tensorrt-plugins.md says where the headers come from. Neither a GPU nor a TensorRT library is needed: the kernels
are emulated, those of build/cuda-emulated, and the host is a C++ program. Builds are kept in ``build/`` and brought up
to date.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import pytest

import evsam
from tests.builds import NVCC_OPTIONS, ROOT, configure, emulated_build, nvcc_build, python_options, run, tool
from tests.cuda.toolchain import require_nvcc

NEEDED = "TensorRT plugins"
PRESETS = ("cuda-emulated", "cuda-emulated-asan")
HOSTS = ("test_plugins", "test_registration", "test_workspace")
EXPORTED = ["evsam_plugins_version", "getCreators", "setLoggerFinder"]
NAMES = ("EvsamFusedMBConv", "EvsamLayerNorm2d", "EvsamLiteMLA", "EvsamReluLinearAttention", "EvsamUpsampleAdd")

HEADERS = [Path(folder) for folder in os.environ.get("TENSORRT_ROOT", "").split(os.pathsep) if folder]
for_each_version = pytest.mark.parametrize(
    "headers",
    [pytest.param(folder, id=folder.name) for folder in HEADERS]
    or [
        pytest.param(
            None,
            id="none",
            marks=pytest.mark.skip(reason="TensorRT headers: set TENSORRT_ROOT as docs/tensorrt-plugins.md says"),
        )
    ],
)


def version_of(headers: Path) -> str:
    """Such as 10.3.0."""
    text = (headers / "include" / "NvInferVersion.h").read_text(encoding="utf-8")
    parts = (
        re.search(rf"#define (?:NV_TENSORRT|TRT)_{part}(?:_ENTERPRISE)? (\d+)", text) for part in ("MAJOR", "MINOR")
    )
    major, minor = (match[1] for match in parts if match)
    return f"{major}.{minor}"


def major_of(headers: Path) -> str:
    return version_of(headers).split(".")[0]


def configure_plugins(folder: Path, headers: Path, kernels: Path, *options: str) -> None:
    configure(
        folder,
        *(tool("cmake", NEEDED), "-S", ROOT, "-B", folder),
        *("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja', NEEDED)}"),
        *("-DEVSAM_TENSORRT=ON", f"-DTENSORRT_ROOT={headers}", f"-DEVSAM_KERNELS_BUILD={kernels}"),
        *("-DEVSAM_LIBRARY=OFF", "-DEVSAM_WERROR=ON", *python_options(NEEDED), *options),
    )


@cache
def emulated(headers: Path, preset: str) -> Path:
    """The folder of a build with everything for one TensorRT."""
    kernels = emulated_build(preset, "evsam_cuda_emulated", "evsam_oracles")
    folder = ROOT / "build" / f"tensorrt-{version_of(headers)}-{preset}"
    asan = preset.endswith("-asan")
    configure_plugins(
        *(folder, headers, kernels, "-DEVSAM_CUDA_EMULATION=ON"),
        *(f"-DCMAKE_BUILD_TYPE={'RelWithDebInfo' if asan else 'Release'}",),
        *(f"-DEVSAM_SANITIZE={'address,undefined' if asan else ''}",),
    )
    targets = ["evsam_plugins", *HOSTS, *(() if asan else ("_trt",))]
    run(tool("cmake", NEEDED), "--build", folder, "--target", *targets)
    return folder


def exported(library: Path) -> list[str]:
    rows = run(tool("nm", NEEDED), "--dynamic", "--defined-only", library).splitlines()
    return sorted(row.split()[-1] for row in rows)


def needed(library: Path) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.*)\]", run(tool("readelf", NEEDED), "--dynamic", "--wide", library))


@pytest.mark.parametrize("preset", PRESETS)
@for_each_version
def test_plugins_from_creation_to_results(headers, preset):
    folder = emulated(headers, preset)
    leaks = {"ASAN_OPTIONS": "detect_leaks=1"} if preset.endswith("-asan") else {}
    output = run("ctest", "--test-dir", folder, "--output-on-failure", "-R", f"^({'|'.join(HOSTS)})$", **leaks)
    for host in HOSTS:
        assert f"{host} " in output  # ctest says whether they passed, but not that there were none


@for_each_version
def test_exported_symbols(headers):
    library = emulated(headers, "cuda-emulated") / f"libevsam_plugins_trt{major_of(headers)}.so"
    assert exported(library) == EXPORTED
    assert not any("nvinfer" in name for name in needed(library))


LOAD = """
import ctypes, importlib.util, sys
path, nvinfer = sys.argv[1:]
spec = importlib.util.spec_from_file_location(path.rsplit("/", 1)[1].split(".")[0], path)
trt = importlib.util.module_from_spec(spec)
spec.loader.exec_module(trt)
from evsam.errors import BackendUnavailable
"""

WITH_LIBRARY = """
print(trt.version(), trt.tensorrt_version(), trt.library_path())
print(*trt.names())
try:
    trt.register_plugins()
except BackendUnavailable as error:
    print(error)
fake = ctypes.CDLL(nvinfer, mode=ctypes.RTLD_LOCAL)
print(fake.fake_nvinfer_creators(), trt.register_plugins(), fake.fake_nvinfer_creators())
print(trt.register_plugins(), fake.fake_nvinfer_creators())
"""

ALONE = """
print(trt.library_path())
fake = ctypes.CDLL(nvinfer, mode=ctypes.RTLD_LOCAL)
try:
    trt.register_plugins()
except BackendUnavailable as error:
    print(error)
"""


@for_each_version
def test_python_module_registers(headers, tmp_path):
    folder, major = emulated(headers, "cuda-emulated"), major_of(headers)
    module = folder / f"_trt{major}{sysconfig.get_config_var('EXT_SUFFIX')}"
    library = folder / f"libevsam_plugins_trt{major}.so"
    nvinfer = folder / "fake" / f"libnvinfer.so.{major}"
    lines = run(sys.executable, "-c", LOAD + WITH_LIBRARY, module, nvinfer).splitlines()
    assert re.fullmatch(rf"{re.escape(evsam.__version__)} {major}\.\d+\.\d+ {re.escape(str(library))}", lines[0])
    assert lines[1].split() == list(NAMES)
    assert lines[2] == (
        f"TensorRT: expected libnvinfer.so.{major} in this process: import tensorrt {major} before, got none"
    )
    assert lines[3:] == [f"0 {NAMES} 5", "() 5"]

    alone = tmp_path / module.name
    shutil.copy(module, alone)
    lines = run(sys.executable, "-c", LOAD + ALONE, alone, nvinfer).splitlines()
    assert lines == [
        "None",
        f"TensorRT plugins: expected libevsam_plugins_trt{major}.so in {tmp_path}/, got none",
    ]


@for_each_version
def test_library_for_gpus(headers):
    """Built by nvcc for one architecture, with the kernels that tests/cuda/test_cuda_build.py has built."""
    nvcc = require_nvcc()
    kernels = nvcc_build(nvcc, "evsam_cuda")
    folder, major = ROOT / "build" / f"tensorrt-{version_of(headers)}-nvcc", major_of(headers)
    configure_plugins(folder, headers, kernels, *NVCC_OPTIONS, f"-DCMAKE_CUDA_COMPILER={nvcc}")
    run(tool("cmake", NEEDED), "--build", folder, "--target", "evsam_plugins", "_trt")
    library = folder / f"libevsam_plugins_trt{major}.so"
    assert exported(library) == EXPORTED
    assert not any(re.search("nvinfer|cuda", name) for name in needed(library))  # both come with the process
    # It loads without a driver.
    run(sys.executable, "-c", f"import ctypes; ctypes.CDLL({str(library)!r}).getCreators")


def fails(tmp_path: Path, *options: str) -> str:
    command = [tool("cmake", NEEDED), "-S", str(ROOT), "-B", str(tmp_path), "-G", "Ninja"]
    command += [f"-DCMAKE_MAKE_PROGRAM={tool('ninja', NEEDED)}", "-DEVSAM_LIBRARY=OFF", "-DEVSAM_TENSORRT=ON", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return " ".join(done.stderr.split())


def test_cmake_needs_kernels(tmp_path):
    error = fails(tmp_path)
    assert "EVSAM_TENSORRT=ON: expected EVSAM_CUDA=ON, whose kernels the plugins start, got OFF." in error


def test_cmake_says_that_there_are_no_headers(tmp_path):
    error = fails(tmp_path / "build", "-DEVSAM_CUDA_EMULATION=ON", f"-DTENSORRT_ROOT={tmp_path}")
    assert (
        f"TENSORRT_ROOT: expected a folder with TensorRT's headers, include/NvInfer.h and others, got {tmp_path}"
        in error
    )


def test_cmake_refuses_an_old_version(tmp_path):
    include = tmp_path / "include"
    include.mkdir()
    (include / "NvInfer.h").touch()
    lines = [
        f"#define NV_TENSORRT_{part} {number} //!< {part}"
        for part, number in (("MAJOR", 8), ("MINOR", 6), ("PATCH", 1))
    ]
    (include / "NvInferVersion.h").write_text("\n".join(lines), encoding="utf-8")
    error = fails(tmp_path / "build", "-DEVSAM_CUDA_EMULATION=ON", f"-DTENSORRT_ROOT={tmp_path}")
    assert "TENSORRT_ROOT: expected TensorRT 10.3 or newer, got 8.6.1" in error
