"""Documents name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = "csrc|evsam|training|benchmarks|tests|docs|examples|cmake"
PATH = re.compile(rf"(?<![\w./])(?:{FOLDERS})(?:/[\w.*<>-]+)+")

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def named(text: str) -> set[str]:
    """Paths from the root that a text names, but for patterns and what a build or a run makes."""
    found = {path.rstrip(".") for path in PATH.findall(re.sub(r"</?(?:svg|text|title|path|rect)[^>]*>", " ", text))}
    return {path for path in found if not set(path) & set("*<>")}


def missing(text: str) -> list[str]:
    return sorted(path for path in named(text) if not (ROOT / path).exists())


@pytest.mark.parametrize("document", [*DOCUMENTS, "docs/images/architecture.svg"])
def test_named_files_exist(document) -> None:
    assert missing((ROOT / document).read_text(encoding="utf-8")) == []


def test_the_architecture_names_what_its_picture_shows() -> None:
    text, picture = ((ROOT / "docs" / name).read_text() for name in ("architecture.md", "images/architecture.svg"))
    assert len(named(picture)) > 20
    assert sorted(named(picture) - named(text)) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_variables_of_the_environment_are_documented() -> None:
    read = re.compile(r"""(?:getenv\(|variable\(|environ\.get\(|environ\[)["'](\w+)["']""")
    names = {
        name
        for folder in ("csrc", "evsam", "training", "benchmarks")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".cpp", ".h") and "tests" not in path.parts and not path.name.startswith("test_")
        for name in read.findall(path.read_text(encoding="utf-8"))
    }
    assert {"EVSAM_ISA", "EVSAM_NUM_THREADS", "EVSAM_CACHE", "WORLD_SIZE"} <= names
    text = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_a_missing_file_is_noticed() -> None:
    assert missing("see `evsam/no_such_module.py`, csrc/ops/<op> and evsam/zoo.py.") == ["evsam/no_such_module.py"]
