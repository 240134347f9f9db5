"""A teacher's embeddings on disk, so that it computes each only once.

A cache is a folder with a folder for each source of photos. The photos of a source are cut into ranges of the same
length; each range is a shard: an array file for each of the teacher's maps (float16, a row for each photo, read by
mapping it), and a json file that says what is in them. The json file is written last, so a shard either is there as a
whole or not at all.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam.datasets.records import BrokenSample
from evsam.errors import EvsamError
from evsam.training.teachers import TeacherInfo
from evsam.weights.files import sha256
from evsam.writing import replaced

Float16 = npt.NDArray[np.float16]

FORMAT = 2
"""Of the json files; raised when their content changes meaning."""

AGAIN = "run evsam.training.cache_embeddings again"
"""What mends most caches: it makes anew what is missing or damaged."""

OPENED = 32
"""Shards whose files a process keeps open, of which there may be many more than a process may open."""


class CacheError(EvsamError):
    """Cached embeddings that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Range:
    """Which photos a shard is of, and who computed it how.

    Attributes:
        source: name of the source.
        number: of the shard in its source.
        first: number of its first photo in the source.
        photos: how many photos it has.
        total: photos of the whole source.
        teacher: who computed the embeddings.
        precision: that the teacher computed in.
    """

    source: str
    number: int
    first: int
    photos: int
    total: int
    teacher: TeacherInfo
    precision: str

    def path(self, cache: Path) -> Path:
        """The json file of the shard."""
        return cache / self.source / f"shard-{self.number:06d}.json"


@dataclass(frozen=True)
class Shard:
    """A finished shard.

    Attributes:
        path: its json file.
        range: see :class:`Range`.
        keys: of the photos, in order of the rows.
        broken: why photos have no embedding, by key.
        photos: CRC-32 of the encoded photos, by which a photo that has changed is noticed.
        checksums: CRC-32 of each row, by map.
        hashes: SHA-256 of each array file, in hexadecimal.
        sizes: of the array files in bytes.
    """

    path: Path
    range: Range
    keys: tuple[str, ...]
    broken: dict[str, str]
    photos: tuple[int, ...]
    checksums: tuple[tuple[int, ...], ...]
    hashes: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def files(self) -> list[Path]:
        """The array files, one for each map."""
        return [array_file(self.path, index) for index in range(len(self.hashes))]

    def check_sizes(self) -> None:
        """Compare the sizes of the array files, which takes no time.

        Raises:
            CacheError: a file is missing or of another size.
        """
        for file, size in zip(self.files, self.sizes, strict=True):
            found = file.stat().st_size if file.exists() else None
            if found != size:
                state = "missing" if found is None else f"damaged: expected {size} bytes, got {found}"
                raise CacheError(f"cached embeddings {file}: {state}; {AGAIN}")

    def verify(self) -> None:
        """Compare the checksums of the array files, which reads all of them.

        Raises:
            CacheError: a file is missing or damaged.
        """
        self.check_sizes()
        for file, expected in zip(self.files, self.hashes, strict=True):
            if sha256(file) != expected:
                raise CacheError(f"cached embeddings {file}: damaged: its checksum has changed; {AGAIN}")


def array_file(path: Path, index: int) -> Path:
    """The file of a shard's map number ``index``, given its json file."""
    return path.with_suffix(f".map{index}.npy")


def read_shard(path: Path) -> Shard:
    """Read what a shard's json file says.

    Raises:
        CacheError: it is no such file.
    """
    try:
        record = json.loads(path.read_text())
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}")
        place = record["range"]
        shard_range = Range(**{**place, "teacher": TeacherInfo.from_json(place["teacher"])})
        return Shard(
            path=path,
            range=shard_range,
            keys=tuple(record["keys"]),
            broken=dict(record["broken"]),
            photos=tuple(record["photos"]),
            checksums=tuple(tuple(rows) for rows in record["checksums"]),
            hashes=tuple(record["hashes"]),
            sizes=tuple(record["sizes"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheError(f"cached embeddings {path}: cannot be read ({error!r}); delete it and {AGAIN}") from error


class ShardWriter:
    """Writes one shard, a row at a time and in any order.

    Args:
        cache: folder of the cache.
        place: see :class:`Range`.
    """

    def __init__(self, cache: Path, place: Range) -> None:
        self.path, self.range = place.path(cache), place
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)  # not finished any more
        self.keys: list[str] = [""] * place.photos
        self.broken: dict[str, str] = {}
        self.photos = [checksum(b"")] * place.photos
        self.checksums = [[0] * place.photos for _ in place.teacher.maps]
        self.maps: list[np.memmap[Any, np.dtype[np.float16]]] = [
            np.lib.format.open_memmap(self._part(index), mode="w+", dtype=np.float16, shape=(place.photos, *shape))
            for index, shape in enumerate(place.teacher.maps)
        ]

    def put(self, row: int, key: str, photo: int, maps: Sequence[Float16]) -> None:
        """Write the embedding of a photo.

        Args:
            row: of the photo, counted from the first of the shard.
            key: of the photo.
            photo: :func:`checksum` of its encoded file.
            maps: (C, H, W) each.

        Raises:
            CacheError: an embedding is not finite in float16.
        """
        for index, values in enumerate(maps):
            if not np.isfinite(values).all():
                raise CacheError(
                    f"{key}: the teacher's map {index} is not finite in float16; try precision=float32 or bfloat16, "
                    "or let the teacher compute during training"
                )
            self.maps[index][row] = values
            self.checksums[index][row] = checksum(self.maps[index][row])
        self.keys[row], self.photos[row] = key, photo

    def skip(self, row: int, key: str, photo: int, reason: str) -> None:
        """Note that a photo cannot be read; its row stays zero."""
        self.keys[row], self.photos[row], self.broken[key] = key, photo, reason

    def finish(self) -> None:
        """Give the files their names; from now on the shard counts as there."""
        hashes, sizes = [], []
        for index, values in enumerate(self.maps):
            part = self._part(index)
            values.flush()
            with part.open("rb") as file:
                os.fsync(file.fileno())
            hashes.append(sha256(part))
            sizes.append(part.stat().st_size)
        self.maps.clear()
        for index in range(len(hashes)):
            self._part(index).replace(array_file(self.path, index))
        record = {
            "format": FORMAT,
            "range": asdict(self.range),
            "keys": self.keys,
            "broken": self.broken,
            "photos": self.photos,
            "checksums": self.checksums,
            "hashes": hashes,
            "sizes": sizes,
        }
        with replaced(self.path) as temporary:
            temporary.write_text(json.dumps(record))

    def _part(self, index: int) -> Path:
        # the same name every time, so that a run that was stopped leaves nothing behind when it goes on
        return array_file(self.path, index).with_suffix(".part")


def _opened(file: Path) -> npt.NDArray[np.float16]:
    try:
        mapped: npt.NDArray[np.float16] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise CacheError(f"cached embeddings {file}: damaged: {error}; {AGAIN}") from error
    return mapped


def checksum(content: Float16 | bytes) -> int:
    """CRC-32 of bytes, or of an array in C order."""
    return zlib.crc32(content if isinstance(content, bytes) else np.ascontiguousarray(content).data)


class EmbeddingCache:
    """Reads embeddings by the keys of their photos. Can be sent to other processes.

    Args:
        path: folder of the cache.
        fingerprint: of the teacher whose embeddings are expected; None takes what is there.

    Raises:
        CacheError: there are none, a shard is missing or damaged, they are of another teacher or of several, or two
            sources have photos of the same key.

    Attributes:
        teacher: who computed the embeddings.
    """

    def __init__(self, path: Path, fingerprint: str | None = None) -> None:
        self.path = path
        self.shards = [read_shard(file) for file in sorted(path.glob("*/shard-*.json"))]
        if not self.shards:
            raise CacheError(f"cached embeddings {path}: there are none; {AGAIN}")
        self.teacher = self.shards[0].range.teacher
        self._check_teacher(fingerprint)
        self._check_complete()
        self.rows: dict[str, tuple[int, int]] = {}
        self.broken: dict[str, str] = {}
        for number, shard in enumerate(self.shards):
            shard.check_sizes()
            self.broken.update(shard.broken)
            for row, key in enumerate(shard.keys):
                if key in self.rows:
                    raise CacheError(f"cached embeddings {path}: the key {key} is there twice")
                self.rows[key] = number, row
        self._opened: dict[int, list[npt.NDArray[np.float16]]] = {}

    def __len__(self) -> int:
        """Photos with an embedding."""
        return len(self.rows) - len(self.broken)

    def __getstate__(self) -> dict[str, Any]:
        # a mapped array would be sent as a copy of all that it maps
        return {**self.__dict__, "_opened": {}}

    def get(self, key: str, content: bytes | None = None) -> tuple[Float16, ...]:
        """The teacher's maps (C, H, W) for a photo; not to be written to.

        Args:
            key: of the photo, with the name of its source in front (:class:`evsam.training.data.sources.NamedSource`).
            content: the encoded photo, to compare with the one that was cached; None compares nothing.

        Raises:
            BrokenSample: the photo could not be read when the cache was made.
            CacheError: there is none for this photo, it is of another state of the photo, or damaged.
        """
        if content is not None and key in self.rows:
            number, row = self.rows[key]
            if checksum(content) != self.shards[number].photos[row]:
                raise CacheError(f"cached embeddings {self.path}: the photo {key} has changed since; {AGAIN}")
        if key in self.broken:
            raise BrokenSample(key, f"when embeddings were cached: {self.broken[key]}")
        if key not in self.rows:
            sources = ", ".join(sorted({shard.range.source for shard in self.shards}))
            raise CacheError(
                f"cached embeddings {self.path}: there is none for the photo {key} (sources: {sources}); train on "
                "sources that were cached, under the same names, or add this one to the cache's configuration and "
                f"{AGAIN}"
            )
        number, row = self.rows[key]
        maps = tuple(values[row] for values in self._arrays(number))
        for index, values in enumerate(maps):
            if checksum(values) != self.shards[number].checksums[index][row]:
                file = self.shards[number].files[index]
                raise CacheError(f"cached embeddings {file}: damaged: the checksum of {key} has changed; {AGAIN}")
        return maps

    def verify(self) -> None:
        """Read everything and compare checksums.

        Raises:
            CacheError: a file is missing or damaged.
        """
        for shard in self.shards:
            shard.verify()

    def _arrays(self, number: int) -> list[npt.NDArray[np.float16]]:
        if number not in self._opened:
            if len(self._opened) == OPENED:
                self._opened.pop(next(iter(self._opened)))
            self._opened[number] = [_opened(file) for file in self.shards[number].files]
        return self._opened[number]

    def _check_teacher(self, fingerprint: str | None) -> None:
        expected = fingerprint or self.teacher.fingerprint
        for shard in self.shards:
            found = shard.range.teacher
            if found.fingerprint != expected:
                raise CacheError(
                    f"cached embeddings {shard.path}: of another teacher, {found.name} {found.fingerprint[:12]}, "
                    f"expected {expected[:12]}; use the teacher that they are of, or cache into another folder"
                )

    def _check_complete(self) -> None:
        for source in sorted({shard.range.source for shard in self.shards}):
            shards = [shard for shard in self.shards if shard.range.source == source]
            photos = sum(shard.range.photos for shard in shards)
            total = shards[0].range.total
            if photos != total:
                raise CacheError(
                    f"cached embeddings {self.path / source}: incomplete, {photos} of {total} photos; {AGAIN}"
                )
