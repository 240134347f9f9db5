"""The table of files in training/README.md."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "training"


def test_the_table_of_files_is_that_of_the_folder() -> None:
    table = (FOLDER / "README.md").read_text().partition("## Files")[2]
    named = set()
    for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        folder = "data/" if "data/" in row else ""
        named |= {folder + name.removeprefix("data/") for name in re.findall(r"`([\w/]+\.py)`", row)}
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.py") if path.name != "__init__.py"}
    assert named == files
