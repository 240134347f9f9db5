"""Files that descriptions of photos name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath


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
    if (folder / name).exists():
        return name
    slashed = name.replace("\\", "/")
    parts = PurePosixPath(slashed).parts
    tails = [slashed, *("/".join(parts[first:]) for first in range(1, len(parts)))]
    return next((tail for tail in tails if (folder / tail).exists()), slashed)
