"""Teach an image encoder the embeddings of another: ``python -m evsam.training.distill CONFIG``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, model_validator

from evsam.nn import EfficientViTSam
from evsam.training import command
from evsam.training.config import RunConfig
from evsam.training.data.frames import FrameMaker, open_named
from evsam.training.distillation import DistillConfig, DistillTask
from evsam.training.distributed import World
from evsam.training.embedding_cache import EmbeddingCache
from evsam.training.feeding import open_loader, open_mix
from evsam.training.loop import Trained
from evsam.training.starting import build_model
from evsam.training.teachers import Teacher, TeacherConfig, copy_decoder, open_teacher
from evsam.training.validating import Validator


class DistillRunConfig(RunConfig):
    """Distillation of a teacher's embeddings into a model's image encoder.

    Attributes:
        teacher: computes embeddings in each step, and gives its decoder.
        cache: folder of embeddings that :mod:`evsam.training.cache_embeddings` made, in place of computing them; a
            ``teacher`` is then only needed for its decoder.
        distillation: see :class:`evsam.training.distillation.DistillConfig`.
        decoder: take prompt encoder and mask decoder from the teacher, unchanged.
        flip: probability that a photo is mirrored; not with ``cache``.
        prompts: prompts of each photo, where ``distillation.decoder`` is above 0.
    """

    teacher: TeacherConfig | None = None
    cache: Path | None = None
    distillation: DistillConfig = DistillConfig()
    decoder: bool = True
    flip: float = Field(default=0.0, ge=0, le=1)
    prompts: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _taught(self) -> DistillRunConfig:
        if self.teacher is None and self.cache is None:
            raise ValueError("give a teacher, or a cache of its embeddings")
        if self.teacher is None and self.decoder:
            raise ValueError("a cache has no decoder: give the teacher too, or set decoder: false")
        if self.distillation.decoder and not self.prompts:
            raise ValueError("distillation.decoder needs prompts of each photo: set prompts to 1 or more")
        return self


def build(config: DistillRunConfig, where: World) -> Trained:
    """Model, teacher, photos and validation of a run."""
    model = build_model(config, where.device)
    teacher = None if config.teacher is None else open_teacher(config.teacher)
    if config.decoder:
        assert teacher is not None
        copy_decoder(teacher, model)
    task, maker = _taught_by(config, model, teacher)
    mix = open_mix(config, open_named)
    return Trained(
        task=task,
        model=model,
        loader=functools.partial(open_loader, mix, maker, config, where),
        epoch=mix.epoch_size,
        unused=True,  # maps of the student that the teacher has no counterpart of
        validate=Validator(config.validation, config.log) if config.validation.sources else None,
    )


def _taught_by(
    config: DistillRunConfig, model: EfficientViTSam, teacher: Teacher | None
) -> tuple[DistillTask, FrameMaker]:
    side = model.variant.image_size
    if config.cache is not None:
        cache = EmbeddingCache(config.cache, None if teacher is None else teacher.fingerprint)
        return (
            DistillTask(model, config.distillation, cache.teacher),
            FrameMaker(side, cache=cache, flip=config.flip, prompts=config.prompts),
        )
    assert teacher is not None
    return (
        DistillTask(model, config.distillation, teacher),
        FrameMaker(side, teacher.image_size, flip=config.flip, prompts=config.prompts),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m evsam.training.distill``."""
    return command.main("distill", DistillRunConfig, build, arguments)


if __name__ == "__main__":
    sys.exit(main())
