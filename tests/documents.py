"""Blocks of code in documents, and what a document says about running them.

A block is run as it stands, unless a comment, which readers do not see, stands right above it:

- ``<!-- not run: REASON -->``: it cannot be run by the tests. The commands of evsam in it are parsed all the same.
- ``<!-- run by: FILE -->`` or ``FILE::TEST``: a test or script of the repository runs it.
- ``<!-- before: CODE -->``: Python that makes what a reader has and the block does not show.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>not run|run by|before):\s(?P<mark>(?:(?!-->).)*?)\s*-->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_OPERATORS = set("();<>|&")


@dataclass(frozen=True)
class Block:
    """A block of code in a document.

    Attributes:
        document: its path from the root.
        line: where the code begins, from 1 on.
        language: as the fence names it; empty where it does not.
        code: the text.
        kind: ``not run``, ``run by``, ``before``, or empty where there is no comment.
        mark: what the comment says.
    """

    document: str
    line: int
    language: str
    code: str
    kind: str = ""
    mark: str = ""

    @property
    def runs(self) -> bool:
        """Whether the tests of documents run it."""
        return self.kind in ("", "before")

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(document: str) -> list[Block]:
    """Those of a document, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(
            document,
            text[: match.start("code")].count("\n") + 1,
            match["language"],
            match["code"],
            match["kind"] or "",
            match["mark"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]


def lines(code: str) -> list[str]:
    """Commands of a shell, with what continues one behind it; comments are left in."""
    found: list[str] = []
    unfinished = ""
    for line in code.replace("\\\n", " ").split("\n"):
        unfinished += line
        try:
            words = shlex.split(unfinished, comments=True)
        except ValueError:  # a quotation goes on
            unfinished += "\n"
            continue
        if words:
            found.append(unfinished)
        unfinished = ""
    return found


def commands(line: str) -> Iterator[list[str]]:
    """The words of each command in a line of a shell: ``a && X=1 b | c`` has three. What is assigned is left out."""
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if set(word) <= _OPERATORS:
            while words and re.match(r"\w+=", words[0]):
                words = words[1:]
            if words:
                yield words
            words = []
        else:
            words.append(word)


def plain(line: str) -> bool:
    """Whether a line is one command, of which the shell makes nothing else."""
    return not set(line.partition(" #")[0]) & set("();<>|&$*~`")
