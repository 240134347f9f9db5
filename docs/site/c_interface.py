"""The reference of the C interface, made from the header: its comments are the text, its declarations the headings."""

from __future__ import annotations

import re
from pathlib import Path

_GROUPS = {
    "Library and models": "",
    "Images": "evsam_image$|evsam_format",
    "Embeddings": "evsam_embedding|evsam_encode(?!s)",
    "Prompts and predictions": "evsam_prompts|evsam_multimask|evsam_predict|EVSAM_LOGITS_SIDE",
    "Everything in an image": "evsam_everything|evsam_progress|evsam_segment",
    "Objects from frame to frame": "evsam_track",
}
"""Titles, with what the names of their declarations begin with; the first one has what fits nowhere else."""

_COMMENT = r"/\*(?P<comment>(?:[^*]|\*(?!/))*)\*/\n"
_DECLARATION = re.compile(
    rf"(?:{_COMMENT})?(?P<code>"
    r"typedef (?:enum|struct) \w+ \{.*?^\} (?P<type>\w+);"
    r"|typedef struct \w+ (?P<opaque>\w+);(?: /\*(?P<beside>[^\n]*)\*/)?"
    r"|typedef int \(\*(?P<callback>\w+)\)[^;]*;"
    r"|\#define (?P<constant>EVSAM_LOGITS_SIDE) \d+"
    r"|EVSAM_API [^;]*?(?P<function>\w+)\([^;]*\);)",
    re.MULTILINE | re.DOTALL,
)
_INITIALISER = re.compile(r"^#define (\w+_INIT)\b(?:.*\\\n)*.*", re.MULTILINE)


def names(header: str) -> list[str]:
    """All that the header declares."""
    return [_name(match) for match in _DECLARATION.finditer(header)]


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of the page, and the pictures on it: there are none."""
    header = path.read_text(encoding="utf-8")
    introduction = re.match(_COMMENT, header)
    assert introduction is not None
    known = set(names(header))
    sections: dict[str, list[str]] = {title: [] for title in _GROUPS}
    for match in _DECLARATION.finditer(header):
        name = _name(match)
        group = next((title for title, begin in _GROUPS.items() if begin and re.match(begin, name)), next(iter(_GROUPS)))
        initialiser = next((found[0] for found in _INITIALISER.finditer(header) if _belongs(found[1], name)), "")
        code = re.sub(r" /\*[^\n]*\*/$", "", match["code"]) if match["opaque"] else match["code"].replace("EVSAM_API ", "")
        text = _prose(match["comment"] or match["beside"] or "", known)
        sections[group].append(
            f"### `{name}` {{ #{name} }}\n\n```c\n{code}\n{initialiser}\n```\n\n{text}\n".replace("\n\n```\n\n", "\n```\n\n")
        )
    parts = [
        "# C interface\n",
        "One header, [evsam.h](../../csrc/include/evsam/evsam.h), and the library `evsam`, shared or static; for C++ there is "
        "[evsam.hpp](../../csrc/include/evsam/evsam.hpp) on top of it: objects that free themselves, vectors, exceptions. How "
        "to build, install and link: [Embed in C++](../tutorials/cpp.md). This page is made from the header.\n",
        _prose(introduction["comment"], known),
    ]
    parts += [f"## {title}\n\n" + "\n".join(entries) for title, entries in sections.items()]
    return "\n".join(parts), {}


def _name(match: re.Match[str]) -> str:
    kinds = ("type", "opaque", "callback", "constant", "function")
    return next(match[kind] for kind in kinds if match[kind])


def _belongs(initialiser: str, name: str) -> bool:
    return initialiser == f"{name.upper()}_INIT"


def _prose(comment: str, known: set[str]) -> str:
    """Markdown of a comment: what is indented is code, and names are links."""
    lines = [re.sub(r"^ \* ?|^ ", "", line).rstrip() for line in comment.split("\n")]
    blocks: list[str] = []
    for block in re.split(r"\n{2,}", "\n".join(lines).strip()):
        code = [line.startswith("  ") for line in block.split("\n")]
        if all(code):
            blocks.append("```c\n" + re.sub(r"^  ", "", block, flags=re.MULTILINE) + "\n```")
        elif code[-1] and not block.startswith("- "):  # a sentence, then a table of arguments
            first = code.index(True)
            rows = block.split("\n")
            table = re.sub(r"^  ", "", "\n".join(rows[first:]), flags=re.MULTILINE)
            blocks.append(_linked("\n".join(rows[:first]), known) + f"\n\n```text\n{table}\n```")
        else:
            blocks.append(_linked(block, known))
    return "\n\n".join(blocks) + "\n"


def _linked(text: str, known: set[str]) -> str:
    text = re.sub(r"(?<![`\w])([*<])", r"\\\1", text)

    def link(match: re.Match[str]) -> str:
        name, call = match[1], match[2] or ""
        return f"[`{name}{call}`](#{name})" if name in known else f"`{name}{call}`"

    return re.sub(r"(?<![`\w/])((?:evsam|EVSAM)_[\w.]*\w)(\(\))?(?![`/])", link, text)
