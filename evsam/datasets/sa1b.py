"""SA-1B: pairs of a photo (sa_N.jpg) and its masks (sa_N.json), in tars as they are published, or unpacked.

Where the pairs in a tar are is found once, by a pass over its headers, then kept in a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from evsam.datasets.files import read_span, reason
from evsam.datasets.records import BrokenSample, DataError, Photo, Photos, as_id, measured
from evsam.writing import replaced

PHOTO_SUFFIXES = (".jpg", ".jpeg")

MISSING = -1
"""Offset of a file that is not in its tar; everything else there is has an offset of at least 512."""

FORMAT = 1
"""Version of the index's file."""

INDEXES_HELD = 32
"""Indexes of tars in memory at a time, of half a megabyte each: the tars that are mixed with each other, and more."""


class Sa1bTars(Photos):
    """Pairs in tars, read from there without unpacking.

    Args:
        path: folder with tars, one tar, or a pattern such as ``/data/sa_0000*.tar``.
        cache: folder for the indexes of the tars, which are made once; None for beside each tar.

    Raises:
        DataError: there are no tars or nothing in them, a tar is damaged, or an index cannot be written.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        self._tars, self._cache = find_tars(path), cache
        self._held: OrderedDict[int, TarIndex] = OrderedDict()
        self._sizes = tuple(len(self._index(number)) for number in range(len(self._tars)))
        self._ends = np.cumsum(self._sizes)
        if not len(self):
            raise DataError(f"path {path}: no pairs of NAME.jpg and NAME.json in {len(self._tars)} tars")

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def groups(self) -> Sequence[int]:
        """Photos in each tar."""
        return self._sizes

    def photo(self, index: int) -> Photo:
        """Photo number ``index``; its key is TAR/NAME."""
        number = int(np.searchsorted(self._ends, index, "right"))
        tar, members = self._tars[number], self._index(number)
        if len(members) != self._sizes[number]:
            raise DataError(f"tar {tar}: expected {self._sizes[number]} pairs as at the start, got {len(members)}")
        within = index - int(self._ends[number]) + self._sizes[number]
        key = f"{tar.stem}/{os.fsdecode(members.names[within])}"
        photo, record = members.spans[within].tolist()
        for file, (offset, _) in (("jpg", photo), ("json", record)):
            if offset == MISSING:
                raise BrokenSample(key, f"there is no {file} of it")
        return read_pair(key, partial(read_span, tar, *photo), partial(read_span, tar, *record))

    def _index(self, number: int) -> TarIndex:
        if number in self._held:
            self._held.move_to_end(number)
        else:
            self._held[number] = open_index(self._tars[number], self._cache)
            if len(self._held) > INDEXES_HELD:
                self._held.popitem(last=False)
        return self._held[number]


class Sa1bFolder(Photos):
    """Unpacked pairs in a folder and all folders in it.

    Args:
        path: the folder.

    Raises:
        DataError: there is nothing in it.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path
        photos: dict[str, str] = {}
        for folder, _, files in os.walk(path):
            inside = os.path.relpath(folder, path)
            for file in files:
                if file.startswith("."):  # of macOS: ._sa_1.jpg
                    continue
                name, suffix = os.path.splitext(os.path.normpath(os.path.join(inside, file)))
                if suffix.lower() in PHOTO_SUFFIXES:
                    photos[name] = suffix
                elif suffix == ".json":
                    photos.setdefault(name, PHOTO_SUFFIXES[0])
        # one array, not millions of objects
        self._names = np.array(sorted(os.fsencode(name + suffix) for name, suffix in photos.items()), np.bytes_)
        if not len(self):
            raise DataError(f"path {path}: expected a folder with pairs of NAME.jpg and NAME.json")

    def __len__(self) -> int:
        return len(self._names)

    def photo(self, index: int) -> Photo:
        """Photo number ``index``; its key is the path of the pair in the folder, without suffix."""
        path = self._folder / os.fsdecode(self._names[index])
        key = path.relative_to(self._folder).with_suffix("").as_posix()
        return read_pair(key, partial(read_span, path), partial(read_span, path.with_suffix(".json")))


def read_pair(key: str, photo: Callable[[], bytes], record: Callable[[], bytes]) -> Photo:
    """A photo whose masks are described by json of SA-1B.

    Args:
        key: of the photo.
        photo: gives the encoded photo.
        record: gives the json.

    Raises:
        BrokenSample: the json cannot be read.
    """
    try:
        content = json.loads(record())
        annotations = tuple(
            measured(annotation["segmentation"], id=as_id(annotation["id"]) if "id" in annotation else None)
            for annotation in content["annotations"]
        )
        image = content.get("image") or {}
        size = (image["height"], image["width"]) if {"height", "width"} <= set(image) else None
        name = as_id(image["image_id"]) if "image_id" in image else None
        return Photo(key, annotations, photo, size, name)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise BrokenSample(key, f"its json cannot be read: {reason(error)}") from error


def find_tars(path: Path) -> list[Path]:
    """The tars in a folder, those that a pattern describes, or the one that is named, in order of their names.

    Raises:
        DataError: there are none, or two of the same name.
    """
    if has_magic(str(path)):
        tars = [Path(found) for found in glob(str(path), recursive=True)]
    elif path.is_dir():
        tars = list(path.glob("*.tar"))
    else:
        tars = [path] if path.is_file() else []
    if not tars:
        raise DataError(f"path {path}: expected a folder with .tar files, a tar, or a pattern of tars; found none")
    tars.sort()
    stems = {tar.stem for tar in tars}
    if len(stems) < len(tars):
        raise DataError(f"path {path}: expected tars with different names, got {len(tars)} with {len(stems)} names")
    return tars


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
    with replaced(path) as temporary, temporary.open("wb") as file:
        np.savez(file, stamp=stamp, names=index.names, spans=index.spans)


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
