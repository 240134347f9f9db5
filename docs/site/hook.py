"""What the site has besides docs/: files of the repository that documents link to, the C interface, the notebook.

Documents are written for the repository, where a link such as ``../csrc/include/evsam/evsam.h`` leads to a file. Each
file that is linked from a page, or from a page that is made this way, becomes one: a document as it is, source text as
a page that shows it, a folder as its README or its list of files; anything else is copied. So every link leads
somewhere, and nothing on other hosts is needed.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import c_interface  # beside this file, which mkdocs runs with its folder among sys.path
import notebook_page
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
COPIES = "repository"
"""Where in the site files from outside of docs/ are."""

_LANGUAGES = {
    "python": ".py .pyi",
    "cpp": ".cpp .h .hpp .inl .cu",
    "ts": ".ts",
    "js": ".js",
    "toml": ".toml",
    "yaml": ".yaml .yml",
    "cmake": ".cmake .txt",
    "sh": ".sh",
}
_SUFFIXES = {"": "text", **{suffix: language for language, all_of in _LANGUAGES.items() for suffix in all_of.split()}}
"""Of files that are shown as text, with the language of their colours."""

_FENCE = re.compile(r"^(`{3,}).*?^\1`*[ \t]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)(\]\()([^)\s]+)(\))|(<img [^>]*?src=\")([^\"]+)(\")|(?<=\n)(\[[^\]]+\]: )(\S+)()")


def on_config(config: Any) -> Any:
    """Puts documents that the navigation does not name at the end of what is about use, so that none is missing."""
    there = {path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md")}
    (use,) = (entry["Use"] for entry in config.nav if "Use" in entry)
    use += sorted(there - set(_entries(config.nav)))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages, then what pages link to, until nothing is missing."""
    made = {
        "api/c.md": c_interface.page(ROOT / "csrc" / "include" / "evsam" / "evsam.h"),
        "notebook.md": notebook_page.page(ROOT / "examples" / "quickstart.ipynb"),
    }
    for name, (text, pictures) in made.items():
        files.append(File.generated(config, name, content=text))
        for picture, content in pictures.items():
            files.append(File.generated(config, picture, content=content))
    waiting = [file for file in files if file.is_documentation_page()]
    copies = [_source(name) for name in _entries(config.nav) if name.startswith(f"{COPIES}/")]
    waiting += [_add(files, config, path) for path in copies]
    while waiting:
        file = waiting.pop()
        for path in _targets(file.content_string, _source(file.src_uri)):
            if _site_path(path) not in files.src_uris:
                added = _add(files, config, path)
                if added.is_documentation_page():
                    waiting.append(added)
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:  # noqa: ARG001 - what mkdocs passes
    """Turns links between files of the repository into links between pages of the site."""
    source = _source(page.file.src_uri)

    def site(match: re.Match[str]) -> str:
        before, target, after = (part for part in match.groups() if part is not None)
        path = _repository_path(target, source)
        if path is None:
            return match[0]
        link = posixpath.relpath(_site_path(path), posixpath.dirname(page.file.src_uri) or ".")
        anchor = target.partition("#")[2]
        return f"{before}{link}{'#' + anchor if anchor else ''}{after}"

    return _outside_code(markdown, lambda text: _LINK.sub(site, text))


def _entries(nav: Any) -> list[str]:
    """Paths in the site of the pages that the navigation names."""
    if isinstance(nav, str):
        return [nav]
    return [path for entry in (nav.values() if isinstance(nav, dict) else nav) for path in _entries(entry)]


def _source(src_uri: str) -> str:
    """Path in the repository of what is `src_uri` in the site."""
    return src_uri.removeprefix(f"{COPIES}/") if src_uri.startswith(f"{COPIES}/") else f"docs/{src_uri}"


def _repository_path(target: str, source: str) -> str | None:
    """The path that a link in the file `source` leads to; None for other hosts, and within the page."""
    path = target.partition("#")[0]
    if not path or re.match(r"[a-z]+:|/", path):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path))


def _targets(markdown: str, source: str) -> set[str]:
    """Paths outside of docs/ that a document links to, and that exist; mkdocs warns of others."""
    found: set[str] = set()

    def note(text: str) -> str:
        for match in _LINK.finditer(text):
            path = _repository_path(match[2] or match[5] or match[8], source)
            inside = path is not None and path.startswith("docs/") and not (ROOT / path).is_dir()
            if path is not None and not inside and (ROOT / path).exists():
                found.add(path)
        return text

    _outside_code(markdown, note)
    return found


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """The document with what stands outside of fenced code changed."""
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def _site_path(path: str) -> str:
    """Where in the site the file or folder `path` of the repository is."""
    file = ROOT / path
    if path.startswith("docs/") and not file.is_dir():
        return path.removeprefix("docs/")
    if file.is_dir():
        return f"{COPIES}/{path}/README.md" if (file / "README.md").is_file() else f"{COPIES}/{path}/index.md"
    return f"{COPIES}/{path}{'.md' if file.suffix in _SUFFIXES else ''}"


def _add(files: Files, config: Any, path: str) -> File:
    file, name = ROOT / path, _site_path(path)
    if file.is_dir() and not (file / "README.md").is_file():
        added = File.generated(config, name, content=_listing(path))
    elif file.is_dir():
        added = File.generated(config, name, content=(file / "README.md").read_text(encoding="utf-8"))
    elif file.suffix == ".md":
        added = File.generated(config, name, content=file.read_text(encoding="utf-8"))
    elif file.suffix in _SUFFIXES:
        added = File.generated(config, name, content=_shown(path, file.read_text(encoding="utf-8")))
    else:
        added = File.generated(config, name, content=file.read_bytes())
    files.append(added)
    return added


def _shown(path: str, text: str) -> str:
    fence = "`" * max(3, *(1 + len(run) for run in re.findall(r"`{3,}", text) or [""]))
    language = _SUFFIXES[posixpath.splitext(path)[1]]
    return f"---\nsearch:\n  exclude: true\nhide: [toc]\n---\n# {path}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _listing(path: str) -> str:
    tracked = subprocess.run(["git", "ls-files", path], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    names = tracked.splitlines() or [file.relative_to(ROOT).as_posix() for file in (ROOT / path).rglob("*.*")]
    lines = "\n".join(f"- `{name.removeprefix(f'{path}/')}`" for name in sorted(names))
    return f"---\nsearch:\n  exclude: true\nhide: [toc]\n---\n# {path}\n\n{lines}\n"
