"""Micro-batches of one process, by number: samples of a mix made into batches by worker processes."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from evsam.datasets.records import BrokenSample, DataError, Photo, PhotoSource
from evsam.training.config import RunConfig, SourceConfig
from evsam.training.data.mix import Mix
from evsam.training.data.sources import open_source
from evsam.training.distributed import World

ATTEMPTS = 20
"""Photos in a row that may be broken."""

PREFETCHED = 4
"""Batches that each worker process prepares in advance."""

PlanT = TypeVar("PlanT")
SampleT = TypeVar("SampleT")
BatchT = TypeVar("BatchT")
BatchT_co = TypeVar("BatchT_co", covariant=True)


def open_mix(config: RunConfig, opener: Callable[[SourceConfig], PhotoSource] = open_source) -> Mix:
    """The training photos of a run, each source opened by ``opener``."""
    wanted = [source for source in config.train if source.weight > 0]
    return Mix(
        {source.name: opener(source) for source in wanted},
        {source.name: source.weight for source in wanted},
        seed=config.seed,
    )


def open_loader(
    mix: Mix, maker: BatchMaker[Any, Any, Any], config: RunConfig, where: World, seen: int
) -> DataLoader[Any]:
    """This process's micro-batches after all processes together have seen so many photos.

    A run that goes on with another batch, or on other processes, begins with a whole micro-batch: it may see a few
    photos again.
    """
    images = config.batch.images
    start = seen // (images * where.size)
    stream = BatchStream(mix, maker, images=images, seed=config.seed, rank=where.rank, world=where.size, start=start)
    return loader(stream, workers=config.system.workers, pin_memory=where.device.type == "cuda")


class BatchMaker(Protocol[PlanT, SampleT, BatchT_co]):
    """Makes batches of photos. Everything random comes from the generators it is given."""

    def plan(self, rng: random.Random) -> PlanT:
        """Draw what all samples of a batch have in common, in all processes alike."""
        ...

    def sample(self, photo: Photo, plan: PlanT, rng: random.Random) -> SampleT:
        """Make a sample of a photo, or raise :class:`BrokenSample`."""
        ...

    def collate(self, samples: Sequence[SampleT], plan: PlanT, broken: Sequence[str]) -> BatchT_co:
        """Make a batch of samples; ``broken`` says what was wrong with photos that others took the place of."""
        ...


class BatchStream(IterableDataset[BatchT], Generic[PlanT, SampleT, BatchT]):
    """Micro-batches of one process from a given number on.

    What micro-batch ``n`` holds depends on seed, rank and ``n`` alone: not on how many worker processes there are, nor
    on where the stream starts. Samples are numbered through micro-batches, then ranks, then the batch, so that the same
    global batch is made of the same samples in the same order on any number of processes.

    Args:
        mix: photos by number.
        maker: see :class:`BatchMaker`.
        images: samples in a micro-batch.
        seed: of plans and samples.
        rank: number of this process.
        world: how many processes there are.
        start: number of the first micro-batch.
        stop: number to stop at, None to go on for ever.
    """

    def __init__(
        self,
        mix: Mix,
        maker: BatchMaker[PlanT, SampleT, BatchT],
        *,
        images: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self.mix, self.maker, self.images, self.seed = mix, maker, images, seed
        self.rank, self.world, self.start, self.stop = rank, world, start, stop

    def __iter__(self) -> Iterator[BatchT]:
        """Each worker process makes every so many-th batch; the loader takes them in turns."""
        worker = get_worker_info()
        number, step = self.start + (worker.id if worker else 0), worker.num_workers if worker else 1
        while self.stop is None or number < self.stop:
            yield self.batch(number)
            number += step

    def batch(self, number: int) -> BatchT:
        """Micro-batch ``number``.

        Raises:
            DataError: too many photos in a row are broken.
        """
        plan = self.maker.plan(random.Random(f"{self.seed}/batch/{number}"))
        first = (number * self.world + self.rank) * self.images
        broken: list[str] = []
        samples = [self._sample(first + j, plan, broken) for j in range(self.images)]
        return self.maker.collate(samples, plan, tuple(broken))

    def _sample(self, number: int, plan: PlanT, broken: list[str]) -> SampleT:
        for attempt in range(ATTEMPTS):
            rng = random.Random(f"{self.seed}/sample/{number}/{attempt}")
            try:
                photo = self.mix.photo(number if attempt == 0 else rng.randrange(self.mix.epoch_size))
                return self.maker.sample(photo, plan, rng)
            except BrokenSample as error:
                broken.append(str(error))
        raise DataError(
            f"sample {number}: {ATTEMPTS} photos in a row cannot be used; check the paths of the sources, and whether "
            "min_pixels fits the photos. The last ones:\n  " + "\n  ".join(broken[-3:])
        )


def loader(stream: BatchStream[PlanT, SampleT, BatchT], workers: int, pin_memory: bool = False) -> DataLoader[BatchT]:
    """Batches of a stream in order of their numbers.

    Args:
        stream: of batches.
        workers: processes that make them; 0 makes them in this one.
        pin_memory: whether tensors are put where a GPU can fetch them while it computes.
    """
    return DataLoader(
        stream,
        batch_size=None,
        collate_fn=_as_it_is,  # torch's own would turn tuples into lists
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCHED if workers else None,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # or making an iterator would draw from the one of the process
    )


def _as_it_is(batch: BatchT) -> BatchT:
    return batch


class BrokenCounter:
    """Counts photos that could not be used, and stops a run that meets too many.

    Args:
        limit_fraction: largest part of all photos that may be broken.
        at_least: so many broken photos are always allowed.
        log: file that gets a line of json for each, or None.
    """

    def __init__(self, limit_fraction: float = 0.01, at_least: int = 20, log: Path | None = None) -> None:
        self.limit_fraction, self.at_least, self.log = limit_fraction, at_least, log
        self.broken = self.seen = 0
        self._last: deque[str] = deque(maxlen=3)

    def add(self, texts: Sequence[str], seen: int) -> None:
        """Count what a batch met.

        Args:
            texts: what was wrong with each broken photo.
            seen: photos in the batch.

        Raises:
            DataError: more than ``at_least`` photos, and more than ``limit_fraction`` of all, were broken so far.
        """
        self.seen += seen
        if not texts:
            return
        self.broken += len(texts)
        self._last.extend(texts)
        if self.log is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a") as file:
                file.writelines(json.dumps({"seen": self.seen, "broken": text}) + "\n" for text in texts)
        tried = self.seen + self.broken
        if self.broken > max(self.at_least, self.limit_fraction * tried):
            where = f" ({self.log} lists them)" if self.log is not None else ""
            raise DataError(
                f"{self.broken} of {tried} photos cannot be used{where}; at most {self.limit_fraction:.0%} may. Fetch "
                "them again, leave their source out (weight: 0), or lower samples.min_pixels if it is masks that are "
                "missing. The last ones:\n  " + "\n  ".join(self._last)
            )
