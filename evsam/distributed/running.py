"""Sharing photos out: the same shards whoever computes them, each by one worker, those that are there left alone."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from evsam.distributed.packages import needed
from evsam.distributed.shards import (
    SUMMARY,
    Container,
    read_shard,
    settle,
    shard_path,
    write_json,
    write_shard,
)
from evsam.distributed.sources import Item, digest_lines, read_item
from evsam.distributed.tasks import PhotoTask
from evsam.errors import EvsamError, EvsamWarning

ATTEMPTS = 3
"""How often processes are started again, where one is killed without a shard being finished since."""

Tell: TypeAlias = Callable[[int], object]
"""Hears after each shard how many photos it has."""


@dataclass(frozen=True)
class Summary:
    """What came of a run.

    Attributes:
        photos: all of them.
        errors: how many have an error instead of results.
        shards: files that they are in.
        computed: photos of shards that were not there before.
    """

    photos: int
    errors: int
    shards: int
    computed: int


@dataclass(frozen=True)
class Work:
    """What a worker needs to compute a shard.

    Attributes:
        task: what is done with each photo.
        folder: of the shards.
        container: form of the shards.
    """

    task: PhotoTask
    folder: Path
    container: Container

    def compute(self, number: int, items: Sequence[Item]) -> int:
        """Write a shard, unless it is there; the number of its photos."""
        path = shard_path(self.folder, number, self.container)
        if not path.exists():
            rows = [self.task.row(item.key, _Reader(item)) for item in items]
            write_shard(path, self.task, rows, self.container)
        return len(items)


@dataclass(frozen=True)
class _Reader:
    item: Item

    def __call__(self) -> bytes:
        return read_item(self.item)


def run(
    task: PhotoTask,
    items: Sequence[Item],
    out: str | Path,
    *,
    workers: int = 1,
    shard_photos: int = 256,
    container: Container = "parquet",
    model: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> Summary:
    """Do something with all photos, and write a row for each.

    Args:
        task: what is done.
        items: the photos.
        out: folder of the shards. What an earlier run of the same photos
            and task has finished is kept.
        workers: processes; 1 computes in this one.
        shard_photos: photos of a shard, which is what a kill loses at most.
        container: ``parquet``, which needs pyarrow, or ``webdataset``, tars with json and npy files.
        model: what else tells the model apart, as JSON values.
        tell: hears of each shard.

    Raises:
        EvsamError: the folder has results of something else, or workers were killed again and again.
        WeightsError: the model cannot be had.
        BackendUnavailable: parquet without pyarrow.
        OSError: results cannot be written.
    """
    folder = Path(out).absolute()
    if container == "parquet":
        needed("pyarrow.parquet", "writing parquet")
    digest = hashlib.sha256()
    for line in digest_lines(items):
        digest.update(line)
    settings = {
        "task": task.name,
        "container": container,
        "model": dict(model) if model is not None else {"name": task.model, "variant": task.variant},
        "options": task.settings(),
        "reading": {"scale_16bit": task.scale_16bit, "max_pixels": task.max_pixels},
        "photos": len(items),
        "shard_photos": shard_photos,
        "keys": digest.hexdigest(),
    }
    settle(folder, settings)
    shards = math.ceil(len(items) / shard_photos)
    missing = [n for n in range(shards) if not shard_path(folder, n, container).exists()]
    units = {n: items[n * shard_photos : (n + 1) * shard_photos] for n in missing}
    computed = sum(map(len, units.values()))
    tell = tell or (lambda _: None)
    if computed < len(items):
        tell(len(items) - computed)
    work = Work(task, folder, container)
    if not units:
        pass
    elif workers == 1:
        for number, some in units.items():
            tell(work.compute(number, some))
    else:
        _by_processes(work, units, workers, tell)
    return _summary(folder, container, shards, len(items), computed)


def _summary(folder: Path, container: Container, shards: int, photos: int, computed: int) -> Summary:
    """Write which photos have an error, which is what a user looks for first."""
    path = folder / SUMMARY
    if computed or not path.exists():
        errors: dict[str, str] = {}
        keys = 0
        for number in range(shards):
            for key, error in _keys_and_errors(shard_path(folder, number, container)):
                keys += 1
                if error is not None:
                    errors[key] = error
        if keys != photos:
            raise EvsamError(f"--out: expected {photos} rows in {folder}, got {keys}; remove the damaged shards")
        write_json(path, {"photos": photos, "shards": shards, "errors": errors})
    found = json.loads(path.read_text(encoding="utf-8"))
    return Summary(photos, len(found["errors"]), shards, computed)


def _keys_and_errors(path: Path) -> Iterator[tuple[str, str | None]]:
    if path.suffix != ".parquet":
        yield from ((row["key"], row["error"]) for row in read_shard(path))
        return
    with path.open("rb") as file:
        table = needed("pyarrow.parquet", "reading parquet").ParquetFile(file).read(["key", "error"])
    yield from zip(table.column("key").to_pylist(), table.column("error").to_pylist(), strict=True)


def _by_processes(work: Work, units: Mapping[int, Sequence[Item]], workers: int, tell: Tell) -> None:
    context = multiprocessing.get_context("spawn")  # threads of the engines do not survive a fork
    left, attempts = dict(units), ATTEMPTS
    while left:
        finished = 0
        pool = ProcessPoolExecutor(min(workers, len(left)), context, _begin, (work,))
        try:
            futures = {pool.submit(_compute, number, some): number for number, some in left.items()}
            for future in as_completed(futures):
                tell(future.result())
                left.pop(futures[future])
                finished += 1
        except BrokenProcessPool as error:
            attempts = ATTEMPTS if finished else attempts - 1
            if not attempts:
                raise EvsamError(
                    f"worker: expected it to finish, but it was killed {ATTEMPTS} times, as where memory is short; "
                    f"what was computed is kept in {work.folder}: run the same command again, with fewer --workers"
                ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_work: Work | None = None
"""What this worker process has been started for."""


def _begin(work: Work) -> None:
    """What a worker process does first."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    warnings.simplefilter("ignore", EvsamWarning)  # and has warned
    _work = work
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this process when the first one is killed: a run that goes on should have the photos for itself."""
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _compute(number: int, items: Sequence[Item]) -> int:
    assert _work is not None  # noqa: S101 - _begin was called
    return _work.compute(number, items)
