"""Where photos come from, as configurations name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from evsam.training.data.coco import CocoPhotos
from evsam.training.data.records import DataError, Photos
from evsam.training.data.sa1b import Sa1bFolder, Sa1bTars
from evsam.training.data.sets import read_set
from evsam.training.settings import Config


class SourceConfig(Config):
    """One source of photos with masks.

    Attributes:
        kind: ``annotated``, a set of a data directory (:mod:`evsam.training.data.sets`); ``coco`` or ``lvis``, a folder
            of photos and a json file; ``sa1b``, tars as published; ``sa1b-folder``, the same unpacked.
        path: the data directory; the folder of the photos; the folder of the tars, or a pattern such as
            ``/data/sa_0000*.tar``; the folder of the pairs.
        annotations: json file, of ``coco`` and ``lvis``.
        split: ``train`` or ``val``, of ``annotated``.
        set: name of the set, of ``annotated``.
        weight: how often the source is drawn, compared with the others; 0 leaves it out.
        name: in logs and scores; by default that of the set, or of the path.
        cache: folder for the indexes of tars, of ``sa1b``; by default they are written beside the tars.
    """

    kind: Literal["annotated", "coco", "lvis", "sa1b", "sa1b-folder"]
    path: Path
    annotations: Path | None = None
    split: str = "train"
    set: str | None = None
    weight: float = Field(default=1.0, ge=0)
    name: str = ""
    cache: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("name") and "path" in values:
            return {**values, "name": values.get("set") or Path(values["path"]).name}
        return values

    @model_validator(mode="after")
    def _complete(self) -> SourceConfig:
        if self.kind == "annotated" and self.set is None:
            raise ValueError("set: a source of kind annotated needs the name of a set")
        if self.kind in ("coco", "lvis") and self.annotations is None:
            raise ValueError(f"annotations: a source of kind {self.kind} needs a json file")
        return self


def open_source(config: SourceConfig) -> Photos:
    """The photos of a source.

    Raises:
        DataError: they are not there, or are something else.
    """
    try:
        return _open(config)
    except DataError as error:
        raise DataError(f"source {config.name} ({config.kind}): {error}") from error


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
        case "sa1b-folder":
            return Sa1bFolder(config.path)
