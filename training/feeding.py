"""From a configuration to the stream of batches that a process works on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader

from evsam.training.config import RunConfig
from evsam.training.data.mix import Mix
from evsam.training.data.records import PhotoSource
from evsam.training.data.sources import SourceConfig, open_source
from evsam.training.data.stream import BatchMaker, BatchStream, loader
from evsam.training.distributed import World


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
