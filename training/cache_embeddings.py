"""Compute a teacher's embeddings once and keep them on disk: ``python -m evsam.training.cache_embeddings CONFIG``.

What is finished is not made again, so a run that was stopped goes on when it is started again, with any number of
processes: under torchrun each takes its share of the shards. A ViT-H embedding takes 2 MiB, so a thousand photos take
2 GiB and all of SA-1B would take 22 TiB: cache the part that is trained on more than once.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from evsam.datasets.records import BrokenSample, UInt8
from evsam.errors import EvsamError
from evsam.training.config import Config, SourceConfig, read_config
from evsam.training.data.embeddings import CacheError, Range, ShardWriter, checksum, read_shard
from evsam.training.data.pixels import frame_pixels, place
from evsam.training.data.sources import NamedSource, open_named
from evsam.training.data.stream import BrokenCounter
from evsam.training.distributed import pick_device
from evsam.training.teachers import Teacher, TeacherConfig, open_teacher

_log = logging.getLogger(__name__)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class CacheConfig(Config):
    """What is computed, and where it is kept.

    Attributes:
        data: sources of photos; training has to use the same names.
        teacher: who computes.
        out: folder of the cache.
        shard_photos: photos of a shard; a stop loses what is done of one.
        images: photos that the teacher computes at once.
        workers: processes that read photos; 0 reads them in between.
        precision: that the teacher computes in; embeddings are kept in float16 in any case.
        device: torch device; ``auto`` is cuda where there is one.
    """

    data: tuple[SourceConfig, ...] = Field(min_length=1)
    teacher: TeacherConfig
    out: Path
    shard_photos: int = Field(256, ge=1)
    images: int = Field(4, ge=1)
    workers: int = Field(4, ge=0)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"

    @model_validator(mode="after")
    def _names_differ(self) -> CacheConfig:
        names = [source.name for source in self.data]
        if len(set(names)) != len(names):
            raise ValueError(f"data: expected sources of different names, got {', '.join(names)}")
        for name in names:
            if Path(name).name != name:
                raise ValueError(f"data: the name {name!r} cannot be that of a folder")
        return self


@dataclass(frozen=True)
class Cached:
    """What a process has done.

    Attributes:
        made: shards that it computed.
        kept: shards of its share that were there already.
        broken: photos that cannot be read, among those of the computed shards.
    """

    made: int
    kept: int
    broken: int


class _Read(NamedTuple):
    """A photo as the teacher sees it, or why it cannot be read."""

    number: int
    key: str
    checksum: int
    image: UInt8 | None
    extent: tuple[int, int]
    reason: str


class _Photos(Dataset[_Read]):
    """The photos of a source at the teacher's size."""

    def __init__(self, source: NamedSource, side: int) -> None:
        self.source, self.side = source, side

    def __getitem__(self, number: int) -> _Read:
        content = b""
        try:
            photo = self.source[number]
            content = photo.content()
            image, extent = place(photo.pixels(content), self.side)
        except BrokenSample as error:
            return _Read(number, error.key, checksum(content), None, (0, 0), error.reason)
        return _Read(number, photo.key, checksum(content), image, extent, "")


def cache_embeddings(config: CacheConfig, rank: int = 0, world: int = 1) -> Cached:
    """Compute this process's share of a cache.

    Args:
        config: see :class:`CacheConfig`.
        rank: number of this process.
        world: number of processes; each takes every ``world``-th shard.

    Raises:
        CacheError: the folder holds embeddings of another teacher or in other shards, or some are not finite.
        DataError: photos are not where they should be, or too many cannot be read.
        TeacherError, WeightsError, BackendUnavailable: the teacher cannot be had.
    """
    device = pick_device(config.device)
    teacher = open_teacher(config.teacher).to(device)
    sources = {source.name: open_named(source) for source in config.data}
    shares = [place for name, source in sources.items() for place in _ranges(config, name, source, teacher)]
    mine = shares[rank::world]
    missing = [place for place in mine if not _finished(place, config.out, sources[place.source])]
    counter, broken = BrokenCounter(), 0
    todo, done = sum(place.photos for place in missing), sum(place.photos for place in mine)
    with tqdm(total=done, initial=done - todo, unit="photo", disable=rank > 0, desc=teacher.name) as bar:
        for name, source in sources.items():
            ranges = [place for place in missing if place.source == name]
            for batch in _compute(config, ranges, source, teacher, device):
                counter.add(batch.broken, batch.photos - len(batch.broken))
                broken += len(batch.broken)
                bar.update(batch.photos)
    return Cached(len(missing), len(mine) - len(missing), broken)


class _Done(NamedTuple):
    photos: int
    broken: list[str]


def _compute(
    config: CacheConfig, ranges: Sequence[Range], source: NamedSource, teacher: Teacher, device: torch.device
) -> Iterator[_Done]:
    """Compute and write shards of one source; tells after each batch what was done."""
    batches = [
        list(range(first, min(first + config.images, place.first + place.photos)))
        for place in ranges
        for first in range(place.first, place.first + place.photos, config.images)
    ]
    if not batches:
        return
    loader = DataLoader(
        _Photos(source, teacher.image_size), batch_sampler=batches, num_workers=config.workers, collate_fn=list
    )
    left = iter(ranges)
    writer: ShardWriter | None = None
    for photos in loader:
        if writer is None:
            writer = ShardWriter(config.out, next(left))
        first = writer.range.first
        good = [photo for photo in photos if photo.image is not None]
        maps = _embeddings(good, teacher, config.precision, device) if good else []
        for row, photo in enumerate(good):
            writer.put(photo.number - first, photo.key, photo.checksum, [values[row].numpy() for values in maps])
        broken = [photo for photo in photos if photo.image is None]
        for photo in broken:
            writer.skip(photo.number - first, photo.key, photo.checksum, photo.reason)
        if photos[-1].number + 1 == first + writer.range.photos:
            writer.finish()
            writer = None
        yield _Done(len(photos), [f"{photo.key}: {photo.reason}" for photo in broken])


def _embeddings(photos: Sequence[_Read], teacher: Teacher, precision: str, device: torch.device) -> list[Tensor]:
    """The teacher's maps (B, C, H, W), float16 on the CPU."""
    images = torch.stack([torch.from_numpy(photo.image) for photo in photos])
    extents = torch.tensor([photo.extent for photo in photos])
    narrow = precision != "float32"
    with torch.autocast(device.type, _DTYPES[precision]) if narrow else contextlib.nullcontext():
        maps = teacher(frame_pixels(images.to(device), extents.to(device)))
    return [values.to(torch.float16).cpu() for values in maps]


def _ranges(config: CacheConfig, name: str, source: NamedSource, teacher: Teacher) -> list[Range]:
    total, length = len(source), config.shard_photos
    return [
        Range(
            source=name,
            number=number,
            first=number * length,
            photos=min(length, total - number * length),
            total=total,
            teacher=teacher.info,
            precision=config.precision,
        )
        for number in range(math.ceil(total / length))
    ]


def _finished(place: Range, cache: Path, source: NamedSource) -> bool:
    """Whether a shard is there and whole.

    Raises:
        CacheError: what is there is something else.
    """
    path = place.path(cache)
    if not path.exists():
        return False
    shard = read_shard(path)
    if shard.range != place:
        raise CacheError(f"cached embeddings {path}: {_difference(shard.range, place)}; cache into another folder")
    photos = [_key_and_checksum(source, number) for number in range(place.first, place.first + place.photos)]
    keys = [key for key, _ in photos]
    if keys != list(shard.keys):
        raise CacheError(
            f"cached embeddings {path}: of the photos {shard.keys[0]} to {shard.keys[-1]}, expected {keys[0]} to "
            f"{keys[-1]}: the source has changed; cache into another folder"
        )
    try:
        for (key, found), cached in zip(photos, shard.photos, strict=True):
            if found != cached:
                raise CacheError(f"cached embeddings {path}: the photo {key} has changed since")
        shard.verify()
    except CacheError as error:
        _log.warning("made again: %s", error)
        return False
    return True


def _difference(found: Range, expected: Range) -> str:
    if found.teacher != expected.teacher:
        one, other = found.teacher, expected.teacher
        return (
            f"of another teacher: expected {other.name} {other.fingerprint[:12]}, got {one.name} {one.fingerprint[:12]}"
        )
    values = [
        (name, getattr(expected, name), getattr(found, name)) for name in ("precision", "photos", "first", "total")
    ]
    return ", ".join(f"{name}: expected {one}, got {other}" for name, one, other in values if one != other)


def _key_and_checksum(source: NamedSource, number: int) -> tuple[str, int]:
    content = b""
    try:
        photo = source[number]
        content = photo.content()
    except BrokenSample as error:
        return error.key, checksum(content)
    return photo.key, checksum(content)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m evsam.training.cache_embeddings``; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m evsam.training.cache_embeddings", description="Compute a teacher's embeddings once."
    )
    parser.add_argument("config", type=Path, help="YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value: images=8")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    try:
        config = read_config(CacheConfig, options.config, options.set)
        cached = cache_embeddings(config, rank, world)
    except EvsamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"{config.out}: {cached.made} shards computed, {cached.kept} were there, {cached.broken} photos cannot be read"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
