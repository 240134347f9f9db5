"""The documents as a site: built as CONTRIBUTING.md says; links lead somewhere, nothing comes from other hosts."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import evsam
from evsam import ops
from tests.builds import ROOT


class Links(HTMLParser):
    """What a page links to, loads, and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given and tag != "meta"}
        target = given.get("href", given.get("src"))
        if target is None or tag == "base":
            return
        self.links.add(target)
        if tag != "a" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.add(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for module in ("mkdocs", "material", "mkdocstrings_handlers"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"mkdocs: no {module}: pip install '.[docs]'")
    folder: Path = tmp_path_factory.mktemp("site")
    # Not --quiet, with which --strict does not see warnings.
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    return {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def broken(pages: dict[Path, Links]) -> list[str]:
    """Links to other pages, files and places in them that are not there."""
    found = []
    for page, content in pages.items():
        if page.name == "404.html":  # with addresses from the host's root on
            continue
        for link in content.links:
            target, anchor = urldefrag(link)
            if re.match(r"[a-z]+:", target):
                continue
            path = (page.parent / unquote(target)).resolve() if target else page
            path = path / "index.html" if path.is_dir() else path
            if not path.is_file() or (anchor and path in pages and unquote(anchor) not in pages[path].anchors):
                found.append(f"{page.name}: {link}")
    return found


def test_links_lead_somewhere(pages) -> None:
    assert len(pages) > 50
    assert broken(pages) == []


def test_a_broken_link_is_noticed(tmp_path) -> None:
    texts = {
        "a.html": '<p id="here"><a href="b.html#there">',
        "b.html": '<a href="a.html#here"><img src="c.png"><a href="#x">',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = broken({tmp_path / name: Links(text) for name, text in texts.items()})
    assert sorted(found) == ["a.html: b.html#there", "b.html: #x", "b.html: c.png"]


def test_nothing_comes_from_other_hosts(site, pages) -> None:
    assert [link for content in pages.values() for link in content.loaded if re.match(r"(?:https?:)?//", link)] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", style.read_text(encoding="utf-8")), style.name


def test_all_that_is_public_has_its_place(site, pages) -> None:
    python, blocks, c = (pages[site / "api" / f"{name}.html"] for name in ("python", "ops", "c"))
    assert [name for name in evsam.__all__ if name != "__version__" and f"evsam.{name}" not in python.anchors] == []
    functions = {name for name in ops.__all__ if getattr(getattr(ops, name), "__module__", "").startswith("evsam.ops")}
    assert len(functions) > 15
    assert sorted(name for name in functions if f"evsam.ops.{name}" not in blocks.anchors) == []
    header = (ROOT / "csrc" / "include" / "evsam" / "evsam.h").read_text(encoding="utf-8")
    declared = re.findall(r"^EVSAM_API [\w* ]*?(\w+)\(", header, re.MULTILINE)
    declared += re.findall(r"^(?:\} |typedef struct \w+ )(\w+);", header, re.MULTILINE)
    assert len(declared) > 40
    assert [name for name in declared if name not in c.anchors] == []


def test_docstrings_are_rendered(site) -> None:
    """Roles have become links, examples code."""
    for name in ("python", "ops"):
        text = (site / "api" / f"{name}.html").read_text(encoding="utf-8")
        assert not re.findall(r":(?:class|func|meth|attr|data|mod):", text)
        assert "&gt;&gt;&gt; sam" not in re.sub(r"<(?:pre|code).*?</(?:pre|code)>", "", text, flags=re.DOTALL)


def test_every_document_is_in_the_navigation(pages, site) -> None:
    there = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(there) > 20
    assert sorted(there - {urldefrag(link)[0] for link in pages[site / "index.html"].links}) == []
