"""The PTX: where it is found, one kernel of it, and what ptxas makes of that."""

from __future__ import annotations

import importlib.machinery
import re
import subprocess
from pathlib import Path

import pytest

import evsam
from evsam.errors import BackendUnavailable
from evsam.export.quick_plugins import find_ptx
from evsam.export.quick_plugins import ptx as ptx_module
from evsam.export.quick_plugins.ptx import kernel_ptx
from evsam.export.quick_plugins.registration import _PLUGINS
from tests.cuda.toolchain import CSRC, require_nvcc

SOURCES = sorted((CSRC / "tensorrt_qdp").glob("*.cu"))
CMAKE = CSRC.parent / "cmake" / "EvsamQuickPlugins.cmake"

TEXT = """.version 9.0
.target sm_80
.extern .shared .align 128 .b8 memory[];
.visible .entry first(
	.param .u64 first_param_0
)
.maxntid 128
{
	{ .reg .b16 low; }
	ret;
}
	// .globl	second
.visible .entry second(
	.param .u64 second_param_0
)
{
	ret;
}
"""


def test_each_plugin_has_its_file() -> None:
    names = [source.stem for source in SOURCES]
    assert sorted({plugin.file for plugin in _PLUGINS}) == names
    for name in names:
        assert f"csrc/tensorrt_qdp/{name}.cu" in CMAKE.read_text()


def test_one_kernel_of_a_file() -> None:
    first = kernel_ptx(TEXT, "first")
    assert ".entry first(" in first
    assert "second_param_0" not in first
    assert first.startswith(TEXT[: TEXT.index(".visible")])
    assert first.count("{") == first.count("}") == 2
    second = kernel_ptx(TEXT, "second")
    assert "first_param_0" not in second
    assert second.count("{") == 1


def test_no_such_kernel() -> None:
    with pytest.raises(BackendUnavailable, match="expected an entry third in the PTX"):
        kernel_ptx(TEXT, "third")
    with pytest.raises(BackendUnavailable, match="a file that ends early"):
        kernel_ptx(TEXT[:-3], "second")


def test_given_folder(tmp_path: Path) -> None:
    (tmp_path / "resize.ptx").touch()
    assert find_ptx("resize", tmp_path) == tmp_path / "resize.ptx"


@pytest.mark.parametrize("beside", ["package", "module"])
def test_installed_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: str) -> None:
    """Beside the package's Python files, or, in an editable installation, beside its compiled module."""
    module = importlib.machinery.ModuleSpec("evsam._cuda", None, origin=str(tmp_path / "_cuda.so"))
    monkeypatch.setattr(ptx_module, "find_spec", lambda name: module if beside == "module" else None)
    folders = ptx_module._installed()
    assert folders[0] == Path(evsam.__file__).parent / "data" / "ptx"
    assert folders[1:] == ([tmp_path / "data" / "ptx"] if beside == "module" else [])
    if beside == "module":
        (tmp_path / "data" / "ptx").mkdir(parents=True)
        (tmp_path / "data" / "ptx" / "nothing_else.ptx").touch()
        assert find_ptx("nothing_else") == tmp_path / "data" / "ptx" / "nothing_else.ptx"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_kernels_keep_everything_in_registers(ptx: Path, tmp_path: Path, source: Path) -> None:
    """Their arguments are many; where a driver compiles them, no gate would notice local memory."""
    nvcc = require_nvcc()
    options = (
        "-cubin",
        "-arch=sm_80",
        "-Xptxas=-v,-warn-spills,-warn-lmem-usage,-Werror",
        "-o",
        str(tmp_path / "cubin"),
    )
    done = subprocess.run([nvcc, *options, ptx / f"{source.stem}.ptx"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entries = re.findall(r"\.entry\s+(\w+)", (ptx / f"{source.stem}.ptx").read_text())
    assert len(re.findall(r"0 bytes stack frame, 0 bytes spill stores", done.stdout + done.stderr)) == len(entries) > 0
