"""Docstrings as the site's generator reads them: roles become links, and an ``Example:`` is code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`~?([\w.]+)`")


class Docstrings(griffe.Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of one object."""
        if obj.docstring is None:
            return

        def link(match: re.Match[str]) -> str:
            name = match[1]
            try:
                target = name if name.startswith("evsam.") else obj.resolve(name)
            except griffe.NameResolutionError:
                target = name
            return f'<autoref identifier="{target}" optional><code>{name.removeprefix("evsam.")}</code></autoref>'

        text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
        text = re.sub(r"docs/([\w-]+)\.md", r"[docs/\1.md](../\1.md)", text)  # for all of these are on pages in api/
        obj.docstring.value = _ROLE.sub(link, text)
