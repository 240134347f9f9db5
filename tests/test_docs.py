"""Documents name files that exist, and their code runs."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from evsam import everything
from evsam.cli import main
from evsam.cli.parser import make_parser
from tests.documents import ROOT, blocks, commands, lines, plain

FOLDERS = "csrc|evsam|training|benchmarks|tests|docs|examples|cmake"
PATH = re.compile(rf"(?<![\w./])(?:{FOLDERS})(?:/[\w.*<>-]+)+")

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]

LANGUAGES = {"python", "sh", "json", "xml", "text", "cpp", "cmake", "js"}
"""Of these the last three are run by other tests, or not at all."""


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
    made = {ROOT / "docs" / name for name in ("api/c.md", "notebook.md")}  # by docs/site
    there = {link: path.parent / link for link in links}
    assert [link for link, file in there.items() if not file.exists() and file.resolve() not in made] == []


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


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
RUN = ("python", "sh", "json", "xml")
TO_RUN = sorted({block.document for block in BLOCKS if block.runs and block.language in RUN})


def test_each_block_of_code_is_fenced_and_has_a_language() -> None:
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        fenced = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        indented = [] if document == "docs/index.md" else re.findall(r"\n\n {4,}\S.*", fenced)  # cards are not code
        assert indented == [], document
    assert [str(block) for block in BLOCKS if block.language not in LANGUAGES] == []
    assert len(TO_RUN) > 10


def test_what_is_not_run_here_has_a_reason_or_a_test() -> None:
    for block in BLOCKS:
        if block.kind == "run by":
            path, _, test = block.mark.partition("::")
            assert (ROOT / path).is_file(), block
            assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), block
        elif block.kind == "not run":
            assert len(block.mark.split()) > 1, block
        else:
            assert block.language in (*RUN, "text"), f"{block}: nothing runs it"


@pytest.mark.parametrize("document", sorted({block.document for block in BLOCKS if block.language == "sh"}))
def test_commands_are_understood(document) -> None:
    """All of them, those that cannot be run here too: options, extras and modules exist."""
    table = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = set(re.findall(r"^([\w-]+) = \[", table, re.MULTILINE))
    for block in BLOCKS:
        if block.document != document or block.language != "sh":
            continue
        for line in lines(block.code):
            for command in commands(line):
                understand(command, extras, f"{block}: {line}")


def understand(command: list[str], extras: set[str], where: str) -> None:
    if command[0] == "evsam":
        try:
            _, beyond = make_parser()[0].parse_known_args(command[1:])
        except SystemExit as stop:
            pytest.fail(f"{where}: evsam does not take that ({stop.code})")
        assert not beyond, where
    elif command[:2] == ["pip", "install"]:
        for word in command[2:]:
            chosen = re.fullmatch(r"(?:\.|evsam)\[([\w,-]+)\]", word)
            assert chosen is None or set(chosen[1].split(",")) <= extras, where
    elif "-m" in command[:-1] and command[command.index("-m") + 1].startswith(("benchmarks", "evsam")):
        module = command[command.index("-m") + 1].replace("evsam.training", "training").replace(".", "/")
        assert (ROOT / f"{module}.py").exists() or (ROOT / module / "__main__.py").exists(), where


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """What readers have where they try a document's code: the examples, some photos, frames and prompts."""
    with Image.open(ROOT / "examples" / "cat.jpg") as file:
        cat = file.convert("RGB")
    (tmp_path / "examples").mkdir()
    (tmp_path / "photos").mkdir()
    for name in ("examples/cat.jpg", "cat.jpg", "frame-0.jpg", "frame-1.jpg"):
        (tmp_path / name).write_bytes((ROOT / "examples" / "cat.jpg").read_bytes())
    for path in (ROOT / "examples").glob("*.py"):
        (tmp_path / "examples" / path.name).write_bytes(path.read_bytes())
    for name in ("photos/cat.jpg", "photos/dog.jpg", "aerial.tif"):
        cat.resize((96, 64)).save(tmp_path / name)
    (tmp_path / "aerial.tfw").write_text("0.5\n0\n0\n-0.5\n1000\n2000\n")
    prompts = {"cat.jpg": {"boxes": [[5, 0, 90, 60]]}, "dog.jpg": {"points": [[40, 30], [5, 5]], "labels": [1, 0]}}
    (tmp_path / "boxes.json").write_text(json.dumps(prompts))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def video(folder) -> Path:
    """Three frames of a film."""
    av = pytest.importorskip("av")
    path: Path = folder / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 270, "yuv420p"
        for index in range(3):
            with Image.open(folder / "cat.jpg") as file:
                frame = np.asarray(file.convert("RGB").resize((340, 280)))[:270, 4 * index : 320 + 4 * index]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def coarse(monkeypatch) -> None:
    """Everything mode with 6 x 6 clicks where a document has the 32 x 32 of the default: a tenth of the time."""

    def make_generator(size, options, **others):
        sides = {"points_per_side": min(options["points_per_side"], 6)} if options["point_grids"] is None else {}
        return everything.make_generator(size, {**options, **sides}, **others)

    monkeypatch.setattr("evsam.sam.make_generator", make_generator)


@pytest.mark.parametrize("document", TO_RUN)
@pytest.mark.usefixtures("coarse")
def test_code_runs(document, folder, request) -> None:
    there = [block for block in BLOCKS if block.document == document and block.runs]
    if any("video.mp4" in block.code for block in there):
        request.getfixturevalue("video")
    names: dict[str, Any] = {"__name__": document}  # shared by the blocks of a document, as by those who read it
    for block in there:
        if block.kind == "before":
            execute(block.mark, f"{block}, before", names)
        if block.language == "python":
            execute(block.code, str(block), names)
        elif block.language == "sh":
            for line in lines(block.code):
                shell(line, str(block))
        elif block.language == "json":
            json.loads(block.code)
        elif block.language == "xml":
            ET.fromstring(block.code)


def execute(code: str, where: str, names: dict[str, Any]) -> None:
    """Runs Python, `await` outside of functions included."""
    compiled = compile(code, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting = eval(compiled, names)
    if inspect.iscoroutine(waiting):
        asyncio.run(waiting)


def shell(line: str, where: str) -> None:
    """Runs a command: of evsam here, where it is loaded already, unless it needs a shell."""
    words = shlex.split(line, comments=True)
    if words[0] == "evsam" and plain(line):
        assert main(words[1:]) == 0, f"{where}: {line}"
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", line],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"{where}: {line}\n{done.stdout}{done.stderr}"


class TestBlocks:
    """The reader of documents itself: what it does not see, no test runs."""

    def test_marks(self, tmp_path) -> None:
        marked = {"1": "", "2": "<!-- not run: no\nreason -->\n", "3": "<!-- before:\nx = 1\n-->\n"}
        text = "\n".join(f"{mark}```python\n{code}\n```\n" for code, mark in marked.items())
        (tmp_path / "a.md").write_text(f"# A\n\n{text}")
        first, second, third = blocks(str(tmp_path / "a.md"))
        assert (first.line, first.language, first.code, first.kind, first.runs) == (4, "python", "1\n", "", True)
        assert (second.kind, second.mark, second.code, second.runs) == ("not run", "no\nreason", "2\n", False)
        assert (third.kind, third.mark, third.runs) == ("before", "x = 1", True)

    def test_commands(self) -> None:
        line = "A=$(b 1) evsam serve --host 0.0.0.0 && pip install '.[x]' | cat  # c"
        assert [*commands(line)][-3:] == [["evsam", "serve", "--host", "0.0.0.0"], ["pip", "install", ".[x]"], ["cat"]]
        assert lines("a \\\n  b\n# c\n\nd 'e\nf'") == ["a    b", "d 'e\nf'"]
        assert plain("evsam info  # as (said)")
        assert not plain("evsam info > a")

    @pytest.mark.parametrize("line", ["evsam predict a --bocks", "pip install .[nothing]", "python -m benchmarks.none"])
    def test_a_wrong_command_is_noticed(self, line) -> None:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            understand(line.split(), set(), line)

    def test_code_that_fails_is_noticed(self) -> None:
        with pytest.raises(AssertionError):
            shell("cat nothing | false", "")
        with pytest.raises(NameError):
            execute("nothing", "", {})
