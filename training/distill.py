"""Teach an image encoder the embeddings of another: ``python -m evsam.training.distill CONFIG``.

:class:`DistillTask` is what a step computes: how far the student's features are from the teacher's.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from evsam.nn import EfficientViTSam, Features
from evsam.training import command
from evsam.training.config import Config, ConfigError, RunConfig
from evsam.training.data.embeddings import EmbeddingCache
from evsam.training.data.frames import FrameBatch, FrameMaker
from evsam.training.data.pixels import cells_inside, frame_pixels
from evsam.training.data.sources import open_named
from evsam.training.data.stream import open_loader, open_mix
from evsam.training.distributed import World
from evsam.training.model import build_model
from evsam.training.teachers import (
    Teacher,
    TeacherConfig,
    TeacherInfo,
    copy_decoder,
    decoder_tensors,
    feature_maps,
    fingerprint,
    open_teacher,
)
from evsam.training.trainer import StepRandom, Trained
from evsam.training.validation import Validator


class DistillLossConfig(Config):
    """Weights of the parts of the loss.

    Attributes:
        l2: of the mean squared error between embeddings, the paper's loss (arXiv 2402.05008, section 3.1).
        cosine: of one minus the cosine between the embeddings of each cell.
        decoder: of what the teacher's decoder makes of the difference: the Kullback-Leibler divergence between the
            masks that it gives for both embeddings, a mean over pixels. The student has to have that decoder.
        finer: of each map after the embedding, relative to it, where teacher and student have such maps.
        ignore_padding: count only cells that hold some of the photo.
    """

    l2: float = Field(1.0, ge=0)
    cosine: float = Field(0.0, ge=0)
    decoder: float = Field(0.0, ge=0)
    finer: float = Field(1.0, ge=0)
    ignore_padding: bool = False

    @model_validator(mode="after")
    def _something(self) -> DistillLossConfig:
        if not (self.l2 or self.cosine or self.decoder):
            raise ValueError("distillation: expected one of l2, cosine and decoder above 0")
        return self


class DistillConfig(RunConfig):
    """Distillation of a teacher's embeddings into a model's image encoder.

    Attributes:
        teacher: computes embeddings in each step, and gives its decoder.
        cache: folder of embeddings that :mod:`evsam.training.cache_embeddings` made, in place of computing them; a
            ``teacher`` is then only needed for its decoder.
        distillation: see :class:`evsam.training.distill.DistillLossConfig`.
        decoder: take prompt encoder and mask decoder from the teacher, unchanged.
        flip: probability that a photo is mirrored; not with ``cache``.
        prompts: prompts of each photo, where ``distillation.decoder`` is above 0.
    """

    teacher: TeacherConfig | None = None
    cache: Path | None = None
    distillation: DistillLossConfig = DistillLossConfig()
    decoder: bool = True
    flip: float = Field(default=0.0, ge=0, le=1)
    prompts: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _taught(self) -> DistillConfig:
        if self.teacher is None and self.cache is None:
            raise ValueError("give a teacher, or a cache of its embeddings")
        if self.teacher is None and self.decoder:
            raise ValueError("a cache has no decoder: give the teacher too, or set decoder: false")
        if self.distillation.decoder and not self.prompts:
            raise ValueError("distillation.decoder needs prompts of each photo: set prompts to 1 or more")
        return self


class DistillTask(nn.Module):
    """Loss of a batch of photos.

    Only the image encoder learns, and the projections of maps that have other widths than the teacher's: prompt encoder
    and mask decoder are frozen, in eval mode. The teacher is no part of this module: it is neither trained nor saved,
    nor moved along to another device.

    Args:
        model: the student, on its device.
        config: see :class:`DistillLossConfig`.
        teacher: asked for its maps in each step; or, where batches bring cached embeddings, what is known of the
            teacher that computed them (``cache.teacher``).

    Raises:
        ConfigError: the decoder's part is wanted, but the student's maps or its decoder are not made like the
            teacher's.
    """

    def __init__(self, model: EfficientViTSam, config: DistillLossConfig, teacher: Teacher | TeacherInfo) -> None:
        super().__init__()
        self.model, self.config = model, config
        device = next(model.parameters()).device
        self.info = teacher.info if isinstance(teacher, Teacher) else teacher
        # in a tuple, so that torch does not take it for a part of this module
        self._teacher = (teacher.to(device),) if isinstance(teacher, Teacher) else ()
        for part in (model.prompt_encoder, model.mask_decoder):
            part.requires_grad_(False)
        maps = feature_maps(model.variant)
        pairs = min(len(maps), len(self.info.maps)) if self.info.paired else len(self.info.maps)
        self.sources = tuple(range(pairs)) if self.info.paired else (0,) * pairs
        """The student's map that is compared with each of the teacher's."""
        self.projections = nn.ModuleList(
            nn.Identity() if maps[own][0] == theirs[0] else nn.Conv2d(maps[own][0], theirs[0], 1)
            for own, theirs in zip(self.sources, self.info.maps, strict=False)
        ).to(device)
        if config.decoder:
            self._check_decoder()

    def train(self, mode: bool = True) -> DistillTask:
        """As of any module, but the frozen decoder stays in eval mode."""
        super().train(mode)
        self.model.prompt_encoder.eval()
        self.model.mask_decoder.eval()
        return self

    def forward(self, batch: FrameBatch, random: StepRandom) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        """Loss and metrics.

        Args:
            batch: on the model's device, but for ``embeddings``, which may be anywhere.
            random: of this micro-step; all that is random has been drawn with the batch.

        Returns:
            Loss, a mean over photos, so that it does not matter how they are spread over processes; and detached
            scalars: ``loss``, those of ``l2``, ``cosine`` and ``decoder`` that have a weight, unweighted, and
            ``unexplained``: the squared error of the embedding as a part of the teacher's variance over cells.

        Raises:
            ConfigError: the batch has no embeddings and there is no teacher to ask.
        """
        config = self.config
        pixels = frame_pixels(batch.images, batch.extents)
        targets = self._targets(batch, pixels)
        features = self.model.encode(pixels)
        side = batch.images.shape[1]
        errors, cosines = [], []
        for number, (own, project, target) in enumerate(zip(self.sources, self.projections, targets, strict=False)):
            found = resized(project(features[own]), (target.shape[-2], target.shape[-1])).float()
            inside = self._inside(batch, side, found)
            errors.append(masked_mean((found - target).square().mean(1), inside))
            cosines.append(masked_mean(1 - F.cosine_similarity(found, target, dim=1), inside))
            if number == 0:
                unexplained = errors[0].detach() / spread(target, inside)
        parts = {}
        if config.l2:
            parts["l2"] = self._over_maps(errors)
        if config.cosine:
            parts["cosine"] = self._over_maps(cosines)
        if config.decoder:
            parts["decoder"] = self._decoder_part(batch, features, targets)
        loss = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
        metrics = {"loss": loss, **parts, "unexplained": unexplained}
        return loss, {name: value.detach() for name, value in metrics.items()}

    def _targets(self, batch: FrameBatch, pixels: Tensor) -> tuple[Tensor, ...]:
        """The teacher's maps, float32."""
        if batch.embeddings:
            return tuple(maps.to(pixels.device, non_blocking=True).float() for maps in batch.embeddings)
        if not self._teacher:
            raise ConfigError("distillation: the batch has no cached embeddings, and there is no teacher to ask")
        if batch.teacher_images is not None:
            assert batch.teacher_extents is not None
            pixels = frame_pixels(batch.teacher_images, batch.teacher_extents)
        return tuple(maps.float() for maps in self._teacher[0](pixels))

    def _inside(self, batch: FrameBatch, side: int, maps: Tensor) -> Tensor | None:
        """Cells (B, H, W) that count; None for all."""
        if not self.config.ignore_padding:
            return None
        return cells_inside(batch.extents, side, (maps.shape[-2], maps.shape[-1]))

    def _over_maps(self, values: list[Tensor]) -> Tensor:
        """Weighted mean over the maps: finer ones count as the configuration says, coarser ones like the first."""
        weights = [1.0 if number == 0 or not self.info.paired else self.config.finer for number in range(len(values))]
        total = torch.stack([weight * value for weight, value in zip(weights, values, strict=True)]).sum()
        return total / sum(weights)

    def _decoder_part(self, batch: FrameBatch, features: Features, targets: tuple[Tensor, ...]) -> Tensor:
        """Divergence of the student's masks from the teacher's, for the same prompts."""
        prompts, photos = len(batch.labels) // len(batch.images), len(batch.images)
        if not prompts:
            raise ConfigError("decoder: needs prompts of each photo: expected at least 1, got 0; raise prompts")
        index = torch.arange(photos, device=batch.images.device).repeat_interleave(prompts)

        def decode(maps: Features) -> Tensor:
            logits, _ = self.model.decode(tuple(m[index] for m in maps), batch.points, batch.labels)
            return logits.float()

        with torch.no_grad():
            expected = decode(targets)
        found = decode(features)
        divergence = bernoulli_divergence(expected, found).mean(1)
        inside = self._inside(batch, batch.images.shape[1], divergence)
        return masked_mean(divergence, None if inside is None else inside[index])

    def _check_decoder(self) -> None:
        student = self.model.variant
        if feature_maps(student) != self.info.maps:
            raise ConfigError(
                f"decoder: the decoder of {self.info.name} reads maps of {self.info.maps}, but {student.name} gives "
                f"{feature_maps(student)}; set decoder=0"
            )
        if fingerprint(decoder_tensors(self.model.state_dict())) != self.info.decoder:
            raise ConfigError(
                f"decoder: the student does not have the decoder of {self.info.name}; copy it first "
                "(evsam.training.teachers.copy_decoder), or set decoder=0"
            )


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, C, H, W) at another size, bilinear."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def masked_mean(values: Tensor, inside: Tensor | None) -> Tensor:
    """Mean over images of the mean over the cells that count.

    Args:
        values: (B, H, W).
        inside: bool (B, H, W), at least one of each image; None for all.
    """
    if inside is None:
        return values.mean()
    weights = inside.to(values.dtype)
    return ((values * weights).sum((1, 2)) / weights.sum((1, 2))).mean()


def spread(maps: Tensor, inside: Tensor | None) -> Tensor:
    """Variance of maps (B, C, H, W) over cells and images, a mean over channels; see :func:`masked_mean`."""
    centre = maps.mean((0, 2, 3), keepdim=True)
    return masked_mean((maps - centre).square().mean(1), inside)


def bernoulli_divergence(expected: Tensor, found: Tensor) -> Tensor:
    """Kullback-Leibler divergence of one coin from another, from the logits of both; of any shape, not below 0."""
    chance = expected.sigmoid()
    cross = F.binary_cross_entropy_with_logits(found, chance, reduction="none")
    entropy = F.binary_cross_entropy_with_logits(expected, chance, reduction="none")
    return cross - entropy


def build(config: DistillConfig, where: World) -> Trained:
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
    config: DistillConfig, model: EfficientViTSam, teacher: Teacher | None
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
    return command.main("distill", DistillConfig, build, arguments)


if __name__ == "__main__":
    sys.exit(main())
