"""Where the pairs in a tar are: found once by a pass over its headers, then kept in a file."""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from evsam.training.data.records import DataError

PHOTO_SUFFIXES = (".jpg", ".jpeg")

MISSING = -1
"""Offset of a file that is not in its tar; everything else there is has an offset of at least 512."""

FORMAT = 1
"""Version of the index's file."""


@dataclass(frozen=True)
class TarIndex:
    """The pairs in a tar, in the order in which they begin.

    Attributes:
        names: bytes (N,), names of the pairs without folder and suffix.
        spans: int64 (N, 2, 2): offset and size in bytes, of the photo and of its json; :data:`MISSING` as offset of one
            that is not there.
    """

    names: npt.NDArray[np.bytes_]
    spans: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


def open_index(tar: Path, cache: Path | None = None) -> TarIndex:
    """The index of a tar: the one that was kept if the tar has the same size and time of change, or a new one.

    Args:
        tar: uncompressed.
        cache: folder of the index, or None for beside the tar.

    Raises:
        DataError: the tar is damaged or cannot be read, or the index cannot be written.
    """
    path = index_path(tar, cache)
    try:
        status = tar.stat()
    except OSError as error:
        raise DataError(f"tar {tar}: cannot be read: {error}") from error
    stamp = np.array([FORMAT, status.st_size, status.st_mtime_ns])
    kept = _load(path, stamp)
    if kept is not None:
        return kept
    index = make_index(tar)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(path, stamp, index)
    except OSError as error:
        raise DataError(
            f"tar {tar}: its index cannot be written to {path.parent} ({error}); set the source's cache to a folder "
            "that can be written"
        ) from error
    return index


def index_path(tar: Path, cache: Path | None) -> Path:
    """Where the index of a tar is kept; in a cache folder with a part that tells tars of several folders apart."""
    if cache is None:
        return tar.with_name(tar.name + ".index.npz")
    folder = hashlib.sha256(os.fsencode(tar.parent.resolve())).hexdigest()[:12]
    return cache / f"{tar.name}.{folder}.index.npz"


def make_index(tar: Path) -> TarIndex:
    """Index a tar by a pass over its headers; the content of its files is not read.

    Raises:
        DataError: the tar is damaged, compressed or none.
    """
    pairs: dict[str, list[tuple[int, int]]] = {}
    try:
        with tarfile.open(tar, "r:") as opened:
            for member in opened:
                path = PurePosixPath(member.name)
                if not member.isfile() or path.name.startswith("."):  # of macOS: ._sa_1.jpg
                    continue
                suffix = path.suffix.lower()
                if suffix in PHOTO_SUFFIXES or suffix == ".json":
                    pair = pairs.setdefault(path.stem, [(MISSING, 0), (MISSING, 0)])
                    pair[suffix == ".json"] = member.offset_data, member.size
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(
            f"tar {tar}: expected an uncompressed tar, whole to its end: {error}; fetch it again or move it away"
        ) from error
    names = np.array([os.fsencode(name) for name in pairs], np.bytes_)
    return TarIndex(names, np.array(list(pairs.values()), np.int64).reshape(-1, 2, 2))


def _save(path: Path, stamp: npt.NDArray[np.int64], index: TarIndex) -> None:
    """Write an index; whoever reads at the same time sees all of it or nothing."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, stamp=stamp, names=index.names, spans=index.spans)
        os.replace(part, path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


def _load(path: Path, stamp: npt.NDArray[np.int64]) -> TarIndex | None:
    """The index in a file, or None if there is none, it is damaged, or of another state of the tar."""
    try:
        # opened here, for np.load leaves files open that turn out to be damaged
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            if not np.array_equal(content["stamp"], stamp):
                return None
            return TarIndex(content["names"], content["spans"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
