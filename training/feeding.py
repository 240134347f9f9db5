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
    mix: Mix, maker: BatchMaker[Any, Any, Any], config: RunConfig, where: World, start: int
) -> DataLoader[Any]:
    """This process's micro-batches from number ``start`` on."""
    stream = BatchStream(
        mix, maker, images=config.batch.images, seed=config.seed, rank=where.rank, world=where.size, start=start
    )
    return loader(stream, workers=config.system.workers, pin_memory=where.device.type == "cuda")
