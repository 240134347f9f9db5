"""A notebook as a page: its text, its code, and the outputs that are stored in it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

_PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of the page, and its pictures by their paths in the site."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_output(output, pictures) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n", pictures


def _output(output: dict[str, Any], pictures: dict[str, bytes]) -> str:
    name = f"images/notebook/{len(pictures)}"
    data = output.get("data", {"text/plain": output.get("text", "")})
    for kind, suffix in _PICTURES.items():
        if kind in data:
            pictures[f"{name}.{suffix}"] = base64.b64decode("".join(data[kind]))
            return f"![What the cell shows]({name}.{suffix})"
    return f"```{{ .text .output }}\n{''.join(data['text/plain']).rstrip()}\n```"
