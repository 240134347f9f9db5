"""What a release needs: one version in all files, its changes, and workflows that their linters accept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builds import ROOT

SCRIPT = ROOT / ".github" / "release.py"


def release(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path) -> Path:
    """The files that name the version, at version 0.1.0, called released."""
    names = (".github/release.py", "pyproject.toml", "CMakeLists.txt", "page/package.json", "CHANGELOG.md",
             "examples/ros2/evsam_ros/setup.py")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    path = tmp_path / "CHANGELOG.md"
    path.write_text("# Changelog\n\n## 0.1.0\n\n- New.\n\n## 0.0.9\n\n- Old.\n", encoding="utf-8")
    return tmp_path


def test_all_files_name_one_version() -> None:
    done = release(SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_release_is_described_by_its_changes_alone(copy) -> None:
    done = release(copy / ".github" / "release.py", "v0.1.0")
    assert (done.returncode, done.stdout) == (0, "- New.\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("CMakeLists.txt", "VERSION 0.1.0", "VERSION 0.2.0", "CMakeLists.txt: expected version 0.1.0"),
        ("page/package.json", '"0.1.0"', '"0.2.0"', "page/package.json: expected version 0.1.0"),
        ("CHANGELOG.md", "## 0.1.0", "## 0.2.0", "CHANGELOG.md: expected version 0.1.0"),
        ("CHANGELOG.md", "## 0.1.0", "## 0.1.0 (unreleased)", "expected no '(unreleased)'"),
        ("CHANGELOG.md", "## 0.1.0", "## 0.1.0", "tag: expected v0.1.0, got v0.3.0"),
    ],
)
def test_what_does_not_agree_is_named(copy, name, old, new, message) -> None:
    text = (copy / name).read_text(encoding="utf-8")
    assert old in text
    (copy / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    done = release(copy / ".github" / "release.py", "v0.3.0" if "v0.3.0" in message else "v0.1.0")
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    "command", [["actionlint"], ["zizmor", "--offline", "--no-progress"]], ids=["actionlint", "zizmor"]
)
def test_workflows(command) -> None:
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"no {command[0]}")
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert files
    done = subprocess.run([program, *command[1:], *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
