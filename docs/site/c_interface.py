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

_INTRODUCTION = """# C interface

One header, [evsam.h](../../csrc/include/evsam/evsam.h), and the library `evsam`, shared or static. For C++ there is
[evsam.hpp](../../csrc/include/evsam/evsam.hpp) on top of it: objects that free themselves, vectors, exceptions. How to
build, install and link: [Embed in C++](../tutorials/cpp.md). This page is made from the header.
"""

_COMMENT = r"/\*((?:[^*]|\*(?!/))*)\*/"
_DECLARATION = re.compile(
    rf"(?:{_COMMENT}\n)?(?P<code>"
    r"typedef (?:enum|struct) \w+ \{.*?^\} (?P<type>\w+);"
    r"|typedef struct \w+ (?P<opaque>\w+);(?: /\*(?P<beside>[^\n]*)\*/)?"
    r"|typedef int \(\*(?P<callback>\w+)\)[^;]*;"
    r"|\#define (?P<constant>EVSAM_LOGITS_SIDE) \d+"
    r"|EVSAM_API [^;]*?(?P<function>\w+)\([^;]*\);)",
    re.MULTILINE | re.DOTALL,
)
_MEMBER = re.compile(rf"(?:(\w+)(?:\[\d+\])?(?: = \d+)?[;,]? *)?{_COMMENT}")


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of the page, and the pictures on it: there are none."""
    header = path.read_text(encoding="utf-8")
    found = list(_DECLARATION.finditer(header))
    known = {_name(match) for match in found}
    sections: dict[str, list[str]] = {title: [] for title in _GROUPS}
    for match in found:
        sections[_group(_name(match))].append(_entry(match, header, known))
    parts = [_INTRODUCTION, _prose(re.findall(_COMMENT, header)[0], known)]
    parts += [f"## {title}\n\n" + "\n".join(entries) for title, entries in sections.items()]
    return "\n".join(parts), {}


def _name(match: re.Match[str]) -> str:
    return next(match[kind] for kind in ("type", "opaque", "callback", "constant", "function") if match[kind])


def _group(name: str) -> str:
    first, *others = _GROUPS
    return next((title for title in others if re.match(_GROUPS[title], name)), first)


def _entry(match: re.Match[str], header: str, known: set[str]) -> str:
    """A declaration, with the macro that initialises it, and what comments say of it and of its members.

    The latter stand beside the members in the header, for which a page's column is too narrow.
    """
    name, declared = _name(match), match["code"].replace("EVSAM_API ", "")
    code = re.sub(r"\n\s*\n", "\n", re.sub(rf" *{_COMMENT}", "", declared))
    code = re.sub(r"\bdouble\n +", "double ", code)  # which clang-format breaks before a comment
    macro = re.search(rf"^#define {name.upper()}_INIT\b(?:.*\\\n)*.*", header, re.MULTILINE)
    if macro:
        code += f"\n\n{macro[0]}"
    text = f"### `{name}` {{ #{name} }}\n\n```c\n{code}\n```\n\n"
    text += _prose(match[1] or match["beside"] or "", known) + "\n"
    for member, comment in [] if match["opaque"] else _MEMBER.findall(declared):
        said = _linked(re.sub(r"\s+", " ", comment).strip(), known)
        text += f"- `{member}`: {said}\n" if member else f"\n{said}\n\n"
    return text


def _prose(comment: str, known: set[str]) -> str:
    """Markdown of a comment: what is indented is code, and names are links."""
    lines = [re.sub(r"^ \* ?|^ ", "", line).rstrip() for line in comment.split("\n")]
    parts = []
    for part in re.split(r"\n{2,}", "\n".join(lines).strip()):
        text: list[str] = []
        code: list[str] = []
        for line in part.split("\n"):
            indented = line.startswith("  ") and not part.startswith("- ")
            (code if indented else text).append(line)
        if text:
            parts.append(_linked("\n".join(text), known))
        if code:
            shown = re.sub(r"^  ", "", "\n".join(code), flags=re.MULTILINE)
            parts.append(f"```{'text' if text else 'c'}\n{shown}\n```")
    return "\n\n".join(parts) + "\n"


def _linked(text: str, known: set[str]) -> str:
    def link(match: re.Match[str]) -> str:
        name = match[1]
        return f"[`{match[0]}`](#{name})" if name in known else f"`{match[0]}`"

    text = re.sub(r"(?<![`\w])([*<])", r"\\\1", text)
    text = re.sub(r"docs/([\w-]+\.md)", r"[docs/\1](../\1)", text)
    return re.sub(r"(?<![`\w/])((?:evsam|EVSAM)_[\w.]*\w)(\(\))?(?![`/])", link, text)
