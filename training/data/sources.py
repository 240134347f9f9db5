"""The sources of a configuration: the readers of :mod:`evsam.datasets`, by kind."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from evsam.datasets.annotated import read_set
from evsam.datasets.coco import CocoPhotos
from evsam.datasets.halves import half
from evsam.datasets.records import BrokenSample, DataError, Photo, Photos, PhotoSource, Some
from evsam.datasets.sa1b import Sa1bFolder, Sa1bTars
from evsam.training.config import SourceConfig


def open_source(config: SourceConfig) -> Photos:
    """The photos of a source.

    Raises:
        DataError: they are not there, or are something else.
    """
    try:
        source = _open(config)
    except DataError as error:
        raise DataError(f"source {config.name} ({config.kind}): {error}") from error
    return half(_licensed(source, config.licences) if config.licences else source, config.half)


def _licensed(source: Photos, licences: Sequence[str]) -> Photos:
    """The photos whose records state one of some licences."""
    numbers = []
    for index in range(len(source)):
        with contextlib.suppress(BrokenSample):
            if source[index].licence in licences:
                numbers.append(index)
    return Some(source, numbers)


def _open(config: SourceConfig) -> Photos:
    match config.kind:
        case "annotated":
            assert config.set is not None
            return read_set(config.path, config.split, config.set)
        case "coco" | "lvis":
            assert config.annotations is not None
            return CocoPhotos(config.path, config.annotations)
        case "sa1b":
            return Sa1bTars(config.path, config.cache)
        case _:
            return Sa1bFolder(config.path)


class NamedSource(Photos):
    """A source whose keys begin with its name, so that they are unique among several sources.

    Args:
        name: of the source.
        source: its photos.
    """

    def __init__(self, name: str, source: PhotoSource) -> None:
        self.name, self.source = name, source

    def __len__(self) -> int:
        return len(self.source)

    @property
    def groups(self) -> Sequence[int]:
        """As of the source."""
        return self.source.groups if isinstance(self.source, Photos) else super().groups

    def photo(self, index: int) -> Photo:
        """A photo whose key is ``NAME/KEY``.

        Raises:
            BrokenSample: its record cannot be read.
        """
        try:
            photo = self.source[index]
        except BrokenSample as error:
            raise BrokenSample(f"{self.name}/{error.key}", error.reason) from error
        return replace(photo, key=f"{self.name}/{photo.key}")


def open_named(config: SourceConfig) -> NamedSource:
    """The photos of a source under the keys that cached embeddings know them by.

    Raises:
        DataError: there are none where the configuration says.
    """
    return NamedSource(config.name, open_source(config))
