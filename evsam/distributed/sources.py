"""Photos in folders, tars, parquet and object stores: which there are, by a key each, and their content."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from PIL import Image

from evsam.datasets.files import image_names
from evsam.distributed.packages import needed
from evsam.errors import ImageError

KEY_COLUMNS = ("key", "__key__", "image_id", "id", "file_name", "path")
"""Columns of parquet that name a photo; the first that is there counts."""

IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "bytes", "content")
"""Columns of parquet with encoded photos: binary, or structs with the field ``bytes``, as Hugging Face writes them."""


class Item(NamedTuple):
    """A photo of a source.

    Attributes:
        key: by which its results are found; no two photos of a run have the same.
        place: path or URI of the file that it is, or that it is in.
        offset: in bytes, of a photo in a tar; the number of the row, of one in parquet; else -1.
        size: in bytes, of a photo in a tar; else -1.
    """

    key: str
    place: str
    offset: int = -1
    size: int = -1


def find_items(sources: Sequence[str]) -> list[Item]:
    """The photos of some sources, sorted by file and by their place in it.

    Args:
        sources: each is

            * a photo, whose key is its path as given;
            * a folder: the photos in it and in all folders in it (keys are paths in the folder), its tars and its
              parquet files;
            * a pattern with ``*``, ``?``, ``[`` or ``**``, of any of these files;
            * an uncompressed tar, as of WebDataset or SA-1B: its photos, with keys TAR/NAME without suffix;
            * a parquet file, see :data:`KEY_COLUMNS` and :data:`IMAGE_COLUMNS`; keys are FILE/VALUE;
            * a URI of such a file or folder that pyarrow.fs opens (file, s3, gs, hdfs, ...).

    Raises:
        ImageError: a source is missing or damaged or has no photos, or two photos have the same key.
        BackendUnavailable: parquet or a URI without pyarrow.
        OSError: a source cannot be read.
    """
    found: dict[str, Item] = {}
    for source in sources:
        items = list(_items(source))
        if not items:
            raise ImageError(f"source: expected photos, got {source!r}, which has none")
        for item in items:
            other = found.setdefault(item.key, item)
            if other != item:
                raise ImageError(
                    f"source: expected photos with different keys, got {item.key!r} in {other.place} and {item.place}"
                )
    return list(found.values())


def read_item(item: Item) -> bytes:
    """The encoded photo.

    Raises:
        ImageError: it is not there any more, or is no bytes.
        OSError: it cannot be read.
    """
    if _is_parquet(item.place):
        return _cell(item)
    with _opened(item.place) as file:
        file.seek(max(item.offset, 0))
        content = file.read(item.size) if item.size >= 0 else file.read()
    if item.size >= 0 and len(content) < item.size:
        raise ImageError(f"image: expected {item.size} bytes in {item.place}, got {len(content)}")
    return bytes(content)


def _items(source: str) -> Iterator[Item]:
    if "://" in source:
        yield from _in_store(source)
    elif Path(source).is_dir():
        folder = Path(source)
        yield from (Item(name, str(folder / name)) for name in image_names(folder))
        for path in sorted((*folder.rglob("*.tar"), *folder.rglob("*.parquet"))):
            yield from _in_file(str(path), str(path))
    elif has_magic(source) and not Path(source).exists():
        for name in sorted(glob(source, recursive=True)):
            if Path(name).is_file():
                yield from _in_file(name, Path(name).as_posix())
    elif Path(source).is_file():
        yield from _in_file(source, Path(source).as_posix())
    else:
        raise ImageError(f"source: expected a photo, folder, pattern, tar, parquet or URI, got {source!r}: not there")


def _in_file(place: str, key: str) -> Iterator[Item]:
    if _is_parquet(place):
        yield from _in_parquet(place)
    elif place.endswith(".tar"):
        yield from _in_tar(place)
    else:
        yield Item(key, place)


def _in_store(uri: str) -> Iterator[Item]:
    fs = needed("pyarrow.fs", f"source {uri}")
    try:
        system, path = fs.FileSystem.from_uri(uri)
        (info,) = system.get_file_info([path])
        if info.type == fs.FileType.NotFound:
            raise ImageError(f"source: expected a file or folder, got {uri!r}: not there")
        if info.type == fs.FileType.File:
            yield from _in_file(uri, uri)
            return
        files = system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"source: expected a URI that pyarrow opens, got {uri!r} ({error})") from error
    suffixes = Image.registered_extensions()
    for info in sorted(files, key=lambda one: one.path):
        name = info.path[len(path) :].lstrip("/")
        suffix = PurePosixPath(name).suffix.lower()
        known = suffix in suffixes or suffix in (".tar", ".parquet")
        if info.type == fs.FileType.File and known and not PurePosixPath(name).name.startswith("."):
            yield from _in_file(f"{uri.rstrip('/')}/{name}", name)


def _in_tar(place: str) -> Iterator[Item]:
    suffixes, stem = Image.registered_extensions(), PurePosixPath(Path(place).as_posix()).stem
    try:
        with _opened(place) as file, tarfile.open(fileobj=file, mode="r:") as opened:
            for member in opened:
                path = PurePosixPath(member.name)
                if member.isfile() and path.suffix.lower() in suffixes and not path.name.startswith("."):
                    name = path.with_suffix("").as_posix().removeprefix("./")
                    yield Item(f"{stem}/{name}", place, member.offset_data, member.size)
    except (EOFError, tarfile.TarError) as error:
        raise ImageError(f"source: expected an uncompressed tar, whole to its end, got {place} ({error})") from error


def _is_parquet(place: str) -> bool:
    return place.endswith(".parquet")


def _in_parquet(place: str) -> Iterator[Item]:
    parquet = needed("pyarrow.parquet", f"source {place}")
    stem = PurePosixPath(Path(place).as_posix()).stem
    with _opened(place) as file, _naming_parquet(place):
        content = parquet.ParquetFile(file)
        column, _ = _columns(place, content.schema_arrow.names)
        keys = content.read([column]).column(column).to_pylist()
    for row, key in enumerate(keys):
        yield Item(f"{stem}/{key}", place, row)


def _columns(place: str, names: Sequence[str]) -> tuple[str, str]:
    """The columns of keys and of photos."""
    found = [next((name for name in known if name in names), None) for known in (KEY_COLUMNS, IMAGE_COLUMNS)]
    for name, known, what in zip(found, (KEY_COLUMNS, IMAGE_COLUMNS), ("keys", "photos"), strict=True):
        if name is None:
            raise ImageError(
                f"source: expected a column of {what} ({', '.join(known)}) in {place}, got {', '.join(names)}"
            )
    return str(found[0]), str(found[1])


@contextlib.contextmanager
def _naming_parquet(place: str) -> Iterator[None]:
    arrow = needed("pyarrow", f"source {place}")
    try:
        yield
    except arrow.ArrowException as error:
        raise ImageError(f"source: expected a parquet file, got {place}, which is damaged ({error})") from error


def _cell(item: Item) -> bytes:
    starts = _row_groups(item.place)
    group = next(number for number, start in reversed(list(enumerate(starts))) if start <= item.offset)
    value = _photos(item.place, group)[item.offset - starts[group]].as_py()
    if isinstance(value, dict):
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise ImageError(f"image: expected bytes in row {item.offset} of {item.place}, got {type(value).__name__}")
    return value


@lru_cache(maxsize=64)
def _row_groups(place: str) -> list[int]:
    """Numbers of the first rows of a file's groups."""
    parquet = needed("pyarrow.parquet", f"source {place}")
    with _opened(place) as file, _naming_parquet(place):
        metadata = parquet.ParquetFile(file).metadata
        starts = [0]
        for group in range(metadata.num_row_groups - 1):
            starts.append(starts[-1] + metadata.row_group(group).num_rows)
    return starts


@lru_cache(maxsize=1)  # a shard goes through them in order
def _photos(place: str, group: int) -> Any:
    """The photos of a group of rows."""
    parquet = needed("pyarrow.parquet", f"source {place}")
    with _opened(place) as file, _naming_parquet(place):
        content = parquet.ParquetFile(file)
        _, column = _columns(place, content.schema_arrow.names)
        return content.read_row_group(group, [column]).column(column).combine_chunks()


@contextlib.contextmanager
def _opened(place: str) -> Iterator[IO[bytes]]:
    """A file, of this machine or by a URI, that can seek."""
    if "://" not in place:
        with Path(place).open("rb") as local:
            yield local
        return
    system, path = needed("pyarrow.fs", f"source {place}").FileSystem.from_uri(place)
    with system.open_input_file(path) as remote:
        yield remote


def digest_lines(items: Iterable[Item]) -> Iterator[bytes]:
    """What tells a list of photos apart: their keys, in their order."""
    return (item.key.encode(errors="surrogatepass") + b"\n" for item in items)
