"""The PTX of the kernels: where it is, and one kernel of it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from evsam.errors import BackendUnavailable

__all__ = ["find_ptx", "kernel_ptx"]


def find_ptx(name: str, folder: Path | None = None) -> Path:
    """Path of the PTX of an op.

    Args:
        name: of the op, such as ``layer_norm``.
        folder: where to look; None for what was built with this installation (``EVSAM_CUDA=ON``).

    Raises:
        BackendUnavailable: it is not there; the message says how to make it.
    """
    folders = [folder] if folder is not None else _installed()
    for candidate in folders:
        path = candidate / f"{name}.ptx"
        if path.is_file():
            return path
    raise BackendUnavailable(
        f"quick plugins: expected {name}.ptx in {' or '.join(map(str, folders))}, got none; build evsam with nvcc (pip "
        "install . -C cmake.define.EVSAM_CUDA=ON), or compile it from evsam's sources: nvcc --ptx -arch=compute_80 "
        f"-std=c++17 -Icsrc csrc/tensorrt_qdp/{name}.cu -o {name}.ptx, and pass its folder"
    )


def _installed() -> list[Path]:
    """Folders beside the package and beside its compiled modules, which an editable installation has elsewhere."""
    roots = [Path(__file__).resolve().parents[2]]
    spec = find_spec("evsam._cuda")
    if spec is not None and spec.origin is not None:
        roots.append(Path(spec.origin).parent)
    return list(dict.fromkeys(root / "data" / "ptx" for root in roots))


def kernel_ptx(text: str, name: str) -> str:
    """A PTX module without its other entries, which an engine would store, and a driver compile, for nothing.

    Args:
        text: as nvcc writes it: entries that call nothing.
        name: of the entry.

    Raises:
        BackendUnavailable: there is no such entry: the PTX is of another version of evsam.
    """
    kept, end = [], 0
    found = False
    for start in re.finditer(r"^(?:\s*\.(?:visible|weak))\s+\.entry\s+(\w+)\(", text, re.MULTILINE):
        own = start[1] == name
        found = found or own
        closing = _end_of_body(text, text.index("{", start.end()))
        kept.append(text[end : start.start()])
        if own:
            kept.append(text[start.start() : closing])
        end = closing
    if not found:
        raise BackendUnavailable(f"quick plugins: expected an entry {name} in the PTX, got that of another version")
    return "".join(kept) + text[end:]


def _end_of_body(text: str, opening: int) -> int:
    """Where the braces that open there are closed."""
    depth = 0
    for brace in re.compile(r"[{}]").finditer(text, opening):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    raise BackendUnavailable("quick plugins: expected whole PTX, got a file that ends early")
