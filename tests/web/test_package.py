"""The npm package (csrc/wasm) in node and in Chromium, by node's own test runner.

The package is what its build left in ``build/wasm/package``: compiling it takes minutes, and emscripten. The one that
the page of ``evsam serve`` has is in the repository, and is tested wherever there is node.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import evsam
from tests.builds import ROOT, run, tool

PACKAGE = ROOT / "build" / "wasm" / "package"
TESTS = Path(__file__).parent
MOST_BYTES = 12_000_000


def package() -> Path:
    """The built package; skips the test where there is none."""
    tool("em++", "npm package, built by emscripten")
    if not (PACKAGE / "wasm" / "evsam.js").exists():
        pytest.skip("npm package: not built (cmake --preset wasm && cmake --build --preset wasm --target evsam_npm)")
    return PACKAGE


def node_tests(file: str, folder: Path, **environment: str) -> None:
    """Runs a file of tests on a package, of which at least one must have passed."""
    output = run(tool("node", "npm package"), "--test", TESTS / file, EVSAM_PACKAGE=str(folder), **environment)
    assert re.search(r"^\S+ pass [1-9]", output, re.MULTILINE), output


def test_in_node() -> None:
    node_tests("node.test.mjs", package())


def test_the_pages_in_node(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    shutil.copytree(ROOT / "evsam" / "serve" / "page" / "evsam", folder)
    shutil.copy(ROOT / "evsam" / "data" / "nano.safetensors", folder)
    shutil.copy(ROOT / "csrc" / "wasm" / "package" / "package.json", folder)  # which says that they are modules
    node_tests("node.test.mjs", folder)


def test_in_chromium() -> None:
    chromium = tool("chromium", "npm package in Chromium")
    modules = os.pathsep.join([os.environ.get("NODE_PATH", ""), run(tool("npm", "npm package"), "root", "-g").strip()])
    found = subprocess.run(
        [tool("node", "npm package"), "-e", "require.resolve('playwright-core')"],
        env={**os.environ, "NODE_PATH": modules},
        capture_output=True,
        check=False,
    )
    if found.returncode:
        pytest.skip("npm package in Chromium: no playwright-core (npm install -g playwright-core)")
    node_tests("chromium.test.mjs", package(), EVSAM_CHROMIUM=chromium, NODE_PATH=modules)


def test_holds_what_it_says(tmp_path: Path) -> None:
    """As npm packs it: the version, the files that are named, and no more bytes than may be downloaded."""
    copy = tmp_path / "package"
    shutil.copytree(package(), copy)
    packed = json.loads(run(tool("npm", "npm package"), "pack", copy, "--json", "--pack-destination", tmp_path))[0]
    names = {file["path"] for file in packed["files"]}
    assert packed["version"] == evsam.__version__
    assert packed["unpackedSize"] <= MOST_BYTES
    assert {"index.js", "index.d.ts", "worker.js", "LICENSE", "nano.safetensors", "wasm/evsam.wasm"} <= names
    assert not [name for name in names if name.endswith((".stamp", ".txt"))]
