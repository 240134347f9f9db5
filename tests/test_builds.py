"""Builds that the tests keep are configured anew once what had configured them is gone."""

from __future__ import annotations

import re
import shutil
import sysconfig
from pathlib import Path

import pytest

from tests.builds import ROOT, configure, gone, pip_build, run, tool


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(empty LANGUAGES NONE)\n"
        'find_program(FOUND found HINTS venv other NO_DEFAULT_PATH)\nmessage(STATUS "found=${FOUND}")\n'
    )
    return tmp_path


def test_gone_programs_are_looked_for_again(project) -> None:
    cmake, ninja = tool("cmake", "C++ tests"), tool("ninja", "C++ tests")
    build, venv = project / "build", project / "venv"
    venv.mkdir()
    for name in ("ninja", "found"):
        shutil.copy(ninja, venv / name)
    command = (cmake, "-S", project, "-B", build, "-G", "Ninja")
    configure(build, *command, f"-DCMAKE_MAKE_PROGRAM={venv / 'ninja'}")
    assert gone(build) == []

    venv.rename(project / "other")
    assert gone(build) == [f"CMAKE_MAKE_PROGRAM={venv / 'ninja'}", f"FOUND={venv / 'found'}"]
    with pytest.raises(pytest.fail.Exception, match="venv/ninja"):
        run(*command)
    configure(build, *command, f"-DCMAKE_MAKE_PROGRAM={ninja}")
    assert f"FOUND:FILEPATH={project / 'other' / 'found'}" in (build / "CMakeCache.txt").read_text()
    assert gone(build) == []


def test_copied_builds_are_configured_anew(project, tmp_path_factory) -> None:
    command = (tool("cmake", "C++ tests"), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja', 'C++ tests')}")
    configure(project / "build", *command, "-S", project, "-B", project / "build")
    copy = tmp_path_factory.mktemp("copies") / "copy"
    shutil.copytree(project, copy)
    assert gone(copy / "build") == [f"CMAKE_CACHEFILE_DIR={project / 'build'}"]
    configure(copy / "build", *command, "-S", copy, "-B", copy / "build")
    assert gone(copy / "build") == []


def test_entries_that_count(tmp_path) -> None:
    here = str(tmp_path)
    (tmp_path / "CMakeCache.txt").write_text(
        "# no entry:FILEPATH=/nowhere\n//nor this:PATH=/nowhere\nA:FILEPATH=A-NOTFOUND\nC:BOOL=ON\nD:PATH=\n"
        f"E:FILEPATH={here}\nF:STRING=-I/nowhere\nG:INTERNAL={here};{here}\n"
        f"pybind11_DIR:PATH=/nowhere/pybind11\n_Python:INTERNAL={here};/nowhere/python\n"
    )
    assert gone(tmp_path) == ["pybind11_DIR=/nowhere/pybind11", f"_Python={here};/nowhere/python"]
    assert gone(tmp_path / "not configured") == []


def test_the_folder_of_pip(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tests.builds.ROOT", tmp_path)
    assert pip_build() is None
    for name in ("by hand", "of pip", "of another Python"):
        (tmp_path / "build" / name).mkdir(parents=True)
    for name in ("by hand", "of pip"):
        (tmp_path / "build" / name / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}").touch()
    for name in ("of pip", "of another Python"):
        (tmp_path / "build" / name / "CMakeInit.txt").touch()
    assert pip_build() == tmp_path / "build" / "of pip"


def test_pip_builds_no_tests_in_a_folder_that_had_them() -> None:
    """What cpu_build() switches on and off for itself, pip sets back."""
    text = (ROOT / "pyproject.toml").read_text()
    said = dict(re.findall(r'^(EVSAM_\w+) = "(\w+)"$', text, re.MULTILINE))
    assert said == {"EVSAM_PYTHON": "ON", "EVSAM_LIBRARY": "OFF", "EVSAM_TESTS": "OFF"}
