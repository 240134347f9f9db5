"""What fine-tuning computes in a step: masks from prompts, in rounds, and their losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from evsam.nn import EfficientViTSam, Features
from evsam.nn.lite_decoder import LitePromptEncoder
from evsam.training.data.samples import Batch
from evsam.training.images import colour_jitter, normalise, padding
from evsam.training.losses import (
    PointSampler,
    ResemblanceLoss,
    choice_loss,
    dice_loss,
    focal_loss,
    local_bce_loss,
    mask_iou,
    point_loss,
)
from evsam.training.prompting import error_click, object_click, pick
from evsam.training.randomness import StepRandom
from evsam.training.recipes import Recipe
from evsam.training.recomputation import recomputed
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

SHARE_OF_EACH = 0.04
"""What each of the three masks learns besides the best of them, so that none is left behind for good."""


class FinetuneTask(nn.Module):
    """Loss of a batch of photos with prompts and masks.

    Args:
        model: what is trained.
        recipe: see :class:`evsam.training.recipes.Recipe`.
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
            ``iou_error``, ``choice``, and the IoU of first prompts ``box``, ``click`` (as chosen), ``click_best``.
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
                generator = random.generator(f"click{number}", answer.device)
                click, label = (
                    error_click(answer, target, generator)
                    if self.recipe.click_on_error
                    else object_click(target, generator)
                )
                click = click * (FRAME_SIZE / LOGITS_SIZE)
                if origin is not None:
                    click = click + origin[:, None]
                points, labels = torch.cat([points, click], 1), torch.cat([labels, label], 1)
                previous = answer if self.recipe.mask_prompt else None
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

    def _loss(
        self, logits: Tensor, iou: Tensor, target: Tensor, weight: Tensor, random: StepRandom
    ) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        each = self._mask_losses(logits, target, random)
        best = each[:, 1:].amin(1)
        match recipe.answers:
            case "three":
                masks = best
            case "three-or-one":
                masks = best if random.shared("answers").random() < 0.5 else each[:, 0]
            case "all":
                masks = 0.5 * (each[:, 0] + best + SHARE_OF_EACH * each[:, 1:].mean(1))
        real = mask_iou(logits.detach(), target)
        iou_error = (iou - real).square().mean(1)
        choice = choice_loss(iou[:, 1:], real[:, 1:])
        loss = ((masks + recipe.iou * iou_error + recipe.choice * choice) * weight).sum()
        return loss, {"iou_error": iou_error.detach().mean(), "choice": choice.detach().mean()}

    def _mask_losses(self, logits: Tensor, target: Tensor, random: StepRandom) -> Tensor:
        if self.recipe.mask_loss == "points":
            return point_loss(logits, target, self.sampler, random.generator("points", logits.device))
        if self.recipe.mask_loss == "focal":
            return 20 * focal_loss(logits, target) + dice_loss(logits, target)
        exact = 2 * local_bce_loss(logits, target, self.recipe.boundary)
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
