"""Fine-tune a model end to end on photos with masks: ``python -m evsam.training.finetune CONFIG``.

:class:`FinetuneTask` is what a step computes: masks from prompts, in rounds, and their losses. A :class:`Recipe` says
what is prompted, which answers count, and by which losses.
"""

from __future__ import annotations

import functools
import math
import random
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from evsam.datasets.records import Photo
from evsam.network import MASK_RANGE
from evsam.nn import EfficientViTSam, Features
from evsam.nn.lite_decoder import LitePromptEncoder
from evsam.training import command
from evsam.training.config import Config, ConfigError, RunConfig
from evsam.training.data.mix import Mix
from evsam.training.data.pixels import colour_jitter, normalise, padding
from evsam.training.data.samples import Batch, SampleConfig, SampleMaker
from evsam.training.data.stream import open_loader, open_mix
from evsam.training.distributed import World
from evsam.training.losses import (
    CHOICE_TEMPERATURE,
    PointSampler,
    ResemblanceLoss,
    choice_loss,
    dice_loss,
    focal_loss,
    local_bce_loss,
    mask_iou,
    point_loss,
    stray,
)
from evsam.training.model import build_model, find_variant, recomputed
from evsam.training.prompts import Probability, PromptConfig, deepest_click, error_click, object_click, pick
from evsam.training.trainer import StepRandom, Trained
from evsam.training.validation import Validator
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE


class Recipe(Config):
    """How masks are learnt from prompts.

    Attributes:
        mask_loss: ``focal`` is 20 focal + dice (the paper, and SAM); ``points`` is 20 cross-entropy + dice on sampled
            points (the authors' code); ``local`` is 2 cross-entropy, normalised by the object's box, + ``dice`` x dice.
        dice: weight of dice in ``local``; more of it makes a model include what is in doubt, which mean IoU rewards.
        boundary: additional weight, in ``local``, of the pixels within two of the object's border.
        answers: which masks of the decoder learn: ``three``, that of the lowest loss (the paper); ``three-or-one``,
            either that or the single mask, half of the steps each (the authors' code); ``all``, both, and a little of
            each of the three.
        chosen: of the three masks, so much of what the best of them learns is learnt by those that predicted IoU
            chooses instead, which is what users see.
        pieces: additional weight, in ``local``, of the pixels that leave a mask in pieces or with holes, see
            :func:`evsam.training.losses.stray`.
        iou: weight of the error of predicted IoU.
        iou_error: ``squared``, which calibrates the mean, or ``absolute``, of which a few hopeless masks take less.
        choice: weight of what is lost by choosing among the three masks by predicted IoU.
        resemblance: weight of the auxiliary loss on features, for variants with nano's decoder.
        prompts: how first prompts are made.
        rounds: probabilities of one, two, ... rounds of prompts; each after the first adds a click.
        click_on_error: put that click where the last mask is wrong; else anywhere in the object.
        deepest: probability that it is deepest inside the error, where evaluation clicks; else anywhere in it.
        mask_prompt: feed the last mask back.
        forget: probability that a further round shows its click and the last mask alone, without the prompts before.
        mask_alone: probability of one more round, which shows a mask and nothing else, and wants it back.
        colour: jitter colours.
    """

    mask_loss: Literal["focal", "points", "local"] = "local"
    dice: float = Field(default=1.0, ge=0)
    boundary: float = Field(default=0.0, ge=0)
    answers: Literal["three", "three-or-one", "all"] = "all"
    chosen: Probability = 0.0
    pieces: float = Field(default=0.0, ge=0)
    iou: float = Field(default=0.0, ge=0)
    iou_error: Literal["squared", "absolute"] = "squared"
    choice: float = Field(default=0.0, ge=0)
    resemblance: float = Field(default=0.0, ge=0)
    prompts: PromptConfig = PromptConfig()
    rounds: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    click_on_error: bool = True
    deepest: Probability = 0.0
    mask_prompt: bool = True
    forget: Probability = 0.0
    mask_alone: Probability = 0.0
    colour: bool = False


_PLAIN_PROMPTS = PromptConfig(box=0.5, jitter=0.0, clicks=(1, 10), few=0.0, mixed=False, negative=0.0, centre=0.0)

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "paper": Recipe(mask_loss="focal", answers="three", prompts=_PLAIN_PROMPTS),
        "authors-code": Recipe(mask_loss="points", answers="three-or-one", prompts=_PLAIN_PROMPTS),
        "evsam": Recipe(
            mask_loss="local",
            dice=4.0,
            answers="all",
            iou=3.0,
            choice=1.0,
            resemblance=0.2,
            prompts=PromptConfig(
                box=0.5, jitter=0.6, jitter_limit=None, clicks=(1, 3), few=0.4, mixed=True, negative=0.3, centre=0.6
            ),
            rounds=(0.6, 0.2, 0.1, 0.1),
            colour=True,
        ),
    }
)
"""``paper``: arXiv 2402.05008, section 3.2. ``authors-code``: the released fine-tuning. ``evsam``: ours."""


def _named(value: Any) -> Any:
    """A name, or ``{base: name, changed: value, ...}``, as the recipe's full set of values."""
    if isinstance(value, str):
        value = {"base": value}
    if not isinstance(value, dict) or "base" not in value:
        return value
    base = value["base"]
    if base not in RECIPES:
        raise ValueError(f"expected one of {', '.join(RECIPES)}, got {base!r}")
    changed = {key: part for key, part in value.items() if key != "base"}
    values = RECIPES[base].model_dump()
    if isinstance(changed.get("prompts"), dict):
        changed["prompts"] = {**values["prompts"], **changed["prompts"]}
    return {**values, **changed}


RecipeChoice = Annotated[Recipe, BeforeValidator(_named)]
"""In a configuration: a name of :data:`RECIPES`, or a name as ``base`` and what to change."""


class FinetuneConfig(RunConfig):
    """Fine-tuning of a model on photos with masks.

    Attributes:
        recipe: ``paper``, ``authors-code`` or ``evsam``, or ``{base: NAME, ...}`` with what is changed.
        samples: how photos become samples.
    """

    recipe: RecipeChoice = RECIPES["evsam"]
    samples: SampleConfig = SampleConfig()


SHARE_OF_EACH = 0.04
"""What each of the three masks learns besides the best of them, so that none is left behind for good."""


DRAWN_SHARE = 0.3
"""Part of the masks alone that are true ones, as a tool or a hand draws them: sure everywhere. The others are answers
of the model, as users send them back."""


class FinetuneTask(nn.Module):
    """Loss of a batch of photos with prompts and masks.

    Args:
        model: what is trained.
        recipe: see :class:`evsam.training.finetune.Recipe`.
        fixed_grid: photos of every size fill the same grid of cells (multi-resolution training), instead of one that
            grows with them (training on crops).
        checkpoint_activations: compute each round of prompts again in the backward pass.
    """

    def __init__(
        self, model: EfficientViTSam, recipe: Recipe, fixed_grid: bool = False, checkpoint_activations: bool = False
    ) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.grid = model.variant.encoder.neck.grid if fixed_grid else None
        self.checkpoint_activations = checkpoint_activations
        self.sampler = PointSampler()
        lite = isinstance(model.prompt_encoder, LitePromptEncoder)
        self.resemblance = ResemblanceLoss() if lite and recipe.resemblance else None

    def forward(self, batch: Batch, random: StepRandom) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and metrics.

        Args:
            batch: on the model's device.
            random: of this micro-step.

        Returns:
            Loss, a mean over photos of the mean over each photo's masks, so that it does not matter how photos are
            spread over processes; and detached scalars, not-a-number where the batch says nothing about them: ``loss``,
            ``iou_error``, ``choice``, the IoU of first prompts ``box``, ``click`` (as chosen), ``click_best``, and
            ``mask_alone``, that of masks with what came back of them.
        """
        pixels = normalise(batch.images)
        if self.recipe.colour:
            jittered = colour_jitter(pixels, random.generator("colour", batch.images.device))
            # padding stays what it is at inference
            pixels = jittered.masked_fill(padding(batch.images), 0)
        features = self.model.encode(pixels, self.grid)
        target = batch.targets.float()[:, None]
        weight = _photo_weights(batch.index, len(batch.images))
        rounds = self._rounds(random)
        alone = random.shared("alone").random() < self.recipe.mask_alone
        total, metrics = torch.zeros((), device=target.device), {}
        if self.resemblance is not None:
            assert isinstance(self.model.prompt_encoder, LitePromptEncoder)
            compared = self.model.prompt_encoder.compare(features[1])
            with self._exactly(target):
                auxiliary = (self.resemblance(compared.float(), target, batch.index) * weight).sum()
            total = total + self.recipe.resemblance * auxiliary / rounds
        origin = self._origin(batch, target, random)
        points, labels, previous = batch.points, batch.labels, None
        if origin is not None:
            points = points + origin[:, None]
        for number in range(rounds):
            logits, iou = self._decode(features, batch.index, points, labels, previous, origin)
            with self._exactly(target):
                logits = logits.float()
                loss, parts = self._loss(logits, iou.float(), target, weight, random)
            total = total + loss / rounds
            if number == 0:
                metrics = parts | _first_scores(logits, iou, target, labels)
            if number + 1 < rounds:
                answer = pick(logits, iou, labels).detach()
                click, label = self._click(answer, target, random, number)
                if origin is not None:
                    click = click + origin[:, None]
                if random.shared(f"forget{number}").random() < self.recipe.forget:
                    # as a click without a box comes to the decoder: with the padding that stands for the box
                    points, labels = torch.cat([click, torch.zeros_like(click)], 1), F.pad(label, (0, 1), value=-1)
                else:
                    points, labels = torch.cat([points, click], 1), torch.cat([labels, label], 1)
                previous = answer if self.recipe.mask_prompt else None
        metrics["mask_alone"] = torch.full((), math.nan, device=target.device)
        if alone:
            shown = self._shown(pick(logits, iou, labels).detach(), target, random)
            none = points[:, :0], labels[:, :0]
            logits, iou = self._decode(features, batch.index, *none, shown, origin)
            with self._exactly(target):
                loss, metrics["mask_alone"] = self._loss_alone(logits.float(), iou.float(), shown, target, weight)
            total = total + loss / rounds
        return total, {"loss": total.detach(), **metrics}

    @staticmethod
    def _exactly(target: Tensor) -> torch.autocast:
        """Losses are sums over many pixels: float32 whatever the networks compute in."""
        return torch.autocast(target.device.type, enabled=False)

    def _rounds(self, random: StepRandom) -> int:
        chances = self.recipe.rounds
        return random.shared("rounds").choices(range(1, len(chances) + 1), chances)[0]

    def _origin(self, batch: Batch, target: Tensor, random: StepRandom) -> Tensor | None:
        """Where in the frame each mask's crop is said to lie, (N, 2): anywhere. None for whole frames."""
        span = FRAME_SIZE - target.shape[-1] * (FRAME_SIZE // LOGITS_SIZE)
        if span == 0:
            return None
        generator = random.generator("origin", target.device)
        drawn = torch.rand(len(batch.images), 2, device=target.device, generator=generator) * span
        return drawn[batch.index]

    def _decode(
        self,
        features: Features,
        index: Tensor,
        points: Tensor,
        labels: Tensor,
        masks: Tensor | None,
        origin: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        def decode(*features: Tensor) -> tuple[Tensor, Tensor]:
            return self.model.decode(tuple(f[index] for f in features), points, labels, masks, origin)

        if self.checkpoint_activations:
            decoded: tuple[Tensor, Tensor] = recomputed(self.model.mask_decoder, decode, *features)
            return decoded
        return decode(*features)

    def _click(self, answer: Tensor, target: Tensor, random: StepRandom, number: int) -> tuple[Tensor, Tensor]:
        """A further click on each mask, (N, 1, 2) in pixels of the frame from the crop's top left, and labels."""
        generator = random.generator(f"click{number}", answer.device)
        if not self.recipe.click_on_error:
            click, label = object_click(target, generator)
        else:
            click, label = error_click(answer, target, generator)
            deepest = torch.rand(len(target), device=target.device, generator=generator) < self.recipe.deepest
            if deepest.any():
                click[deepest], label[deepest] = deepest_click(answer[deepest], target[deepest])
        return click * (FRAME_SIZE / LOGITS_SIZE), label

    def _shown(self, answer: Tensor, target: Tensor, random: StepRandom) -> Tensor:
        """What is shown of each mask, (N, 1, H, W): the logits of the last answer, or a mask that somebody drew."""
        generator = random.generator("shown", answer.device)
        drawn = torch.rand(len(target), 1, 1, 1, device=target.device, generator=generator) < DRAWN_SHARE
        return torch.where(drawn, (target > 0.5) * (2 * MASK_RANGE) - MASK_RANGE, answer)

    def _loss_alone(
        self, logits: Tensor, iou: Tensor, shown: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss of what came back of masks without other prompts, and its mean IoU with them.

        All masks of the decoder are the one that was shown: nothing is ambiguous about it. The predicted IoU is still
        that with the object.
        """
        same = (shown > 0).to(target.dtype)
        each = 2 * local_bce_loss(logits, same) + self.recipe.dice * dice_loss(logits, same)
        masks = 0.5 * (each[:, 0] + each[:, 1:].mean(1))
        error = self._iou_error(iou, mask_iou(logits.detach(), target))
        loss = ((masks + self.recipe.iou * error) * weight).sum()
        return loss, mask_iou(logits.detach(), same)[:, 0].mean()

    def _iou_error(self, iou: Tensor, real: Tensor) -> Tensor:
        error = iou - real
        return (error.square() if self.recipe.iou_error == "squared" else error.abs()).mean(1)

    def _loss(
        self, logits: Tensor, iou: Tensor, target: Tensor, weight: Tensor, random: StepRandom
    ) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        each = self._mask_losses(logits, target, random)
        best = each[:, 1:].amin(1)
        if recipe.chosen:
            chances = (iou[:, 1:].detach() / CHOICE_TEMPERATURE).softmax(1)
            best = torch.lerp(best, (chances * each[:, 1:]).sum(1), recipe.chosen)
        match recipe.answers:
            case "three":
                masks = best
            case "three-or-one":
                masks = best if random.shared("answers").random() < 0.5 else each[:, 0]
            case "all":
                masks = 0.5 * (each[:, 0] + best + SHARE_OF_EACH * each[:, 1:].mean(1))
        real = mask_iou(logits.detach(), target)
        iou_error = self._iou_error(iou, real)
        choice = choice_loss(iou[:, 1:], real[:, 1:])
        loss = ((masks + recipe.iou * iou_error + recipe.choice * choice) * weight).sum()
        return loss, {"iou_error": iou_error.detach().mean(), "choice": choice.detach().mean()}

    def _mask_losses(self, logits: Tensor, target: Tensor, random: StepRandom) -> Tensor:
        if self.recipe.mask_loss == "points":
            return point_loss(logits, target, self.sampler, random.generator("points", logits.device))
        if self.recipe.mask_loss == "focal":
            return 20 * focal_loss(logits, target) + dice_loss(logits, target)
        more = self.recipe.pieces * stray(logits.detach(), target) if self.recipe.pieces else None
        exact = 2 * local_bce_loss(logits, target, self.recipe.boundary, more)
        return exact + self.recipe.dice * dice_loss(logits, target)


def _photo_weights(index: Tensor, photos: int) -> Tensor:
    """Weight (N,) of each mask: one over photos and over the masks of its photo."""
    counts = torch.bincount(index, minlength=photos)
    return 1 / (photos * counts[index].float())


def _first_scores(logits: Tensor, iou: Tensor, target: Tensor, labels: Tensor) -> dict[str, Tensor]:
    real = mask_iou(logits.detach(), target)
    boxed = (labels == 2).any(1)
    clicked = real[~boxed, 1:]
    chosen = clicked.gather(1, iou[~boxed, 1:].argmax(1, keepdim=True))
    # the mean of nothing is not-a-number, as it should be
    return {"box": real[boxed, 0].mean(), "click": chosen.mean(), "click_best": _largest(clicked).mean()}


def _largest(values: Tensor) -> Tensor:
    return values.amax(1) if len(values) else values


def build(config: FinetuneConfig, where: World) -> Trained:
    """Model, task, photos and validation of a run."""
    _check_samples(config)
    model = build_model(config, where.device)
    task = FinetuneTask(
        model,
        config.recipe,
        fixed_grid=bool(config.samples.sizes),
        checkpoint_activations=config.system.checkpoint_activations,
    ).to(where.device)
    mix = open_mix(config)
    maker = SampleMaker(config.samples, config.recipe.prompts, functools.partial(_any_photo, mix))
    return Trained(
        task=task,
        model=model,
        loader=functools.partial(open_loader, mix, maker, config, where),
        epoch=mix.epoch_size,
        unused=True,  # a mask prompt comes in the second round, if there is one
        validate=Validator(config.validation, config.log) if config.validation.sources else None,
    )


def _check_samples(config: FinetuneConfig) -> None:
    variant, samples = find_variant(config.variant), config.samples
    if samples.image_size != variant.image_size:
        raise ConfigError(
            f"samples.image_size: {variant.name} reads images of {variant.image_size}, got {samples.image_size}"
        )
    if samples.sizes and variant.encoder.neck.lateral:
        raise ConfigError(
            f"samples.sizes: {variant.name} hands finer maps to its decoder, which grow with the image; set "
            "samples.sizes=[] and samples.size"
        )


def _any_photo(mix: Mix, rng: random.Random) -> Photo:
    return mix.photo(rng.randrange(mix.epoch_size))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m evsam.training.finetune``."""
    return command.main("finetune", FinetuneConfig, build, arguments)


if __name__ == "__main__":
    sys.exit(main())
