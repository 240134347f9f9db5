"""Folders of the cache, which several processes may use at once."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evsam.export.folder import write_folder

try:
    import fcntl
except ImportError:  # Windows: processes then build the same plans side by side, and one of them is kept
    fcntl = None  # type: ignore[assignment]


def install_folder(path: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Put a folder in its place as a whole; one that is there goes.

    Args:
        path: of the folder.
        files: content by part.
        manifest: of :func:`evsam.export.folder.make_manifest`.

    Raises:
        OSError: the cache cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new, old = (path.with_name(f".{path.name}.{secrets.token_hex(8)}") for _ in range(2))
    try:
        write_folder(new, files, manifest)
        with contextlib.suppress(FileNotFoundError):
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if not path.is_dir():  # otherwise another process was faster, whose plans are as good
                raise
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process and no other thread is inside for this path, where the system can do that.

    Raises:
        OSError: the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)  # which the end of the process releases as well
        yield
