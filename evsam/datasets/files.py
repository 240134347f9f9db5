"""Files that descriptions of photos name, and what is said of those that cannot be used."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Container
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

NAMED = 5
"""Ids that a message names before it only counts."""


def read_span(path: Path, offset: int = 0, size: int | None = None) -> bytes:
    """``size`` bytes of a file from ``offset`` on; the rest of it if ``size`` is None.

    Raises:
        OSError: it cannot be read, or ends before.
    """
    # opened for each photo: no file handles to share between processes, to limit or to close
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        content = file.read(-1 if size is None else size)
        while size is not None and len(content) < size:  # the kernel gives at most 2 GiB at once
            more = file.read(size - len(content))
            if not more:
                raise OSError(f"{path} ends at byte {offset + len(content)}, expected {offset + size}")
            content += more
    return content


def find_file(folder: Path, name: str) -> str:
    """A file's path in a folder, for json that was written elsewhere.

    Backslashes are separators unless a file has them in its name; of a path that is not there, such as an absolute one
    of another machine, leading folders are left out until it is.

    Returns:
        The path, with the separators of this system; where nothing is there, as it was given.
    """
    if _exists(folder / name):
        return name
    slashed = name.replace("\\", "/")
    parts = PurePosixPath(slashed).parts
    tails = [slashed, *("/".join(parts[first:]) for first in range(1, len(parts)))]
    return next((tail for tail in tails if _exists(folder / tail)), slashed)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # of names that no file can have: too long, for instance
        return False


def reason(error: Exception) -> str:
    """What is the matter with a record, from the exception that reading it raised."""
    if isinstance(error, KeyError):
        return f"no {', '.join(map(str, error.args))}"
    return str(error) if isinstance(error, (ValueError, OSError)) else repr(error)


def has_photo(folder: Path) -> bool:
    """Whether there is a file with the name of an image in a folder itself."""
    if not folder.is_dir():
        return False
    suffixes = Image.registered_extensions()
    with os.scandir(folder) as entries:
        return any(_is_image(entry.name, suffixes) for entry in entries)


def image_names(folder: Path) -> list[str]:
    """Paths in a folder, and in the folders in it, of files with the name of an image: 9.png comes before 10.png."""
    suffixes = Image.registered_extensions()
    files = ((inside, file) for inside, _, files in os.walk(folder) for file in files)
    names = (
        (Path(inside) / file).relative_to(folder).as_posix() for inside, file in files if _is_image(file, suffixes)
    )
    return sorted(names, key=_natural)


def _natural(name: str) -> list[Any]:
    # text and numbers in turns, so that only like is compared with like
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)] + [name]


def _is_image(name: str, suffixes: Container[str]) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes


class Counted:
    """What is the matter with parts of a data set: counted by reason, and the first few by name.

    Args:
        title: what the names are.
    """

    def __init__(self, title: str = "") -> None:
        self._title = f"{title} " if title else ""
        self._counts: Counter[str] = Counter()
        self._names: defaultdict[str, list[str]] = defaultdict(list)

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, reason: str, name: object) -> None:
        """Count one more."""
        self._counts[reason] += 1
        if len(self._names[reason]) < NAMED:
            self._names[reason].append(str(name))

    def __str__(self) -> str:
        counted = "; ".join(
            f"{count} {reason} ({self._title}{', '.join(self._names[reason])}{', ...' if count > NAMED else ''})"
            for reason, count in self._counts.items()
        )
        return counted or "none"
